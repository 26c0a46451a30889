/* cli/cmd_list.c: `fathom list`: the models here, or with --catalogue those that can be had. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytesize.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/terminal.h"
#include "cli/catalogue.h"
#include "cli/modelref.h"
#include "cli/options.h"
#include "cli/registry.h"
#include "cli/verbs.h"
#include "formats/gguf.h"
#include "formats/hffolder.h"

/* The dtype that holds most of a model's bytes, from the files' headers; "?" when they cannot be read. */
static const char *cmd_list_dtype(const struct registry_model *m)
{
    size_t bytes[DTYPE_COUNT] = {0};
    struct gguf *g = NULL;
    struct hffolder *h = NULL;
    const struct tensortable *t = NULL;
    if (strcmp(m->open, ".") != 0) {
        t = gguf_open(m->path, &g, NULL) == ERR_OK ? gguf_tensors(g) : NULL;
    } else {
        t = hffolder_open(m->path, &h, NULL) == ERR_OK ? hffolder_tensors(h) : NULL;
    }
    enum dtype most = DTYPE_F32;
    for (size_t i = 0; t && i < tensortable_count(t); i++) {
        const struct tensor *x = &tensortable_at(t, i)->tensor;
        bytes[x->dtype] += tensor_bytes(x);
        most = bytes[x->dtype] > bytes[most] ? x->dtype : most;
    }
    const char *name = t ? dtype_info(most)->name : "?";
    gguf_close(g);
    hffolder_close(h);
    return name;
}

static err cmd_list_print_json(json_t *array, struct errinfo *info)
{
    char *text = json_text_dup(array, JSON_INDENT(2));
    json_decref(array);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory printing the list");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

static json_t *cmd_list_model_json(const struct registry_model *m, const char *chosen)
{
    if (!m->complete) {
        return json_pack("{s:s, s:b, s:s}", "name", m->name, "complete", 0, "path", m->folder);
    }
    return json_pack("{s:s, s:b, s:s, s:I, s:s, s:s, s:s, s:b}", "name", m->name, "complete", 1,
                     "path", m->path, "bytes", (json_int_t)registry_bytes(m), "dtype",
                     cmd_list_dtype(m), "source", m->source, "licence", m->licence, "default",
                     strcmp(m->name, chosen) == 0);
}

static void cmd_list_print(const struct registry_list *l, const char *chosen)
{
    int width = 4;
    for (size_t i = 0; i < l->n; i++) {
        int n = (int)strlen(l->models[i].name);
        width = n > width ? n : width;
    }
    if (l->n == 0) {
        fputs("no models here yet; see: fathom list --catalogue, fathom pull --help\n", stderr);
        return;
    }
    printf("%-*s  %10s  %-6s  %s\n", width, "name", "size", "type", "path");
    for (size_t i = 0; i < l->n; i++) {
        const struct registry_model *m = &l->models[i];
        if (m->complete) {
            char size[BYTESIZE_TEXT];
            printf("%-*s  %10s  %-6s  %s%s\n", width, m->name,
                   bytesize_text(registry_bytes(m), size), cmd_list_dtype(m), m->path,
                   strcmp(m->name, chosen) == 0 ? "  (default)" : "");
        } else {
            printf("%-*s  %10s  %-6s  %s\n", width, m->name, "unfinished", "-", m->folder);
        }
    }
}

/* A folder that is misspelt shows as one without models. */
static err cmd_list_doubt(struct errinfo *info)
{
    const char *named = getenv("FATHOM_MODELS");
    char *root = NULL;
    TRY(registry_root(&root, info));
    if (named && *named && !file_is_dir(root)) {
        fprintf(stderr, "note: FATHOM_MODELS names %s, and there is no such folder\n", root);
    }
    mem_free(root);
    return ERR_OK;
}

static err cmd_list_here(bool json, struct errinfo *info)
{
    struct registry_list l;
    char *chosen = NULL;
    TRY(registry_list_all(&l, info));
    err e = modelref_default(&chosen, info);
    if (e != ERR_OK) {
        registry_list_deinit(&l);
        return e;
    }
    if (json) {
        json_t *array = json_array();
        for (size_t i = 0; i < l.n && array; i++) {
            if (json_array_append_new(array, cmd_list_model_json(&l.models[i], chosen)) != 0) {
                json_decref(array);
                array = NULL;
            }
        }
        e = cmd_list_print_json(array, info);
    } else {
        cmd_list_print(&l, chosen);
    }
    mem_free(chosen);
    registry_list_deinit(&l);
    return e == ERR_OK ? cmd_list_doubt(info) : e;
}

static json_t *cmd_list_entry_json(const struct catalogue_entry *x)
{
    return json_pack("{s:s, s:s, s:I, s:b, s:s, s:s, s:b, s:b, s:s}", "name", x->name, "source",
                     x->source, "bytes", (json_int_t)x->bytes, "estimated", x->estimated, "licence",
                     x->licence, "chat_format", chat_format_name(x->format), "can_think",
                     chat_can_think(x->format), "can_call_tools", chat_can_call(x->format), "note",
                     x->note);
}

/* Name, size, whether it knows tools, licence and, where the line has room, what it is; else that below. A
 * pipe has room. */
static void cmd_list_catalogue_print(const struct catalogue *c)
{
    int name = 4, licence = 7, note = 4, columns = (int)terminal_columns(stdout);
    for (size_t i = 0; i < c->n; i++) {
        const struct catalogue_entry *x = &c->entries[i];
        int widths[] = {(int)strlen(x->name), (int)strlen(x->licence), (int)strlen(x->note)};
        name = widths[0] > name ? widths[0] : name;
        licence = widths[1] > licence ? widths[1] : licence;
        note = widths[2] > note ? widths[2] : note;
    }
    bool wide = columns == 0 || name + licence + note + 24 <= columns;
    printf("%-*s  %11s  %-5s  %-*s  %s\n", name, "name", "size", "tools", wide ? licence : 0, "licence",
           wide ? "what it is" : "");
    for (size_t i = 0; i < c->n; i++) {
        const struct catalogue_entry *x = &c->entries[i];
        char size[32];
        snprintf(size, sizeof size, "%s%.2f GB", x->estimated ? "~" : "", (double)x->bytes / 1e9);
        printf("%-*s  %11s  %-5s  %-*s%s%s\n", name, x->name, size,
               chat_can_call(x->format) ? "yes" : "-", wide ? licence : 0, x->licence,
               wide ? "  " : "\n    ", x->note);
    }
}

static err cmd_list_catalogue(bool json, struct errinfo *info)
{
    struct catalogue *c;
    err e = ERR_OK;
    TRY(catalogue_open(&c, info));
    if (json) {
        json_t *array = json_array();
        for (size_t i = 0; i < c->n && array; i++) {
            if (json_array_append_new(array, cmd_list_entry_json(&c->entries[i])) != 0) {
                json_decref(array);
                array = NULL;
            }
        }
        e = cmd_list_print_json(array, info);
    } else {
        cmd_list_catalogue_print(c);
        puts("\n~ estimated; fathom pull NAME --dry-run asks for the exact size\n"
             "tools: agents and tool calls need a model that knows them");
    }
    catalogue_close(c);
    return e;
}

int cmd_list(int argc, char **argv)
{
    bool json = false;
    bool catalogue = false;
    const struct options_row rows[] = {
        options_flag("catalogue", &catalogue, "the models that `fathom pull NAME` can get"),
        options_flag("json", &json, "one JSON document on stdout"),
    };
    const struct options spec = {"list", "the models here, or those that can be had", rows, 2,
                                 "  fathom list\n  fathom list --catalogue\n\n"
                                 "To delete a model, delete its folder below FATHOM_MODELS, or below\n"
                                 "~/.local/share/fathom/models where that is not set; the list shows it.\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    err e = catalogue ? cmd_list_catalogue(json, &info) : cmd_list_here(json, &info);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
