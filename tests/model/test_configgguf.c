/* tests/model/test_configgguf.c: GGUF keys, edited in the bytes of the golden files: every missing or
 * impossible key is refused by name, optional ones have the defaults of the model they belong to. */
#include "model/goldenmodel.h"

struct edited {
    uint8_t *data;
    size_t size;
};

static struct edited load(const char *fixture)
{
    struct edited f;
    char path[128], *data;
    snprintf(path, sizeof path, GOLDENMODEL_DIR "%s/model.gguf", fixture);
    assert_int_equal(file_read(path, 1 << 24, &data, &f.size, NULL), ERR_OK);
    f.data = (uint8_t *)data;
    return f;
}

/* Where the key's text begins: it follows its u64 length. */
static uint8_t *find_text(struct edited *f, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 8; i + n <= f->size; i++) {
        uint64_t len;
        memcpy(&len, f->data + i - 8, sizeof len);
        if (len == n && memcmp(f->data + i, text, n) == 0) {
            return f->data + i;
        }
    }
    fail_msg("%s is not in the file", text);
    return NULL;
}

static void rename_key(struct edited *f, const char *key)
{
    find_text(f, key)[0] = 'X';
}

/* A scalar of four bytes: u32 type, then the value. */
static void set_u32(struct edited *f, const char *key, uint32_t v)
{
    memcpy(find_text(f, key) + strlen(key) + 4, &v, sizeof v);
}

static void set_f32(struct edited *f, const char *key, float v)
{
    memcpy(find_text(f, key) + strlen(key) + 4, &v, sizeof v);
}

static err read_config(const struct edited *f, struct config *c, struct errinfo *info)
{
    struct gguf *g = NULL;
    err e = gguf_parse(f->data, f->size, "test.gguf", &g, info);
    if (e == ERR_OK) {
        e = config_from_gguf(g, c, info);
        gguf_close(g);
    }
    return e;
}

static void must_fail(const struct edited *f, err code, const char *says)
{
    struct config c;
    struct errinfo info = {0};
    err e = read_config(f, &c, &info);
    if (e != code || !strstr(info.message, says)) {
        fail_msg("expected \"%s\", got %s: %s", says, err_name(e), info.message);
    }
}

static void every_required_key_is_asked_for_by_name(void **state)
{
    (void)state;
    static const char *const v3[] = {
        "deepseek2.block_count",         "deepseek2.context_length",
        "deepseek2.embedding_length",    "deepseek2.attention.head_count",
        "deepseek2.rope.dimension_count", "deepseek2.attention.kv_lora_rank",
        "deepseek2.attention.value_length_mla", "deepseek2.expert_used_count",
        "deepseek2.expert_feed_forward_length",
    };
    for (size_t i = 0; i < sizeof v3 / sizeof *v3; i++) {
        struct edited f = load("v3");
        rename_key(&f, v3[i]);
        must_fail(&f, ERR_CORRUPT, v3[i]);
        mem_free(f.data);
    }
    struct edited f = load("llama3");
    rename_key(&f, "llama.feed_forward_length");
    must_fail(&f, ERR_CORRUPT, "llama.feed_forward_length");
    mem_free(f.data);
    f = load("llama3");
    rename_key(&f, "general.architecture");
    must_fail(&f, ERR_CORRUPT, "general.architecture");
    mem_free(f.data);
}

static void impossible_numbers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fixture, *key, *says;
        uint32_t value;
        err code;
    } bad[] = {
        {"v3", "deepseek2.block_count", "num_hidden_layers", 0, ERR_CORRUPT},
        {"v3", "deepseek2.block_count", "num_hidden_layers", 513, ERR_CORRUPT},
        {"v3", "deepseek2.block_count", "block_count", UINT32_MAX, ERR_CORRUPT},
        {"v3", "deepseek2.embedding_length", "hidden_size", 0, ERR_CORRUPT},
        {"v3", "deepseek2.context_length", "max_position", 0, ERR_CORRUPT},
        {"v3", "deepseek2.attention.head_count", "num_attention_heads", 100000, ERR_CORRUPT},
        {"v3", "deepseek2.attention.kv_lora_rank", "kv_lora_rank", 0, ERR_CORRUPT},
        {"v3", "deepseek2.attention.key_length_mla", "rotated", 8, ERR_CORRUPT},
        {"v3", "deepseek2.attention.value_length_mla", "v_head_dim", 0, ERR_CORRUPT},
        {"v3", "deepseek2.rope.dimension_count", "qk_rope_head_dim", 7, ERR_CORRUPT},
        {"v3", "deepseek2.rope.dimension_count", "qk_rope_head_dim", 0, ERR_CORRUPT},
        {"v3", "deepseek2.expert_used_count", "num_experts_per_tok", 17, ERR_CORRUPT},
        {"v3", "deepseek2.expert_group_count", "n_group", 5, ERR_CORRUPT},
        {"v3", "deepseek2.expert_group_used_count", "topk_group", 5, ERR_CORRUPT},
        {"v3", "deepseek2.expert_gating_func", "expert_gating_func", 4, ERR_UNSUPPORTED},
        {"v3", "deepseek2.rope.scaling.original_context_length", "original", 0, ERR_CORRUPT},
        {"llama3", "llama.attention.head_count_kv", "num_key_value_heads", 3, ERR_CORRUPT},
        {"llama3", "llama.rope.dimension_count", "rotated", 6, ERR_UNSUPPORTED},
        {"llama3", "llama.feed_forward_length", "intermediate_size", 0, ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct edited f = load(bad[i].fixture);
        set_u32(&f, bad[i].key, bad[i].value);
        must_fail(&f, bad[i].code, bad[i].says);
        mem_free(f.data);
    }
    static const float floats[] = {NAN, INFINITY, -1, 0};
    static const char *const keys[] = {"deepseek2.rope.freq_base", "deepseek2.rope.scaling.factor",
                                       "deepseek2.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < 12; i++) {
        struct edited f = load("v3");
        set_f32(&f, keys[i % 3], floats[i / 3]);
        struct config c;
        struct errinfo info = {0};
        assert_int_equal(read_config(&f, &c, &info), ERR_CORRUPT);
        mem_free(f.data);
    }
}

static void other_generations_are_named(void **state)
{
    (void)state;
    static const char *const archs[] = {"deepseek4", "deepseek9"};
    static const char *const says[] = {"DeepSeek-V4", "not one Fathom knows"};
    for (size_t i = 0; i < 2; i++) {
        struct edited f = load("v3");
        memcpy(find_text(&f, "deepseek2"), archs[i], strlen(archs[i]));
        must_fail(&f, ERR_UNSUPPORTED, says[i]);
        mem_free(f.data);
    }
}

static void old_files_get_the_defaults_of_their_model(void **state)
{
    (void)state;
    struct edited f = load("v2-lite");
    struct config c;
    struct errinfo info = {0};
    assert_int_equal(read_config(&f, &c, &info), ERR_OK);
    assert_int_equal(c.scoring_func, CONFIG_SOFTMAX);
    assert_int_equal(c.topk_method, CONFIG_GREEDY);
    assert_int_equal(c.n_group, 1);
    assert_string_equal(c.name, "DeepSeek-V2 class");
    /* 256 experts and no gating key mean V3; 160 mean V2 with its groups */
    set_u32(&f, "deepseek2.expert_count", 256);
    rename_key(&f, "deepseek2.expert_weights_norm");
    rename_key(&f, "deepseek2.rope.scaling.yarn_log_multiplier");
    assert_int_equal(read_config(&f, &c, &info), ERR_OK);
    assert_int_equal(c.topk_method, CONFIG_NOAUX_TC);
    assert_int_equal(c.n_group, 8);
    assert_int_equal(c.topk_group, 4);
    assert_true(c.norm_topk_prob);
    assert_true(c.rope_scaling.mscale_all_dim == 1);
    set_u32(&f, "deepseek2.expert_count", 160);
    assert_int_equal(read_config(&f, &c, &info), ERR_OK);
    assert_int_equal(c.topk_method, CONFIG_GROUP_LIMITED_GREEDY);
    assert_int_equal(c.n_group, 8);
    assert_int_equal(c.topk_group, 3);
    assert_true(c.rope_scaling.mscale_all_dim > 0.7069f && c.rope_scaling.mscale_all_dim < 0.7071f);
    mem_free(f.data);
}

static void llama3_scaling_is_recognised_from_its_divisors(void **state)
{
    (void)state;
    struct edited f = load("llama3");
    struct config c;
    struct errinfo info = {0};
    assert_int_equal(read_config(&f, &c, &info), ERR_OK);
    assert_int_equal(c.rope_scaling.type, CONFIG_ROPE_LLAMA3);
    assert_true(c.rope_scaling.factor == 8);
    assert_true(c.has_rope_divisors);
    assert_int_equal(c.rope_pairs, ROPE_INTERLEAVED);
    mem_free(f.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_required_key_is_asked_for_by_name),
        cmocka_unit_test(impossible_numbers_are_refused),
        cmocka_unit_test(other_generations_are_named),
        cmocka_unit_test(old_files_get_the_defaults_of_their_model),
        cmocka_unit_test(llama3_scaling_is_recognised_from_its_divisors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
