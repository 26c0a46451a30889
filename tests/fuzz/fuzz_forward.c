/* tests/fuzz/fuzz_forward.c: a GGUF model with some bytes of its header (and weights) changed, opened
 * and run for three tokens. Random bytes would never get past the header; so the input is a list of
 * edits to one of the golden models: byte 0 chooses it, then records of 5 bytes: place (u16), kind,
 * value (u16). Run from the repository's root. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/model.h"
#include "model/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_BASES = 4, FUZZ_TOKENS = 3, FUZZ_WORKSPACE = 128 << 20, FUZZ_MAX = 8 << 20 };

static const char *const FUZZ_PATHS[FUZZ_BASES] = {
    "tests/golden/model/v3/model.gguf", "tests/golden/model/v2-lite/model.gguf",
    "tests/golden/model/llama3/model.gguf", "tests/golden/model/qwen2/model.gguf"};

struct fuzz_base {
    char *data;
    size_t size, header; /* header: bytes before the tensor data, about */
};

static const struct fuzz_base *fuzz_base(size_t i)
{
    static struct fuzz_base bases[FUZZ_BASES]; /* stays for the life of the process */
    if (!bases[i].data) {
        struct gguf *g = NULL;
        if (file_read(FUZZ_PATHS[i], FUZZ_MAX, &bases[i].data, &bases[i].size, NULL) != ERR_OK ||
            gguf_parse((const uint8_t *)bases[i].data, bases[i].size, "base", &g, NULL) != ERR_OK) {
            abort();
        }
        bases[i].header = tensortable_at(gguf_tensors(g), 0)->offset;
        gguf_close(g);
    }
    return &bases[i];
}

static void fuzz_edit(uint8_t *file, const struct fuzz_base *base, const uint8_t *record)
{
    static const uint32_t numbers[] = {0, 1, 2, 3, 7, 8, 255, 256, 4096, 65535, 1u << 20, 1u << 24,
                                       0x7f800000, 0x7fc00000, 0xff800000, UINT32_MAX};
    size_t place = (size_t)(record[0] | record[1] << 8);
    uint32_t value = (uint32_t)(record[3] | record[4] << 8);
    switch (record[2] % 5) {
    case 0: file[place % base->header] = record[3]; break;
    case 1: memcpy(file + place % (base->header - 4), &numbers[value % 16], 4); break;
    case 2: memcpy(file + place % (base->header - 4), &value, 4); break;
    case 3: file[place % base->header] ^= (uint8_t)(1u << record[3] % 8); break;
    default: /* a weight becomes something extreme */
        memcpy(file + base->header + (place * 997 + value) % (base->size - base->header - 4),
               &numbers[record[3] % 16], 4);
        break;
    }
}

static void fuzz_run(const struct model *m)
{
    const struct config *c = model_config(m);
    struct compute *compute = NULL;
    struct model_workspace *w = NULL;
    size_t row_k = model_cache_k_width(m) * 2, row_v = model_cache_v_width(m) * 2;
    if (model_workspace_bytes(m, FUZZ_TOKENS) > FUZZ_WORKSPACE || c->num_hidden_layers > 8 ||
        compute_new(cpuinfo_best(), 1, false, &compute, NULL) != ERR_OK) {
        return;
    }
    void *k[8] = {0}, *v[8] = {0};
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        k[i] = malloc(FUZZ_TOKENS * row_k);
        v[i] = malloc(FUZZ_TOKENS * row_v + 1);
    }
    struct model_cache cache = {.dtype = DTYPE_BF16, .capacity = FUZZ_TOKENS, .k = k, .v = v};
    float *logits = malloc(FUZZ_TOKENS * c->vocab_size * sizeof *logits);
    const int32_t tokens[FUZZ_TOKENS] = {0, (int32_t)(c->vocab_size / 2), (int32_t)c->vocab_size - 1};
    struct model_segment seg = {.cache = &cache, .tokens = tokens, .n_tokens = 2, .logits = logits,
                                .all_logits = true};
    if (model_workspace_new(m, FUZZ_TOKENS, &w, NULL) == ERR_OK &&
        model_forward(m, compute, w, &seg, 1, NULL, NULL, NULL) == ERR_OK) {
        seg.tokens = tokens + 2;
        seg.n_tokens = 1;
        if (model_forward(m, compute, w, &seg, 1, NULL, NULL, NULL) != ERR_OK) {
            abort();
        }
    }
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        free(k[i]);
        free(v[i]);
    }
    free(logits);
    model_workspace_free(w);
    compute_free(compute);
}

static void fuzz_open(const struct gguf *g)
{
    struct errinfo info = {0};
    struct config c;
    struct model *m = NULL;
    struct tokenizer *t = NULL;
    struct chat_guess format = {0};
    err e = config_from_gguf(g, &c, &info);
    if (e == ERR_OK) {
        e = model_from_tensors(&c, gguf_tensors(g), &m, &info);
    }
    if (e != ERR_OK && info.message[0] == 0) {
        abort();
    }
    if (e == ERR_OK) {
        fuzz_run(m);
        model_close(m);
    }
    if (vocab_from_gguf(g, &t, &format, &info) == ERR_OK) {
        tokenizer_free(t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct fuzz_base *base = fuzz_base(data[0] % FUZZ_BASES);
    size_t alive = mem_alive();
    uint8_t *file = malloc(base->size);
    memcpy(file, base->data, base->size);
    for (size_t i = 1; i + 5 <= size && i < 5 * 16; i += 5) {
        fuzz_edit(file, base, data + i);
    }
    struct gguf *g = NULL;
    if (gguf_parse(file, base->size, "fuzz.gguf", &g, NULL) == ERR_OK) {
        fuzz_open(g);
        gguf_close(g);
    }
    free(file);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
