/* formats/gguf.c: see gguf.h. One file or all parts of a split model as one set of keys (part 1's)
 * and one table of tensors; the bytes themselves are read by gguf_parse.c. */
#include "formats/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/gguf_parse.h"

/* Parts are numbered with five digits. */
enum { GGUF_PARTS_MAX = 4096, GGUF_SUFFIX = sizeof "-00001-of-00009.gguf" - 1 };

struct gguf_file {
    char *path;
    size_t size;
    struct file_map map; /* zero for gguf_parse */
};

struct gguf {
    struct gguf_file *files;
    size_t n_files;
    struct gguf_parse_keys keys;
    struct tensortable *tensors;
};

static err gguf_nomem(struct errinfo *info, const char *name)
{
    return err_set(info, ERR_NOMEM, "out of memory opening %s", name);
}

static err gguf_new(size_t n_files, const char *name, struct gguf **out, struct errinfo *info)
{
    struct gguf *g = mem_calloc(1, sizeof *g);
    if (!g) {
        return gguf_nomem(info, name);
    }
    g->files = mem_calloc(n_files, sizeof *g->files);
    if (!g->files) {
        gguf_close(g);
        return gguf_nomem(info, name);
    }
    g->n_files = n_files;
    err e = tensortable_new(&g->tensors, info);
    if (e != ERR_OK) {
        gguf_close(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

void gguf_close(struct gguf *g)
{
    if (!g) {
        return;
    }
    tensortable_free(g->tensors);
    gguf_parse_keys_free(&g->keys);
    for (size_t i = 0; i < g->n_files; i++) {
        mem_free(g->files[i].path);
        file_map_close(&g->files[i].map);
    }
    mem_free(g->files);
    mem_free(g);
}

static err gguf_parse_into(struct gguf *g, const uint8_t *data, size_t size, const char *name,
                           struct errinfo *info)
{
    g->files[0].path = mem_dup(name, strlen(name));
    g->files[0].size = size;
    if (!g->files[0].path) {
        return gguf_nomem(info, name);
    }
    return gguf_parse_bytes(data, size, name, 0, &g->keys, g->tensors, info);
}

err gguf_parse(const uint8_t *data, size_t size, const char *name, struct gguf **out,
               struct errinfo *info)
{
    struct gguf *g = NULL;
    TRY(gguf_new(1, name, &g, info));
    err e = gguf_parse_into(g, data, size, name, info);
    if (e != ERR_OK) {
        gguf_close(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

/* Reads N and M out of a name that ends in "-0000N-of-0000M.gguf"; false for any other name. */
static bool gguf_split_name(const char *path, unsigned *part, unsigned *parts)
{
    size_t len = strlen(path);
    if (len < GGUF_SUFFIX) {
        return false;
    }
    const char *s = path + len - GGUF_SUFFIX;
    static const char pattern[] = "-#####-of-#####.gguf";
    unsigned n[2] = {0, 0};
    for (size_t i = 0; i < GGUF_SUFFIX; i++) {
        bool digit = s[i] >= '0' && s[i] <= '9';
        if (pattern[i] == '#' ? !digit : s[i] != pattern[i]) {
            return false;
        }
        if (digit) {
            n[i > 6] = n[i > 6] * 10 + (unsigned)(s[i] - '0');
        }
    }
    *part = n[0];
    *parts = n[1];
    return true;
}

/* A split key of one part; `absent` when the key is not there. */
static err gguf_split_key(const struct gguf_parse_keys *keys, const char *path, const char *key,
                          uint64_t absent, uint64_t *out, struct errinfo *info)
{
    const struct gguf_kv *kv = gguf_parse_find(keys, key);
    *out = absent;
    if (kv && !gguf_parse_as_u64(kv, out)) {
        return err_set(info, ERR_CORRUPT, "%s: %s is not a whole number", path, key);
    }
    return ERR_OK;
}

/* Maps and parses part `i` (from 0); keeps the keys of part 0. */
static err gguf_open_part(struct gguf *g, size_t i, struct errinfo *info)
{
    struct gguf_file *f = &g->files[i];
    TRY(file_map_open(f->path, &f->map, info));
    f->size = f->map.size;
    struct gguf_parse_keys keys;
    TRY(gguf_parse_bytes(f->map.data, f->map.size, f->path, i, &keys, g->tensors, info));
    uint64_t count = 0, number = 0;
    err e = gguf_split_key(&keys, f->path, "split.count", 1, &count, info);
    if (e == ERR_OK) {
        e = gguf_split_key(&keys, f->path, "split.no", i, &number, info);
    }
    if (e == ERR_OK && g->n_files > 1 && (count != g->n_files || number != i)) {
        e = err_set(info, ERR_CORRUPT,
                    "%s: holds split.no %" PRIu64 " of split.count %" PRIu64
                    ", but its name says part %zu of %zu",
                    f->path, number, count, i + 1, g->n_files);
    }
    if (e != ERR_OK || i > 0) {
        gguf_parse_keys_free(&keys);
        return e;
    }
    g->keys = keys;
    return ERR_OK;
}

/* Fills in the paths of all parts from the path of any of them. */
static err gguf_name_parts(struct gguf *g, const char *path, struct errinfo *info)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < g->n_files; i++) {
        char *p = mem_dup(path, len);
        if (!p) {
            return gguf_nomem(info, path);
        }
        g->files[i].path = p;
        if (g->n_files > 1) {
            snprintf(p + len - GGUF_SUFFIX, GGUF_SUFFIX + 1, "-%05u-of-%05u.gguf", (unsigned)i + 1,
                     (unsigned)g->n_files);
        }
    }
    return ERR_OK;
}

/* All parts must be there before any is parsed: the missing one is the message people need. */
static err gguf_find_parts(const struct gguf *g, const char *path, struct errinfo *info)
{
    for (size_t i = 0; g->n_files > 1 && i < g->n_files; i++) {
        if (!file_exists(g->files[i].path)) {
            return err_set(info, ERR_NOTFOUND,
                           "%s is one of %zu parts, and part %zu is missing: put %s beside it",
                           path, g->n_files, i + 1, g->files[i].path);
        }
    }
    return ERR_OK;
}

static err gguf_check_whole(const struct gguf *g, const char *path, struct errinfo *info)
{
    uint64_t parts = 0, total = 0;
    size_t found = tensortable_count(g->tensors);
    TRY(gguf_split_key(&g->keys, path, "split.count", 1, &parts, info));
    if (g->n_files == 1 && parts > 1) {
        return err_set(info, ERR_ARGUMENT,
                       "%s is part of a model split into %" PRIu64
                       " files, but its name does not end in "
                       "-00001-of-%05" PRIu64 ".gguf; give the parts their names back",
                       path, parts, parts);
    }
    TRY(gguf_split_key(&g->keys, path, "split.tensors.count", found, &total, info));
    if (g->n_files > 1 && total != found) {
        return err_set(info, ERR_CORRUPT,
                       "%s: split.tensors.count is %" PRIu64 ", but the parts hold %zu", path,
                       total, found);
    }
    return ERR_OK;
}

static err gguf_open_parts(struct gguf *g, const char *path, struct errinfo *info)
{
    TRY(gguf_name_parts(g, path, info));
    TRY(gguf_find_parts(g, path, info));
    for (size_t i = 0; i < g->n_files; i++) {
        TRY(gguf_open_part(g, i, info));
    }
    return gguf_check_whole(g, path, info);
}

err gguf_open(const char *path, struct gguf **out, struct errinfo *info)
{
    unsigned part = 1, parts = 1;
    if (gguf_split_name(path, &part, &parts) &&
        (parts == 0 || parts > GGUF_PARTS_MAX || part == 0 || part > parts)) {
        return err_set(info, ERR_ARGUMENT,
                       "%s: the name says part %u of %u; at most %d parts are read", path, part,
                       parts, GGUF_PARTS_MAX);
    }
    struct gguf *g = NULL;
    TRY(gguf_new(parts, path, &g, info));
    err e = gguf_open_parts(g, path, info);
    if (e != ERR_OK) {
        gguf_close(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

const struct tensortable *gguf_tensors(const struct gguf *g)
{
    return g->tensors;
}

size_t gguf_file_count(const struct gguf *g)
{
    return g->n_files;
}

const char *gguf_file_path(const struct gguf *g, size_t i)
{
    return g->files[i].path;
}

size_t gguf_file_size(const struct gguf *g, size_t i)
{
    return g->files[i].size;
}

size_t gguf_kv_count(const struct gguf *g)
{
    return g->keys.count;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i)
{
    return i < g->keys.count ? &g->keys.kv[i] : NULL;
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    return gguf_parse_find(&g->keys, key);
}

const char *gguf_type_name(enum gguf_type type)
{
    static const char *const names[GGUF_TYPES] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                  "i32", "f32", "bool", "string", "array",
                                                  "u64", "i64", "f64"};
    return type < GGUF_TYPES ? names[type] : "unknown";
}

/* What a key holds, for messages: "the i32 -1", "a string", "an array of 7 f32". */
static void gguf_describe(const struct gguf_kv *kv, char *out, size_t n)
{
    double v;
    if (kv->type == GGUF_ARRAY) {
        snprintf(out, n, "an array of %" PRIu64 " %s", kv->count, gguf_type_name(kv->elem_type));
    } else if (gguf_parse_number(kv, 0, &v)) {
        snprintf(out, n, "the %s %.9g", gguf_type_name(kv->type), v);
    } else {
        snprintf(out, n, "a %s", gguf_type_name(kv->type));
    }
}

static err gguf_mismatch(const struct gguf *g, const struct gguf_kv *kv, const char *key,
                         const char *expected, struct errinfo *info)
{
    char found[64];
    gguf_describe(kv, found, sizeof found);
    return err_set(info, ERR_CORRUPT, "%s: key %s is %s; expected %s", g->files[0].path, key, found,
                   expected);
}

static err gguf_need(const struct gguf *g, const char *key, const struct gguf_kv **out,
                     struct errinfo *info)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) {
        return err_set(info, ERR_NOTFOUND, "%s: key %s is missing", g->files[0].path, key);
    }
    *out = kv;
    return ERR_OK;
}

err gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out, struct errinfo *info)
{
    const struct gguf_kv *kv = NULL;
    uint64_t v;
    TRY(gguf_need(g, key, &kv, info));
    if (!gguf_parse_as_u64(kv, &v)) {
        return gguf_mismatch(g, kv, key, "a whole number, zero or more", info);
    }
    *out = v;
    return ERR_OK;
}

err gguf_get_f64(const struct gguf *g, const char *key, double *out, struct errinfo *info)
{
    const struct gguf_kv *kv = NULL;
    double v;
    TRY(gguf_need(g, key, &kv, info));
    if (kv->type == GGUF_ARRAY || kv->type == GGUF_BOOL || !gguf_parse_number(kv, 0, &v) ||
        !isfinite(v)) {
        return gguf_mismatch(g, kv, key, "a number", info);
    }
    *out = v;
    return ERR_OK;
}

err gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct errinfo *info)
{
    const struct gguf_kv *kv = NULL;
    TRY(gguf_need(g, key, &kv, info));
    if (kv->type != GGUF_BOOL) {
        return gguf_mismatch(g, kv, key, "true or false", info);
    }
    *out = kv->data[0] != 0;
    return ERR_OK;
}

err gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out,
                    struct errinfo *info)
{
    const struct gguf_kv *kv = NULL;
    TRY(gguf_need(g, key, &kv, info));
    if (kv->type != GGUF_STRING) {
        return gguf_mismatch(g, kv, key, "a string", info);
    }
    out->data = (const char *)kv->data + 8;
    out->len = kv->size - 8;
    return ERR_OK;
}

err gguf_array_f64(const struct gguf_kv *kv, uint64_t i, double *out)
{
    return gguf_parse_number(kv, i, out) ? ERR_OK : ERR_CORRUPT;
}

err gguf_array_string(const struct gguf_kv *kv, size_t *pos, struct gguf_string *out)
{
    if (kv->elem_type != GGUF_STRING || *pos > kv->size) {
        return ERR_CORRUPT;
    }
    struct cursor c = {.data = kv->data, .size = kv->size, .pos = *pos};
    uint64_t len = 0;
    const uint8_t *bytes = NULL;
    TRY(cursor_u64(&c, &len));
    TRY(cursor_bytes(&c, (size_t)len, &bytes));
    out->data = (const char *)bytes;
    out->len = (size_t)len;
    *pos = c.pos;
    return ERR_OK;
}
