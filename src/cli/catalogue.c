/* cli/catalogue.c: see catalogue.h. */
#include "cli/catalogue.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/registry.h"

/* Made from models/catalogue.txt at build time. */
extern const unsigned char catalogue_text[];
extern const size_t catalogue_text_size;

/* The next field of a line, blanks cut on both sides; NULL when there are no more. */
static char *catalogue_field(char **rest)
{
    char *field = strsep(rest, "|");
    if (!field) {
        return NULL;
    }
    while (*field == ' ') {
        field++;
    }
    size_t n = strlen(field);
    while (n > 0 && field[n - 1] == ' ') {
        field[--n] = '\0';
    }
    return *field ? field : NULL;
}

static err catalogue_line(struct catalogue *c, char *line, size_t number, struct errinfo *info)
{
    if (*line == '\0' || *line == '#') {
        return ERR_OK;
    }
    if (c->n == CATALOGUE_MAX) {
        return err_set(info, ERR_LIMIT, "the catalogue has more than %d models", CATALOGUE_MAX);
    }
    struct catalogue_entry e = {0};
    e.name = catalogue_field(&line);
    e.source = catalogue_field(&line);
    const char *bytes = catalogue_field(&line);
    e.licence = catalogue_field(&line);
    const char *format = catalogue_field(&line);
    e.note = catalogue_field(&line);
    if (!e.name || !e.source || !bytes || !e.licence || !format || !e.note || line) {
        return err_set(info, ERR_CORRUPT, "catalogue line %zu does not have six fields", number);
    }
    e.estimated = *bytes == '~';
    char *end;
    errno = 0;
    e.bytes = strtoull(bytes + e.estimated, &end, 10);
    if (!isdigit((unsigned char)bytes[e.estimated]) || *end || errno) {
        return err_set(info, ERR_CORRUPT, "catalogue line %zu: \"%s\" is no number of bytes", number,
                       bytes);
    }
    if (!chat_format_from_name(format, &e.format)) {
        return err_set(info, ERR_CORRUPT, "catalogue line %zu: \"%s\" is no chat format", number,
                       format);
    }
    if (!registry_name_ok(e.name) || catalogue_find(c, e.name)) {
        return err_set(info, ERR_CORRUPT, "catalogue line %zu: bad or repeated name \"%s\"", number,
                       e.name);
    }
    c->entries[c->n++] = e;
    return ERR_OK;
}

err catalogue_parse(const char *text, size_t n, struct catalogue *out, struct errinfo *info)
{
    *out = (struct catalogue){.text = mem_dup(text, n)};
    if (!out->text) {
        return err_set(info, ERR_NOMEM, "out of memory for the catalogue");
    }
    char *rest = out->text;
    err e = ERR_OK;
    for (size_t number = 1; rest && e == ERR_OK; number++) {
        e = catalogue_line(out, strsep(&rest, "\n"), number, info);
    }
    if (e != ERR_OK) {
        catalogue_deinit(out);
    }
    return e;
}

err catalogue_open(struct catalogue **out, struct errinfo *info)
{
    struct catalogue *c = mem_alloc(sizeof *c);
    if (!c) {
        return err_set(info, ERR_NOMEM, "out of memory for the catalogue");
    }
    err e = catalogue_parse((const char *)catalogue_text, catalogue_text_size, c, info);
    if (e != ERR_OK) {
        mem_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void catalogue_deinit(struct catalogue *c)
{
    mem_free(c->text);
    c->text = NULL;
    c->n = 0;
}

void catalogue_close(struct catalogue *c)
{
    if (c) {
        catalogue_deinit(c);
        mem_free(c);
    }
}

const struct catalogue_entry *catalogue_find(const struct catalogue *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++) {
        if (strcmp(c->entries[i].name, name) == 0) {
            return &c->entries[i];
        }
    }
    return NULL;
}
