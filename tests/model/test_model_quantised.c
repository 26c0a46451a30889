/* tests/model/test_model_quantised.c: models whose weights are blocks of every type, at every CPU level:
 * how far from the reference's double sums over the same blocks, and, in deterministic mode, the same bits
 * for any chunk and number of threads. Random weights of small shapes (model/synth.h). */
#include "model/goldenmodel.h"

#include "base/json.h"
#include "model/synth.h"

enum { N = 22 };

static const enum dtype TYPES[] = {DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q2_K,
                                   DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_MXFP4};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

#define LATENT                                                                                     \
    " \"vocab_size\": 128, \"hidden_size\": 256, \"intermediate_size\": 512,"                      \
    " \"moe_intermediate_size\": 256, \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"       \
    " \"kv_lora_rank\": 256, \"qk_nope_head_dim\": 32, \"qk_rope_head_dim\": 16,"                  \
    " \"v_head_dim\": 64, \"first_k_dense_replace\": 1, "

/* Two mixtures that choose, one that takes all its experts, two dense ones. */
static const char *const SHAPES[] = {
    "{\"architectures\": [\"DeepseekV3ForCausalLM\"]," LATENT
    "\"q_lora_rank\": 256, \"n_routed_experts\": 8, \"n_group\": 4, \"topk_group\": 2,"
    " \"num_experts_per_tok\": 3, \"n_shared_experts\": 1, \"routed_scaling_factor\": 2.5}",
    "{\"architectures\": [\"DeepseekV2ForCausalLM\"]," LATENT
    "\"n_routed_experts\": 6, \"num_experts_per_tok\": 2, \"n_shared_experts\": 2}",
    "{\"architectures\": [\"DeepseekV2ForCausalLM\"]," LATENT
    "\"n_routed_experts\": 3, \"num_experts_per_tok\": 3, \"n_shared_experts\": 0}",
    "{\"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 128, \"hidden_size\": 256,"
    " \"intermediate_size\": 512, \"num_hidden_layers\": 2, \"num_attention_heads\": 8,"
    " \"num_key_value_heads\": 2}",
    "{\"architectures\": [\"Qwen2ForCausalLM\"], \"vocab_size\": 128, \"hidden_size\": 256,"
    " \"intermediate_size\": 256, \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"
    " \"num_key_value_heads\": 4, \"tie_word_embeddings\": true}",
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES, FIRST_FIXED = 2 };

static enum dtype typer(void *user, const struct inventory_item *item)
{
    enum dtype wanted = *(const enum dtype *)user;
    size_t cols = item->shape[item->rank - 1];
    return cols % dtype_info(wanted)->block_elems == 0 ? wanted : DTYPE_Q8_0;
}

struct subject {
    size_t shape;
    enum dtype type;
    struct synth *weights;
    struct model *model;
    int32_t tokens[N];
};

static struct subject subjects[N_SHAPES * N_TYPES];
static size_t n_subjects;

static void subject_init(struct subject *s, size_t shape, enum dtype type)
{
    *s = (struct subject){.shape = shape, .type = type};
    struct errinfo info = {0};
    struct config c;
    json_t *json;
    assert_int_equal(json_parse(SHAPES[shape], strlen(SHAPES[shape]), "shape", &json, &info), ERR_OK);
    if (config_from_json(json, &c, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    json_decref(json);
    assert_int_equal(synth_new(&c, typer, &type, 0, NULL, &s->weights, &info), ERR_OK);
    if (model_from_tensors(&c, synth_tensors(s->weights), &s->model, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    for (int i = 0; i < N; i++) {
        s->tokens[i] = (i * i * 7 + i * 31 + 5) % 128;
    }
}

static void subject_deinit(struct subject *s)
{
    model_close(s->model);
    synth_free(s->weights);
}

/* One shape in three for each type, the last three shapes covering every type between them. */
static int make_subjects(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES * N_TYPES; i++) {
        size_t shape = i / N_TYPES, t = i % N_TYPES;
        if ((shape + t) % 3 == 0) {
            subject_init(&subjects[n_subjects++], shape, TYPES[t]);
        }
    }
    return 0;
}

static int drop_subjects(void **state)
{
    (void)state;
    while (n_subjects) {
        subject_deinit(&subjects[--n_subjects]);
    }
    return 0;
}

static float *logits_of(const struct subject *s, const struct goldenmodel_run *run)
{
    float *logits;
    goldenmodel_forward(s->model, run, s->tokens, N, &logits, NULL);
    return logits;
}

/* The bounds, of a row's largest logit. 15-bit integers for activations, which fast mode takes for up to four
 * rows; bf16 tiles of AMX; 16-bit integers of AVX-512; float32 sums, where latent attention reads keys through a bf16 copy of one half
 * of its blocks (model/absorb.h), unless it is absorbed. */
static double bound_of(const struct model *m, const struct goldenmodel_run *run)
{
    bool few = run->chunk != 0 && run->chunk <= 4;
    if (run->level != CPUINFO_REF && few && !run->deterministic) {
        return 0.04;
    }
    if (run->level == CPUINFO_AMX) {
        return 0.03;
    }
    if (run->level == CPUINFO_AVX512 || run->level == CPUINFO_AVX512BF16) {
        return 2e-3;
    }
    return config_is_mla(model_config(m)) && !run->deterministic ? 1e-3 : 1e-5;
}

static void every_block_type_stays_near_the_reference_at_every_level(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_subjects; i++) {
        const struct subject *s = &subjects[i];
        if (s->shape < FIRST_FIXED) {
            continue;
        }
        float *want = logits_of(s, &(struct goldenmodel_run){.threads = 1, .deterministic = true});
        for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
            for (size_t way = 0; way < 6; way++) {
                static const size_t chunks[] = {0, 1, 11};
                struct goldenmodel_run run = {.level = level, .threads = 1, .chunk = chunks[way / 2],
                                              .deterministic = way % 2};
                float *got = logits_of(s, &run);
                double d = goldenmodel_distance(got, want, N, 128);
                if (!(d <= bound_of(s->model, &run))) {
                    fail_msg("shape %zu, %s, level %d, chunk %zu, deterministic %d: off by %.2e", s->shape,
                             dtype_info(s->type)->name, (int)level, run.chunk, run.deterministic, d);
                }
                free(got);
            }
        }
        free(want);
    }
}

/* The same bits as `want` when run otherwise. */
static void check_bits(const struct subject *s, const struct goldenmodel_run *run, const float *want)
{
    float *got = logits_of(s, run);
    if (memcmp(got, want, N * 128 * sizeof *got) != 0) {
        fail_msg("shape %zu, %s, level %d: chunks of %zu by %d threads differ", s->shape,
                 dtype_info(s->type)->name, (int)run->level, run->chunk, run->threads);
    }
    free(got);
}

static void deterministic_mode_gives_the_same_bits_for_every_block_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_subjects; i++) {
        for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
            struct goldenmodel_run run = {.level = level, .threads = 1, .deterministic = true,
                                          .cache = DTYPE_BF16};
            float *want = logits_of(&subjects[i], &run);
            run.threads = 2;
            for (size_t way = 0; way < 3; way++) {
                static const size_t chunks[] = {0, 1, 7};
                run.chunk = chunks[way];
                check_bits(&subjects[i], &run, want);
            }
            free(want);
        }
    }
}

static void fast_mode_gives_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_subjects; i++) {
        for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
            for (size_t chunk = 0; chunk < 2; chunk++) {
                struct goldenmodel_run run = {.level = level, .threads = 1, .chunk = chunk};
                float *want = logits_of(&subjects[i], &run);
                run.threads = 2;
                check_bits(&subjects[i], &run, want);
                free(want);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_type_stays_near_the_reference_at_every_level),
        cmocka_unit_test(deterministic_mode_gives_the_same_bits_for_every_block_type),
        cmocka_unit_test(fast_mode_gives_the_same_bits_for_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, make_subjects, drop_subjects);
}
