/* model/configgguf.c: see configgguf.h. Writers differ: integers of any width, scalars that may be an
 * array with one value per layer, keys that older converters did not know. */
#include "model/configgguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/ropefreqs.h"

enum { CONFIGGGUF_KEY_MAX = 96 };

/* One read in progress: the file, its architecture as key prefix. */
struct configgguf {
    const struct gguf *g;
    const char *arch;
    struct errinfo *info;
};

static void configgguf_key(const struct configgguf *r, const char *suffix,
                           char key[CONFIGGGUF_KEY_MAX])
{
    snprintf(key, CONFIGGGUF_KEY_MAX, "%s.%s", r->arch, suffix);
}

/* A count, or an array of equal counts. ERR_NOTFOUND when absent. */
static err configgguf_count(const struct configgguf *r, const char *suffix, size_t *out)
{
    char key[CONFIGGGUF_KEY_MAX];
    configgguf_key(r, suffix, key);
    const struct gguf_kv *kv = gguf_find(r->g, key);
    uint64_t v = 0;
    if (!kv || kv->type != GGUF_ARRAY) {
        TRY(gguf_get_u64(r->g, key, &v, r->info));
    } else {
        for (uint64_t i = 0; i < kv->count; i++) {
            double e = 0;
            TRY(gguf_array_f64(kv, i, &e));
            if (!(e >= 0 && e < 0x1p53) || (i > 0 && (uint64_t)e != v)) {
                return err_set(r->info, ERR_UNSUPPORTED, "GGUF key %s differs from layer to layer; "
                               "Fathom runs models with one value for all layers", key);
            }
            v = (uint64_t)e;
        }
    }
    if (v > (uint64_t)CONFIG_POSITIONS_MAX) {
        return err_set(r->info, ERR_CORRUPT, "GGUF key %s is %llu; no model has that many", key,
                       (unsigned long long)v);
    }
    *out = (size_t)v;
    return ERR_OK;
}

static err configgguf_need(const struct configgguf *r, const char *suffix, size_t *out)
{
    err e = configgguf_count(r, suffix, out);
    if (e == ERR_NOTFOUND) {
        return err_set(r->info, ERR_CORRUPT, "GGUF key %s.%s is missing; a %s model needs it", r->arch,
                       suffix, r->arch);
    }
    return e;
}

/* The three below leave *out as it is when the key is absent. */
static err configgguf_size(const struct configgguf *r, const char *suffix, size_t *out)
{
    err e = configgguf_count(r, suffix, out);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static err configgguf_float(const struct configgguf *r, const char *suffix, float *out)
{
    char key[CONFIGGGUF_KEY_MAX];
    configgguf_key(r, suffix, key);
    double v = 0;
    err e = gguf_get_f64(r->g, key, &v, r->info);
    if (e == ERR_OK) {
        *out = (float)v;
    }
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static err configgguf_bool(const struct configgguf *r, const char *suffix, bool *out)
{
    char key[CONFIGGGUF_KEY_MAX];
    configgguf_key(r, suffix, key);
    err e = gguf_get_bool(r->g, key, out, r->info);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static bool configgguf_equals(struct gguf_string s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static err configgguf_rope(const struct configgguf *r, struct config *c)
{
    c->rope_theta = 10000;
    TRY(configgguf_float(r, "rope.freq_base", &c->rope_theta));
    char key[CONFIGGGUF_KEY_MAX];
    configgguf_key(r, "rope.scaling.type", key);
    struct gguf_string type;
    err e = gguf_get_string(r->g, key, &type, r->info);
    if (e == ERR_NOTFOUND || (e == ERR_OK && configgguf_equals(type, "none"))) {
        return ERR_OK;
    }
    TRY(e);
    if (configgguf_equals(type, "yarn")) {
        c->rope_scaling.type = CONFIG_ROPE_YARN;
    } else if (configgguf_equals(type, "linear")) {
        c->rope_scaling.type = CONFIG_ROPE_LINEAR;
    } else {
        return err_set(r->info, ERR_UNSUPPORTED, "GGUF key %s is \"%.*s\"; Fathom computes none, "
                       "linear and yarn", key, (int)(type.len < 32 ? type.len : 32), type.data);
    }
    c->rope_scaling.beta_fast = 32;
    c->rope_scaling.beta_slow = 1;
    c->rope_scaling.original_max_position_embeddings = c->max_position_embeddings;
    TRY(configgguf_float(r, "rope.scaling.factor", &c->rope_scaling.factor));
    TRY(configgguf_float(r, "rope.scaling.yarn_beta_fast", &c->rope_scaling.beta_fast));
    TRY(configgguf_float(r, "rope.scaling.yarn_beta_slow", &c->rope_scaling.beta_slow));
    return configgguf_size(r, "rope.scaling.original_context_length",
                           &c->rope_scaling.original_max_position_embeddings);
}

/* Llama 3.1 files carry the scaling as a tensor of divisors. When they are what the published
 * parameters give, the parameters are noted, so that inspect and export can name them. */
static err configgguf_divisors(const struct configgguf *r, struct config *c)
{
    const struct tensortable_entry *t = tensortable_find(gguf_tensors(r->g), "rope_freqs.weight");
    if (!t) {
        return ERR_OK;
    }
    size_t n = c->head_dim / 2;
    if (t->tensor.dtype != DTYPE_F32 || n > CONFIG_ROPE_MAX / 2 || tensor_elems(&t->tensor) != n) {
        return err_set(r->info, ERR_CORRUPT, "tensor rope_freqs.weight holds %zu values of type %s; "
                       "half the head width (%zu) of type f32 were expected", tensor_elems(&t->tensor),
                       dtype_info(t->tensor.dtype)->name, n);
    }
    memcpy(c->rope_divisors, t->tensor.data, n * sizeof *c->rope_divisors);
    c->has_rope_divisors = true;
    float factor = 0;
    for (size_t i = 0; i < n; i++) {
        factor = c->rope_divisors[i] > factor ? c->rope_divisors[i] : factor;
    }
    if (fabsf(factor - roundf(factor)) < 1e-4f * factor) {
        factor = roundf(factor); /* published factors are whole; the divisors are rounded quotients */
    }
    const double low = 1, high = 4, original = 8192;
    for (size_t i = 0; i < n; i++) {
        double freq = pow((double)c->rope_theta, -2.0 * (double)i / (double)c->head_dim);
        double want = ropefreqs_llama3_divisor(freq, (double)factor, low, high, original);
        if (!(fabs((double)c->rope_divisors[i] - want) <= 1e-4 * want)) {
            return ERR_OK;
        }
    }
    c->rope_scaling.type = CONFIG_ROPE_LLAMA3;
    c->rope_scaling.factor = factor;
    c->rope_scaling.low_freq_factor = (float)low;
    c->rope_scaling.high_freq_factor = (float)high;
    c->rope_scaling.original_max_position_embeddings = (size_t)original;
    return ERR_OK;
}

static err configgguf_vocab(const struct configgguf *r, struct config *c)
{
    const struct tensortable_entry *t = tensortable_find(gguf_tensors(r->g), "token_embd.weight");
    if (t && t->tensor.rank == 2) {
        c->vocab_size = t->tensor.shape[0];
        return ERR_OK;
    }
    return configgguf_need(r, "vocab_size", &c->vocab_size);
}

static err configgguf_common(const struct configgguf *r, struct config *c)
{
    TRY(configgguf_vocab(r, c));
    TRY(configgguf_need(r, "block_count", &c->num_hidden_layers));
    TRY(configgguf_need(r, "embedding_length", &c->hidden_size));
    TRY(configgguf_need(r, "attention.head_count", &c->num_attention_heads));
    TRY(configgguf_need(r, "context_length", &c->max_position_embeddings));
    c->rms_norm_eps = 1e-6f;
    TRY(configgguf_float(r, "attention.layer_norm_rms_epsilon", &c->rms_norm_eps));
    c->tie_word_embeddings = !tensortable_find(gguf_tensors(r->g), "output.weight");
    return configgguf_rope(r, c);
}

static err configgguf_dense(const struct configgguf *r, struct config *c)
{
    size_t experts = 0;
    TRY(configgguf_size(r, "expert_count", &experts));
    if (experts != 0) {
        return err_set(r->info, ERR_UNSUPPORTED, "this %s file has %zu experts; Fathom runs dense models "
                       "of this architecture", r->arch, experts);
    }
    TRY(configgguf_need(r, "feed_forward_length", &c->intermediate_size));
    c->num_key_value_heads = c->num_attention_heads;
    TRY(configgguf_size(r, "attention.head_count_kv", &c->num_key_value_heads));
    c->head_dim = c->num_attention_heads ? c->hidden_size / c->num_attention_heads : 0;
    TRY(configgguf_size(r, "attention.key_length", &c->head_dim));
    size_t v_dim = c->head_dim, rotated = c->head_dim;
    TRY(configgguf_size(r, "attention.value_length", &v_dim));
    TRY(configgguf_size(r, "rope.dimension_count", &rotated));
    if (v_dim != c->head_dim || rotated != c->head_dim) {
        return err_set(r->info, ERR_UNSUPPORTED, "%s: keys are %zu wide, values %zu, rotated part %zu; "
                       "Fathom needs the three equal", r->arch, c->head_dim, v_dim, rotated);
    }
    c->attention_bias = c->family == CONFIG_QWEN2;
    c->rope_pairs = c->family == CONFIG_QWEN2 ? ROPE_HALF : ROPE_INTERLEAVED;
    return configgguf_divisors(r, c);
}

/* expert_gating_func 1 softmax, 2 sigmoid; absent or 0 in old files, where 256 experts mean V3. */
static err configgguf_gating(const struct configgguf *r, struct config *c)
{
    size_t gating = 0;
    TRY(configgguf_size(r, "expert_gating_func", &gating));
    if (gating > 2) {
        return err_set(r->info, ERR_UNSUPPORTED, "GGUF key %s.expert_gating_func is %zu; Fathom computes "
                       "1 (softmax) and 2 (sigmoid)", r->arch, gating);
    }
    bool sigmoid = gating == 2 || (gating == 0 && c->n_routed_experts == 256);
    c->scoring_func = sigmoid ? CONFIG_SIGMOID : CONFIG_SOFTMAX;
    /* Files older than the group keys: every published model with these expert counts has groups. */
    c->n_group = c->topk_group = 1;
    if (sigmoid && c->n_routed_experts == 256) {
        c->n_group = 8;
        c->topk_group = 4;
    } else if (!sigmoid && c->n_routed_experts == 160) {
        c->n_group = 8;
        c->topk_group = 3;
    }
    TRY(configgguf_size(r, "expert_group_count", &c->n_group));
    TRY(configgguf_size(r, "expert_group_used_count", &c->topk_group));
    c->n_group = c->n_group ? c->n_group : 1;
    c->topk_group = c->topk_group ? c->topk_group : 1;
    c->topk_method = sigmoid          ? CONFIG_NOAUX_TC
                     : c->n_group > 1 ? CONFIG_GROUP_LIMITED_GREEDY
                                      : CONFIG_GREEDY;
    c->norm_topk_prob = sigmoid;
    return configgguf_bool(r, "expert_weights_norm", &c->norm_topk_prob);
}

static err configgguf_moe(const struct configgguf *r, struct config *c)
{
    TRY(configgguf_size(r, "expert_count", &c->n_routed_experts));
    if (c->n_routed_experts == 0) {
        return ERR_OK;
    }
    TRY(configgguf_need(r, "expert_used_count", &c->num_experts_per_tok));
    TRY(configgguf_need(r, "expert_feed_forward_length", &c->moe_intermediate_size));
    TRY(configgguf_size(r, "expert_shared_count", &c->n_shared_experts));
    TRY(configgguf_size(r, "leading_dense_block_count", &c->first_k_dense_replace));
    c->routed_scaling_factor = 1;
    TRY(configgguf_float(r, "expert_weights_scale", &c->routed_scaling_factor));
    if (c->routed_scaling_factor == 0) {
        c->routed_scaling_factor = 1; /* writers' way to say "none" */
    }
    return configgguf_gating(r, c);
}

/* block_count includes MTP layers only in files that carry them. */
static err configgguf_nextn(const struct configgguf *r, struct config *c)
{
    size_t n = 0;
    TRY(configgguf_size(r, "nextn_predict_layers", &n));
    if (n == 0 || n >= c->num_hidden_layers) {
        return ERR_OK;
    }
    char name[64];
    snprintf(name, sizeof name, "blk.%zu.nextn.eh_proj.weight", c->num_hidden_layers - n);
    if (tensortable_find(gguf_tensors(r->g), name)) {
        c->num_nextn_predict_layers = n;
        c->num_hidden_layers -= n;
    }
    return ERR_OK;
}

static err configgguf_deepseek(const struct configgguf *r, struct config *c)
{
    TRY(configgguf_nextn(r, c));
    TRY(configgguf_size(r, "feed_forward_length", &c->intermediate_size));
    TRY(configgguf_size(r, "attention.q_lora_rank", &c->q_lora_rank));
    TRY(configgguf_need(r, "attention.kv_lora_rank", &c->kv_lora_rank));
    TRY(configgguf_need(r, "rope.dimension_count", &c->qk_rope_head_dim));
    if (c->kv_lora_rank == 0) {
        return err_set(r->info, ERR_CORRUPT, "GGUF key %s.attention.kv_lora_rank is 0; latent attention "
                       "needs a rank", r->arch);
    }
    size_t qk = 0; /* the _mla keys give head widths; older files say them without the suffix */
    err e = configgguf_count(r, "attention.key_length_mla", &qk);
    if (e == ERR_OK) {
        TRY(configgguf_need(r, "attention.value_length_mla", &c->v_head_dim));
    } else if (e == ERR_NOTFOUND) {
        TRY(configgguf_need(r, "attention.key_length", &qk));
        TRY(configgguf_need(r, "attention.value_length", &c->v_head_dim));
    } else {
        return e;
    }
    if (qk <= c->qk_rope_head_dim) {
        return err_set(r->info, ERR_CORRUPT, "%s: heads are %zu wide but %zu of that is rotated; some "
                       "must be left", r->arch, qk, c->qk_rope_head_dim);
    }
    c->qk_nope_head_dim = qk - c->qk_rope_head_dim;
    c->rope_pairs = ROPE_INTERLEAVED;
    TRY(configgguf_moe(r, c));
    bool v3 = c->scoring_func == CONFIG_SIGMOID;
    snprintf(c->name, sizeof c->name, "DeepSeek-%s class", v3 ? "V3" : "V2");
    if (c->rope_scaling.type == CONFIG_ROPE_YARN) {
        /* The key is 0.1 mscale_all_dim; files without it are of models that have 1 (V3) or 0.707. */
        float log_multiplier = v3 ? 0.1f : 0.0707f;
        TRY(configgguf_float(r, "rope.scaling.yarn_log_multiplier", &log_multiplier));
        c->rope_scaling.mscale = c->rope_scaling.mscale_all_dim = log_multiplier / 0.1f;
        c->rope_scaling.attention_factor = 1; /* cos and sin stay as they are */
    }
    return ERR_OK;
}

err configgguf_read(const struct gguf *g, struct config *c, struct errinfo *info)
{
    static const struct {
        const char *arch, *people;
        enum config_family family;
    } known[] = {
        {"deepseek2", "DeepSeek class", CONFIG_DEEPSEEK},
        {"llama", "Llama class", CONFIG_LLAMA},
        {"qwen2", "Qwen2 class", CONFIG_QWEN2},
    };
    struct gguf_string arch;
    err e = gguf_get_string(g, "general.architecture", &arch, info);
    if (e != ERR_OK) {
        return err_prefix(info, e == ERR_NOTFOUND ? ERR_CORRUPT : e, "this GGUF file names no model: ");
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (configgguf_equals(arch, known[i].arch)) {
            struct configgguf r = {.g = g, .arch = known[i].arch, .info = info};
            c->family = known[i].family;
            memcpy(c->name, known[i].people, strlen(known[i].people) + 1);
            TRY(configgguf_common(&r, c));
            return c->family == CONFIG_DEEPSEEK ? configgguf_deepseek(&r, c) : configgguf_dense(&r, c);
        }
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(arch.len < 63 ? arch.len : 63), arch.data);
    return config_refuse_class(name, info);
}
