/* engine/identity.c: see identity.h. */
#include "engine/identity.h"

#include <sodium.h>
#include <string.h>

static void identity_text(crypto_generichash_state *h, const char *text)
{
    crypto_generichash_update(h, (const uint8_t *)text, strlen(text) + 1);
}

static void identity_config(crypto_generichash_state *h, const struct config *c)
{
    const uint64_t sizes[] = {c->family, c->vocab_size, c->hidden_size, c->num_hidden_layers,
                              c->intermediate_size, c->num_attention_heads, c->num_key_value_heads,
                              c->head_dim, c->q_lora_rank, c->kv_lora_rank, c->qk_nope_head_dim,
                              c->qk_rope_head_dim, c->v_head_dim, c->n_routed_experts,
                              c->n_shared_experts, c->num_experts_per_tok, c->topk_method,
                              c->scoring_func, c->n_group, c->topk_group, c->norm_topk_prob,
                              c->first_k_dense_replace, c->rope_dim, c->rope_pairs};
    const float reals[] = {c->rms_norm_eps, c->routed_scaling_factor, c->attention_scale};
    crypto_generichash_update(h, (const uint8_t *)sizes, sizeof sizes);
    crypto_generichash_update(h, (const uint8_t *)reals, sizeof reals);
    crypto_generichash_update(h, (const uint8_t *)c->rope_freqs,
                              c->rope_dim / 2 * sizeof *c->rope_freqs);
}

static void identity_vocabulary(crypto_generichash_state *h, const struct tokenizer *t)
{
    for (size_t i = 0; t && i < tokenizer_size(t); i++) {
        struct tokenizer_piece p = tokenizer_piece_at(t, (int32_t)i);
        uint64_t about[] = {p.len, (uint64_t)tokenizer_kind_at(t, (int32_t)i)};
        crypto_generichash_update(h, (const uint8_t *)about, sizeof about);
        crypto_generichash_update(h, (const uint8_t *)p.data, p.len);
    }
}

/* The bytes of a tensor, or about `share` of them in whole pages. */
static void identity_bytes(crypto_generichash_state *h, const uint8_t *data, size_t n, double share)
{
    size_t pages = n / IDENTITY_PAGE, want = (size_t)((double)pages * share);
    want = want > 2 ? want : 2;
    if (share >= 1 || pages <= want) {
        crypto_generichash_update(h, data, n);
        return;
    }
    for (size_t i = 0; i + 1 < want; i++) {
        size_t page = i * pages / (want - 1);
        crypto_generichash_update(h, data + page * IDENTITY_PAGE, IDENTITY_PAGE);
    }
    crypto_generichash_update(h, data + n - IDENTITY_PAGE, IDENTITY_PAGE);
}

/* Bytes of the multipliers of FP8 blocks. */
static size_t identity_scale_bytes(const struct tensor *t)
{
    size_t block = TENSOR_FP8_BLOCK, cols = (tensor_cols(t) + block - 1) / block;
    size_t out = t->shape[t->rank - 2], experts = tensor_rows(t) / out;
    return experts * ((out + block - 1) / block) * cols * sizeof *t->scale;
}

void identity_of(const struct model *m, uint8_t out[IDENTITY_BYTES])
{
    const struct tensortable *table = model_tensors(m);
    size_t n = tensortable_count(table);
    double total = 1;
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, IDENTITY_BYTES);
    identity_config(&h, model_config(m));
    identity_vocabulary(&h, model_tokenizer(m));
    for (size_t i = 0; i < n; i++) {
        total += (double)tensor_bytes(&tensortable_at(table, i)->tensor);
    }
    double share = (double)IDENTITY_PAGES * IDENTITY_PAGE / total;
    for (size_t i = 0; i < n; i++) {
        const struct tensortable_entry *entry = tensortable_at(table, i);
        const struct tensor *t = &entry->tensor;
        identity_text(&h, entry->name);
        identity_text(&h, dtype_info(t->dtype)->name);
        for (uint32_t d = 0; d < t->rank; d++) {
            uint64_t size = t->shape[d];
            crypto_generichash_update(&h, (const uint8_t *)&size, sizeof size);
        }
        identity_bytes(&h, t->data, tensor_bytes(t), share);
        if (t->scale) {
            identity_bytes(&h, (const uint8_t *)t->scale, identity_scale_bytes(t), share);
        }
    }
    crypto_generichash_final(&h, out, IDENTITY_BYTES);
}
