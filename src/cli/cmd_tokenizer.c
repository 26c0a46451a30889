/* cli/cmd_tokenizer.c: `fathom tokenizer`: learns a byte-level BPE from text. */
#include <stdio.h>
#include <string.h>

#include "base/cpuinfo.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "model/hftokenizer.h"
#include "text/bpetrainer.h"
#include "text/chat.h"
#include "text/corpuswords.h"

enum { CMD_TOKENIZER_LEAST = 512 };

struct cmd_tokenizer {
    const char *action, *out;
    struct options_list files;
    struct corpus_options corpus;
    size_t vocab_size, min_times, threads, max_bytes, context;
    int pre;
    bool json, force;
};

/* Those that need no other normal form of the text. */
static const char *const cmd_tokenizer_pres[] = {"smollm", "deepseek-coder", "deepseek-v3",
                                                 "deepseek-llm",   "gpt-2",  "llama-bpe", NULL};

static bool cmd_tokenizer_go_on(void *progress, size_t done)
{
    progress_update(progress, done);
    return !interrupt_pending();
}

static err cmd_tokenizer_count(const struct cmd_tokenizer *c, enum tokenizer_pre pre, struct corpuswords *words,
                               struct errinfo *info)
{
    struct progress progress;
    struct corpuswords_options o = {.pre = pre,
                                    .corpus = c->corpus,
                                    .n_threads = c->threads ? (int)c->threads : cpuinfo_cores(),
                                    .max_bytes = c->max_bytes,
                                    .go_on = cmd_tokenizer_go_on,
                                    .user = &progress};
    for (size_t i = 0; i < c->files.n; i++) {
        struct file_map map;
        TRY(file_map_open(c->files.items[i], &map, info));
        progress_init(&progress, c->files.items[i], PROGRESS_BYTES, map.size);
        file_map_close(&map);
        err e = corpuswords_read(words, c->files.items[i], &o, info);
        progress_finish(&progress);
        TRY(e);
    }
    if (words->words.n == 0) {
        return err_set(info, ERR_ARGUMENT, "the text is empty; nothing can be learned from it");
    }
    return ERR_OK;
}

static err cmd_tokenizer_learn(const struct cmd_tokenizer *c, enum tokenizer_pre pre,
                               const struct wordcount *words, struct tokenizer **out, struct errinfo *info)
{
    struct progress progress;
    const struct bpetrainer_options o = {.pre = pre,
                                         .vocab_size = c->vocab_size,
                                         .min_times = c->min_times,
                                         .specials = chat_control_tokens(),
                                         .go_on = cmd_tokenizer_go_on,
                                         .user = &progress};
    progress_init(&progress, "learning tokens", PROGRESS_ITEMS, c->vocab_size);
    err e = bpetrainer_train(words, &o, out, info);
    progress_finish(&progress);
    return e;
}

static err cmd_tokenizer_write(const char *dir, const char *name, const json_t *document, struct errinfo *info)
{
    char *path = file_join(dir, name);
    err e = path ? json_write(document, JSON_INDENT(1), path, info)
                 : err_set(info, ERR_NOMEM, "out of memory writing %s/%s", dir, name);
    mem_free(path);
    return e;
}

static err cmd_tokenizer_save(const struct cmd_tokenizer *c, const struct tokenizer *t, struct errinfo *info)
{
    json_t *tokenizer, *config;
    TRY(file_make_dirs(c->out, info));
    const char *layout = chat_template_text();
    TRY(hftokenizer_make(t, layout, strlen(layout), c->context, &tokenizer, &config, info));
    err e = cmd_tokenizer_write(c->out, "tokenizer_config.json", config, info);
    e = e == ERR_OK ? cmd_tokenizer_write(c->out, "tokenizer.json", tokenizer, info) : e;
    json_decref(tokenizer);
    json_decref(config);
    return e;
}

/* Tokens of a text by its words: each word by itself, as often as it occurs. */
static err cmd_tokenizer_tokens(const struct tokenizer *t, const struct wordcount *words, uint64_t *n,
                                struct errinfo *info)
{
    struct tokenizer_ids ids = {0};
    err e = ERR_OK;
    *n = 0;
    for (size_t i = 0; i < words->n_slots && e == ERR_OK; i++) {
        const struct wordcount_word *w = &words->slots[i];
        if (w->times) {
            ids.len = 0;
            e = tokenizer_encode(t, words->bytes + w->at, w->len, false, &ids, info);
            *n += w->times * ids.len;
        }
    }
    tokenizer_ids_deinit(&ids);
    return e;
}

struct cmd_tokenizer_report {
    double count_seconds, seconds;
    uint64_t tokens; /* of the text, with the new vocabulary */
};

static err cmd_tokenizer_print_json(const struct cmd_tokenizer *c, const struct tokenizer *t,
                                    const struct corpuswords *w, const struct cmd_tokenizer_report *r,
                                    struct errinfo *info)
{
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "out", c->out,
                          "vocab_size", (json_int_t)tokenizer_size(t), "merges",
                          (json_int_t)tokenizer_merge_count(t),
                          "documents", (json_int_t)w->n_documents, "bytes", (json_int_t)w->n_bytes,
                          "bytes_that_are_no_utf8", (json_int_t)w->n_skipped, "words", (json_int_t)w->words.n,
                          "bytes_per_token", (double)w->n_bytes / (double)r->tokens, "seconds", r->seconds,
                          "mb_per_s", (double)w->n_bytes / 1e6 / r->seconds);
    char *text = json_text_dup(o, JSON_REAL_PRECISION(6));
    json_decref(o);
    if (!text) {
        return err_set(info, ERR_NOMEM, "%s is written, but memory is too short to report it", c->out);
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

static void cmd_tokenizer_print(const struct cmd_tokenizer *c, const struct tokenizer *t,
                                const struct corpuswords *w, const struct cmd_tokenizer_report *r)
{
    printf("%s: %zu tokens (%zu merges) from %zu documents, %.1f MB, %zu different words\n", c->out,
           tokenizer_size(t), tokenizer_merge_count(t), w->n_documents, (double)w->n_bytes / 1e6, w->words.n);
    printf("%.2f bytes per token; %.1f s, of them %.1f s for counting words: %.1f MB/s\n",
           (double)w->n_bytes / (double)r->tokens, r->seconds, r->count_seconds,
           (double)w->n_bytes / 1e6 / r->seconds);
    if (tokenizer_size(t) < c->vocab_size) {
        printf("the text gave no more tokens: no pair of them occurs %zu times\n", c->min_times);
    }
    if (w->n_skipped) {
        printf("%zu bytes of the text are no UTF-8 and were left out\n", w->n_skipped);
    }
}

static err cmd_tokenizer_train(const struct cmd_tokenizer *c, struct errinfo *info)
{
    struct corpuswords words = {0};
    struct tokenizer *t = NULL;
    struct cmd_tokenizer_report r = {0};
    enum tokenizer_pre pre = TOKENIZER_PRE_SMOLLM;
    const char *name = cmd_tokenizer_pres[c->pre];
    double start = progress_clock();
    if (!tokenizer_pre_from_name(name, strlen(name), &pre)) {
        return err_set(info, ERR_ARGUMENT, "no pre-tokenizer is called %s", name);
    }
    err e = cmd_tokenizer_count(c, pre, &words, info);
    r.count_seconds = progress_clock() - start;
    e = e == ERR_OK ? cmd_tokenizer_learn(c, pre, &words.words, &t, info) : e;
    e = e == ERR_OK ? cmd_tokenizer_save(c, t, info) : e;
    r.seconds = progress_clock() - start;
    e = e == ERR_OK ? cmd_tokenizer_tokens(t, &words.words, &r.tokens, info) : e;
    if (e == ERR_OK && c->json) {
        e = cmd_tokenizer_print_json(c, t, &words, &r, info);
    } else if (e == ERR_OK) {
        cmd_tokenizer_print(c, t, &words, &r);
    }
    tokenizer_free(t);
    corpuswords_deinit(&words);
    return e;
}

static err cmd_tokenizer_work(const struct cmd_tokenizer *c, struct errinfo *info)
{
    char *path;
    if (strcmp(c->action, "train") != 0) {
        return err_set(info, ERR_ARGUMENT, "unknown action \"%s\"; there is one: train", c->action);
    }
    if (c->files.n == 0 || !c->out) {
        return err_set(info, ERR_ARGUMENT, "%s is needed",
                       c->out ? "--text FILE, the text to learn from," : "--out DIR, the folder to write,");
    }
    if (!(path = file_join(c->out, "tokenizer.json"))) {
        return err_set(info, ERR_NOMEM, "out of memory looking into %s", c->out);
    }
    bool there = file_exists(path);
    mem_free(path);
    if (there && !c->force) {
        return err_set(info, ERR_ARGUMENT, "%s has a tokenizer.json already; --force writes over it", c->out);
    }
    return cmd_tokenizer_train(c, info);
}

int cmd_tokenizer(int argc, char **argv)
{
    struct cmd_tokenizer c = {.vocab_size = 8192, .min_times = 2, .context = 4096};
    const struct options_row rows[] = {
        options_required("ACTION", &c.action, "train: learn a vocabulary from text"),
        options_each("text", "FILE", &c.files, "text to learn from, .txt or .jsonl, plain or .zst"),
        options_string("out", "DIR", &c.out, "folder for tokenizer.json and tokenizer_config.json"),
        options_size("vocab-size", "N", CMD_TOKENIZER_LEAST, TOKENIZER_TOKENS_MAX, &c.vocab_size,
                     "tokens in all, control tokens and single bytes included (8192)"),
        options_choice("pre", "NAME", cmd_tokenizer_pres, &c.pre,
                       "how text is cut into words: smollm, deepseek-coder, deepseek-v3, deepseek-llm, gpt-2, "
                       "llama-bpe; digits stand alone in the first two (smollm)"),
        options_size("min-times", "N", 1, 1 << 30, &c.min_times, "pairs that are rarer stay apart (2)"),
        options_size("max-bytes", "N", 0, (size_t)1 << 50, &c.max_bytes,
                     "of each file's text, about; 0: all (0)"),
        options_string("separator", "LINE", &c.corpus.separator,
                       "the line that ends a document of a text file (" CORPUS_SEPARATOR ")"),
        options_string("field", "NAME", &c.corpus.field, "where a .jsonl line has its text (text)"),
        options_size("context", "N", 1, 1 << 30, &c.context,
                     "model_max_length in tokenizer_config.json (4096)"),
        options_size("threads", "N", 1, 1024, &c.threads, "use N threads (all cores)"),
        options_flag("force", &c.force, "write over a tokenizer.json that is there"),
        options_flag("json", &c.json, "one JSON document on stdout"),
    };
    const struct options spec = {"tokenizer", "learn a byte-pair vocabulary from text", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom tokenizer train --text books.txt.zst --text wiki.txt.zst \\\n"
                                 "      --vocab-size 8192 --out my-tokenizer\n"
                                 "  fathom tokenize my-tokenizer --text \"Hello, world!\"\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    interrupt_watch();
    err e = cmd_tokenizer_work(&c, &info);
    interrupt_restore();
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
