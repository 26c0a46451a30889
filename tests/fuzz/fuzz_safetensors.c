/* tests/fuzz/fuzz_safetensors.c: any bytes as a safetensors file. What parses must tile the data; what
 * holds a model's embedding is put into a folder beside a config.json that asks for such tensors (latent
 * attention, experts and FP8, or Llama), opened as that folder, and gives a first answer. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/safetensors.h"
#include "fuzz/modelstep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Bytes changed anywhere seldom leave a whole file behind, so most changes are to the data alone, or put a
 * digit of the header in another's place. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint64_t header = 0;
    if (size >= 8) {
        memcpy(&header, data, 8);
    }
    if (seed % 8 == 0 || header == 0 || header >= size - 8) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    if (seed % 2) {
        LLVMFuzzerMutate(data + 8 + header, size - 8 - header, size - 8 - header);
        return size;
    }
    size_t a = 8 + (seed >> 3) % header, b = 8 + (seed >> 12) % header;
    for (; a < 8 + header && (data[a] < '0' || data[a] > '9'); a++) {
    }
    for (; b < 8 + header && (data[b] < '0' || data[b] > '9'); b++) {
    }
    data[a] = data[b]; /* at worst the first byte of the data, which is there */
    return size;
}

static volatile unsigned char sink; /* keeps the reads */

#define FUZZ_SIZES "\"vocab_size\":8,\"hidden_size\":8,\"num_hidden_layers\":1,\"intermediate_size\":8," \
                   "\"num_attention_heads\":2,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,"    \
                   "\"rope_theta\":10000.0,\"hidden_act\":\"silu\","

static const char FUZZ_LLAMA[] = "{\"architectures\":[\"LlamaForCausalLM\"]," FUZZ_SIZES
                                 "\"num_key_value_heads\":1,\"head_dim\":4,\"tie_word_embeddings\":true}";
static const char FUZZ_V3[] =
    "{\"architectures\":[\"DeepseekV3ForCausalLM\"]," FUZZ_SIZES
    "\"num_key_value_heads\":2,\"q_lora_rank\":4,\"kv_lora_rank\":4,\"qk_nope_head_dim\":4,"
    "\"qk_rope_head_dim\":2,\"v_head_dim\":4,\"n_routed_experts\":2,\"n_shared_experts\":1,"
    "\"num_experts_per_tok\":1,\"moe_intermediate_size\":4,\"first_k_dense_replace\":0,\"n_group\":1,"
    "\"topk_group\":1,\"routed_scaling_factor\":2.5,\"norm_topk_prob\":true,\"scoring_func\":\"sigmoid\","
    "\"topk_method\":\"noaux_tc\",\"tie_word_embeddings\":false,\"quantization_config\":{"
    "\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[128,128]}}";

/* The folder, made at the first use and taken away at exit. */
static char fuzz_folder[] = "/tmp/fuzz_safetensors_XXXXXX";
static char fuzz_config[sizeof fuzz_folder + 32], fuzz_weights[sizeof fuzz_folder + 32];

static void fuzz_remove(void)
{
    unlink(fuzz_config);
    unlink(fuzz_weights);
    rmdir(fuzz_folder);
}

/* A new file each time: written anew in place, some file systems wait for the disk. */
static void fuzz_write(const char *path, const void *data, size_t size)
{
    unlink(path);
    FILE *f = fopen(path, "wb");
    modelstep_check(f && fwrite(data, 1, size, f) == size && fclose(f) == 0, NULL);
}

static void fuzz_open(const uint8_t *data, size_t size, const char *config)
{
    struct errinfo info = {0};
    struct model *m = NULL;
    if (!fuzz_config[0]) {
        modelstep_check(mkdtemp(fuzz_folder) != NULL, NULL);
        snprintf(fuzz_config, sizeof fuzz_config, "%s/config.json", fuzz_folder);
        snprintf(fuzz_weights, sizeof fuzz_weights, "%s/model.safetensors", fuzz_folder);
        modelstep_check(atexit(fuzz_remove) == 0, NULL);
    }
    fuzz_write(fuzz_config, config, strlen(config));
    fuzz_write(fuzz_weights, data, size);
    if (model_open(fuzz_folder, &m, &info) == ERR_OK) {
        modelstep_answer_any(m, size % 2);
        model_close(m);
    } else {
        modelstep_check(info.message[0] != 0, NULL);
    }
}

static void check_tiling(const struct tensortable *t, const uint8_t *data, size_t size)
{
    size_t bytes = 0;
    for (size_t i = 0; i < tensortable_count(t); i++) {
        const struct tensortable_entry *entry = tensortable_at(t, i);
        size_t n = tensor_bytes(&entry->tensor);
        const unsigned char *p = entry->tensor.data;
        for (size_t b = 0; b < n; b++) {
            sink = (unsigned char)(sink ^ p[b]);
        }
        modelstep_check(entry->offset + n <= size && memcmp(p, data + entry->offset, n) == 0, NULL);
        bytes += n;
    }
    modelstep_check(bytes <= size - 8, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tensortable *t = NULL;
    struct errinfo info = {0};
    size_t alive = mem_alive();
    if (tensortable_new(&t, NULL) != ERR_OK) {
        return 0;
    }
    err e = safetensors_parse(data, size, "fuzz.safetensors", 0, t, &info);
    if (e == ERR_OK) {
        check_tiling(t, data, size);
        if (tensortable_find(t, "model.embed_tokens.weight")) {
            bool latent = tensortable_find(t, "model.layers.0.self_attn.kv_b_proj.weight") != NULL;
            fuzz_open(data, size, latent ? FUZZ_V3 : FUZZ_LLAMA);
        }
    } else {
        modelstep_check(info.code == e && strstr(info.message, "fuzz.safetensors"), &info);
    }
    tensortable_free(t);
    modelstep_check(mem_alive() == alive, NULL);
    return 0;
}
