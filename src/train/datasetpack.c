/* train/datasetpack.c: see datasetpack.h. One thread reads and writes; all make tokens. */
#include "train/datasetpack.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/folder.h"
#include "base/mem.h"
#include "train/chatpack.h"

enum { DATASETPACK_BATCH = 16 << 20 }; /* bytes of text */

#define DATASETPACK_MADE ".tmp-pack" /* in the dataset's folder: what is not complete */

struct datasetpack_document {
    size_t from, len; /* in the batch's text */
    struct tokenizer_ids ids;
    struct strbuf learn; /* conversations: which of them are predicted (chatpack.h) */
    enum dataset_part part;
};

struct datasetpack {
    const struct datasetpack_options *options;
    const struct tokenizer *tokenizer;
    struct dataset *dataset;
    char *dir; /* its folder at the end; while it is made, that is one inside (DATASETPACK_MADE); owned */
    bool fresh; /* dir was not there before */
    int lock;   /* on dir; -1: none */
    struct dataset_source *source; /* the one being read */
    struct tokenshard_writer *writers[DATASET_PARTS];
    struct strbuf text;
    struct datasetpack_document *documents; /* [cap], of which n are in use; their ids are kept for reuse */
    size_t n, cap;
    size_t done; /* bytes of files before this one */
    double val_share; /* of the file being read */
    bool chat;        /* its lines are conversations */
    struct errinfo *info;
};

static err datasetpack_nomem(const struct datasetpack *p)
{
    return err_set(p->info, ERR_NOMEM, "out of memory packing %s", p->source->name);
}

/* ---- Tokens of a batch. ---- */

static enum dataset_part datasetpack_part(double val_share, const char *text, size_t len)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    double at = 0;
    crypto_hash_sha256(digest, (const unsigned char *)text, len);
    for (int i = 7; i >= 0; i--) {
        at = (at + digest[i]) / 256;
    }
    return at < val_share ? DATASET_VAL : DATASET_TRAIN;
}

static err datasetpack_encode(const struct datasetpack *p, struct datasetpack_document *d, struct errinfo *info)
{
    const struct tokenizer *t = p->tokenizer;
    const char *text = p->text.data + d->from;
    d->part = datasetpack_part(p->val_share, text, d->len);
    d->ids.len = 0;
    if (p->chat) {
        return chatpack_encode(t, p->options->chat_format, text, d->len, &d->ids, &d->learn, info);
    }
    if (tokenizer_ids_push(&d->ids, tokenizer_bos(t)) != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory making tokens");
    }
    TRY(tokenizer_encode(t, text, d->len, false, &d->ids, info));
    if (tokenizer_ids_push(&d->ids, tokenizer_eos(t)) != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory making tokens");
    }
    return ERR_OK;
}

static err datasetpack_encode_all(struct datasetpack *p)
{
    size_t next = 0;
    struct errinfo failed = {0};
#pragma omp parallel num_threads(p->options->n_threads)
    {
        struct errinfo info = {0};
        for (;;) {
            size_t i;
#pragma omp atomic capture
            i = next++;
            if (i >= p->n) {
                break;
            }
            if (datasetpack_encode(p, &p->documents[i], &info) != ERR_OK) {
#pragma omp critical
                failed = info;
            }
        }
    }
    return failed.code == ERR_OK ? ERR_OK : err_set(p->info, failed.code, "%s", failed.message);
}

/* ---- Shards. ---- */

static err datasetpack_end_shard(struct datasetpack *p, enum dataset_part part)
{
    struct dataset_shards *shards = &p->source->parts[part];
    struct tokenshard_entry *entries = mem_resize(shards->entries, shards->n + 1, sizeof *entries);
    if (!entries) {
        return datasetpack_nomem(p);
    }
    shards->entries = entries;
    TRY(tokenshard_commit(p->writers[part], &entries[shards->n], p->info));
    shards->n_tokens += entries[shards->n].n_tokens;
    shards->n_documents += entries[shards->n].n_documents;
    shards->n++;
    tokenshard_abandon(p->writers[part]);
    p->writers[part] = NULL;
    return ERR_OK;
}

static err datasetpack_write(struct datasetpack *p, const struct datasetpack_document *d)
{
    char name[TOKENSHARD_NAME];
    struct tokenshard_writer **w = &p->writers[d->part];
    if (!*w) {
        snprintf(name, sizeof name, "%s.%s.%05zu", p->source->name, dataset_part_name(d->part),
                 p->source->parts[d->part].n);
        TRY(tokenshard_create(p->dataset->dir, name, p->dataset->token_bytes, p->chat, w, p->info));
    }
    TRY(tokenshard_add(*w, d->ids.data, (const uint8_t *)d->learn.data, d->ids.len, p->info));
    return tokenshard_tokens(*w) >= p->options->shard_tokens ? datasetpack_end_shard(p, d->part) : ERR_OK;
}

/* ---- Files. ---- */

static err datasetpack_add(struct datasetpack *p, const struct strbuf *document)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 1024;
        struct datasetpack_document *documents = mem_resize(p->documents, cap, sizeof *documents);
        if (!documents) {
            return datasetpack_nomem(p);
        }
        memset(documents + p->cap, 0, (cap - p->cap) * sizeof *documents);
        p->documents = documents;
        p->cap = cap;
    }
    struct datasetpack_document *d = &p->documents[p->n];
    d->from = p->text.len;
    d->len = document->len;
    if (strbuf_append(&p->text, document->data, document->len) != ERR_OK) {
        return datasetpack_nomem(p);
    }
    p->n++;
    return ERR_OK;
}

static err datasetpack_batch(struct datasetpack *p, struct corpus *c, struct strbuf *document, bool *end)
{
    const struct datasetpack_options *o = p->options;
    strbuf_clear(&p->text);
    p->n = 0;
    *end = false;
    while (p->text.len < DATASETPACK_BATCH && !*end) {
        TRY(corpus_next(c, document, end, p->info));
        TRY(*end ? ERR_OK : datasetpack_add(p, document));
    }
    TRY(datasetpack_encode_all(p));
    for (size_t i = 0; i < p->n; i++) {
        TRY(datasetpack_write(p, &p->documents[i]));
    }
    p->source->n_bytes += p->text.len;
    if (o->go_on && !o->go_on(o->user, p->done + corpus_file_done(c))) {
        return err_set(p->info, ERR_CANCELLED, "stopped while packing %s", p->source->name);
    }
    return ERR_OK;
}

/* The file's name without folders, its size and hash. */
static err datasetpack_note_file(struct datasetpack *p, const char *path)
{
    struct file_map map;
    struct dataset_file *f = &p->source->files[p->source->n_files];
    unsigned char digest[crypto_hash_sha256_BYTES];
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    TRY(file_map_open(path, &map, p->info));
    crypto_hash_sha256(digest, map.data, map.size);
    sodium_bin2hex(f->sha256, sizeof f->sha256, digest, sizeof digest);
    f->size = map.size;
    file_map_close(&map);
    f->name = mem_dup(name, strlen(name));
    if (!f->name) {
        return datasetpack_nomem(p);
    }
    p->source->n_files++;
    return ERR_OK;
}

static err datasetpack_file(struct datasetpack *p, const char *path)
{
    struct corpus *c;
    struct strbuf document = {0};
    struct corpus_options options = p->options->corpus;
    bool end = false;
    options.format = p->chat ? CORPUS_LINES : options.format;
    TRY(datasetpack_note_file(p, path));
    TRY(corpus_open(path, &options, &c, p->info));
    err e = ERR_OK;
    while (e == ERR_OK && !end) {
        e = datasetpack_batch(p, c, &document, &end);
    }
    p->done += corpus_file_size(c);
    strbuf_deinit(&document);
    corpus_close(c);
    return e;
}

static err datasetpack_source_begin(struct datasetpack *p, const struct datasetpack_source *s)
{
    p->source = &p->dataset->sources[p->dataset->n_sources++];
    strcpy(p->source->name, s->name);
    p->source->licence = mem_dup(s->licence, strlen(s->licence));
    p->source->files = mem_calloc(s->n_files + s->n_val_files, sizeof *p->source->files);
    return p->source->licence && p->source->files ? ERR_OK : datasetpack_nomem(p);
}

static err datasetpack_source(struct datasetpack *p, const struct datasetpack_source *s)
{
    TRY(datasetpack_source_begin(p, s));
    p->chat = s->chat;
    p->val_share = s->n_val_files ? 0 : p->options->val_share;
    for (size_t i = 0; i < s->n_files; i++) {
        TRY(datasetpack_file(p, s->files[i]));
    }
    p->val_share = 1;
    for (size_t i = 0; i < s->n_val_files; i++) {
        TRY(datasetpack_file(p, s->val_files[i]));
    }
    for (int part = 0; part < DATASET_PARTS; part++) {
        if (p->writers[part]) {
            TRY(datasetpack_end_shard(p, (enum dataset_part)part));
        }
    }
    if (p->source->parts[DATASET_TRAIN].n + p->source->parts[DATASET_VAL].n == 0) {
        return err_set(p->info, ERR_ARGUMENT, "the source %s holds no document", s->name);
    }
    return ERR_OK;
}

/* ---- The whole. ---- */

static err datasetpack_check(const struct datasetpack_source *sources, size_t n, struct errinfo *info)
{
    if (n == 0 || n > DATASET_SOURCES_MAX) {
        return err_set(info, ERR_ARGUMENT, "%zu sources; a dataset has 1 to %d", n, DATASET_SOURCES_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = sources[i].name;
        size_t len = strlen(name);
        bool good = len > 0 && len < DATASET_NAME;
        for (size_t k = 0; k < len && good; k++) {
            good = isalnum((unsigned char)name[k]) || name[k] == '-' || name[k] == '_';
        }
        if (!good) {
            return err_set(info, ERR_ARGUMENT, "\"%.100s\" is no name of a source: 1 to %d letters, digits, "
                           "'-' and '_'", name, DATASET_NAME - 1);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(sources[k].name, name) == 0) {
                return err_set(info, ERR_ARGUMENT, "two sources are called %s", name);
            }
        }
    }
    return ERR_OK;
}

/* Copies a file of the tokenizer's folder, where it is there; its hash when `digest` is not NULL. */
static err datasetpack_copy(const struct datasetpack *p, const char *name, char digest[TOKENSHARD_HASH])
{
    struct file_map map = {0};
    unsigned char hash[crypto_hash_sha256_BYTES];
    char *from = file_join(p->options->tokenizer_dir, name), *to = file_join(p->dataset->dir, name);
    err e = from && to ? ERR_OK : err_set(p->info, ERR_NOMEM, "out of memory packing %s", p->options->dir);
    if (e == ERR_OK && (digest || file_exists(from))) {
        e = file_map_open(from, &map, p->info);
        e = e == ERR_OK ? file_write(to, map.data, map.size, p->info) : e;
    }
    if (e == ERR_OK && digest) {
        crypto_hash_sha256(hash, map.data, map.size);
        sodium_bin2hex(digest, TOKENSHARD_HASH, hash, sizeof hash);
    }
    file_map_close(&map);
    mem_free(from);
    mem_free(to);
    return e;
}

static err datasetpack_begin(struct datasetpack *p, size_t n_sources)
{
    struct dataset *d = p->dataset;
    const struct datasetpack_options *o = p->options;
    d->dir = file_join(o->dir, DATASETPACK_MADE);
    p->dir = mem_dup(o->dir, strlen(o->dir));
    d->sources = mem_calloc(n_sources, sizeof *d->sources);
    if (!d->dir || !d->sources || !p->dir) {
        return err_set(p->info, ERR_NOMEM, "out of memory packing %s", o->dir);
    }
    d->vocab_size = tokenizer_size(p->tokenizer);
    d->token_bytes = d->vocab_size <= UINT16_MAX + 1 ? 2 : 4;
    d->val_share = o->val_share;
    p->fresh = !file_exists(o->dir);
    TRY(file_make_dirs(o->dir, p->info));
    TRY(file_lock_folder(o->dir, &p->lock, p->info));
    TRY(folder_remove(d->dir, p->info)); /* left by a kill */
    TRY(file_make_dirs(d->dir, p->info));
    TRY(datasetpack_copy(p, "tokenizer.json", d->tokenizer_sha256));
    TRY(datasetpack_copy(p, "tokenizer_config.json", NULL));
    return datasetpack_copy(p, "generation_config.json", NULL);
}

/* Renames all files from one folder to another, the manifest last, and syncs that; or none is in it. */
static bool datasetpack_move(const struct folder_names *l, int from, int to)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->names[i], DATASET_MANIFEST) == 0) {
            char *last = l->names[l->n - 1];
            l->names[l->n - 1] = l->names[i];
            l->names[i] = last;
        }
    }
    while (n < l->n && !file_refused() && renameat(from, l->names[n], to, l->names[n]) == 0) {
        n++;
    }
    bool all = n == l->n && !file_refused() && fsync(to) == 0;
    while (!all && n > 0) {
        unlinkat(to, l->names[--n], 0);
    }
    return all;
}

/* What was made beside comes to be the dataset. */
static err datasetpack_publish(struct datasetpack *p)
{
    struct folder_names l;
    struct dataset *d = p->dataset;
    TRY(dataset_write(d, p->info));
    TRY(folder_list(d->dir, &l, p->info));
    int from = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    err e = from >= 0 && to >= 0 && datasetpack_move(&l, from, to) ? ERR_OK :
            err_set(p->info, ERR_IO, "cannot move what is in %s to %s: %s", d->dir, p->dir, strerror(errno));
    close(from);
    close(to);
    folder_names_deinit(&l);
    return e;
}

/* The folder in which it was made goes, and the one around it where that was new and nothing came in. */
static void datasetpack_clear(struct datasetpack *p)
{
    if (p->lock >= 0 && folder_remove(p->dataset->dir, NULL) == ERR_OK && p->fresh) {
        rmdir(p->dir);
    }
    file_unlock(p->lock);
}

static void datasetpack_deinit(struct datasetpack *p)
{
    for (int part = 0; part < DATASET_PARTS; part++) {
        tokenshard_abandon(p->writers[part]);
    }
    for (size_t i = 0; i < p->cap; i++) {
        tokenizer_ids_deinit(&p->documents[i].ids);
        strbuf_deinit(&p->documents[i].learn);
    }
    mem_free(p->documents);
    strbuf_deinit(&p->text);
}

static err datasetpack_all(struct datasetpack *p, const struct datasetpack_source *sources, size_t n_sources)
{
    if (tokenizer_bos(p->tokenizer) < 0 || tokenizer_eos(p->tokenizer) < 0) {
        return err_set(p->info, ERR_ARGUMENT, "the tokenizer in %s has no token that %s a text",
                       p->options->tokenizer_dir, tokenizer_bos(p->tokenizer) < 0 ? "begins" : "ends");
    }
    TRY(datasetpack_begin(p, n_sources));
    for (size_t i = 0; i < n_sources; i++) {
        TRY(datasetpack_source(p, &sources[i]));
    }
    return datasetpack_publish(p);
}

err datasetpack_run(const struct datasetpack_options *options, const struct datasetpack_source *sources,
                    size_t n_sources, struct dataset *out, struct errinfo *info)
{
    struct tokenizer *t;
    struct dataset d = {0};
    TRY(datasetpack_check(sources, n_sources, info));
    TRY(tokenizer_open(options->tokenizer_dir, &t, info));
    struct datasetpack p = {.options = options, .tokenizer = t, .dataset = &d, .lock = -1, .info = info};
    err e = datasetpack_all(&p, sources, n_sources);
    datasetpack_deinit(&p);
    datasetpack_clear(&p);
    tokenizer_free(t);
    if (e != ERR_OK) {
        mem_free(p.dir);
        dataset_deinit(&d);
        return e;
    }
    mem_free(d.dir);
    d.dir = p.dir;
    *out = d;
    return ERR_OK;
}
