/* engine/workload.c: see workload.h. */
#include "engine/workload.h"

#include <math.h>

double workload_unique_experts(double n_experts, double k, double n_tokens)
{
    return n_experts * (1 - pow(1 - k / n_experts, n_tokens));
}

/* Weight bytes one pass over n tokens reads. */
static double workload_weight_bytes(const struct model *m, size_t n)
{
    const struct config *c = model_config(m);
    double all = (double)model_active_bytes(m);
    if (c->n_routed_experts == 0) {
        return all;
    }
    double e = (double)c->n_routed_experts, k = (double)c->num_experts_per_tok;
    double experts = (double)model_expert_bytes(m);
    return all + experts * (workload_unique_experts(e, k, (double)n) - k) / e;
}

static double workload_cache_bytes(const struct model *m, size_t positions, enum dtype kv_type)
{
    double width = (double)(model_cache_k_width(m) + model_cache_v_width(m));
    return (double)positions * width * (double)dtype_info(kv_type)->block_bytes *
           (double)model_config(m)->num_hidden_layers;
}

/* Products of one query with one key and of its weight with one value, all heads and layers. Expanded
 * heads for many tokens at once; MLA's absorbed ones, wider but cached, for one. */
static double workload_pair_flops(const struct config *c, bool absorbed)
{
    double widths;
    if (!config_is_mla(c)) {
        widths = 2.0 * (double)c->head_dim;
    } else if (absorbed) {
        widths = (double)(2 * c->kv_lora_rank + c->qk_rope_head_dim);
    } else {
        widths = (double)(c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim);
    }
    return 2.0 * widths * (double)c->num_attention_heads * (double)c->num_hidden_layers;
}

static double workload_token_flops(const struct model *m, double *head)
{
    const struct config *c = model_config(m);
    *head = 2.0 * (double)c->vocab_size * (double)c->hidden_size;
    return 2.0 * (double)model_active_parameters(m) - *head;
}

struct workload workload_prefill(const struct model *m, size_t n, size_t depth, size_t chunk,
                                 enum dtype kv_type)
{
    double head, token = workload_token_flops(m, &head);
    double pairs = (double)n * (double)depth + 0.5 * (double)n * (double)(n + 1);
    struct workload w = {.flops = token * (double)n + head +
                                  workload_pair_flops(model_config(m), false) * pairs};
    for (size_t done = 0; done < n; done += chunk) {
        size_t now = n - done < chunk ? n - done : chunk;
        w.bytes += workload_weight_bytes(m, now) + workload_cache_bytes(m, depth + done, kv_type);
    }
    return w;
}

struct workload workload_decode(const struct model *m, size_t batch, size_t depth, enum dtype kv_type)
{
    double head, token = workload_token_flops(m, &head);
    double pairs = (double)(depth + 1);
    return (struct workload){
        .flops = (double)batch *
                 (token + head + workload_pair_flops(model_config(m), true) * pairs),
        .bytes = workload_weight_bytes(m, batch) +
                 (double)batch * workload_cache_bytes(m, depth, kv_type)};
}

enum workload_bound workload_bound_of(const struct workload *w, double flops_per_s, double bytes_per_s)
{
    return w->flops / flops_per_s > w->bytes / bytes_per_s ? WORKLOAD_COMPUTE : WORKLOAD_MEMORY;
}
