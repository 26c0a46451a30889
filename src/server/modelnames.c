/* server/modelnames.c: see modelnames.h. */
#include "server/modelnames.h"

#include <string.h>

#include "base/mem.h"

enum { MODELNAMES_MAX = 1024, MODELNAMES_NAME_MAX = 128 };

enum modelnames_think { MODELNAMES_AS_ASKED, MODELNAMES_OFF, MODELNAMES_ON, MODELNAMES_MOST };

struct modelnames_alias {
    char name[MODELNAMES_NAME_MAX];
    size_t len;
    bool beginning; /* "claude-*" */
    enum modelnames_think think;
};

struct modelnames {
    char own[MODELNAMES_NAME_MAX];
    struct modelnames_alias *aliases;
    size_t n;
};

static bool modelnames_think(const char *word, size_t len, enum modelnames_think *out)
{
    static const char *const words[] = {NULL, "think=off", "think=on", "think=max"};
    for (enum modelnames_think i = MODELNAMES_OFF; i <= MODELNAMES_MOST; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], word, len) == 0) {
            *out = i;
            return true;
        }
    }
    return len == 0;
}

static err modelnames_line(struct modelnames *m, const char *line, size_t len, const char *name,
                           size_t number, struct errinfo *info)
{
    const char *blanks = " \t\r";
    len = memchr(line, '#', len) ? (size_t)((char *)memchr(line, '#', len) - line) : len;
    while (len > 0 && strchr(blanks, line[len - 1])) {
        len--;
    }
    size_t n = 0;
    while (n < len && !strchr(blanks, line[n])) {
        n++;
    }
    if (n == 0 && len == 0) {
        return ERR_OK;
    }
    struct modelnames_alias *a = &m->aliases[m->n];
    const char *rest = line + n;
    while (rest < line + len && strchr(blanks, *rest)) {
        rest++;
    }
    if (n == 0 || n >= sizeof a->name || m->n == MODELNAMES_MAX) {
        return err_set(info, ERR_ARGUMENT,
                       "%s, line %zu: expected an alias of 1 to %d bytes, at most %d of them", name,
                       number, MODELNAMES_NAME_MAX - 1, MODELNAMES_MAX);
    }
    if (!modelnames_think(rest, (size_t)(line + len - rest), &a->think)) {
        return err_set(info, ERR_ARGUMENT,
                       "%s, line %zu: \"%.*s\" is none of think=off, think=on, think=max", name,
                       number, (int)(line + len - rest), rest);
    }
    a->beginning = line[n - 1] == '*';
    a->len = n - a->beginning;
    memcpy(a->name, line, a->len);
    a->name[a->len] = '\0';
    m->n++;
    return ERR_OK;
}

err modelnames_new(const char *own, const char *text, const char *name, struct modelnames **out,
                   struct errinfo *info)
{
    struct modelnames *m = mem_calloc(1, sizeof *m);
    struct modelnames_alias *aliases = mem_calloc(MODELNAMES_MAX, sizeof *aliases);
    if (!m || !aliases) {
        mem_free(m);
        mem_free(aliases);
        return err_set(info, ERR_NOMEM, "out of memory for names of models");
    }
    m->aliases = aliases;
    strncpy(m->own, own, sizeof m->own - 1);
    size_t number = 1;
    for (const char *line = text; *line; number++) {
        size_t len = strcspn(line, "\n");
        err e = modelnames_line(m, line, len, name, number, info);
        if (e != ERR_OK) {
            modelnames_free(m);
            return e;
        }
        line += len + (line[len] == '\n');
    }
    *out = m;
    return ERR_OK;
}

void modelnames_free(struct modelnames *m)
{
    if (m) {
        mem_free(m->aliases);
        mem_free(m);
    }
}

const char *modelnames_own(const struct modelnames *m)
{
    return m->own;
}

const char *modelnames_alias(const struct modelnames *m, size_t i)
{
    for (size_t k = 0; k < m->n; k++) {
        if (!m->aliases[k].beginning && i-- == 0) {
            return m->aliases[k].name;
        }
    }
    return NULL;
}

bool modelnames_match(const struct modelnames *m, const char *asked, enum chat_thinking *think)
{
    static const enum chat_thinking meant[] = {[MODELNAMES_OFF] = CHAT_NO_THINKING,
                                               [MODELNAMES_ON] = CHAT_THINKING,
                                               [MODELNAMES_MOST] = CHAT_THINKING_MAX};
    if (*asked == '\0' || strcmp(asked, "default") == 0 || strcmp(asked, m->own) == 0) {
        return true;
    }
    for (size_t i = 0; i < m->n; i++) {
        const struct modelnames_alias *a = &m->aliases[i];
        if (strncmp(asked, a->name, a->len) == 0 && (a->beginning || asked[a->len] == '\0')) {
            *think = a->think == MODELNAMES_AS_ASKED ? *think : meant[a->think];
            return true;
        }
    }
    return false;
}
