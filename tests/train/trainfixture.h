/* tests/train/trainfixture.h: a dataset of made-up words and a recipe of a tiny mixture of experts for it. For
 * test programs only. */
#ifndef TESTS_TRAINFIXTURE_H
#define TESTS_TRAINFIXTURE_H

#include "datasetfixture.h"
#include "train/trainer.h"

struct trainfixture {
    struct datasetfixture files;
    struct dataset dataset;
    struct trainrecipe recipe;
};

/* `more`: further lines of the recipe. */
static inline void trainfixture_init(struct trainfixture *x, const char *more)
{
    struct errinfo info = {0};
    char path[96];
    datasetfixture_init(&x->files);
    x->dataset = datasetfixture_pack(&x->files, 0.2, 100000, 2);
    snprintf(path, sizeof path, "%s/tiny.ini", x->files.dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "[model]\nmodel_type = deepseek_v3\nvocab_size = %zu\nhidden_size = 32\nnum_hidden_layers = 2\n"
               "intermediate_size = 64\nfirst_k_dense_replace = 1\nnum_attention_heads = 2\nnum_key_value_heads = 2\n"
               "kv_lora_rank = 16\nqk_nope_head_dim = 16\nqk_rope_head_dim = 8\nv_head_dim = 16\nn_routed_experts = 8\n"
               "n_shared_experts = 1\nnum_experts_per_tok = 2\nmoe_intermediate_size = 32\nn_group = 1\n"
               "topk_group = 1\ntopk_method = noaux_tc\nscoring_func = sigmoid\nnorm_topk_prob = true\n"
               "routed_scaling_factor = 1.0\nnum_nextn_predict_layers = 1\nmax_position_embeddings = 64\n"
               "rms_norm_eps = 1e-6\ntie_word_embeddings = true\n[schedule]\ntokens = 10240\nsequences = 16\n"
               "warmup = 0.1\n[data]\ncontext = 32\n[run]\nmicro_sequences = 8\nvalidate_rows = 8\n%s",
            x->dataset.vocab_size, more);
    assert_int_equal(fclose(f), 0);
    datasetfixture_must(trainrecipe_read(path, NULL, 0, &x->recipe, &info), &info);
}

static inline void trainfixture_deinit(struct trainfixture *x)
{
    trainrecipe_deinit(&x->recipe);
    dataset_deinit(&x->dataset);
    datasetfixture_deinit(&x->files);
}

static inline struct trainer *trainfixture_trainer(const struct trainfixture *x, int n_threads,
                                                   struct compute **c)
{
    struct errinfo info = {0};
    struct trainer *t;
    enum cpuinfo_level level;
    datasetfixture_must(cpuinfo_choose(&level, &info), &info);
    datasetfixture_must(compute_new(level, n_threads, true, c, &info), &info);
    datasetfixture_must(trainer_new(&x->recipe, &x->dataset, *c, &t, &info), &info);
    return t;
}

#endif
