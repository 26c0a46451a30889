/* model/quantmix.c: see quantmix.h. */
#include "model/quantmix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct quantmix_name {
    const char *name;
    enum quantmix_kind kind;
    enum dtype base;
    int ggml_ftype; /* enum llama_ftype */
};

static const struct quantmix_name quantmix_names[] = {
    {"f32", QUANTMIX_UNIFORM, DTYPE_F32, 0},
    {"f16", QUANTMIX_UNIFORM, DTYPE_F16, 1},
    {"bf16", QUANTMIX_UNIFORM, DTYPE_BF16, 32},
    {"q8_0", QUANTMIX_UNIFORM, DTYPE_Q8_0, 7},
    {"q6_k", QUANTMIX_UNIFORM, DTYPE_Q6_K, 18},
    {"q5_k_m", QUANTMIX_Q5_K_M, DTYPE_Q5_K, 17},
    {"q5_k_s", QUANTMIX_Q5_K_S, DTYPE_Q5_K, 16},
    {"q5_k", QUANTMIX_UNIFORM, DTYPE_Q5_K, 16},
    {"q5_1", QUANTMIX_UNIFORM, DTYPE_Q5_1, 9},
    {"q5_0", QUANTMIX_UNIFORM, DTYPE_Q5_0, 8},
    {"q4_k_m", QUANTMIX_Q4_K_M, DTYPE_Q4_K, 15},
    {"q4_k_s", QUANTMIX_Q4_K_S, DTYPE_Q4_K, 14},
    {"q4_k", QUANTMIX_UNIFORM, DTYPE_Q4_K, 14},
    {"q4_1", QUANTMIX_UNIFORM, DTYPE_Q4_1, 3},
    {"q4_0", QUANTMIX_UNIFORM, DTYPE_Q4_0, 2},
    {"mxfp4", QUANTMIX_UNIFORM, DTYPE_MXFP4, 38},
    {"q3_k_m", QUANTMIX_Q3_K_M, DTYPE_Q3_K, 12},
    {"q3_k", QUANTMIX_UNIFORM, DTYPE_Q3_K, 11},
    {"q2_k", QUANTMIX_Q2_K, DTYPE_Q2_K, 10},
};

enum { QUANTMIX_NAMES = sizeof quantmix_names / sizeof *quantmix_names };

err quantmix_init(struct quantmix *mix, const char *name, const struct config *c,
                  struct errinfo *info)
{
    char known[256];
    size_t used = 0;
    known[0] = '\0';
    for (size_t i = 0; i < QUANTMIX_NAMES; i++) {
        const struct quantmix_name *row = &quantmix_names[i];
        if (strcasecmp(row->name, name) == 0) {
            size_t kv = c->num_key_value_heads ? c->num_key_value_heads : 1;
            *mix = (struct quantmix){.name = row->name,
                                     .kind = row->kind,
                                     .base = row->base,
                                     .n_layers = c->num_hidden_layers,
                                     .tied = c->tie_word_embeddings,
                                     .wide_gqa = c->num_attention_heads / kv >= 4,
                                     .is_70b = !config_is_mla(c) && c->num_hidden_layers == 80 &&
                                               c->num_attention_heads != kv,
                                     .ggml_ftype = row->ggml_ftype};
            return ERR_OK;
        }
        int n = snprintf(known + used, sizeof known - used, " %s", row->name);
        used += n > 0 ? (size_t)n : 0;
    }
    return err_set(info, ERR_ARGUMENT, "\"%s\" is no weight type; known:%s", name, known);
}

err quantmix_set_dense(struct quantmix *mix, const char *name, const struct config *c, struct errinfo *info)
{
    struct quantmix plain;
    if (c->n_routed_experts == 0) {
        return err_set(info, ERR_ARGUMENT,
                       "a type for all but the routed experts: this model has no routed experts");
    }
    TRY(quantmix_init(&plain, name, c, info));
    if (plain.kind != QUANTMIX_UNIFORM) {
        return err_set(info, ERR_ARGUMENT,
                       "all but the routed experts: %s is a mix, expected a plain type (q8_0 …)", name);
    }
    mix->has_dense = true;
    mix->dense = plain.base;
    return ERR_OK;
}

/* The layers that get more bits: the first and last eighth and every third between. */
static bool quantmix_more_bits(size_t layer, size_t n_layers)
{
    size_t eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

static enum dtype quantmix_value_type(const struct quantmix *m, size_t layer)
{
    switch (m->kind) {
    case QUANTMIX_Q2_K: return m->wide_gqa ? DTYPE_Q4_K : DTYPE_Q3_K;
    case QUANTMIX_Q3_K_M: return layer < 2 ? DTYPE_Q5_K : DTYPE_Q4_K;
    case QUANTMIX_Q4_K_S: return layer < 4 ? DTYPE_Q5_K : m->base;
    case QUANTMIX_Q4_K_M:
    case QUANTMIX_Q5_K_M: return quantmix_more_bits(layer, m->n_layers) ? DTYPE_Q6_K : m->base;
    default: return m->base;
    }
}

static enum dtype quantmix_down_type(const struct quantmix *m, size_t layer)
{
    switch (m->kind) {
    case QUANTMIX_Q2_K: return DTYPE_Q3_K;
    case QUANTMIX_Q3_K_M: return layer < m->n_layers / 16 ? DTYPE_Q5_K : DTYPE_Q4_K;
    case QUANTMIX_Q4_K_S: return layer < m->n_layers / 8 ? DTYPE_Q5_K : m->base;
    case QUANTMIX_Q4_K_M:
    case QUANTMIX_Q5_K_M: return quantmix_more_bits(layer, m->n_layers) ? DTYPE_Q6_K : m->base;
    default: return m->base;
    }
}

static enum dtype quantmix_output_type(const struct quantmix *m)
{
    switch (m->kind) {
    case QUANTMIX_Q2_K: return DTYPE_Q3_K;
    case QUANTMIX_Q3_K_M: return DTYPE_Q4_K;
    default: return m->base;
    }
}

/* The nearest type of at least as many bits whose block divides the row. */
static enum dtype quantmix_fit(enum dtype t, size_t cols)
{
    if (cols % dtype_info(t)->block_elems == 0) {
        return t;
    }
    enum dtype smaller = t;
    switch (t) {
    case DTYPE_Q2_K:
    case DTYPE_Q3_K: smaller = DTYPE_Q4_0; break;
    case DTYPE_Q4_K: smaller = DTYPE_Q5_0; break;
    case DTYPE_Q5_K: smaller = DTYPE_Q5_1; break;
    default: smaller = DTYPE_Q8_0; break;
    }
    return cols % dtype_info(smaller)->block_elems == 0 ? smaller : DTYPE_F16;
}

static enum dtype quantmix_wish(const struct quantmix *m, const char *name)
{
    if (m->has_dense && !strstr(name, "_exps.")) {
        return m->dense;
    }
    if (m->kind == QUANTMIX_UNIFORM && m->base <= DTYPE_BF16) {
        return m->base;
    }
    bool head = strcmp(name, "output.weight") == 0 ||
                strstr(name, ".nextn.shared_head_head.") != NULL ||
                (m->tied && strcmp(name, "token_embd.weight") == 0);
    if (head) {
        return m->base == DTYPE_Q8_0 ? DTYPE_Q8_0 : DTYPE_Q6_K;
    }
    const char *stem = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    if (!stem) {
        return m->base;
    }
    size_t layer = strtoul(name + 4, NULL, 10);
    if (strcmp(stem, ".attn_v.weight") == 0) {
        enum dtype t = quantmix_value_type(m, layer);
        bool raise = m->is_70b && m->kind != QUANTMIX_UNIFORM;
        return raise && (t == DTYPE_Q3_K || t == DTYPE_Q4_K) ? DTYPE_Q5_K : t;
    }
    if (strcmp(stem, ".attn_k_b.weight") == 0 || strcmp(stem, ".attn_v_b.weight") == 0 ||
        strcmp(stem, ".attn_kv_b.weight") == 0) {
        return DTYPE_Q8_0; /* small, and every cached token goes through them */
    }
    if (strncmp(stem, ".ffn_down", 9) == 0) {
        return quantmix_down_type(m, layer);
    }
    if (strcmp(stem, ".attn_output.weight") == 0) {
        return quantmix_output_type(m);
    }
    return m->base;
}

/* What stays F32 whatever the mix: vectors, which cost nothing, and the router, which must not err. */
static bool quantmix_is_exact(const char *name, uint32_t rank)
{
    return rank < 2 || strstr(name, ".ffn_gate_inp.") != NULL;
}

enum dtype quantmix_type(const struct quantmix *m, const char *name, uint32_t rank,
                         const size_t *shape)
{
    return quantmix_is_exact(name, rank) ? DTYPE_F32
                                         : quantmix_fit(quantmix_wish(m, name), shape[rank - 1]);
}

bool quantmix_falls_back(const struct quantmix *m, const char *name, uint32_t rank,
                         const size_t *shape)
{
    return !quantmix_is_exact(name, rank) &&
           quantmix_type(m, name, rank, shape) != quantmix_wish(m, name);
}

const char *quantmix_name_at(size_t i)
{
    return i < QUANTMIX_NAMES ? quantmix_names[i].name : NULL;
}
