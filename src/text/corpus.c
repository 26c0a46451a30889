/* text/corpus.c: see corpus.h. Bytes of the file, unpacked where they are packed, wait in `held` until they
 * are lines. */
#include "text/corpus.h"

#include <string.h>
#include <zstd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { CORPUS_BLOCK = 1 << 20 }; /* bytes read, or unpacked, at a time */

struct corpus {
    const char *path;
    struct corpus_options options;
    struct file_map map;
    size_t at;     /* of the file, read so far */
    ZSTD_DCtx *zstd; /* NULL: not packed */
    bool in_frame; /* the last frame has not ended */
    char *block;   /* [CORPUS_BLOCK] unpacked bytes; NULL: not packed */
    struct strbuf held;
    size_t from;   /* the first byte of `held` that was not given out */
    size_t line;   /* its number, for messages */
};

static bool corpus_ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

static err corpus_nomem(const struct corpus *c, struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory reading %s", c->path);
}

static err corpus_begin_zstd(struct corpus *c, struct errinfo *info)
{
    static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    if (c->map.size < sizeof magic || memcmp(c->map.data, magic, sizeof magic) != 0) {
        return !corpus_ends_with(c->path, ".zst")
                   ? ERR_OK
                   : err_set(info, ERR_CORRUPT, "%s is named .zst, but does not begin as a zstd file does",
                             c->path);
    }
    c->zstd = ZSTD_createDCtx();
    c->block = mem_alloc(CORPUS_BLOCK);
    return c->zstd && c->block ? ERR_OK : corpus_nomem(c, info);
}

err corpus_open(const char *path, const struct corpus_options *options, struct corpus **out,
                struct errinfo *info)
{
    struct corpus *c = mem_calloc(1, sizeof *c);
    if (!c) {
        return err_set(info, ERR_NOMEM, "out of memory opening %s", path);
    }
    c->path = path;
    c->options = *options;
    if (!c->options.separator) {
        c->options.separator = CORPUS_SEPARATOR;
    }
    if (!c->options.field) {
        c->options.field = "text";
    }
    if (c->options.format == CORPUS_AUTO) {
        bool jsonl = corpus_ends_with(path, ".jsonl") || corpus_ends_with(path, ".jsonl.zst");
        c->options.format = jsonl ? CORPUS_JSONL : CORPUS_TEXT;
    }
    err e = file_map_open(path, &c->map, info);
    e = e == ERR_OK ? corpus_begin_zstd(c, info) : e;
    if (e != ERR_OK) {
        corpus_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void corpus_close(struct corpus *c)
{
    if (c) {
        ZSTD_freeDCtx(c->zstd);
        mem_free(c->block);
        strbuf_deinit(&c->held);
        file_map_close(&c->map);
        mem_free(c);
    }
}

size_t corpus_file_size(const struct corpus *c)
{
    return c->map.size;
}

size_t corpus_file_done(const struct corpus *c)
{
    return c->at;
}

static err corpus_unpack(struct corpus *c, size_t *n, struct errinfo *info)
{
    ZSTD_inBuffer in = {c->map.data, c->map.size, c->at};
    ZSTD_outBuffer out = {c->block, CORPUS_BLOCK, 0};
    while (out.pos == 0 && in.pos < in.size) {
        size_t left = ZSTD_decompressStream(c->zstd, &out, &in);
        if (ZSTD_isError(left)) {
            return err_set(info, ERR_CORRUPT, "%s: the zstd frame is broken near byte %zu: %s", c->path,
                           in.pos, ZSTD_getErrorName(left));
        }
        c->in_frame = left != 0;
    }
    c->at = in.pos;
    if (out.pos == 0 && c->in_frame) { /* what is left inside it */
        size_t left = ZSTD_decompressStream(c->zstd, &out, &in);
        if (ZSTD_isError(left) || (out.pos == 0 && left != 0)) {
            return err_set(info, ERR_CORRUPT, "%s: the file ends inside a zstd frame; it was not copied whole",
                           c->path);
        }
        c->in_frame = left != 0;
    }
    *n = out.pos;
    return ERR_OK;
}

/* More bytes into `held`; *end when there are no more. */
static err corpus_fill(struct corpus *c, bool *end, struct errinfo *info)
{
    const char *bytes = c->block;
    size_t n = c->map.size - c->at;
    if (c->from > 0) { /* what was given out makes room */
        c->held.len -= c->from;
        memmove(c->held.data, c->held.data + c->from, c->held.len);
        c->from = 0;
    }
    if (c->zstd) {
        TRY(corpus_unpack(c, &n, info));
    } else {
        n = n < CORPUS_BLOCK ? n : CORPUS_BLOCK;
        bytes = (const char *)c->map.data + c->at;
        c->at += n;
    }
    *end = n == 0;
    return n == 0 || strbuf_append(&c->held, bytes, n) == ERR_OK ? ERR_OK : corpus_nomem(c, info);
}

/* The next line without its line break, in place until the next call; *end when there is none. */
static err corpus_line(struct corpus *c, const char **line, size_t *len, bool *end, struct errinfo *info)
{
    size_t looked = 0;
    *end = false;
    for (;;) {
        const char *from = c->held.data + c->from;
        size_t n = c->held.len - c->from;
        const char *stop = n > looked ? memchr(from + looked, '\n', n - looked) : NULL;
        if (stop) {
            *line = from;
            *len = (size_t)(stop - from);
            c->from += *len + 1;
            c->line++;
            return ERR_OK;
        }
        if (n > CORPUS_DOCUMENT_MAX) {
            return err_set(info, ERR_LIMIT, "%s: line %zu is over %d MiB", c->path, c->line + 1,
                           CORPUS_DOCUMENT_MAX >> 20);
        }
        looked = n;
        TRY(corpus_fill(c, end, info));
        if (*end && n > 0) { /* the last line may lack its end */
            *end = false;
            *line = c->held.data + c->from;
            *len = n;
            c->from += n;
            c->line++;
            return ERR_OK;
        }
        if (*end) {
            return ERR_OK;
        }
    }
}

static err corpus_next_text(struct corpus *c, struct strbuf *document, bool *end, struct errinfo *info)
{
    const size_t n_separator = strlen(c->options.separator);
    const char *line;
    size_t len, lines = 0;
    for (;;) {
        TRY(corpus_line(c, &line, &len, end, info));
        if (*end) {
            *end = document->len == 0;
            return ERR_OK;
        }
        if (len == n_separator && memcmp(line, c->options.separator, len) == 0) {
            if (document->len > 0) {
                return ERR_OK;
            }
            lines = 0;
            continue;
        }
        if (document->len + len > CORPUS_DOCUMENT_MAX) {
            return err_set(info, ERR_LIMIT, "%s: the document that line %zu belongs to is over %d MiB; a line "
                           "that holds only %s ends a document", c->path, c->line, CORPUS_DOCUMENT_MAX >> 20,
                           c->options.separator);
        }
        if ((lines++ > 0 && strbuf_append(document, "\n", 1) != ERR_OK) ||
            (len > 0 && strbuf_append(document, line, len) != ERR_OK)) {
            return corpus_nomem(c, info);
        }
    }
}

static err corpus_field(const struct corpus *c, const char *line, size_t len, struct strbuf *document,
                        struct errinfo *info)
{
    json_t *o;
    err e = json_parse(line, len, "document", &o, info);
    if (e != ERR_OK) {
        return e;
    }
    const json_t *field = json_object_get(o, c->options.field);
    if (!json_is_string(field)) {
        e = err_set(info, ERR_CORRUPT, "expected an object with the text in \"%s\", found %s there",
                    c->options.field, json_type_name(field));
    } else if (json_string_length(field) > 0 &&
               strbuf_append(document, json_string_value(field), json_string_length(field)) != ERR_OK) {
        e = corpus_nomem(c, info);
    }
    json_decref(o);
    return e;
}

static err corpus_next_line(struct corpus *c, struct strbuf *document, bool *end, struct errinfo *info)
{
    const char *line;
    size_t len;
    while (document->len == 0) {
        TRY(corpus_line(c, &line, &len, end, info));
        if (*end) {
            return ERR_OK;
        }
        if (len > 0 && c->options.format == CORPUS_LINES) {
            TRY(strbuf_append(document, line, len) == ERR_OK ? ERR_OK : corpus_nomem(c, info));
        } else if (len > 0) {
            err e = corpus_field(c, line, len, document, info);
            if (e != ERR_OK) {
                return err_prefix(info, e, "%s, line %zu: ", c->path, c->line);
            }
        }
    }
    return ERR_OK;
}

err corpus_next(struct corpus *c, struct strbuf *document, bool *end, struct errinfo *info)
{
    strbuf_clear(document);
    return c->options.format == CORPUS_TEXT ? corpus_next_text(c, document, end, info)
                                            : corpus_next_line(c, document, end, info);
}
