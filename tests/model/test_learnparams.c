/* Values of models that exist become parameters: the loss that learning computes from folders and GGUF files of every
 * class is the one of transformers' logits; a model written out and read again has the same bits; what cannot be
 * read is refused; failing allocations leave nothing behind. */
#include "model/goldenmodel.h"

#include "fault/faultsweep.h"
#include "model/learnmodel.h"
#include "tensor/ref/dequant.h"
#include "tensor/ref/quantize.h"

/* The loss of next tokens by the fixture's logits, summed. */
static double golden_loss(const struct goldenmodel *g)
{
    double sum = 0;
    for (size_t t = 0; t + 1 < g->n_tokens; t++) {
        const float *row = g->logits + t * g->vocab;
        double denominator = 0;
        for (size_t v = 0; v < g->vocab; v++) {
            denominator += exp((double)row[v]);
        }
        sum += log(denominator) - (double)row[g->tokens[t + 1]];
    }
    return sum;
}

static double learning_loss(struct learnmodel *m, const struct goldenmodel *g)
{
    int32_t targets[64], positions[64];
    struct learnmodel_losses l;
    struct errinfo info = {0};
    for (size_t t = 0; t < g->n_tokens; t++) {
        targets[t] = t + 1 < g->n_tokens ? g->tokens[t + 1] : -1;
        positions[t] = (int32_t)t;
    }
    const struct learnmodel_batch batch = {g->tokens, targets, positions};
    if (learnmodel_step(m, &batch, NULL, &l, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return l.sum;
}

static void check_loss(const char *name)
{
    struct goldenmodel g;
    struct compute *compute;
    struct learnmodel *learns;
    struct errinfo info = {0};
    char folder[64];
    snprintf(folder, sizeof folder, "%.*s", (int)strcspn(name, "."), name);
    goldenmodel_load(folder, &g);
    struct model *m = goldenmodel_open(name);
    const struct learnmodel_options o = {.exact = true, .n_sequences = 1, .context = g.n_tokens};
    assert_int_equal(compute_new(CPUINFO_REF, 1, true, &compute, &info), ERR_OK);
    if (learnmodel_new(model_config(m), &o, compute, &learns, &info) != ERR_OK ||
        learnparams_from_tensors(learnmodel_params(learns), model_config(m), model_tensors(m), &info) != ERR_OK) {
        fail_msg("%s: %s", name, info.message);
    }
    double want = golden_loss(&g), found = learning_loss(learns, &g);
    if (!(fabs(found - want) <= 1e-5 * want)) {
        fail_msg("%s: the loss is %.9g; transformers' logits have %.9g", name, found, want);
    }
    learnmodel_free(learns);
    compute_free(compute);
    model_close(m);
    goldenmodel_free(&g);
}

static void test_models_of_every_class_have_their_loss(void **state)
{
    (void)state;
    static const char *const names[] = {
        "v2-lite",   "v2-lite.gguf",   "v2-lite-d",  "v2-groups",  "v2-groups-b.gguf", "v3",          "v3.gguf",
        "v3-b",      "v3-c.gguf",      "v3-d",       "v3-mtp",     "v3-mtp.gguf",      "v3-tied",     "v3-softmax",
        "v3-fp8",    "v3-fp8-b.gguf",  "v3-fp8-c",   "llama3",     "llama3.gguf",      "llama-tied",  "llama-b.gguf",
        "llama-c",   "llama-d"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_loss(names[i]);
    }
}

static struct learnparams *params_of(const struct config *c, bool exact)
{
    struct learnparams *p;
    struct errinfo info = {0};
    if (learnparams_new(c, exact, &p, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return p;
}

static void same_values(const struct learnparams *a, const struct learnparams *b)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct learnparam *p = &a->all[i], *q = &b->all[i];
        for (size_t k = 0; k < p->value.rows * p->value.cols; k++) {
            size_t row = k / p->value.cols, col = k % p->value.cols;
            if (mat_get(&p->value, row, col) != mat_get(&q->value, row, col)) {
                fail_msg("%s (%zu, %zu) is another value", p->name, row, col);
            }
        }
        assert_true(b->exact || memcmp(p->work.data, q->work.data, p->work.rows * p->work.cols *
                                       mat_type_bytes(p->work.type)) == 0);
    }
}

static const char *table_has(const struct tensortable *t, const char *part)
{
    for (size_t i = 0; i < tensortable_count(t); i++) {
        const char *found = strstr(tensortable_at(t, i)->name, part);
        if (found) {
            return found;
        }
    }
    return NULL;
}

static void test_written_out_and_read_again_they_are_the_same(void **state)
{
    (void)state;
    static const char *const names[] = {"v3-mtp", "v3-tied", "v2-lite", "llama3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct model *m = goldenmodel_open(names[i]);
        const struct config *c = model_config(m);
        struct learnparams *p = params_of(c, false), *again = params_of(c, false), *exact = params_of(c, true);
        struct tensortable *table;
        struct errinfo info = {0};
        learnparams_randomise(p, &(struct learnparams_init){1, 0.5, 0, 0.02, 0.02, 3});
        for (size_t k = 0; k < p->n; k++) {
            mat_set(&p->all[k].value, 0, 0, 0.75); /* vectors too are told apart */
        }
        learnparams_refresh(p);
        assert_int_equal(learnparams_table(p, &table, &info), ERR_OK);
        assert_null(table_has(table, "nextn.embed_tokens")); /* the model's own serves */
        assert_null(table_has(table, "nextn.shared_head_head"));
        assert_int_equal(learnparams_from_tensors(again, c, table, &info), ERR_OK);
        assert_int_equal(learnparams_from_tensors(exact, c, table, &info), ERR_OK);
        same_values(p, again);
        same_values(p, exact);
        tensortable_free(table);
        learnparams_free(p);
        learnparams_free(again);
        learnparams_free(exact);
        model_close(m);
    }
}

static void test_threads_change_no_first_value(void **state)
{
    (void)state;
    struct model *m = goldenmodel_open("v3-mtp");
    struct learnparams *one = params_of(model_config(m), false), *three = params_of(model_config(m), false);
    struct errinfo info = {0};
    assert_int_equal(compute_new(CPUINFO_REF, 3, true, &three->compute, &info), ERR_OK);
    learnparams_randomise(one, &(struct learnparams_init){1, 0.5, 0, 0.02, 0.02, 3});
    learnparams_randomise(three, &(struct learnparams_init){1, 0.5, 0, 0.02, 0.02, 3});
    same_values(one, three);
    compute_free(three->compute);
    learnparams_free(one);
    learnparams_free(three);
    model_close(m);
}

static void test_gpt2s_begin_with_the_deviations_that_are_asked_for(void **state)
{
    (void)state;
    struct config c = {.family = CONFIG_GPT2, .vocab_size = 90, .hidden_size = 64, .num_hidden_layers = 1,
                       .intermediate_size = 256, .num_attention_heads = 4, .num_key_value_heads = 4, .head_dim = 16,
                       .max_position_embeddings = 80, .rms_norm_eps = 1e-5f, .rope_theta = 100,
                       .tie_word_embeddings = true};
    struct learnparams *p = params_of(&c, false);
    learnparams_randomise(p, &(struct learnparams_init){1, 0.5, 0.02, 0.03, 0.04, 3});
    for (size_t i = 0; i < p->n; i++) {
        const struct mat *v = &p->all[i].value;
        bool bias = strstr(p->all[i].name, ".bias"), norm = strstr(p->all[i].name, "norm.weight");
        bool out = strstr(p->all[i].name, "output.weight") || strstr(p->all[i].name, "down.weight");
        double squares = 0, want = bias ? 0 : norm ? 1 : strstr(p->all[i].name, "embd") ? 0.03 : out ? 0.01 : 0.02;
        for (size_t k = 0; k < v->rows * v->cols; k++) {
            squares += pow(mat_get(v, k / v->cols, k % v->cols), 2);
        }
        assert_true(fabs(sqrt(squares / (double)(v->rows * v->cols)) - want) <= 0.05 * want);
    }
    assert_int_equal(p->n, 16);
    assert_true(p->head == p->embed && p->places && p->norm_bias && p->layers[0].qkv && p->layers[0].down_bias);
    learnparams_free(p);
}

static void test_a_head_of_its_own_has_its_own_deviation(void **state)
{
    (void)state;
    struct config c = {.family = CONFIG_LLAMA, .vocab_size = 90, .hidden_size = 64, .num_hidden_layers = 1,
                       .intermediate_size = 128, .num_attention_heads = 4, .num_key_value_heads = 4,
                       .head_dim = 16, .max_position_embeddings = 80, .rms_norm_eps = 1e-5f, .rope_theta = 100};
    struct learnparams *p = params_of(&c, false);
    learnparams_randomise(p, &(struct learnparams_init){1, 0.5, 0, 0.5, 0.04, 3});
    const struct learnparam *tables[] = {p->embed, p->head};
    for (size_t i = 0; i < 2; i++) {
        double squares = 0, want = i ? 0.04 : 0.5;
        for (size_t k = 0; k < 90 * 64; k++) {
            squares += pow(mat_get(&tables[i]->value, k / 64, k % 64), 2);
        }
        assert_true(fabs(sqrt(squares / (90 * 64)) - want) <= 0.05 * want);
    }
    learnparams_free(p);
}

/* The entries of a table, but kv_b in blocks; `blocks` [layers] holds them. */
static struct tensortable *with_blocks(const struct tensortable *from, struct tensor *blocks)
{
    struct tensortable *t;
    struct errinfo info = {0};
    size_t n = 0;
    float row[64];
    assert_int_equal(tensortable_new(&t, &info), ERR_OK);
    for (size_t i = 0; i < tensortable_count(from); i++) {
        const struct tensortable_entry *e = tensortable_at(from, i);
        struct tensor x = e->tensor;
        if (strstr(e->name, "kv_b_proj")) {
            void *data;
            x.dtype = DTYPE_Q8_0;
            assert_int_equal(tensortable_own(t, tensor_bytes(&x), &data, &info), ERR_OK);
            for (size_t r = 0; r < tensor_rows(&x); r++) {
                dequant_row(&e->tensor, r, row);
                char *at = (char *)data + r * tensor_row_bytes(&x);
                assert_int_equal(quantize_run(DTYPE_Q8_0, row, at, tensor_cols(&x), NULL), ERR_OK);
            }
            x.data = data;
            blocks[n++] = x;
        }
        assert_int_equal(tensortable_add(t, e->name, strlen(e->name), &x, 0, 0, &info), ERR_OK);
    }
    return t;
}

/* Where keys and values come as blocks of one tensor, the copies that serving rounds (absorb.h) are not used. */
static void test_keys_in_blocks_are_taken_unrounded(void **state)
{
    (void)state;
    struct model *m = goldenmodel_open("v2-lite");
    const struct config *c = model_config(m);
    struct learnparams *p = params_of(c, true);
    struct tensor blocks[8];
    struct errinfo info = {0};
    struct tensortable *t = with_blocks(model_tensors(m), blocks);
    float row[64];
    assert_int_equal(learnparams_from_tensors(p, c, t, &info), ERR_OK);
    for (size_t layer = 0; layer < c->num_hidden_layers; layer++) {
        const struct learnparams_layer *l = &p->layers[layer];
        for (size_t r = 0; r < tensor_rows(&blocks[layer]); r++) {
            size_t h = r / (c->qk_nope_head_dim + c->v_head_dim), at = r % (c->qk_nope_head_dim + c->v_head_dim);
            struct mat k = learnparams_matrix(l->k_b, l->k_b->value, h);
            struct mat v = learnparams_matrix(l->v_b, l->v_b->value, h);
            dequant_row(&blocks[layer], r, row);
            for (size_t i = 0; i < c->kv_lora_rank; i++) {
                double found = at < c->qk_nope_head_dim ? mat_get(&k, i, at) : mat_get(&v, at - c->qk_nope_head_dim, i);
                assert_true(found == (double)row[i]);
            }
        }
    }
    tensortable_free(t);
    learnparams_free(p);
    model_close(m);
}

static void test_what_is_missing_is_named(void **state)
{
    (void)state;
    struct model *m = goldenmodel_open("v3");
    struct config c = *model_config(m);
    struct errinfo info = {0};
    assert_int_equal(c.num_nextn_predict_layers, 0);
    c.num_nextn_predict_layers = 1; /* the tensors have no such layer */
    struct learnparams *p = params_of(&c, false);
    assert_int_equal(learnparams_from_tensors(p, &c, model_tensors(m), &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "num_nextn_predict_layers"));
    learnparams_free(p);
    c.num_nextn_predict_layers = 0;
    c.hidden_size += 2;
    p = params_of(&c, false);
    assert_int_equal(learnparams_from_tensors(p, &c, model_tensors(m), &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "shape"));
    learnparams_free(p);
    c.num_nextn_predict_layers = 2;
    p = params_of(&c, false);
    assert_int_equal(learnparams_from_tensors(p, &c, model_tensors(m), &info), ERR_UNSUPPORTED);
    learnparams_free(p);
    model_close(m);
}

static err open_and_take(struct errinfo *info)
{
    struct model *m;
    struct learnparams *p;
    TRY(model_open(GOLDENMODEL_DIR "llama-tied", &m, info));
    err e = learnparams_new(model_config(m), false, &p, info);
    if (e == ERR_OK) {
        e = learnparams_from_tensors(p, model_config(m), model_tensors(m), info);
        learnparams_free(p);
    }
    model_close(m);
    return e;
}

static void test_failing_allocations_leave_nothing_behind(void **state)
{
    (void)state;
    faultsweep_run(&(struct faultsweep){"values of a model", open_and_take, 30, 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_of_every_class_have_their_loss),
        cmocka_unit_test(test_threads_change_no_first_value),
        cmocka_unit_test(test_gpt2s_begin_with_the_deviations_that_are_asked_for),
        cmocka_unit_test(test_a_head_of_its_own_has_its_own_deviation),
        cmocka_unit_test(test_written_out_and_read_again_they_are_the_same),
        cmocka_unit_test(test_keys_in_blocks_are_taken_unrounded),
        cmocka_unit_test(test_what_is_missing_is_named),
        cmocka_unit_test(test_failing_allocations_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
