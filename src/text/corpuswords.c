/* text/corpuswords.c: see corpuswords.h. One thread reads a batch of documents; all cut and count them,
 * each into words of its own, which are added up when the file ends. */
#include "text/corpuswords.h"

#include "base/mem.h"
#include "text/pretokenizer.h"
#include "text/utf8.h"

enum { CORPUSWORDS_BATCH = 16 << 20 }; /* bytes of text */

struct corpuswords_batch {
    struct strbuf text; /* documents back to back */
    size_t *ends;       /* [n] */
    size_t n, cap;
};

struct corpuswords_thread {
    struct wordcount words;
    size_t skipped;
    err result;
};

/* A long piece as parts that end where a character does. */
static err corpuswords_piece(void *user, const char *piece, size_t len)
{
    struct corpuswords_thread *t = user;
    while (len > CORPUSWORDS_LONGEST) {
        size_t n = CORPUSWORDS_LONGEST;
        while ((piece[n] & 0xc0) == 0x80) {
            n--;
        }
        TRY(wordcount_add(&t->words, piece, n, 1));
        piece += n;
        len -= n;
    }
    return wordcount_add(&t->words, piece, len, 1);
}

/* The well-formed stretches of a document. */
static void corpuswords_document(struct corpuswords_thread *t, enum tokenizer_pre pre, const char *text,
                                 size_t len)
{
    while (len > 0 && t->result == ERR_OK) {
        size_t n = utf8_valid_prefix(text, len);
        t->result = n > 0 ? pretokenizer_split(pre, text, n, corpuswords_piece, t) : ERR_OK;
        if (n < len) {
            t->skipped++;
            n++;
        }
        text += n;
        len -= n;
    }
}

static err corpuswords_add_end(struct corpuswords_batch *b)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 1024;
        size_t *ends = mem_resize(b->ends, cap, sizeof *ends);
        if (!ends) {
            return ERR_NOMEM;
        }
        b->ends = ends;
        b->cap = cap;
    }
    b->ends[b->n++] = b->text.len;
    return ERR_OK;
}

static err corpuswords_fill(struct corpuswords_batch *b, struct corpus *c, struct strbuf *document, bool *end,
                            struct errinfo *info)
{
    strbuf_clear(&b->text);
    b->n = 0;
    while (b->text.len < CORPUSWORDS_BATCH) {
        TRY(corpus_next(c, document, end, info));
        if (*end) {
            return ERR_OK;
        }
        if (strbuf_append(&b->text, document->data, document->len) != ERR_OK ||
            corpuswords_add_end(b) != ERR_OK) {
            return err_set(info, ERR_NOMEM, "out of memory counting words");
        }
    }
    return ERR_OK;
}

static err corpuswords_count(const struct corpuswords_batch *b, const struct corpuswords_options *o,
                             struct corpuswords_thread *threads, struct errinfo *info)
{
    size_t next = 0;
#pragma omp parallel for schedule(static, 1) num_threads(o->n_threads)
    for (int i = 0; i < o->n_threads; i++) {
        for (;;) {
            size_t d;
#pragma omp atomic capture
            d = next++;
            if (d >= b->n) {
                break;
            }
            size_t from = d > 0 ? b->ends[d - 1] : 0;
            corpuswords_document(&threads[i], o->pre, b->text.data + from, b->ends[d] - from);
        }
    }
    for (int i = 0; i < o->n_threads; i++) {
        if (threads[i].result != ERR_OK) {
            return err_set(info, threads[i].result, "out of memory counting words");
        }
    }
    return ERR_OK;
}

static err corpuswords_batches(struct corpuswords *w, struct corpus *c, const struct corpuswords_options *o,
                               struct corpuswords_thread *threads, struct errinfo *info)
{
    struct corpuswords_batch b = {0};
    struct strbuf document = {0};
    err e = ERR_OK;
    bool end = false;
    while (!end && e == ERR_OK && (o->max_bytes == 0 || w->n_bytes < o->max_bytes)) {
        e = corpuswords_fill(&b, c, &document, &end, info);
        e = e == ERR_OK ? corpuswords_count(&b, o, threads, info) : e;
        w->n_documents += b.n;
        w->n_bytes += b.text.len;
        if (e == ERR_OK && o->go_on && !o->go_on(o->user, corpus_file_done(c))) {
            e = err_set(info, ERR_CANCELLED, "stopped while counting words");
        }
    }
    strbuf_deinit(&document);
    strbuf_deinit(&b.text);
    mem_free(b.ends);
    return e;
}

err corpuswords_read(struct corpuswords *w, const char *path, const struct corpuswords_options *options,
                     struct errinfo *info)
{
    struct corpus *c = NULL;
    struct corpuswords_thread *threads = mem_calloc((size_t)options->n_threads, sizeof *threads);
    if (!threads) {
        return err_set(info, ERR_NOMEM, "out of memory counting words");
    }
    err e = corpus_open(path, &options->corpus, &c, info);
    e = e == ERR_OK ? corpuswords_batches(w, c, options, threads, info) : e;
    corpus_close(c);
    for (int i = 0; i < options->n_threads; i++) {
        w->n_skipped += threads[i].skipped;
        if (e == ERR_OK && wordcount_merge(&w->words, &threads[i].words) != ERR_OK) {
            e = err_set(info, ERR_NOMEM, "out of memory counting words");
        }
        wordcount_deinit(&threads[i].words);
    }
    mem_free(threads);
    return e;
}

void corpuswords_deinit(struct corpuswords *w)
{
    wordcount_deinit(&w->words);
    *w = (struct corpuswords){0};
}
