/* formats/hffolder.c: see hffolder.h. */
#include "formats/hffolder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/safetensors.h"

enum {
    HFFOLDER_CONFIG_MAX = 16 << 20,
    HFFOLDER_INDEX_MAX = 256 << 20,
    HFFOLDER_SHARDS_MAX = 4096,
    HFFOLDER_FILE_NAME_MAX = 255
};

struct hffolder_file {
    char *path;
    struct file_map map;
};

struct hffolder {
    char *path;
    json_t *config;
    struct hffolder_file *files;
    size_t n_files;
    struct tensortable *tensors;
};

static err hffolder_nomem(struct errinfo *info, const char *path)
{
    return err_set(info, ERR_NOMEM, "out of memory opening %s", path);
}

void hffolder_close(struct hffolder *h)
{
    if (!h) {
        return;
    }
    tensortable_free(h->tensors);
    for (size_t i = 0; i < h->n_files; i++) {
        mem_free(h->files[i].path);
        file_map_close(&h->files[i].map);
    }
    mem_free(h->files);
    json_decref(h->config);
    mem_free(h->path);
    mem_free(h);
}

/* config.json or an index: an object, read from the folder. */
static err hffolder_object(const struct hffolder *h, const char *name, size_t cap, json_t **out,
                           struct errinfo *info)
{
    char *path = file_join(h->path, name);
    if (!path) {
        return hffolder_nomem(info, h->path);
    }
    json_t *value = NULL;
    err e = json_parse_file(path, cap, &value, info);
    if (e == ERR_OK && !json_is_object(value)) {
        e = err_set(info, ERR_CORRUPT, "%s holds %s; expected an object", path,
                    json_type_name(value));
        json_decref(value);
    }
    mem_free(path);
    if (e == ERR_OK) {
        *out = value;
    }
    return e;
}

static bool hffolder_has(const struct hffolder *h, const char *name, err *failed)
{
    char *path = file_join(h->path, name);
    if (!path) {
        *failed = ERR_NOMEM;
        return false;
    }
    bool found = file_exists(path);
    mem_free(path);
    return found;
}

/* A plain file name: nothing that leaves the folder, hides or addresses anything but weights. */
static bool hffolder_name_is_safe(const char *name)
{
    size_t len = strlen(name);
    static const char ending[] = ".safetensors";
    if (len <= sizeof ending - 1 || len > HFFOLDER_FILE_NAME_MAX || name[0] == '.' ||
        strcmp(name + len - (sizeof ending - 1), ending) != 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '/' || name[i] == '\\' || name[i] < 0x20 || name[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

static err hffolder_add_file(struct hffolder *h, const char *name, struct errinfo *info)
{
    struct hffolder_file *f = &h->files[h->n_files];
    f->path = file_join(h->path, name);
    if (!f->path) {
        return hffolder_nomem(info, h->path);
    }
    h->n_files++;
    TRY(file_map_open(f->path, &f->map, info));
    return safetensors_parse(f->map.data, f->map.size, f->path, h->n_files - 1, h->tensors, info);
}

static int hffolder_by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct file names of the weight map, sorted; *names has room for every entry. */
static err hffolder_shard_names(const struct hffolder *h, json_t *weight_map, const char **names,
                                size_t *count, struct errinfo *info)
{
    size_t n = 0, distinct = 0;
    const char *tensor;
    json_t *file;
    json_object_foreach(weight_map, tensor, file)
    {
        if (!json_is_string(file) || !hffolder_name_is_safe(json_string_value(file))) {
            return err_set(
                info, ERR_CORRUPT,
                "%s/model.safetensors.index.json: the file of tensor %.255s is %s%.255s; expected "
                "the name of a .safetensors file in this folder",
                h->path, tensor, json_is_string(file) ? "" : json_type_name(file),
                json_is_string(file) ? json_string_value(file) : "");
        }
        names[n++] = json_string_value(file);
    }
    qsort(names, n, sizeof *names, hffolder_by_name);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(names[i], names[distinct - 1]) != 0) {
            names[distinct++] = names[i];
        }
    }
    if (distinct > HFFOLDER_SHARDS_MAX) {
        return err_set(info, ERR_LIMIT, "%s: %zu weight files; at most %d are accepted", h->path,
                       distinct, HFFOLDER_SHARDS_MAX);
    }
    *count = distinct;
    return ERR_OK;
}

/* Every shard must be there before any is parsed: the missing one is the message people need. */
static err hffolder_find_shards(const struct hffolder *h, const char **names, size_t n,
                                struct errinfo *info)
{
    for (size_t i = 0; i < n; i++) {
        err failed = ERR_OK;
        if (!hffolder_has(h, names[i], &failed)) {
            return failed != ERR_OK
                       ? hffolder_nomem(info, h->path)
                       : err_set(info, ERR_NOTFOUND,
                                 "%s: weight file %s (%zu of %zu) is missing; fetch it again",
                                 h->path, names[i], i + 1, n);
        }
    }
    return ERR_OK;
}

/* Each tensor of the weight map lies in the file the map names. */
static err hffolder_check_map(const struct hffolder *h, json_t *weight_map, struct errinfo *info)
{
    const char *tensor;
    json_t *file;
    json_object_foreach(weight_map, tensor, file)
    {
        const struct tensortable_entry *e = tensortable_find(h->tensors, tensor);
        const char *found = e ? strrchr(h->files[e->file].path, '/') + 1 : NULL;
        if (!found || strcmp(found, json_string_value(file)) != 0) {
            return err_set(info, ERR_CORRUPT, "%s: the index puts tensor %.255s into %s, but %s%s",
                           h->path, tensor, json_string_value(file),
                           found ? "it lies in " : "no file has it", found ? found : "");
        }
    }
    return ERR_OK;
}

static err hffolder_open_shards(struct hffolder *h, json_t *weight_map, struct errinfo *info)
{
    size_t n = 0;
    const char **names = mem_calloc(json_object_size(weight_map), sizeof *names);
    if (!names) {
        return hffolder_nomem(info, h->path);
    }
    err e = hffolder_shard_names(h, weight_map, names, &n, info);
    if (e == ERR_OK) {
        e = hffolder_find_shards(h, names, n, info);
    }
    if (e == ERR_OK) {
        h->files = mem_calloc(n, sizeof *h->files);
        e = h->files ? ERR_OK : hffolder_nomem(info, h->path);
    }
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = hffolder_add_file(h, names[i], info);
    }
    mem_free(names);
    return e == ERR_OK ? hffolder_check_map(h, weight_map, info) : e;
}

static err hffolder_open_index(struct hffolder *h, struct errinfo *info)
{
    json_t *index = NULL;
    TRY(hffolder_object(h, "model.safetensors.index.json", HFFOLDER_INDEX_MAX, &index, info));
    json_t *weight_map = json_object_get(index, "weight_map");
    err e;
    if (!json_is_object(weight_map) || json_object_size(weight_map) == 0) {
        e = err_set(
            info, ERR_CORRUPT,
            "%s/model.safetensors.index.json: weight_map is %s; expected an object with tensors",
            h->path, json_is_object(weight_map) ? "empty" : json_type_name(weight_map));
    } else {
        e = hffolder_open_shards(h, weight_map, info);
    }
    json_decref(index);
    return e;
}

static err hffolder_open_weights(struct hffolder *h, struct errinfo *info)
{
    err failed = ERR_OK;
    if (hffolder_has(h, "model.safetensors", &failed)) {
        h->files = mem_calloc(1, sizeof *h->files);
        return h->files ? hffolder_add_file(h, "model.safetensors", info)
                        : hffolder_nomem(info, h->path);
    }
    if (failed == ERR_OK && hffolder_has(h, "model.safetensors.index.json", &failed)) {
        return hffolder_open_index(h, info);
    }
    if (failed != ERR_OK) {
        return hffolder_nomem(info, h->path);
    }
    return err_set(
        info, ERR_NOTFOUND,
        "%s has neither model.safetensors nor model.safetensors.index.json; only safetensors "
        "weights are read",
        h->path);
}

/* The only quantisation that is read: FP8 E4M3 in blocks of 128 x 128. */
static err hffolder_check_quantization(const struct hffolder *h, struct errinfo *info)
{
    const json_t *q = json_object_get(h->config, "quantization_config");
    if (!q || json_is_null(q)) {
        return ERR_OK;
    }
    char where[512];
    snprintf(where, sizeof where, "%.400s/config.json: quantization_config", h->path);
    const char *method = NULL;
    err e = json_get_string(q, where, "quant_method", &method, info);
    if (e != ERR_OK) {
        return err_prefix(info, ERR_CORRUPT, "bad config: ");
    }
    if (strcmp(method, "fp8") != 0) {
        return err_set(
            info, ERR_UNSUPPORTED,
            "%s: quant_method \"%.60s\" is not read; only fp8 and unquantised weights are", where,
            method);
    }
    const json_t *block = json_object_get(q, "weight_block_size");
    uint64_t rows = 0, cols = 0;
    if (json_array_size(block) != 2 || !json_as_u64(json_array_get(block, 0), &rows) ||
        !json_as_u64(json_array_get(block, 1), &cols) || rows != TENSOR_FP8_BLOCK ||
        cols != TENSOR_FP8_BLOCK) {
        return err_set(info, ERR_UNSUPPORTED, "%s: weight_block_size must be [%d, %d]", where,
                       TENSOR_FP8_BLOCK, TENSOR_FP8_BLOCK);
    }
    const json_t *fmt = json_object_get(q, "fmt");
    if (fmt && !json_is_null(fmt) &&
        !(json_is_string(fmt) && strcmp(json_string_value(fmt), "e4m3") == 0)) {
        return err_set(info, ERR_UNSUPPORTED, "%s: fmt must be \"e4m3\"", where);
    }
    return ERR_OK;
}

/* The value of stored scale i; NaN (0xff in E8M0) is passed on for the caller to refuse. */
static float hffolder_scale_value(const struct tensor *s, size_t i)
{
    if (s->dtype == DTYPE_BF16) {
        return dtype_from_bf16(((const uint16_t *)s->data)[i]);
    }
    union {
        uint32_t u;
        float f;
    } v;
    uint32_t e = ((const uint8_t *)s->data)[i]; /* 2^(e - 127); e = 0 is a subnormal float */
    v.u = e == 255 ? 0x7fc00000u : e == 0 ? 0x00400000u : e << 23;
    return v.f;
}

static err hffolder_convert_scale(struct hffolder *h, const struct tensortable_entry *scale,
                                  const float **out, struct errinfo *info)
{
    size_t n = tensor_elems(&scale->tensor);
    void *memory = NULL;
    TRY(tensortable_own(h->tensors, n * sizeof(float), &memory, info));
    float *values = memory;
    for (size_t i = 0; i < n; i++) {
        values[i] = hffolder_scale_value(&scale->tensor, i);
        if (values[i] != values[i]) {
            return err_set(info, ERR_CORRUPT, "%s: value %zu of %s is not a number", h->path, i,
                           scale->name);
        }
    }
    *out = values;
    return ERR_OK;
}

static size_t hffolder_blocks(size_t n)
{
    return n / TENSOR_FP8_BLOCK + (n % TENSOR_FP8_BLOCK != 0);
}

/* The last two dimensions in blocks, any before them equal. */
static bool hffolder_scale_fits(const struct tensor *w, const struct tensor *s)
{
    if (w->rank < 2 || w->rank != s->rank) {
        return false;
    }
    for (uint32_t i = 0; i < w->rank; i++) {
        size_t want = i + 2 >= w->rank ? hffolder_blocks(w->shape[i]) : w->shape[i];
        if (s->shape[i] != want) {
            return false;
        }
    }
    return true;
}

static err hffolder_attach_scale(struct hffolder *h, struct tensortable_entry *weight,
                                 struct errinfo *info)
{
    char name[TENSORTABLE_NAME_MAX + 16];
    snprintf(name, sizeof name, "%s_scale_inv", weight->name);
    const struct tensortable_entry *scale = tensortable_find(h->tensors, name);
    if (!scale) {
        return err_set(info, ERR_CORRUPT, "%s: the FP8 tensor %s has no %s beside it", h->path,
                       weight->name, name);
    }
    char w[TENSORTABLE_SHAPE_TEXT], s[TENSORTABLE_SHAPE_TEXT];
    tensortable_shape_text(&weight->tensor, w);
    tensortable_shape_text(&scale->tensor, s);
    if (!hffolder_scale_fits(&weight->tensor, &scale->tensor)) {
        return err_set(
            info, ERR_CORRUPT,
            "%s: the FP8 tensor %s is %s and its scale is %s; expected one value per %d x %d block",
            h->path, weight->name, w, s, TENSOR_FP8_BLOCK, TENSOR_FP8_BLOCK);
    }
    switch (scale->tensor.dtype) {
    case DTYPE_F32: weight->tensor.scale = scale->tensor.data; return ERR_OK;
    case DTYPE_BF16:
    case DTYPE_F8_E8M0: return hffolder_convert_scale(h, scale, &weight->tensor.scale, info);
    default:
        return err_set(info, ERR_UNSUPPORTED, "%s: %s has type %s; scales are f32, bf16 or f8_e8m0",
                       h->path, name, dtype_info(scale->tensor.dtype)->name);
    }
}

static err hffolder_attach_scales(struct hffolder *h, struct errinfo *info)
{
    for (size_t i = 0; i < tensortable_count(h->tensors); i++) {
        const struct tensortable_entry *e = tensortable_at(h->tensors, i);
        if (e->tensor.dtype == DTYPE_F8_E4M3) {
            TRY(hffolder_attach_scale(h, tensortable_find_mutable(h->tensors, e->name), info));
        }
    }
    return ERR_OK;
}

static err hffolder_open_into(struct hffolder *h, const char *path, bool listing,
                              struct errinfo *info)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    h->path = mem_dup(path, len);
    if (!h->path) {
        return hffolder_nomem(info, path);
    }
    TRY(tensortable_new(&h->tensors, info));
    TRY(hffolder_object(h, "config.json", HFFOLDER_CONFIG_MAX, &h->config, info));
    if (!listing) {
        TRY(hffolder_check_quantization(h, info));
    }
    TRY(hffolder_open_weights(h, info));
    return listing ? ERR_OK : hffolder_attach_scales(h, info);
}

static err hffolder_open_either(const char *path, bool listing, struct hffolder **out,
                                struct errinfo *info)
{
    if (!file_is_dir(path)) {
        return err_set(info, file_exists(path) ? ERR_ARGUMENT : ERR_NOTFOUND,
                       "%s is not a folder; expected one with config.json and safetensors files",
                       path);
    }
    struct hffolder *h = mem_calloc(1, sizeof *h);
    if (!h) {
        return hffolder_nomem(info, path);
    }
    err e = hffolder_open_into(h, path, listing, info);
    if (e != ERR_OK) {
        hffolder_close(h);
        return e;
    }
    *out = h;
    return ERR_OK;
}

err hffolder_open(const char *path, struct hffolder **out, struct errinfo *info)
{
    return hffolder_open_either(path, false, out, info);
}

err hffolder_open_listing(const char *path, struct hffolder **out, struct errinfo *info)
{
    return hffolder_open_either(path, true, out, info);
}

const json_t *hffolder_config(const struct hffolder *h)
{
    return h->config;
}

const struct tensortable *hffolder_tensors(const struct hffolder *h)
{
    return h->tensors;
}

const char *hffolder_path(const struct hffolder *h)
{
    return h->path;
}

size_t hffolder_file_count(const struct hffolder *h)
{
    return h->n_files;
}

const char *hffolder_file_path(const struct hffolder *h, size_t i)
{
    return h->files[i].path;
}

size_t hffolder_file_size(const struct hffolder *h, size_t i)
{
    return h->files[i].map.size;
}
