/* tests/model/test_config.c: configs of every class are read in both styles; bad ones are refused with
 * the field named; classes of other generations are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/config.h"

static const char V3[] =
    "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"vocab_size\":129280,\"hidden_size\":7168,"
    "\"num_hidden_layers\":61,\"first_k_dense_replace\":3,\"intermediate_size\":18432,"
    "\"moe_intermediate_size\":2048,\"n_routed_experts\":256,\"n_shared_experts\":1,"
    "\"num_experts_per_tok\":8,\"n_group\":8,\"topk_group\":4,\"topk_method\":\"noaux_tc\","
    "\"scoring_func\":\"sigmoid\",\"norm_topk_prob\":true,\"routed_scaling_factor\":2.5,"
    "\"num_attention_heads\":128,\"num_key_value_heads\":128,\"q_lora_rank\":1536,"
    "\"kv_lora_rank\":512,\"qk_nope_head_dim\":128,\"qk_rope_head_dim\":64,\"v_head_dim\":128,"
    "\"rope_theta\":10000,\"max_position_embeddings\":163840,\"rms_norm_eps\":1e-06,"
    "\"num_nextn_predict_layers\":1,\"hidden_act\":\"silu\",\"rope_scaling\":{\"type\":\"yarn\","
    "\"factor\":40,\"original_max_position_embeddings\":4096,\"beta_fast\":32,\"beta_slow\":1,"
    "\"mscale\":1.0,\"mscale_all_dim\":1.0},\"quantization_config\":{\"quant_method\":\"fp8\","
    "\"fmt\":\"e4m3\",\"weight_block_size\":[128,128]}}";

static const char LLAMA[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":128256,\"hidden_size\":4096,"
    "\"num_hidden_layers\":32,\"intermediate_size\":14336,\"num_attention_heads\":32,"
    "\"num_key_value_heads\":8,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-05,"
    "\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000.0,\"factor\":8.0,"
    "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}}";

static err read_config(const char *text, struct config *c, struct errinfo *info)
{
    json_t *j = NULL;
    if (json_parse(text, strlen(text), "config.json", &j, info) != ERR_OK) {
        fail_msg("%s\n%s", info->message, text);
    }
    err e = config_from_json(j, c, info);
    json_decref(j);
    return e;
}

static void v3_is_read_as_published(void **state)
{
    (void)state;
    struct config c;
    struct errinfo info;
    assert_int_equal(read_config(V3, &c, &info), ERR_OK);
    assert_string_equal(c.name, "DeepSeek-V3 class");
    assert_true(config_is_mla(&c) && !config_is_moe_layer(&c, 2) && config_is_moe_layer(&c, 3));
    assert_int_equal(c.topk_method, CONFIG_NOAUX_TC);
    assert_int_equal(c.scoring_func, CONFIG_SIGMOID);
    assert_int_equal(c.num_nextn_predict_layers, 1);
    assert_int_equal(config_qk_dim(&c), 192);
    assert_int_equal(c.rope_pairs, ROPE_INTERLEAVED);
    assert_true(c.attention_scale > 0.13523f && c.attention_scale < 0.13524f);
}

static void transformers_5_rope_parameters_are_understood(void **state)
{
    (void)state;
    struct config c;
    struct errinfo info;
    assert_int_equal(read_config(LLAMA, &c, &info), ERR_OK);
    assert_int_equal(c.rope_scaling.type, CONFIG_ROPE_LLAMA3);
    assert_true(c.rope_theta == 500000.0f);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.rope_pairs, ROPE_HALF);
    assert_false(c.tie_word_embeddings);
}

static void defaults_are_those_of_the_class(void **state)
{
    (void)state;
    struct config c;
    struct errinfo info;
    assert_int_equal(read_config("{\"model_type\":\"qwen2\",\"vocab_size\":10,\"hidden_size\":8,"
                                 "\"num_hidden_layers\":1,\"num_attention_heads\":2,"
                                 "\"intermediate_size\":4,\"rope_scaling\":null}", &c, &info), ERR_OK);
    assert_true(c.attention_bias);
    assert_int_equal(c.num_key_value_heads, 2);
    assert_int_equal(c.head_dim, 4);
    assert_true(c.rope_theta == 10000.0f && c.rms_norm_eps == 1e-6f);
    assert_int_equal(c.first_k_dense_replace, 1);
}

static const char GPT2[] = "{\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":50257,\"n_embd\":768,"
                           "\"n_layer\":12,\"n_head\":12,\"n_positions\":1024}";

static void gpt2_learns_and_is_not_served(void **state)
{
    (void)state;
    struct config c;
    struct errinfo info;
    json_t *j = NULL;
    assert_int_equal(read_config(GPT2, &c, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "neither runs nor writes"));
    assert_int_equal(json_parse(GPT2, strlen(GPT2), "config.json", &j, &info), ERR_OK);
    assert_int_equal(config_from_recipe(j, &c, &info), ERR_OK);
    json_decref(j);
    assert_int_equal(c.intermediate_size, 3072);
    assert_int_equal(c.head_dim, 64);
    assert_int_equal(c.max_position_embeddings, 1024);
    assert_true(c.tie_word_embeddings && c.rms_norm_eps == 1e-5f && c.attention_scale == 0.125f);
}

/* `base` with the value of one field replaced (it must be there), or, for a NULL value, removed. */
static void edit(const char *base, const char *field, const char *value, char *out, size_t cap)
{
    json_t *j = NULL, *v = NULL;
    assert_int_equal(json_parse(base, strlen(base), "base", &j, NULL), ERR_OK);
    json_t *at = j;
    const char *dot = strchr(field, '.');
    if (dot) {
        char outer[64];
        snprintf(outer, sizeof outer, "%.*s", (int)(dot - field), field);
        at = json_object_get(j, outer);
        field = dot + 1;
    }
    if (value) {
        assert_int_equal(json_parse(value, strlen(value), "value", &v, NULL), ERR_OK);
        json_object_set_new(at, field, v);
    } else {
        assert_int_equal(json_object_del(at, field), 0);
    }
    char *text = json_dumps(j, 0);
    snprintf(out, cap, "%s", text);
    mem_free(text);
    json_decref(j);
}

static const struct bad {
    const char *base, *field, *value;
    err code;
    const char *says;
} BAD[] = {
    {V3, "vocab_size", NULL, ERR_CORRUPT, "vocab_size"},
    {V3, "vocab_size", "0", ERR_CORRUPT, "vocab_size"},
    {V3, "vocab_size", "1e15", ERR_CORRUPT, "vocab_size"},
    {V3, "vocab_size", "-5", ERR_CORRUPT, "vocab_size"},
    {V3, "vocab_size", "\"many\"", ERR_CORRUPT, "vocab_size"},
    {V3, "hidden_size", "0", ERR_CORRUPT, "hidden_size"},
    {V3, "hidden_size", "7168.5", ERR_CORRUPT, "hidden_size"},
    {V3, "num_hidden_layers", "513", ERR_CORRUPT, "num_hidden_layers"},
    {V3, "num_hidden_layers", "[61]", ERR_CORRUPT, "num_hidden_layers"},
    {V3, "num_attention_heads", "0", ERR_CORRUPT, "num_attention_heads"},
    {V3, "kv_lora_rank", "0", ERR_CORRUPT, "kv_lora_rank"},
    {V3, "kv_lora_rank", NULL, ERR_CORRUPT, "kv_lora_rank"},
    {V3, "qk_rope_head_dim", "63", ERR_CORRUPT, "qk_rope_head_dim"},
    {V3, "qk_rope_head_dim", "0", ERR_CORRUPT, "qk_rope_head_dim"},
    {V3, "qk_rope_head_dim", "514", ERR_CORRUPT, "qk_rope_head_dim"},
    {V3, "qk_nope_head_dim", "0", ERR_CORRUPT, "qk_nope_head_dim"},
    {V3, "v_head_dim", "99999", ERR_CORRUPT, "v_head_dim"},
    {V3, "n_routed_experts", "250", ERR_CORRUPT, "n_group"},
    {V3, "n_routed_experts", "5000", ERR_CORRUPT, "n_routed_experts"},
    {V3, "n_routed_experts", "8", ERR_CORRUPT, "n_group"},
    {V3, "num_experts_per_tok", "257", ERR_CORRUPT, "num_experts_per_tok"},
    {V3, "num_experts_per_tok", "0", ERR_CORRUPT, "num_experts_per_tok"},
    {V3, "num_experts_per_tok", NULL, ERR_CORRUPT, "num_experts_per_tok"},
    {V3, "num_experts_per_tok", "129", ERR_CORRUPT, "num_experts_per_tok"},
    {V3, "n_group", "256", ERR_CORRUPT, "n_group"},
    {V3, "n_group", "5", ERR_CORRUPT, "n_group"},
    {V3, "topk_group", "9", ERR_CORRUPT, "topk_group"},
    {V3, "moe_intermediate_size", "0", ERR_CORRUPT, "moe_intermediate_size"},
    {V3, "n_shared_experts", "4096", ERR_CORRUPT, "n_shared_experts"},
    {V3, "routed_scaling_factor", "0", ERR_CORRUPT, "routed_scaling_factor"},
    {V3, "routed_scaling_factor", "-1", ERR_CORRUPT, "routed_scaling_factor"},
    {V3, "rms_norm_eps", "0", ERR_CORRUPT, "rms_norm_eps"},
    {V3, "rms_norm_eps", "1e300", ERR_CORRUPT, "rms_norm_eps"},
    {V3, "max_position_embeddings", "0", ERR_CORRUPT, "max_position_embeddings"},
    {V3, "rope_theta", "0", ERR_CORRUPT, "rope_theta"},
    {V3, "rope_theta", "0.5", ERR_CORRUPT, "rope_theta"},
    {V3, "rope_scaling", "40", ERR_CORRUPT, "rope_scaling"},
    {V3, "rope_scaling.factor", "0", ERR_CORRUPT, "factor"},
    {V3, "rope_scaling.factor", NULL, ERR_CORRUPT, "factor"},
    {V3, "rope_scaling.original_max_position_embeddings", "0", ERR_CORRUPT, "original_max"},
    {V3, "rope_scaling.beta_fast", "-32", ERR_CORRUPT, "beta_fast"},
    {V3, "rope_scaling.mscale", "1e9", ERR_CORRUPT, "mscale"},
    {V3, "rope_scaling.type", "\"longrope\"", ERR_UNSUPPORTED, "longrope"},
    {V3, "num_nextn_predict_layers", "17", ERR_CORRUPT, "num_nextn_predict_layers"},
    {V3, "topk_method", "\"random\"", ERR_UNSUPPORTED, "random"},
    {V3, "scoring_func", "\"sqrtsoftplus\"", ERR_UNSUPPORTED, "sqrtsoftplus"},
    {V3, "hidden_act", "\"gelu\"", ERR_UNSUPPORTED, "gelu"},
    {V3, "moe_layer_freq", "2", ERR_UNSUPPORTED, "moe_layer_freq"},
    {V3, "attention_bias", "true", ERR_UNSUPPORTED, "attention_bias"},
    {V3, "attention_bias", "7", ERR_CORRUPT, "attention_bias"},
    {V3, "quantization_config.quant_method", "\"awq\"", ERR_UNSUPPORTED, "awq"},
    {V3, "quantization_config.weight_block_size", "[64, 64]", ERR_UNSUPPORTED, "weight_block_size"},
    {V3, "architectures", "[\"DeepseekV32ForCausalLM\"]", ERR_UNSUPPORTED, "DeepSeek-V3.2"},
    {V3, "architectures", "[\"DeepseekV4ForCausalLM\"]", ERR_UNSUPPORTED, "DeepSeek-V4"},
    {V3, "architectures", "[\"MixtralForCausalLM\"]", ERR_UNSUPPORTED, "MixtralForCausalLM"},
    {V3, "architectures", NULL, ERR_CORRUPT, "model_type"},
    {LLAMA, "num_key_value_heads", "0", ERR_CORRUPT, "num_key_value_heads"},
    {LLAMA, "num_key_value_heads", "7", ERR_CORRUPT, "num_key_value_heads"},
    {LLAMA, "num_key_value_heads", "64", ERR_CORRUPT, "num_key_value_heads"},
    {LLAMA, "head_dim", "127", ERR_CORRUPT, "head_dim"},
    {LLAMA, "head_dim", "1024", ERR_CORRUPT, "head_dim"},
    {LLAMA, "intermediate_size", NULL, ERR_CORRUPT, "intermediate_size"},
    {LLAMA, "intermediate_size", "0", ERR_CORRUPT, "intermediate_size"},
    {LLAMA, "mlp_bias", "true", ERR_UNSUPPORTED, "mlp_bias"},
    {LLAMA, "rope_parameters.high_freq_factor", "1", ERR_CORRUPT, "high_freq_factor"},
    {LLAMA, "rope_parameters.low_freq_factor", "0", ERR_CORRUPT, "low_freq_factor"},
    {LLAMA, "rope_parameters.partial_rotary_factor", "0.5", ERR_UNSUPPORTED, "partial_rotary_factor"},
    {LLAMA, "rope_parameters.rope_theta", "true", ERR_CORRUPT, "rope_theta"},
};

static void every_bad_config_is_refused_with_the_field_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char text[4096];
        edit(BAD[i].base, BAD[i].field, BAD[i].value, text, sizeof text);
        struct config c = {.vocab_size = 7};
        struct errinfo info = {0};
        err e = read_config(text, &c, &info);
        if (e != BAD[i].code || !strstr(info.message, BAD[i].says)) {
            fail_msg("%s = %s: %s: %s", BAD[i].field, BAD[i].value ? BAD[i].value : "(removed)",
                     err_name(e), info.message);
        }
        assert_int_equal(c.vocab_size, 7); /* untouched */
    }
}

static void things_that_are_no_config_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"[]", "1", "null", "\"x\"", "{}", "{\"model_type\":3}",
                                        "{\"architectures\":[]}", "{\"architectures\":[1]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct config c;
        struct errinfo info = {0};
        assert_int_equal(read_config(texts[i], &c, &info), ERR_CORRUPT);
        assert_true(info.message[0] != 0);
    }
}

static void refusals_cost_no_memory(void **state)
{
    (void)state;
    struct config c;
    struct errinfo info;
    size_t alive = mem_alive();
    assert_int_equal(read_config(V3, &c, &info), ERR_OK);
    assert_int_equal(mem_alive(), alive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v3_is_read_as_published),
        cmocka_unit_test(transformers_5_rope_parameters_are_understood),
        cmocka_unit_test(defaults_are_those_of_the_class),
        cmocka_unit_test(gpt2_learns_and_is_not_served),
        cmocka_unit_test(every_bad_config_is_refused_with_the_field_named),
        cmocka_unit_test(things_that_are_no_config_are_refused),
        cmocka_unit_test(refusals_cost_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
