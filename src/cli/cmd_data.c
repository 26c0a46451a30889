/* cli/cmd_data.c: `fathom data`: packs text into a dataset of token shards, and shows and checks one. */
#include <stdio.h>
#include <string.h>

#include "base/cpuinfo.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "train/datasetpack.h"

struct cmd_data {
    const char *dir, *tokenizer;
    struct options_list sources, chats, vals, licences;
    const char *chat_format;
    struct corpus_options corpus;
    double val_share;
    size_t shard_tokens, threads;
    bool verify, json, force;
};

/* ---- NAME=FILE and NAME=LICENCE. ---- */

struct cmd_data_plan {
    char names[OPTIONS_LIST_MAX][DATASET_NAME];
    const char *files[OPTIONS_LIST_MAX][OPTIONS_LIST_MAX], *vals[OPTIONS_LIST_MAX][OPTIONS_LIST_MAX];
    struct datasetpack_source sources[OPTIONS_LIST_MAX];
    size_t n;
    uint64_t bytes; /* of all files */
};

static err cmd_data_split(const char *option, const char *text, char name[DATASET_NAME], const char **value,
                          struct errinfo *info)
{
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : 0;
    if (len == 0 || len >= DATASET_NAME || !equals[1]) {
        return err_set(info, ERR_ARGUMENT, "--%s %s: expected NAME=%s, with a name of 1 to %d letters", option,
                       text, strcmp(option, "licence") == 0 ? "TEXT" : "FILE", DATASET_NAME - 1);
    }
    memcpy(name, text, len);
    name[len] = '\0';
    *value = equals + 1;
    return ERR_OK;
}

/* The source of that name; plan->n when there is none. */
static size_t cmd_data_find(const struct cmd_data_plan *plan, const char *name)
{
    size_t i = 0;
    while (i < plan->n && strcmp(plan->names[i], name) != 0) {
        i++;
    }
    return i;
}

static err cmd_data_count(struct cmd_data_plan *plan, const char *path, struct errinfo *info)
{
    struct file_map map;
    TRY(file_map_open(path, &map, info));
    plan->bytes += map.size;
    file_map_close(&map);
    return ERR_OK;
}

/* What --val and --licence say about a --source. */
static err cmd_data_about(const char *option, const char *text, const struct cmd_data_plan *plan, size_t *at,
                          const char **value, struct errinfo *info)
{
    char name[DATASET_NAME];
    TRY(cmd_data_split(option, text, name, value, info));
    *at = cmd_data_find(plan, name);
    if (*at == plan->n) {
        return err_set(info, ERR_ARGUMENT, "--%s %s: no --source is called %s", option, text, name);
    }
    return ERR_OK;
}

/* What --source and --chat list. */
static err cmd_data_files(const char *option, const struct options_list *list, bool chat,
                          struct cmd_data_plan *plan, struct errinfo *info)
{
    char name[DATASET_NAME];
    const char *value = "";
    for (size_t i = 0; i < list->n; i++) {
        TRY(cmd_data_split(option, list->items[i], name, &value, info));
        size_t at = cmd_data_find(plan, name);
        struct datasetpack_source *s = &plan->sources[at];
        if (at == plan->n && at == OPTIONS_LIST_MAX) {
            return err_set(info, ERR_ARGUMENT, "more than %d sources", OPTIONS_LIST_MAX);
        }
        if (at == plan->n) {
            strcpy(plan->names[plan->n++], name);
            *s = (struct datasetpack_source){.name = plan->names[at],
                                             .licence = "",
                                             .files = plan->files[at],
                                             .val_files = plan->vals[at],
                                             .chat = chat};
        }
        if (s->chat != chat) {
            return err_set(info, ERR_ARGUMENT, "%s is given as --source and as --chat", name);
        }
        plan->files[at][s->n_files++] = value;
        TRY(cmd_data_count(plan, value, info));
    }
    return ERR_OK;
}

static err cmd_data_plan_make(const struct cmd_data *c, struct cmd_data_plan *plan, struct errinfo *info)
{
    const char *value = "";
    size_t at;
    TRY(cmd_data_files("source", &c->sources, false, plan, info));
    TRY(cmd_data_files("chat", &c->chats, true, plan, info));
    for (size_t i = 0; i < c->vals.n; i++) {
        TRY(cmd_data_about("val", c->vals.items[i], plan, &at, &value, info));
        plan->vals[at][plan->sources[at].n_val_files++] = value;
        TRY(cmd_data_count(plan, value, info));
    }
    for (size_t i = 0; i < c->licences.n; i++) {
        TRY(cmd_data_about("licence", c->licences.items[i], plan, &at, &value, info));
        plan->sources[at].licence = value;
    }
    return ERR_OK;
}

static bool cmd_data_go_on(void *progress, size_t done)
{
    progress_update(progress, done);
    return !interrupt_pending();
}

static err cmd_data_pack(const struct cmd_data *c, struct dataset *d, struct errinfo *info)
{
    struct progress progress;
    enum chat_format format;
    if (!chat_format_from_name(c->chat_format, &format)) {
        return err_set(info, ERR_ARGUMENT, "--chat-format %s: no such format; deepseek-v3.1 is one",
                       c->chat_format);
    }
    struct cmd_data_plan *plan = mem_calloc(1, sizeof *plan);
    if (!plan) {
        return err_set(info, ERR_NOMEM, "out of memory packing %s", c->dir);
    }
    const struct datasetpack_options o = {.dir = c->dir,
                                          .tokenizer_dir = c->tokenizer,
                                          .corpus = c->corpus,
                                          .chat_format = format,
                                          .val_share = c->val_share,
                                          .shard_tokens = c->shard_tokens,
                                          .n_threads = c->threads ? (int)c->threads : cpuinfo_cores(),
                                          .go_on = cmd_data_go_on,
                                          .user = &progress};
    err e = cmd_data_plan_make(c, plan, info);
    if (e == ERR_OK) {
        progress_init(&progress, "packing", PROGRESS_BYTES, plan->bytes);
        e = datasetpack_run(&o, plan->sources, plan->n, d, info);
        progress_finish(&progress);
    }
    mem_free(plan);
    return e;
}

/* ---- Showing. ---- */

static err cmd_data_verify(const struct dataset *d, struct errinfo *info)
{
    struct tokenizer *t;
    TRY(dataset_open_tokenizer(d, &t, info));
    tokenizer_free(t);
    for (size_t i = 0; i < d->n_sources; i++) {
        for (int p = 0; p < DATASET_PARTS; p++) {
            const struct dataset_shards *shards = &d->sources[i].parts[p];
            for (size_t k = 0; k < shards->n; k++) {
                struct tokenshard s;
                TRY(tokenshard_open(d->dir, &shards->entries[k], d->token_bytes, d->vocab_size, &s, info));
                tokenshard_close(&s);
            }
        }
    }
    return ERR_OK;
}

static void cmd_data_print(const struct dataset *d, bool verified)
{
    printf("%-16s %12s %14s %12s %8s  %s\n", "source", "documents", "tokens", "validation", "bytes/t",
           "licence");
    for (size_t i = 0; i < d->n_sources; i++) {
        const struct dataset_source *s = &d->sources[i];
        const struct dataset_shards *train = &s->parts[DATASET_TRAIN], *val = &s->parts[DATASET_VAL];
        size_t documents = train->n_documents + val->n_documents, tokens = train->n_tokens + val->n_tokens;
        size_t spelled = tokens > 2 * documents ? tokens - 2 * documents : 1; /* begin and end have no bytes */
        printf("%-16s %12zu %14zu %12zu %8.2f  %s\n", s->name, documents, train->n_tokens, val->n_tokens,
               (double)s->n_bytes / (double)spelled, s->licence[0] ? s->licence : "not stated");
    }
    printf("%s: %zu tokens to learn from, %zu for validation, of a vocabulary of %zu%s\n", d->dir,
           dataset_tokens(d, DATASET_TRAIN), dataset_tokens(d, DATASET_VAL), d->vocab_size,
           verified ? "; tokenizer and every shard are what the manifest says" : "");
}

static err cmd_data_print_json(const struct dataset *d, bool verified, struct errinfo *info)
{
    json_t *sources = json_array();
    bool good = sources != NULL;
    for (size_t i = 0; i < d->n_sources && good; i++) {
        const struct dataset_source *s = &d->sources[i];
        const struct dataset_shards *train = &s->parts[DATASET_TRAIN], *val = &s->parts[DATASET_VAL];
        good = json_array_append_new(
                   sources, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "name", s->name, "licence",
                                      s->licence, "text_bytes", (json_int_t)s->n_bytes, "train_documents",
                                      (json_int_t)train->n_documents, "train_tokens",
                                      (json_int_t)train->n_tokens, "val_documents",
                                      (json_int_t)val->n_documents, "val_tokens", (json_int_t)val->n_tokens)) ==
               0;
    }
    json_t *o = good ? json_pack("{s:s, s:I, s:I, s:I, s:b, s:o}", "dir", d->dir, "vocab_size",
                                 (json_int_t)d->vocab_size, "train_tokens",
                                 (json_int_t)dataset_tokens(d, DATASET_TRAIN), "val_tokens",
                                 (json_int_t)dataset_tokens(d, DATASET_VAL), "verified", verified, "sources",
                                 sources)
                     : NULL;
    char *text = json_text_dup(o, JSON_COMPACT);
    if (!good) {
        json_decref(sources);
    }
    json_decref(o);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory writing JSON");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

static err cmd_data_make(const struct cmd_data *c, struct dataset *d, struct errinfo *info)
{
    char *path = file_join(c->dir, DATASET_MANIFEST);
    if (!path) {
        return err_set(info, ERR_NOMEM, "out of memory looking into %s", c->dir);
    }
    bool there = file_exists(path);
    mem_free(path);
    if (there && !c->force) {
        return err_set(info, ERR_ARGUMENT, "%s holds a dataset already; --force writes over it", c->dir);
    }
    if (!c->tokenizer) {
        return err_set(info, ERR_ARGUMENT, "--tokenizer DIR is needed: the folder of the tokenizer.json that "
                       "cuts the text (`fathom tokenizer train` makes one)");
    }
    return cmd_data_pack(c, d, info);
}

static err cmd_data_work(const struct cmd_data *c, struct errinfo *info)
{
    struct dataset d = {0};
    TRY(c->sources.n + c->chats.n > 0 ? cmd_data_make(c, &d, info) : dataset_open(c->dir, &d, info));
    err e = c->verify ? cmd_data_verify(&d, info) : ERR_OK;
    if (e == ERR_OK && c->json) {
        e = cmd_data_print_json(&d, c->verify, info);
    } else if (e == ERR_OK) {
        cmd_data_print(&d, c->verify);
    }
    dataset_deinit(&d);
    return e;
}

int cmd_data(int argc, char **argv)
{
    struct cmd_data c = {.val_share = 0.01, .shard_tokens = 100000000, .chat_format = "deepseek-v3.1"};
    const struct options_row rows[] = {
        options_required("DIR", &c.dir, "the dataset's folder: made with --source, else shown"),
        options_each("source", "NAME=FILE", &c.sources,
                     "text of a source, .txt or .jsonl, plain or .zst; several files may have one NAME"),
        options_each("chat", "NAME=FILE", &c.chats, "conversations of a source, .jsonl, plain or .zst, a line "
                     "{\"messages\": [{\"role\": …, \"content\": …}, …]} each: only answers are predicted"),
        options_string("chat-format", "NAME", &c.chat_format, "how conversations are laid out (deepseek-v3.1)"),
        options_each("val", "NAME=FILE", &c.vals, "text of a source that is all for validation; --val-share "
                     "does not touch such a source"),
        options_each("licence", "NAME=TEXT", &c.licences, "a source's licence: a line for the manifest"),
        options_string("tokenizer", "DIR", &c.tokenizer, "folder with the tokenizer.json that cuts the text"),
        options_float("val-share", "X", 0, 1, &c.val_share,
                      "share of documents for validation, chosen by the hash of their text (0.01)"),
        options_size("shard-tokens", "N", 1, (size_t)1 << 40, &c.shard_tokens,
                     "tokens of a shard, about (100000000)"),
        options_string("separator", "LINE", &c.corpus.separator,
                       "the line that ends a document of a text file (" CORPUS_SEPARATOR ")"),
        options_string("field", "NAME", &c.corpus.field, "where a .jsonl line has its text (text)"),
        options_size("threads", "N", 1, 1024, &c.threads, "use N threads (all cores)"),
        options_flag("verify", &c.verify, "check the tokenizer, and every shard's size, hash and ids"),
        options_flag("force", &c.force, "write over a dataset that is there"),
        options_flag("json", &c.json, "one JSON document on stdout"),
    };
    const struct options spec = {"data", "text to shards of tokens for learning", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom data my-data --tokenizer my-tokenizer \\\n"
                                 "      --source books=books.txt.zst --source wiki=wiki.txt.zst \\\n"
                                 "      --licence \"wiki=CC BY-SA 3.0\"\n"
                                 "  fathom data my-data --verify\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    interrupt_watch();
    err e = cmd_data_work(&c, &info);
    interrupt_restore();
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
