/* engine/sessionfile.c: see sessionfile.h. */
#include "engine/sessionfile.h"

#include <sodium.h>
#include <string.h>

#include "base/checked.h"
#include "base/cursor.h"
#include "base/file.h"
#include "engine/identity.h"

enum {
    SESSIONFILE_VERSION = 2,
    SESSIONFILE_HASH = IDENTITY_BYTES,
    SESSIONFILE_TYPE = 8,
    SESSIONFILE_NUMBERS = 8,
    SESSIONFILE_HEADER = 16 + SESSIONFILE_TYPE + SESSIONFILE_HASH + 8 * SESSIONFILE_NUMBERS + 16,
};

static const char sessionfile_magic[8] = "FATHSESS";

struct sessionfile_header {
    char type[SESSIONFILE_TYPE];
    uint8_t identity[SESSIONFILE_HASH];
    union {
        struct {
            uint64_t vocab_size, n_layers, k_width, v_width, capacity, n_tokens, n_read, answer_start;
        } is;
        uint64_t number[SESSIONFILE_NUMBERS];
    };
    uint32_t has_logits, n_held;
    uint8_t held[8];
};

/* ---- writing ---- */

struct sessionfile_writer {
    struct file_writer *file;
    crypto_generichash_state hash;
};

static err sessionfile_put(struct sessionfile_writer *w, const void *data, size_t n,
                           struct errinfo *info)
{
    crypto_generichash_update(&w->hash, data, n);
    return file_writer_write(w->file, data, n, info);
}

static err sessionfile_put_uint(struct sessionfile_writer *w, uint64_t v, size_t bytes,
                                struct errinfo *info)
{
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++) {
        b[i] = (uint8_t)(v >> (8 * i));
    }
    return sessionfile_put(w, b, bytes, info);
}

static struct sessionfile_header sessionfile_describe(const struct session *s)
{
    struct sessionfile_header h = {.has_logits = s->has_logits, .n_held = (uint32_t)s->stream.n_held};
    strncpy(h.type, dtype_info(s->kv.shape.dtype)->name, SESSIONFILE_TYPE - 1);
    identity_of(s->engine->model, h.identity);
    memcpy(h.held, s->stream.held, sizeof s->stream.held);
    h.is.vocab_size = engine_vocab_size(s->engine);
    h.is.n_layers = s->kv.shape.n_layers;
    h.is.k_width = s->kv.shape.k_width;
    h.is.v_width = s->kv.shape.v_width;
    h.is.capacity = s->kv.cache.capacity;
    h.is.n_tokens = s->n_tokens;
    h.is.n_read = s->kv.cache.len;
    h.is.answer_start = s->answer_start;
    return h;
}

static err sessionfile_write_header(struct sessionfile_writer *w, const struct sessionfile_header *h,
                                    struct errinfo *info)
{
    TRY(sessionfile_put(w, sessionfile_magic, sizeof sessionfile_magic, info));
    TRY(sessionfile_put_uint(w, SESSIONFILE_VERSION, 4, info));
    TRY(sessionfile_put_uint(w, 0, 4, info));
    TRY(sessionfile_put(w, h->type, sizeof h->type, info));
    TRY(sessionfile_put(w, h->identity, sizeof h->identity, info));
    for (int i = 0; i < SESSIONFILE_NUMBERS; i++) {
        TRY(sessionfile_put_uint(w, h->number[i], 8, info));
    }
    TRY(sessionfile_put_uint(w, h->has_logits, 4, info));
    TRY(sessionfile_put_uint(w, h->n_held, 4, info));
    return sessionfile_put(w, h->held, sizeof h->held, info);
}

static err sessionfile_write_all(struct sessionfile_writer *w, const struct session *s,
                                 struct errinfo *info)
{
    const struct sessionfile_header h = sessionfile_describe(s);
    uint8_t sum[SESSIONFILE_HASH];
    TRY(sessionfile_write_header(w, &h, info));
    TRY(sessionfile_put(w, s->tokens, s->n_tokens * sizeof *s->tokens, info));
    if (s->has_logits) {
        TRY(sessionfile_put(w, s->logits, h.is.vocab_size * sizeof *s->logits, info));
    }
    for (size_t i = 0; i < s->kv.shape.n_layers; i++) {
        size_t n;
        const char *rows;
        for (size_t piece = 0; (rows = kvcache_piece(&s->kv, i, piece, &n)); piece++) {
            TRY(sessionfile_put(w, rows, n, info));
        }
    }
    crypto_generichash_final(&w->hash, sum, sizeof sum);
    TRY(file_writer_write(w->file, sum, sizeof sum, info));
    return file_writer_commit(w->file, info);
}

err sessionfile_write(const struct session *s, const char *path, struct errinfo *info)
{
    struct sessionfile_writer w;
    if (sodium_init() < 0) {
        return err_set(info, ERR_IO, "the cryptographic library cannot start");
    }
    TRY(file_writer_open(path, &w.file, info));
    crypto_generichash_init(&w.hash, NULL, 0, SESSIONFILE_HASH);
    err e = sessionfile_write_all(&w, s, info);
    file_writer_close(w.file);
    return e;
}

/* ---- reading ---- */

static err sessionfile_read_header(struct cursor *c, struct sessionfile_header *h)
{
    const uint8_t *bytes;
    TRY(cursor_bytes(c, sizeof h->type, &bytes));
    memcpy(h->type, bytes, sizeof h->type);
    TRY(cursor_bytes(c, sizeof h->identity, &bytes));
    memcpy(h->identity, bytes, sizeof h->identity);
    for (int i = 0; i < SESSIONFILE_NUMBERS; i++) {
        TRY(cursor_u64(c, &h->number[i]));
    }
    TRY(cursor_u32(c, &h->has_logits));
    TRY(cursor_u32(c, &h->n_held));
    TRY(cursor_bytes(c, sizeof h->held, &bytes));
    memcpy(h->held, bytes, sizeof h->held);
    return ERR_OK;
}

/* Magic, version, checksum: is this a session file, whole and as it was written? */
static err sessionfile_check_bytes(const struct file_map *map, const char *path, struct errinfo *info)
{
    struct cursor c = {map->data, map->size, 0};
    const uint8_t *magic;
    uint32_t version = 0, reserved;
    if (cursor_bytes(&c, sizeof sessionfile_magic, &magic) != ERR_OK ||
        memcmp(magic, sessionfile_magic, sizeof sessionfile_magic) != 0) {
        return err_set(info, ERR_CORRUPT, "%s is not a saved session", path);
    }
    if (cursor_u32(&c, &version) == ERR_OK && version != SESSIONFILE_VERSION) {
        return err_set(info, ERR_UNSUPPORTED,
                       "%s is a saved session of version %u; this program reads version %d", path,
                       version, SESSIONFILE_VERSION);
    }
    uint8_t sum[SESSIONFILE_HASH];
    bool whole = map->size >= SESSIONFILE_HEADER + SESSIONFILE_HASH &&
                 cursor_u32(&c, &reserved) == ERR_OK && reserved == 0;
    if (whole) {
        crypto_generichash(sum, sizeof sum, map->data, map->size - sizeof sum, NULL, 0);
        whole = memcmp(sum, map->data + map->size - sizeof sum, sizeof sum) == 0;
    }
    return whole ? ERR_OK
                 : err_set(info, ERR_CORRUPT,
                           "%s is damaged or incomplete: its checksum does not match", path);
}

/* The bytes a file with this header must have; false when that does not fit. */
static bool sessionfile_size(const struct sessionfile_header *h, enum dtype dtype, size_t *out)
{
    size_t elem = dtype_info(dtype)->block_bytes, tokens, logits = 0, row, rows;
    if (h->has_logits && !checked_mul(h->is.vocab_size, sizeof(float), &logits)) {
        return false;
    }
    return checked_mul(h->is.n_tokens, sizeof(int32_t), &tokens) &&
           checked_add(h->is.k_width, h->is.v_width, &row) && checked_mul(row, elem, &row) &&
           checked_mul(row, h->is.n_layers, &row) && checked_mul(row, h->is.n_read, &rows) &&
           checked_add(tokens, logits, out) && checked_add(*out, rows, out) &&
           checked_add(*out, SESSIONFILE_HEADER + SESSIONFILE_HASH, out);
}

static err sessionfile_check_header(const struct engine *e, const struct sessionfile_header *h,
                                    size_t file_size, const char *path, enum dtype *dtype,
                                    struct errinfo *info)
{
    uint8_t identity[SESSIONFILE_HASH];
    struct model_cache_shape shape = kvcache_shape_of(e->model, DTYPE_F32);
    identity_of(e->model, identity);
    if (memcmp(identity, h->identity, sizeof identity) != 0 ||
        h->is.vocab_size != engine_vocab_size(e) || h->is.n_layers != shape.n_layers ||
        h->is.k_width != shape.k_width || h->is.v_width != shape.v_width) {
        return err_set(info, ERR_ARGUMENT,
                       "%s was saved with another model; open the model it belongs to", path);
    }
    size_t size;
    if (h->type[SESSIONFILE_TYPE - 1] != '\0' || !dtype_from_name(h->type, dtype) ||
        (*dtype != DTYPE_F32 && *dtype != DTYPE_F16 && *dtype != DTYPE_BF16) ||
        h->is.capacity == 0 || h->is.capacity > engine_context_max(e) ||
        h->is.n_tokens > h->is.capacity || h->is.n_read > h->is.n_tokens ||
        h->is.answer_start > h->is.n_tokens || h->has_logits > 1 ||
        (h->has_logits && h->is.n_read == 0) || h->n_held > sizeof((struct tokenizer_stream *)NULL)->held ||
        !sessionfile_size(h, *dtype, &size) || size != file_size) {
        return err_set(info, ERR_CORRUPT, "%s contradicts itself: its sizes do not fit together", path);
    }
    return ERR_OK;
}

/* Copies what follows the header into a session made for it. */
static err sessionfile_fill(struct cursor *c, const struct sessionfile_header *h, struct session *s)
{
    const uint8_t *bytes;
    size_t vocab = h->is.vocab_size;
    s->n_tokens = h->is.n_tokens;
    s->answer_start = h->is.answer_start;
    s->has_logits = h->has_logits;
    s->kv.cache.len = h->is.n_read;
    s->stream.n_held = h->n_held;
    memcpy(s->stream.held, h->held, sizeof s->stream.held);
    TRY(cursor_bytes(c, s->n_tokens * sizeof *s->tokens, &bytes));
    memcpy(s->tokens, bytes, s->n_tokens * sizeof *s->tokens);
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i] < 0 || (size_t)s->tokens[i] >= vocab) {
            return ERR_CORRUPT;
        }
    }
    if (s->has_logits) {
        TRY(cursor_bytes(c, vocab * sizeof *s->logits, &bytes));
        memcpy(s->logits, bytes, vocab * sizeof *s->logits);
    }
    for (size_t i = 0; i < s->kv.shape.n_layers; i++) {
        size_t n;
        char *rows;
        for (size_t piece = 0; (rows = kvcache_piece(&s->kv, i, piece, &n)); piece++) {
            TRY(cursor_bytes(c, n, &bytes));
            memcpy(rows, bytes, n);
        }
    }
    return ERR_OK;
}

static err sessionfile_read_mapped(struct engine *e, const struct file_map *map, const char *path,
                                   struct session **out, struct errinfo *info)
{
    TRY(sessionfile_check_bytes(map, path, info));
    struct cursor c = {map->data, map->size, 16};
    struct sessionfile_header h;
    enum dtype dtype;
    TRY(sessionfile_read_header(&c, &h));
    TRY(sessionfile_check_header(e, &h, map->size, path, &dtype, info));
    struct session *s;
    TRY(session_make(e, h.is.capacity, dtype, NULL, &s, info));
    if (sessionfile_fill(&c, &h, s) != ERR_OK) {
        session_free(s);
        return err_set(info, ERR_CORRUPT, "%s names tokens this model does not have", path);
    }
    *out = s;
    return ERR_OK;
}

err sessionfile_read(struct engine *e, const char *path, struct session **out, struct errinfo *info)
{
    struct file_map map;
    if (sodium_init() < 0) {
        return err_set(info, ERR_IO, "the cryptographic library cannot start");
    }
    TRY(file_map_open(path, &map, info));
    err result = sessionfile_read_mapped(e, &map, path, out, info);
    file_map_close(&map);
    return result;
}
