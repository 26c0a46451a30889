/* model/weightnames.c: see weightnames.h. */
#include "model/weightnames.h"

#include <stdio.h>

/* Layer names lack their prefix "model.layers.N." or "blk.N.", expert names also "mlp.experts.E.". */
static const struct {
    const char *hf, *gguf;
} WEIGHTNAMES[WEIGHTNAMES_COUNT] = {
    [WEIGHTNAMES_EMBED] = {"model.embed_tokens.weight", "token_embd.weight"},
    [WEIGHTNAMES_NORM] = {"model.norm.weight", "output_norm.weight"},
    [WEIGHTNAMES_HEAD] = {"lm_head.weight", "output.weight"},
    [WEIGHTNAMES_ATTN_NORM] = {"input_layernorm.weight", "attn_norm.weight"},
    [WEIGHTNAMES_FFN_NORM] = {"post_attention_layernorm.weight", "ffn_norm.weight"},
    [WEIGHTNAMES_Q] = {"self_attn.q_proj.weight", "attn_q.weight"},
    [WEIGHTNAMES_K] = {"self_attn.k_proj.weight", "attn_k.weight"},
    [WEIGHTNAMES_V] = {"self_attn.v_proj.weight", "attn_v.weight"},
    [WEIGHTNAMES_Q_BIAS] = {"self_attn.q_proj.bias", "attn_q.bias"},
    [WEIGHTNAMES_K_BIAS] = {"self_attn.k_proj.bias", "attn_k.bias"},
    [WEIGHTNAMES_V_BIAS] = {"self_attn.v_proj.bias", "attn_v.bias"},
    [WEIGHTNAMES_O] = {"self_attn.o_proj.weight", "attn_output.weight"},
    [WEIGHTNAMES_Q_A] = {"self_attn.q_a_proj.weight", "attn_q_a.weight"},
    [WEIGHTNAMES_Q_A_NORM] = {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
    [WEIGHTNAMES_Q_B] = {"self_attn.q_b_proj.weight", "attn_q_b.weight"},
    [WEIGHTNAMES_KV_A] = {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
    [WEIGHTNAMES_KV_A_NORM] = {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"},
    [WEIGHTNAMES_KV_B] = {"self_attn.kv_b_proj.weight", "attn_kv_b.weight"},
    [WEIGHTNAMES_K_B] = {NULL, "attn_k_b.weight"},
    [WEIGHTNAMES_V_B] = {NULL, "attn_v_b.weight"},
    [WEIGHTNAMES_GATE] = {"mlp.gate_proj.weight", "ffn_gate.weight"},
    [WEIGHTNAMES_UP] = {"mlp.up_proj.weight", "ffn_up.weight"},
    [WEIGHTNAMES_DOWN] = {"mlp.down_proj.weight", "ffn_down.weight"},
    [WEIGHTNAMES_SHARED_GATE] = {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"},
    [WEIGHTNAMES_SHARED_UP] = {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
    [WEIGHTNAMES_SHARED_DOWN] = {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"},
    [WEIGHTNAMES_ROUTER] = {"mlp.gate.weight", "ffn_gate_inp.weight"},
    [WEIGHTNAMES_ROUTER_BIAS] = {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    [WEIGHTNAMES_MTP_JOIN] = {"eh_proj.weight", "nextn.eh_proj.weight"},
    [WEIGHTNAMES_MTP_EMBED_NORM] = {"enorm.weight", "nextn.enorm.weight"},
    [WEIGHTNAMES_MTP_HIDDEN_NORM] = {"hnorm.weight", "nextn.hnorm.weight"},
    [WEIGHTNAMES_MTP_EMBED] = {"embed_tokens.weight", "nextn.embed_tokens.weight"},
    [WEIGHTNAMES_MTP_NORM] = {"shared_head.norm.weight", "nextn.shared_head_norm.weight"},
    [WEIGHTNAMES_MTP_HEAD] = {"shared_head.head.weight", "nextn.shared_head_head.weight"},
    [WEIGHTNAMES_EXPERT_GATE] = {"gate_proj.weight", "ffn_gate_exps.weight"},
    [WEIGHTNAMES_EXPERT_UP] = {"up_proj.weight", "ffn_up_exps.weight"},
    [WEIGHTNAMES_EXPERT_DOWN] = {"down_proj.weight", "ffn_down_exps.weight"},
};

void weightnames_format(enum weightnames_scheme scheme, enum weightnames_id id, size_t layer,
                        size_t expert, char out[TENSORTABLE_NAME_MAX + 1])
{
    const char *name = scheme == WEIGHTNAMES_HF ? WEIGHTNAMES[id].hf : WEIGHTNAMES[id].gguf;
    size_t cap = TENSORTABLE_NAME_MAX + 1;
    if (!name) {
        out[0] = 0;
    } else if (id < WEIGHTNAMES_ATTN_NORM) {
        snprintf(out, cap, "%s", name);
    } else if (scheme == WEIGHTNAMES_GGUF) {
        snprintf(out, cap, "blk.%zu.%s", layer, name);
    } else if (id < WEIGHTNAMES_EXPERT_GATE) {
        snprintf(out, cap, "model.layers.%zu.%s", layer, name);
    } else {
        snprintf(out, cap, "model.layers.%zu.mlp.experts.%zu.%s", layer, expert, name);
    }
}

err weightnames_detect(const struct tensortable *table, enum weightnames_scheme *out,
                       struct errinfo *info)
{
    if (tensortable_find(table, WEIGHTNAMES[WEIGHTNAMES_EMBED].gguf)) {
        *out = WEIGHTNAMES_GGUF;
        return ERR_OK;
    }
    if (tensortable_find(table, WEIGHTNAMES[WEIGHTNAMES_EMBED].hf)) {
        *out = WEIGHTNAMES_HF;
        return ERR_OK;
    }
    return err_set(info, ERR_CORRUPT, "the %zu tensors hold no embedding: neither %s nor %s is there",
                   tensortable_count(table), WEIGHTNAMES[WEIGHTNAMES_EMBED].gguf,
                   WEIGHTNAMES[WEIGHTNAMES_EMBED].hf);
}
