/* train/tokenshard.c: see tokenshard.h. */
#include "train/tokenshard.h"

#include <endian.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

enum { TOKENSHARD_BUFFER = 1 << 16 }; /* ids written at a time */

struct tokenshard_file {
    struct file_writer *writer;
    crypto_hash_sha256_state hash;
};

struct tokenshard_writer {
    char name[TOKENSHARD_NAME];
    struct tokenshard_file tokens, ends, learn; /* learn.writer NULL: not marked */
    size_t token_bytes, n_tokens, n_documents;
    uint32_t buffer[TOKENSHARD_BUFFER];
};

/* "DIR/NAME.SUFFIX", owned by the caller. */
static err tokenshard_path(const char *dir, const char *name, const char *suffix, char **out,
                           struct errinfo *info)
{
    char file[TOKENSHARD_NAME + 16];
    snprintf(file, sizeof file, "%s.%s", name, suffix);
    *out = file_join(dir, file);
    return *out ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory opening %s", file);
}

static err tokenshard_file_open(const char *dir, const char *name, const char *suffix,
                                struct tokenshard_file *f, struct errinfo *info)
{
    char *path;
    TRY(tokenshard_path(dir, name, suffix, &path, info));
    err e = file_writer_open(path, &f->writer, info);
    mem_free(path);
    crypto_hash_sha256_init(&f->hash);
    return e;
}

static err tokenshard_file_write(struct tokenshard_file *f, const void *data, size_t n, struct errinfo *info)
{
    crypto_hash_sha256_update(&f->hash, data, n);
    return file_writer_write(f->writer, data, n, info);
}

static void tokenshard_hex(crypto_hash_sha256_state *hash, char out[TOKENSHARD_HASH])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(hash, digest);
    sodium_bin2hex(out, TOKENSHARD_HASH, digest, sizeof digest);
}

err tokenshard_create(const char *dir, const char *name, size_t token_bytes, bool marked,
                      struct tokenshard_writer **out, struct errinfo *info)
{
    if (strlen(name) >= TOKENSHARD_NAME) {
        return err_set(info, ERR_ARGUMENT, "the name %s is longer than %d bytes", name, TOKENSHARD_NAME - 1);
    }
    struct tokenshard_writer *w = mem_calloc(1, sizeof *w);
    if (!w) {
        return err_set(info, ERR_NOMEM, "out of memory writing %s", name);
    }
    strcpy(w->name, name);
    w->token_bytes = token_bytes;
    err e = tokenshard_file_open(dir, name, "tokens", &w->tokens, info);
    e = e == ERR_OK ? tokenshard_file_open(dir, name, "ends", &w->ends, info) : e;
    e = e == ERR_OK && marked ? tokenshard_file_open(dir, name, "learn", &w->learn, info) : e;
    if (e != ERR_OK) {
        tokenshard_abandon(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

static err tokenshard_add_ids(struct tokenshard_writer *w, const int32_t *ids, size_t n, struct errinfo *info)
{
    for (size_t i = 0; i < n; i++) {
        if (w->token_bytes == sizeof(uint16_t)) {
            uint16_t id = htole16((uint16_t)ids[i]);
            memcpy((char *)w->buffer + i * sizeof id, &id, sizeof id);
        } else {
            w->buffer[i] = htole32((uint32_t)ids[i]);
        }
    }
    return tokenshard_file_write(&w->tokens, w->buffer, n * w->token_bytes, info);
}

err tokenshard_add(struct tokenshard_writer *w, const int32_t *ids, const uint8_t *learn, size_t n,
                   struct errinfo *info)
{
    TRY(w->learn.writer ? tokenshard_file_write(&w->learn, learn, n, info) : ERR_OK);
    for (size_t at = 0; at < n; at += TOKENSHARD_BUFFER) {
        size_t k = n - at < TOKENSHARD_BUFFER ? n - at : TOKENSHARD_BUFFER;
        TRY(tokenshard_add_ids(w, ids + at, k, info));
    }
    w->n_tokens += n;
    w->n_documents++;
    uint64_t end = htole64(w->n_tokens);
    return tokenshard_file_write(&w->ends, &end, sizeof end, info);
}

size_t tokenshard_tokens(const struct tokenshard_writer *w)
{
    return w->n_tokens;
}

err tokenshard_commit(struct tokenshard_writer *w, struct tokenshard_entry *entry, struct errinfo *info)
{
    struct tokenshard_entry done = {.n_tokens = w->n_tokens, .n_documents = w->n_documents};
    TRY(file_writer_commit(w->tokens.writer, info));
    TRY(file_writer_commit(w->ends.writer, info));
    TRY(w->learn.writer ? file_writer_commit(w->learn.writer, info) : ERR_OK);
    strcpy(done.name, w->name);
    tokenshard_hex(&w->tokens.hash, done.tokens_sha256);
    tokenshard_hex(&w->ends.hash, done.ends_sha256);
    if (w->learn.writer) {
        tokenshard_hex(&w->learn.hash, done.learn_sha256);
    }
    *entry = done;
    return ERR_OK;
}

void tokenshard_abandon(struct tokenshard_writer *w)
{
    if (w) {
        file_writer_close(w->tokens.writer);
        file_writer_close(w->ends.writer);
        file_writer_close(w->learn.writer);
        mem_free(w);
    }
}

/* ---- Reading. ---- */

static err tokenshard_map(const char *dir, const char *name, const char *suffix, size_t count, size_t each,
                          const char *sha256, struct file_map *map, struct errinfo *info)
{
    char *path, found[TOKENSHARD_HASH];
    size_t size;
    crypto_hash_sha256_state hash;
    if (!checked_mul(count, each, &size)) {
        return err_set(info, ERR_CORRUPT, "the manifest gives %s.%s %zu entries, more than any file holds",
                       name, suffix, count);
    }
    TRY(tokenshard_path(dir, name, suffix, &path, info));
    err e = file_map_open(path, map, info);
    if (e == ERR_OK && map->size != size) {
        e = err_set(info, ERR_CORRUPT, "%s has %zu bytes, its manifest says %zu", path, map->size, size);
    }
    if (e == ERR_OK) {
        crypto_hash_sha256_init(&hash);
        crypto_hash_sha256_update(&hash, map->data, map->size);
        tokenshard_hex(&hash, found);
        if (strcmp(found, sha256) != 0) {
            e = err_set(info, ERR_CORRUPT, "%s is not what its manifest says: its SHA-256 is %s instead of %s",
                        path, found, sha256);
        }
    }
    mem_free(path);
    return e;
}

static uint64_t tokenshard_end_at(const struct tokenshard *s, size_t i)
{
    uint64_t end;
    memcpy(&end, s->ends.data + i * sizeof end, sizeof end);
    return le64toh(end);
}

static err tokenshard_check_ends(const struct tokenshard *s, const char *name, struct errinfo *info)
{
    uint64_t before = 0;
    for (size_t i = 0; i < s->n_documents; i++) {
        uint64_t end = tokenshard_end_at(s, i);
        if (end < before || end > s->n_tokens) {
            return err_set(info, ERR_CORRUPT, "%s.ends: document %zu ends at token %llu, the one before at "
                           "%llu, and there are %zu tokens", name, i, (unsigned long long)end,
                           (unsigned long long)before, s->n_tokens);
        }
        before = end;
    }
    if (before != s->n_tokens) {
        return err_set(info, ERR_CORRUPT, "%s.ends: the last document ends at token %llu of %zu", name,
                       (unsigned long long)before, s->n_tokens);
    }
    return ERR_OK;
}

static uint32_t tokenshard_id(const struct tokenshard *s, size_t i)
{
    if (s->token_bytes == sizeof(uint16_t)) {
        uint16_t id;
        memcpy(&id, s->tokens.data + i * sizeof id, sizeof id);
        return le16toh(id);
    }
    uint32_t id;
    memcpy(&id, s->tokens.data + i * sizeof id, sizeof id);
    return le32toh(id);
}

static err tokenshard_check_ids(const struct tokenshard *s, const char *name, size_t vocab_size,
                                struct errinfo *info)
{
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (tokenshard_id(s, i) >= vocab_size) {
            return err_set(info, ERR_CORRUPT, "%s.tokens: token %zu is %u, but the vocabulary has %zu", name, i,
                           tokenshard_id(s, i), vocab_size);
        }
    }
    return ERR_OK;
}

err tokenshard_open(const char *dir, const struct tokenshard_entry *entry, size_t token_bytes,
                    size_t vocab_size, struct tokenshard *out, struct errinfo *info)
{
    struct tokenshard s = {.token_bytes = token_bytes,
                           .n_tokens = entry->n_tokens,
                           .n_documents = entry->n_documents};
    err e = tokenshard_map(dir, entry->name, "tokens", s.n_tokens, token_bytes, entry->tokens_sha256, &s.tokens,
                           info);
    e = e == ERR_OK ? tokenshard_map(dir, entry->name, "ends", s.n_documents, sizeof(uint64_t),
                                     entry->ends_sha256, &s.ends, info)
                    : e;
    e = e == ERR_OK && entry->learn_sha256[0]
            ? tokenshard_map(dir, entry->name, "learn", s.n_tokens, 1, entry->learn_sha256, &s.learn, info)
            : e;
    e = e == ERR_OK ? tokenshard_check_ends(&s, entry->name, info) : e;
    e = e == ERR_OK ? tokenshard_check_ids(&s, entry->name, vocab_size, info) : e;
    if (e != ERR_OK) {
        tokenshard_close(&s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void tokenshard_close(struct tokenshard *s)
{
    file_map_close(&s->tokens);
    file_map_close(&s->ends);
    file_map_close(&s->learn);
    *s = (struct tokenshard){0};
}

size_t tokenshard_begin(const struct tokenshard *s, size_t i)
{
    return i > 0 ? (size_t)tokenshard_end_at(s, i - 1) : 0;
}

size_t tokenshard_end(const struct tokenshard *s, size_t i)
{
    return (size_t)tokenshard_end_at(s, i);
}

void tokenshard_copy(const struct tokenshard *s, size_t from, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (int32_t)tokenshard_id(s, from + i);
    }
}

void tokenshard_copy_targets(const struct tokenshard *s, size_t from, size_t n, int32_t *out)
{
    tokenshard_copy(s, from, n, out);
    for (size_t i = 0; s->learn.size > 0 && i < n; i++) {
        out[i] = s->learn.data[from + i] ? out[i] : -1;
    }
}
