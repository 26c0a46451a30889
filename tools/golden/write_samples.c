/* tools/golden/write_samples.c: writes DIR/sample.gguf and DIR/sample.safetensors for check_formats.py,
 * which knows the same names, keys and byte pattern. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

static const enum dtype gguf_types[] = {
    DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1,  DTYPE_Q5_0, DTYPE_Q5_1,
    DTYPE_Q2_K, DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_MXFP4, DTYPE_I32};
static const enum dtype safetensors_types[] = {DTYPE_F64,     DTYPE_F32, DTYPE_F16, DTYPE_BF16,
                                               DTYPE_F8_E4M3, DTYPE_I64, DTYPE_I32, DTYPE_I16,
                                               DTYPE_I8,      DTYPE_U8};
enum {
    GGUF_TYPES_N = sizeof gguf_types / sizeof *gguf_types,
    SAFETENSORS_TYPES_N = sizeof safetensors_types / sizeof *safetensors_types
};

static unsigned char buffer[1 << 16];

static const void *pattern(size_t seed, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buffer[i] = (unsigned char)((i * 37 + seed * 11 + 1) & 0x3f);
    }
    return buffer;
}

static err sample_keys(struct gguf_writer *w)
{
    static const struct gguf_string tokens[] = {{"a", 1}, {"", 0}, {"\xc4\xa0the", 5}};
    static const int32_t types[] = {-3, 0, 7};
    static const float limits[] = {0.5f, -1.0f};
    TRY(gguf_writer_string(w, "general.architecture", "llama", 5));
    TRY(gguf_writer_u32(w, "llama.block_count", 7));
    TRY(gguf_writer_f32(w, "llama.eps", 1e-5f));
    TRY(gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true));
    TRY(gguf_writer_strings(w, "tokenizer.ggml.tokens", tokens, 3));
    TRY(gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, 3));
    return gguf_writer_f32s(w, "limits", limits, 2);
}

static err sample_gguf(const char *path, struct errinfo *info)
{
    static const size_t shape[3] = {2, 3, 256};
    struct gguf_writer *w = NULL;
    struct tensor t[GGUF_TYPES_N];
    TRY(gguf_writer_new(path, &w, info));
    err e = sample_keys(w);
    for (size_t i = 0; i < GGUF_TYPES_N && e == ERR_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "t.%s", dtype_info(gguf_types[i])->name);
        e = tensor_init(&t[i], gguf_types[i], 3, shape, NULL);
        e = e == ERR_OK ? gguf_writer_tensor(w, name, &t[i], info) : e;
    }
    e = e == ERR_OK ? gguf_writer_begin_data(w, info) : e;
    for (size_t i = 0; i < GGUF_TYPES_N && e == ERR_OK; i++) {
        size_t n = tensor_bytes(&t[i]);
        e = gguf_writer_data(w, pattern(i, n), n, info);
    }
    e = e == ERR_OK ? gguf_writer_commit(w, info) : e;
    gguf_writer_free(w);
    return e;
}

static err sample_safetensors(const char *path, struct errinfo *info)
{
    static const size_t shape[2] = {3, 5};
    struct safetensors_writer *w = NULL;
    struct tensor t[SAFETENSORS_TYPES_N];
    TRY(safetensors_writer_new(path, &w, info));
    err e = ERR_OK;
    for (size_t i = 0; i < SAFETENSORS_TYPES_N && e == ERR_OK; i++) {
        e = tensor_init(&t[i], safetensors_types[i], 2, shape, NULL);
        e = e == ERR_OK
                ? safetensors_writer_tensor(w, dtype_info(safetensors_types[i])->name, &t[i], info)
                : e;
    }
    e = e == ERR_OK ? safetensors_writer_begin_data(w, info) : e;
    for (size_t i = 0; i < SAFETENSORS_TYPES_N && e == ERR_OK; i++) {
        size_t n = tensor_bytes(&t[i]);
        e = safetensors_writer_data(w, pattern(i, n), n, info);
    }
    e = e == ERR_OK ? safetensors_writer_commit(w, info) : e;
    safetensors_writer_free(w);
    return e;
}

int main(int argc, char **argv)
{
    char path[4096];
    struct errinfo info = {0};
    if (argc != 2) {
        fputs("usage: write_samples DIR\n", stderr);
        return 2;
    }
    snprintf(path, sizeof path, "%s/sample.gguf", argv[1]);
    err e = sample_gguf(path, &info);
    if (e == ERR_OK) {
        snprintf(path, sizeof path, "%s/sample.safetensors", argv[1]);
        e = sample_safetensors(path, &info);
    }
    if (e != ERR_OK) {
        fprintf(stderr, "write_samples: %s: %s\n", err_name(e), info.message);
        return 1;
    }
    return 0;
}
