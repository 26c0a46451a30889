/* cli/inspection.c: see inspection.h. */
#include "cli/inspection.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8seq.h"
#include "formats/gguf.h"
#include "formats/hffolder.h"
#include "formats/safetensors.h"
#include "model/vocab.h"

enum { INSPECTION_ARRAY_MAX = 16, INSPECTION_TEXT_MAX = 200, INSPECTION_PIECE = 1 << 20 };

struct inspection_source {
    struct gguf *gguf;
    struct hffolder *folder;
    struct file_map map;       /* of a lone safetensors file … */
    struct tensortable *table; /* … and its tensors */
};

/* The JSON files of a folder that belong to the model. */
static const char *const inspection_extras[] = {"config.json", "generation_config.json",
                                                "tokenizer.json", "tokenizer_config.json",
                                                "model.safetensors.index.json"};

static err inspection_nomem(const char *path, struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory inspecting %s", path);
}

void inspection_close(struct inspection *i)
{
    if (!i) {
        return;
    }
    tokenizer_free(i->tokenizer);
    json_decref(i->keys);
    for (size_t f = 0; f < i->n_files; f++) {
        mem_free(i->files[f].path);
    }
    mem_free(i->files);
    if (i->source) {
        gguf_close(i->source->gguf);
        hffolder_close(i->source->folder);
        tensortable_free(i->source->table);
        file_map_close(&i->source->map);
    }
    mem_free(i->source);
    mem_free(i->path);
    mem_free(i);
}

/* ---- keys as JSON ---- */

/* Bytes of a file as a JSON string: cut at `cap`, what is no UTF-8 becomes '?'. */
static json_t *inspection_string(const char *data, size_t len, size_t cap)
{
    bool cut = len > cap;
    size_t n = cut ? cap : len, at = 0;
    char *copy = mem_alloc(n + sizeof "…");
    if (!copy) {
        return NULL;
    }
    while (at < n) {
        size_t step = utf8seq_length((const unsigned char *)data + at, len - at);
        if (step > n - at) { /* the cut falls inside a character */
            break;
        }
        memcpy(copy + at, step ? data + at : "?", step ? step : 1);
        at += step ? step : 1;
    }
    if (cut) {
        memcpy(copy + at, "…", sizeof "…" - 1);
        at += sizeof "…" - 1;
    }
    json_t *value = json_stringn(copy, at);
    mem_free(copy);
    return value;
}

static json_t *inspection_number(const struct gguf_kv *kv, uint64_t i)
{
    double d = 0;
    if (gguf_array_f64(kv, i, &d) != ERR_OK) {
        return NULL;
    }
    if (kv->elem_type == GGUF_BOOL) {
        return json_boolean(d != 0);
    }
    bool whole =
        kv->elem_type != GGUF_F32 && kv->elem_type != GGUF_F64 && d > -0x1p53 && d < 0x1p53;
    if (whole) {
        return json_integer((json_int_t)d);
    }
    return isfinite(d) ? json_real(d) : json_null(); /* JSON has no infinity */
}

static json_t *inspection_array(const struct gguf_kv *kv)
{
    if (kv->count > INSPECTION_ARRAY_MAX || kv->elem_type == GGUF_STRING) {
        return json_pack("{s:s, s:I}", "array", gguf_type_name(kv->elem_type), "count",
                         (json_int_t)kv->count);
    }
    json_t *array = json_array();
    for (uint64_t i = 0; i < kv->count && array; i++) {
        if (json_array_append_new(array, inspection_number(kv, i)) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *inspection_value(const struct gguf_kv *kv)
{
    if (kv->type == GGUF_STRING) {
        return inspection_string((const char *)kv->data + 8, kv->size - 8, INSPECTION_TEXT_MAX);
    }
    return kv->type == GGUF_ARRAY ? inspection_array(kv) : inspection_number(kv, 0);
}

static json_t *inspection_gguf_keys(const struct gguf *g)
{
    json_t *keys = json_object();
    for (size_t i = 0; i < gguf_kv_count(g) && keys; i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (json_object_setn_new(keys, kv->key.data, kv->key.len, inspection_value(kv)) != 0) {
            json_decref(keys);
            keys = NULL;
        }
    }
    return keys;
}

/* ---- opening ---- */

/* What was noted on the way to a success (a key that may be absent …) is no complaint. */
static bool inspection_good(err e, struct errinfo *note)
{
    if (e == ERR_OK) {
        *note = (struct errinfo){0};
    }
    return e == ERR_OK;
}

static err inspection_add_file(struct inspection *i, const char *path, size_t size,
                               struct errinfo *info)
{
    struct inspection_file *files = mem_resize(i->files, i->n_files + 1, sizeof *files);
    if (!files) {
        return inspection_nomem(path, info);
    }
    i->files = files;
    files[i->n_files] = (struct inspection_file){.path = mem_dup(path, strlen(path)), .size = size};
    if (!files[i->n_files].path) {
        return inspection_nomem(path, info);
    }
    i->n_files++;
    return ERR_OK;
}

static err inspection_add_extra(struct inspection *i, const char *name, struct errinfo *info)
{
    char *path = file_join(i->path, name);
    if (!path) {
        return inspection_nomem(i->path, info);
    }
    struct file_map map = {0};
    err e = ERR_OK;
    if (file_exists(path)) {
        e = file_map_open(path, &map, info);
        if (e == ERR_OK) {
            e = inspection_add_file(i, path, map.size, info);
        }
        file_map_close(&map);
    }
    mem_free(path);
    return e;
}

static err inspection_open_gguf(struct inspection *i, struct errinfo *info)
{
    struct gguf_string arch = {0};
    TRY(gguf_open(i->path, &i->source->gguf, info));
    const struct gguf *g = i->source->gguf;
    i->format = "gguf";
    i->tensors = gguf_tensors(g);
    i->keys = inspection_gguf_keys(g);
    if (!i->keys) {
        return inspection_nomem(i->path, info);
    }
    for (size_t f = 0; f < gguf_file_count(g); f++) {
        TRY(inspection_add_file(i, gguf_file_path(g, f), gguf_file_size(g, f), info));
    }
    if (gguf_get_string(g, "general.architecture", &arch, NULL) == ERR_OK) {
        snprintf(i->architecture, sizeof i->architecture, "%.*s",
                 arch.len > 100 ? 100 : (int)arch.len, arch.data);
    }
    err e = config_from_gguf(g, &i->config, &i->refusal);
    i->has_config = inspection_good(e, &i->refusal);
    if (e == ERR_NOMEM) {
        return inspection_nomem(i->path, info);
    }
    e = vocab_from_gguf(g, &i->tokenizer, &i->chat, &i->tokenizer_error);
    (void)inspection_good(e, &i->tokenizer_error);
    return e == ERR_NOMEM ? inspection_nomem(i->path, info) : ERR_OK;
}

static err inspection_open_folder(struct inspection *i, struct errinfo *info)
{
    TRY(hffolder_open_listing(i->path, &i->source->folder, info));
    const struct hffolder *h = i->source->folder;
    i->format = "huggingface";
    i->tensors = hffolder_tensors(h);
    i->keys = json_incref((json_t *)(uintptr_t)hffolder_config(h));
    for (size_t f = 0; f < hffolder_file_count(h); f++) {
        TRY(inspection_add_file(i, hffolder_file_path(h, f), hffolder_file_size(h, f), info));
    }
    for (size_t f = 0; f < sizeof inspection_extras / sizeof *inspection_extras; f++) {
        TRY(inspection_add_extra(i, inspection_extras[f], info));
    }
    const char *name =
        json_string_value(json_array_get(json_object_get(i->keys, "architectures"), 0));
    name = name ? name : json_string_value(json_object_get(i->keys, "model_type"));
    snprintf(i->architecture, sizeof i->architecture, "%s", name ? name : "");
    err e = config_from_json(i->keys, &i->config, &i->refusal);
    i->has_config = inspection_good(e, &i->refusal);
    if (i->has_config) { /* opened once more the strict way, for what it says about quantisation */
        struct hffolder *strict = NULL;
        e = hffolder_open(i->path, &strict, &i->refusal);
        (void)inspection_good(e, &i->refusal);
        hffolder_close(strict);
    }
    if (e == ERR_NOMEM) {
        return inspection_nomem(i->path, info);
    }
    e = vocab_from_folder(i->path, &i->tokenizer, &i->chat, &i->tokenizer_error);
    (void)inspection_good(e, &i->tokenizer_error);
    return e == ERR_NOMEM ? inspection_nomem(i->path, info) : ERR_OK;
}

static err inspection_open_lone(struct inspection *i, struct errinfo *info)
{
    struct inspection_source *s = i->source;
    i->format = "safetensors";
    TRY(tensortable_new(&s->table, info));
    TRY(file_map_open(i->path, &s->map, info));
    TRY(safetensors_parse(s->map.data, s->map.size, i->path, 0, s->table, info));
    i->tensors = s->table;
    i->keys = json_object();
    (void)err_set(&i->refusal, ERR_UNSUPPORTED, "a lone safetensors file has no config.json");
    return i->keys ? inspection_add_file(i, i->path, s->map.size, info)
                   : inspection_nomem(i->path, info);
}

static bool inspection_ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Sums per type; a type that cannot be computed with speaks against running. */
static void inspection_count(struct inspection *i)
{
    for (size_t t = 0; t < tensortable_count(i->tensors); t++) {
        const struct tensortable_entry *e = tensortable_at(i->tensors, t);
        struct inspection_type *type = &i->types[e->tensor.dtype];
        size_t values = inspection_ends_with(e->name, "_scale_inv") ? 0 : tensor_elems(&e->tensor);
        type->tensors++;
        type->parameters += values;
        type->bytes += tensor_bytes(&e->tensor);
        i->total.tensors++;
        i->total.parameters += values;
        i->total.bytes += tensor_bytes(&e->tensor);
        if (!dtype_is_computable(e->tensor.dtype) && values > 0 && i->refusal.message[0] == '\0') {
            (void)err_set(&i->refusal, ERR_UNSUPPORTED,
                          "tensor %s has type %s, which is not computed with yet", e->name,
                          dtype_info(e->tensor.dtype)->name);
        }
    }
}

static err inspection_open_into(struct inspection *i, const char *path, struct errinfo *info)
{
    i->path = mem_dup(path, strlen(path));
    i->source = mem_calloc(1, sizeof *i->source);
    if (!i->path || !i->source) {
        return inspection_nomem(path, info);
    }
    if (file_is_dir(path)) {
        TRY(inspection_open_folder(i, info));
    } else if (inspection_ends_with(path, ".safetensors")) {
        TRY(inspection_open_lone(i, info));
    } else {
        TRY(inspection_open_gguf(i, info));
    }
    inspection_count(i);
    return ERR_OK;
}

err inspection_open(const char *path, struct inspection **out, struct errinfo *info)
{
    struct inspection *i = mem_calloc(1, sizeof *i);
    if (!i) {
        return inspection_nomem(path, info);
    }
    err e = inspection_open_into(i, path, info);
    if (e != ERR_OK) {
        inspection_close(i);
        return e;
    }
    *out = i;
    return ERR_OK;
}

/* ---- hashes ---- */

static err inspection_hash_file(struct inspection_file *f, struct progress *p, uint64_t before,
                                struct errinfo *info)
{
    struct file_map map;
    TRY(file_map_open(f->path, &map, info));
    crypto_hash_sha256_state hash;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&hash);
    for (size_t at = 0; at < map.size; at += INSPECTION_PIECE) {
        size_t n = map.size - at < INSPECTION_PIECE ? map.size - at : INSPECTION_PIECE;
        crypto_hash_sha256_update(&hash, map.data + at, n);
        progress_update(p, before + at + n);
    }
    crypto_hash_sha256_final(&hash, digest);
    sodium_bin2hex(f->sha256, sizeof f->sha256, digest, sizeof digest);
    file_map_close(&map);
    return ERR_OK;
}

err inspection_hash(struct inspection *i, struct errinfo *info)
{
    uint64_t total = 0, before = 0;
    for (size_t f = 0; f < i->n_files; f++) {
        total += i->files[f].size;
    }
    struct progress p;
    progress_init(&p, "hashing", PROGRESS_BYTES, total);
    err e = ERR_OK;
    for (size_t f = 0; f < i->n_files && e == ERR_OK; f++) {
        e = inspection_hash_file(&i->files[f], &p, before, info);
        before += i->files[f].size;
    }
    progress_finish(&p);
    return e;
}

const char *inspection_layers_text(const struct config *c, char out[INSPECTION_LAYERS_TEXT])
{
    size_t layers = c->num_hidden_layers, ahead = c->num_nextn_predict_layers;
    int n = snprintf(out, INSPECTION_LAYERS_TEXT, "%zu layer%s", layers, layers == 1 ? "" : "s");
    if (ahead) {
        snprintf(out + n, INSPECTION_LAYERS_TEXT - (size_t)n, " and %zu that guess%s ahead (MTP)", ahead,
                 ahead == 1 ? "es" : "");
    }
    return out;
}

/* ---- all of it as JSON ---- */

/* Steals `value` into the object; NULL anywhere makes the whole NULL. */
static json_t *inspection_set(json_t *object, const char *key, json_t *value)
{
    if (object && json_object_set_new(object, key, value) == 0) {
        return object;
    }
    if (!object) {
        json_decref(value);
    }
    json_decref(object);
    return NULL;
}

static json_t *inspection_push(json_t *array, json_t *value)
{
    if (array && json_array_append_new(array, value) == 0) {
        return array;
    }
    if (!array) {
        json_decref(value);
    }
    json_decref(array);
    return NULL;
}

static json_t *inspection_files_json(const struct inspection *i)
{
    json_t *array = json_array();
    for (size_t f = 0; f < i->n_files; f++) {
        const struct inspection_file *x = &i->files[f];
        json_t *file = inspection_set(json_object(), "path",
                                      inspection_string(x->path, strlen(x->path), 4096));
        file = inspection_set(file, "bytes", json_integer((json_int_t)x->size));
        if (x->sha256[0]) {
            file = inspection_set(file, "sha256", json_string(x->sha256));
        }
        array = inspection_push(array, file);
    }
    return array;
}

static json_t *inspection_types_json(const struct inspection *i)
{
    json_t *array = json_array();
    for (int d = 0; d < DTYPE_COUNT; d++) {
        const struct inspection_type *x = &i->types[d];
        if (x->tensors > 0) {
            array = inspection_push(
                array, json_pack("{s:s, s:I, s:I, s:I}", "dtype", dtype_info((enum dtype)d)->name,
                                 "tensors", (json_int_t)x->tensors, "parameters",
                                 (json_int_t)x->parameters, "bytes", (json_int_t)x->bytes));
        }
    }
    return array;
}

static json_t *inspection_tensor_json(const struct tensortable_entry *e)
{
    json_t *shape = json_array();
    for (uint32_t d = 0; d < e->tensor.rank; d++) {
        shape = inspection_push(shape, json_integer((json_int_t)e->tensor.shape[d]));
    }
    json_t *tensor = inspection_set(json_object(), "name", json_string(e->name));
    tensor = inspection_set(tensor, "dtype", json_string(dtype_info(e->tensor.dtype)->name));
    tensor = inspection_set(tensor, "shape", shape);
    tensor = inspection_set(tensor, "bytes", json_integer((json_int_t)tensor_bytes(&e->tensor)));
    tensor = inspection_set(tensor, "file", json_integer((json_int_t)e->file));
    return inspection_set(tensor, "offset", json_integer((json_int_t)e->offset));
}

static json_t *inspection_tokenizer_json(const struct inspection *i)
{
    const struct tokenizer *t = i->tokenizer;
    if (!t) {
        return i->tokenizer_error.message[0]
                   ? json_pack("{s:s}", "error", i->tokenizer_error.message)
                   : json_null();
    }
    return json_pack("{s:I, s:I, s:s, s:i, s:i, s:i, s:b, s:s, s:s?}", "tokens",
                     (json_int_t)tokenizer_size(t), "merges", (json_int_t)tokenizer_merge_count(t),
                     "pre", tokenizer_pre_name(tokenizer_pre_of(t)), "bos", (int)tokenizer_bos(t),
                     "eos", (int)tokenizer_eos(t), "pad", (int)tokenizer_pad(t), "add_bos",
                     (int)tokenizer_add_bos(t), "chat_format", chat_format_name(i->chat.format),
                     "chat_format_doubt", i->chat.doubt);
}

json_t *inspection_json(const struct inspection *i, bool tensors)
{
    bool runs = i->refusal.message[0] == '\0';
    json_t *o =
        inspection_set(json_object(), "path", inspection_string(i->path, strlen(i->path), 4096));
    o = inspection_set(o, "format", json_string(i->format));
    o = inspection_set(o, "architecture",
                       inspection_string(i->architecture, strlen(i->architecture), 128));
    o = inspection_set(o, "class", i->has_config ? json_string(i->config.name) : json_null());
    o = inspection_set(o, "runnable", json_boolean(runs));
    if (!runs) {
        o = inspection_set(o, "why_not", json_string(i->refusal.message));
    }
    o = inspection_set(o, "parameters", json_integer((json_int_t)i->total.parameters));
    o = inspection_set(o, "tensor_count", json_integer((json_int_t)i->total.tensors));
    o = inspection_set(o, "tensor_bytes", json_integer((json_int_t)i->total.bytes));
    o = inspection_set(o, "dtypes", inspection_types_json(i));
    o = inspection_set(o, "config", json_incref(i->keys));
    o = inspection_set(o, "tokenizer", inspection_tokenizer_json(i));
    o = inspection_set(o, "files", inspection_files_json(i));
    if (tensors) {
        json_t *array = json_array();
        for (size_t t = 0; t < tensortable_count(i->tensors); t++) {
            array = inspection_push(array, inspection_tensor_json(tensortable_at(i->tensors, t)));
        }
        o = inspection_set(o, "tensors", array);
    }
    return o;
}
