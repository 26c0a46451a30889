/* train/dataset.c: see dataset.h. */
#include "train/dataset.h"

#include <sodium.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"
#include "base/mem.h"

enum { DATASET_MANIFEST_MAX = 256 << 20 };

#define DATASET_FORMAT "fathom-tokens"

const char *dataset_part_name(enum dataset_part part)
{
    return part == DATASET_TRAIN ? "train" : "val";
}

size_t dataset_tokens(const struct dataset *d, enum dataset_part part)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_sources; i++) {
        n += d->sources[i].parts[part].n_tokens;
    }
    return n;
}

void dataset_deinit(struct dataset *d)
{
    for (size_t i = 0; i < d->n_sources; i++) {
        struct dataset_source *s = &d->sources[i];
        for (size_t f = 0; f < s->n_files; f++) {
            mem_free(s->files[f].name);
        }
        mem_free(s->files);
        mem_free(s->licence);
        for (int p = 0; p < DATASET_PARTS; p++) {
            mem_free(s->parts[p].entries);
        }
    }
    mem_free(d->sources);
    mem_free(d->dir);
    *d = (struct dataset){0};
}

/* ---- Writing. A NULL anywhere below makes the whole document NULL: memory ran out. ---- */

static json_t *dataset_shard_json(const struct tokenshard_entry *e)
{
    return json_pack("{s:s, s:I, s:I, s:s, s:s, s:s*}", "name", e->name, "tokens", (json_int_t)e->n_tokens,
                     "documents", (json_int_t)e->n_documents, "tokens_sha256", e->tokens_sha256, "ends_sha256",
                     e->ends_sha256, "learn_sha256", e->learn_sha256[0] ? e->learn_sha256 : NULL);
}

static json_t *dataset_part_json(const struct dataset_shards *p)
{
    json_t *shards = json_array();
    for (size_t i = 0; i < p->n; i++) {
        if (json_array_append_new(shards, dataset_shard_json(&p->entries[i])) != 0) {
            json_decref(shards);
            return NULL;
        }
    }
    return json_pack("{s:I, s:I, s:o}", "tokens", (json_int_t)p->n_tokens, "documents",
                     (json_int_t)p->n_documents, "shards", shards);
}

static json_t *dataset_source_json(const struct dataset_source *s)
{
    json_t *files = json_array();
    for (size_t i = 0; i < s->n_files; i++) {
        const struct dataset_file *f = &s->files[i];
        json_t *file = json_pack("{s:s, s:I, s:s}", "name", f->name, "bytes", (json_int_t)f->size, "sha256",
                                 f->sha256);
        if (json_array_append_new(files, file) != 0) {
            json_decref(files);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:o, s:I, s:o, s:o}", "name", s->name, "licence", s->licence, "files", files,
                     "text_bytes", (json_int_t)s->n_bytes, "train", dataset_part_json(&s->parts[DATASET_TRAIN]),
                     "val", dataset_part_json(&s->parts[DATASET_VAL]));
}

static json_t *dataset_json(const struct dataset *d)
{
    json_t *sources = json_array();
    for (size_t i = 0; i < d->n_sources; i++) {
        if (json_array_append_new(sources, dataset_source_json(&d->sources[i])) != 0) {
            json_decref(sources);
            return NULL;
        }
    }
    return json_pack("{s:s, s:i, s:{s:s, s:I}, s:I, s:f, s:o}", "format", DATASET_FORMAT, "version", 1,
                     "tokenizer", "sha256", d->tokenizer_sha256, "vocab_size", (json_int_t)d->vocab_size,
                     "token_bytes", (json_int_t)d->token_bytes, "val_share", d->val_share, "sources", sources);
}

err dataset_hash_file(const char *path, char sha256[TOKENSHARD_HASH], struct errinfo *info)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct file_map map;
    TRY(file_map_open(path, &map, info));
    crypto_hash_sha256(hash, map.data, map.size);
    file_map_close(&map);
    sodium_bin2hex(sha256, TOKENSHARD_HASH, hash, sizeof hash);
    return ERR_OK;
}

err dataset_write(struct dataset *d, struct errinfo *info)
{
    json_t *document = dataset_json(d);
    char *path = file_join(d->dir, DATASET_MANIFEST);
    err e = path ? json_write(document, JSON_INDENT(1), path, info)
                 : err_set(info, ERR_NOMEM, "out of memory writing %s/" DATASET_MANIFEST, d->dir);
    e = e == ERR_OK ? dataset_hash_file(path, d->sha256, info) : e;
    json_decref(document);
    mem_free(path);
    return e;
}

/* ---- Reading. ---- */

struct dataset_reader {
    const char *path;
    struct dataset *d;
    struct errinfo *info;
};

static err dataset_bad(const struct dataset_reader *r, const char *what)
{
    return err_set(r->info, ERR_CORRUPT, "%s: %s", r->path, what);
}

static err dataset_nomem(const struct dataset_reader *r)
{
    return err_set(r->info, ERR_NOMEM, "out of memory reading %s", r->path);
}

/* A string of at most size - 1 bytes that could be part of a file's name. */
static err dataset_get_name(const struct dataset_reader *r, const json_t *o, char *out, size_t size)
{
    const char *name;
    TRY(json_get_string(o, r->path, "name", &name, r->info));
    if (!name[0] || strlen(name) >= size || strchr(name, '/') || name[0] == '.') {
        return err_set(r->info, ERR_CORRUPT, "%s: \"%.100s\" is no name of a shard or source: 1 to %zu "
                       "bytes, no slash, no dot at the beginning", r->path, name, size - 1);
    }
    strcpy(out, name);
    return ERR_OK;
}

static err dataset_get_hash(const struct dataset_reader *r, const json_t *o, const char *key,
                            char out[TOKENSHARD_HASH])
{
    const char *text;
    TRY(json_get_string(o, r->path, key, &text, r->info));
    if (strlen(text) != TOKENSHARD_HASH - 1 || strspn(text, "0123456789abcdef") != TOKENSHARD_HASH - 1) {
        return err_set(r->info, ERR_CORRUPT, "%s: \"%s\" is no SHA-256 in hexadecimal", r->path, key);
    }
    strcpy(out, text);
    return ERR_OK;
}

static err dataset_get_text(const struct dataset_reader *r, const json_t *o, const char *key, char **out)
{
    const char *text;
    TRY(json_get_string(o, r->path, key, &text, r->info));
    *out = mem_dup(text, strlen(text));
    return *out ? ERR_OK : dataset_nomem(r);
}

static err dataset_read_shard(const struct dataset_reader *r, const json_t *o, struct tokenshard_entry *e)
{
    TRY(dataset_get_name(r, o, e->name, sizeof e->name));
    TRY(json_get_size(o, r->path, "tokens", &e->n_tokens, r->info));
    TRY(json_get_size(o, r->path, "documents", &e->n_documents, r->info));
    TRY(dataset_get_hash(r, o, "tokens_sha256", e->tokens_sha256));
    TRY(dataset_get_hash(r, o, "ends_sha256", e->ends_sha256));
    bool marked = json_object_get(o, "learn_sha256") != NULL;
    return marked ? dataset_get_hash(r, o, "learn_sha256", e->learn_sha256) : ERR_OK;
}

static err dataset_read_part(const struct dataset_reader *r, const json_t *source, enum dataset_part part,
                             struct dataset_shards *p)
{
    const json_t *o, *shards;
    TRY(json_get_object(source, r->path, dataset_part_name(part), &o, r->info));
    TRY(json_get_array(o, r->path, "shards", &shards, r->info));
    size_t n = json_array_size(shards);
    if (n > DATASET_SHARDS_MAX) {
        return dataset_bad(r, "more shards than any dataset has");
    }
    p->entries = mem_calloc(n, sizeof *p->entries);
    if (!p->entries) {
        return dataset_nomem(r);
    }
    for (size_t i = 0; i < n; i++) {
        struct tokenshard_entry *e = &p->entries[p->n++];
        TRY(dataset_read_shard(r, json_array_get(shards, i), e));
        if (!checked_add(p->n_tokens, e->n_tokens, &p->n_tokens) ||
            !checked_add(p->n_documents, e->n_documents, &p->n_documents)) {
            return dataset_bad(r, "the shards have more tokens than can be counted");
        }
    }
    return ERR_OK;
}

static err dataset_read_files(const struct dataset_reader *r, const json_t *source, struct dataset_source *s)
{
    const json_t *files;
    TRY(json_get_array(source, r->path, "files", &files, r->info));
    s->files = mem_calloc(json_array_size(files), sizeof *s->files);
    if (!s->files) {
        return dataset_nomem(r);
    }
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *o = json_array_get(files, i);
        struct dataset_file *f = &s->files[s->n_files++];
        TRY(dataset_get_text(r, o, "name", &f->name));
        TRY(json_get_size(o, r->path, "bytes", &f->size, r->info));
        TRY(dataset_get_hash(r, o, "sha256", f->sha256));
    }
    return ERR_OK;
}

static err dataset_read_source(const struct dataset_reader *r, const json_t *o, struct dataset_source *s)
{
    TRY(dataset_get_name(r, o, s->name, sizeof s->name));
    TRY(dataset_get_text(r, o, "licence", &s->licence));
    TRY(dataset_read_files(r, o, s));
    TRY(json_get_size(o, r->path, "text_bytes", &s->n_bytes, r->info));
    TRY(dataset_read_part(r, o, DATASET_TRAIN, &s->parts[DATASET_TRAIN]));
    return dataset_read_part(r, o, DATASET_VAL, &s->parts[DATASET_VAL]);
}

static err dataset_read_head(const struct dataset_reader *r, const json_t *o)
{
    struct dataset *d = r->d;
    const json_t *tokenizer;
    const char *format;
    size_t version;
    TRY(json_get_string(o, r->path, "format", &format, r->info));
    if (strcmp(format, DATASET_FORMAT) != 0) {
        return dataset_bad(r, "this is no manifest of a dataset (its format is not \"" DATASET_FORMAT "\")");
    }
    TRY(json_get_size(o, r->path, "version", &version, r->info));
    if (version != 1) {
        return err_set(r->info, ERR_UNSUPPORTED, "%s: version %zu of the format; this program knows version 1",
                       r->path, version);
    }
    TRY(json_get_object(o, r->path, "tokenizer", &tokenizer, r->info));
    TRY(dataset_get_hash(r, tokenizer, "sha256", d->tokenizer_sha256));
    TRY(json_get_size(tokenizer, r->path, "vocab_size", &d->vocab_size, r->info));
    TRY(json_get_size(o, r->path, "token_bytes", &d->token_bytes, r->info));
    if (d->token_bytes != 2 && d->token_bytes != 4) {
        return dataset_bad(r, "\"token_bytes\" must be 2 or 4");
    }
    if (d->vocab_size == 0 || d->vocab_size > (d->token_bytes == 2 ? (size_t)1 << 16 : (size_t)1 << 31)) {
        return dataset_bad(r, "\"vocab_size\" does not fit \"token_bytes\"");
    }
    return json_get_double(o, r->path, "val_share", &d->val_share, r->info);
}

static err dataset_read(const struct dataset_reader *r, const json_t *o)
{
    const json_t *sources;
    TRY(dataset_read_head(r, o));
    TRY(json_get_array(o, r->path, "sources", &sources, r->info));
    size_t n = json_array_size(sources);
    if (n > DATASET_SOURCES_MAX) {
        return dataset_bad(r, "more sources than any dataset has");
    }
    r->d->sources = mem_calloc(n, sizeof *r->d->sources);
    if (!r->d->sources) {
        return dataset_nomem(r);
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = r->d->sources[i].name;
        TRY(dataset_read_source(r, json_array_get(sources, i), &r->d->sources[r->d->n_sources++]));
        for (size_t k = 0; k < i; k++) {
            if (strcmp(r->d->sources[k].name, name) == 0) {
                return err_set(r->info, ERR_CORRUPT, "%s: two sources are called %s", r->path, name);
            }
        }
    }
    return ERR_OK;
}

err dataset_open(const char *dir, struct dataset *out, struct errinfo *info)
{
    struct dataset d = {.dir = mem_dup(dir, strlen(dir))};
    char *path = file_join(dir, DATASET_MANIFEST);
    const struct dataset_reader r = {path, &d, info};
    json_t *document = NULL;
    err e = d.dir && path ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory opening %s", dir);
    if (e == ERR_OK && !file_exists(path)) {
        e = err_set(info, ERR_NOTFOUND, "%s holds no dataset (no " DATASET_MANIFEST "); `fathom data` makes "
                    "one", dir);
    }
    e = e == ERR_OK ? json_parse_file(path, DATASET_MANIFEST_MAX, &document, info) : e;
    e = e == ERR_OK ? dataset_read(&r, document) : e;
    e = e == ERR_OK ? dataset_hash_file(path, d.sha256, info) : e;
    json_decref(document);
    mem_free(path);
    if (e != ERR_OK) {
        dataset_deinit(&d);
        return e;
    }
    *out = d;
    return ERR_OK;
}

/* ---- The tokenizer. ---- */

static err dataset_check_tokenizer(const struct dataset *d, struct errinfo *info)
{
    char found[TOKENSHARD_HASH], *path = file_join(d->dir, "tokenizer.json");
    err e = path ? dataset_hash_file(path, found, info) :
            err_set(info, ERR_NOMEM, "out of memory opening %s", d->dir);
    if (e == ERR_OK && strcmp(found, d->tokenizer_sha256) != 0) {
        e = err_set(info, ERR_CORRUPT, "%s is not the one its tokens were made with: its SHA-256 is %s instead "
                    "of %s; pack the data again (fathom data)", path, found, d->tokenizer_sha256);
    }
    mem_free(path);
    return e;
}

err dataset_open_tokenizer(const struct dataset *d, struct tokenizer **out, struct errinfo *info)
{
    struct tokenizer *t;
    TRY(dataset_check_tokenizer(d, info));
    TRY(tokenizer_open(d->dir, &t, info));
    if (tokenizer_size(t) != d->vocab_size) {
        err e = err_set(info, ERR_CORRUPT, "%s: the manifest says a vocabulary of %zu, its tokenizer.json has "
                        "%zu; pack the data again (fathom data)", d->dir, d->vocab_size, tokenizer_size(t));
        tokenizer_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}
