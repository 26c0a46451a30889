/* The multi-token-prediction layer against PyTorch (tools/golden/model.py), in one step and in pieces, and
 * what happens where there is none or half of one. */
#include "goldenmodel.h"

#include "tensor/ops.h"

struct expected {
    char *data;
    size_t n, hidden, vocab;
    int32_t guess;
    const float *output, *logits, *more;
};

static void load(struct expected *x)
{
    size_t size;
    assert_int_equal(file_read(GOLDENMODEL_DIR "v3-mtp/mtp.bin", 1 << 20, &x->data, &size, NULL), ERR_OK);
    const int32_t *head = (const int32_t *)(void *)x->data;
    x->n = (size_t)head[0];
    x->hidden = (size_t)head[1];
    x->vocab = (size_t)head[2];
    x->guess = head[3];
    x->output = (const float *)(const void *)(head + 4);
    x->logits = x->output + x->n * x->hidden;
    x->more = x->logits + x->n * x->vocab;
    assert_int_equal(size, (const char *)(x->more + x->vocab) - x->data);
}

/* The layer alone: one row of keys and values. */
static struct model_cache one_layer(const struct model *m, enum dtype t, size_t cap)
{
    struct model_cache c = {.dtype = t, .capacity = cap};
    c.pages = calloc(1, sizeof *c.pages);
    assert_true(cap <= MODEL_CACHE_PAGE);
    c.pages[0] = calloc(MODEL_CACHE_PAGE, model_cache_k_width(m) * dtype_info(t)->block_bytes);
    return c;
}

static void free_cache(struct model_cache *c)
{
    free(c->pages[0]);
    free(c->pages);
}

struct way {
    enum cpuinfo_level level;
    bool deterministic;
    size_t chunk;
};

/* Logits [n + 1, vocab] and outputs [n, hidden] of the last token of each chunk; the rest stays 0. */
static void run(const char *form, const struct way *way, const struct goldenmodel *g,
                const struct expected *x, float *logits, float *output)
{
    struct errinfo info = {0};
    struct compute *c = NULL;
    struct model_workspace *w = NULL;
    struct model *m = goldenmodel_open(form);
    assert_true(model_has_mtp(m));
    assert_int_equal(compute_new(way->level, 2, way->deterministic, &c, &info), ERR_OK);
    assert_int_equal(model_workspace_new(m, x->n, &w, &info), ERR_OK);
    struct model_cache cache = one_layer(m, DTYPE_F32, x->n + 1);
    const float *hidden = g->layers + g->n_layers * g->n_tokens * g->hidden;
    for (size_t t = 0; t < x->n; t += way->chunk) {
        size_t n = x->n - t < way->chunk ? x->n - t : way->chunk;
        struct model_mtp_step s = {.cache = &cache,
                                   .hidden = hidden + t * g->hidden,
                                   .tokens = g->tokens + 1 + t,
                                   .n_tokens = n,
                                   .logits = logits + (t + n - 1) * x->vocab,
                                   .output = output + (t + n - 1) * x->hidden};
        if (model_mtp_forward(m, c, w, &s, &info) != ERR_OK) {
            fail_msg("%s", info.message);
        }
        assert_int_equal(cache.len, t + n);
    }
    struct model_mtp_step on = {.cache = &cache,
                                .hidden = output + (x->n - 1) * x->hidden,
                                .tokens = &x->guess,
                                .n_tokens = 1,
                                .logits = logits + x->n * x->vocab};
    assert_int_equal(model_mtp_forward(m, c, w, &on, &info), ERR_OK);
    free_cache(&cache);
    model_workspace_free(w);
    compute_free(c);
    model_close(m);
}

static void the_layer_computes_what_pytorch_does(void **state)
{
    (void)state;
    struct goldenmodel g;
    struct expected x;
    goldenmodel_load("v3-mtp", &g);
    load(&x);
    assert_int_equal(x.n, g.n_tokens - 1);
    float *logits = calloc((x.n + 1) * x.vocab, sizeof *logits);
    float *output = calloc(x.n * x.hidden, sizeof *output);
    const char *const forms[] = {"v3-mtp", "v3-mtp.gguf"};
    for (size_t i = 0; i < 4; i++) {
        for (int level = CPUINFO_REF; level <= (int)cpuinfo_best(); level++) {
            const struct way way = {(enum cpuinfo_level)level, i & 1, 1};
            run(forms[i / 2], &way, &g, &x, logits, output);
            assert_true(goldenmodel_distance(output, x.output, x.n, x.hidden) < 1e-5);
            assert_true(goldenmodel_distance(logits, x.logits, x.n, x.vocab) < 1e-5);
            assert_true(goldenmodel_distance(logits + x.n * x.vocab, x.more, 1, x.vocab) < 1e-5);
        }
    }
    free(logits);
    free(output);
    mem_free(x.data);
    goldenmodel_free(&g);
}

static void pieces_equal_the_whole_bit_for_bit(void **state)
{
    (void)state;
    struct goldenmodel g;
    struct expected x;
    goldenmodel_load("v3-mtp", &g);
    load(&x);
    size_t n = (x.n + 1) * x.vocab;
    float *single = calloc(n, sizeof *single), *chunked = calloc(n, sizeof *chunked);
    float *output = calloc(x.n * x.hidden, sizeof *output);
    const struct way alone = {cpuinfo_best(), true, 1};
    run("v3-mtp", &alone, &g, &x, single, output);
    for (size_t chunk = 2; chunk <= x.n; chunk += 3) {
        const struct way way = {cpuinfo_best(), true, chunk};
        run("v3-mtp", &way, &g, &x, chunked, output);
        assert_memory_equal(chunked + (x.n - 1) * x.vocab, single + (x.n - 1) * x.vocab,
                            2 * x.vocab * sizeof *single);
    }
    free(single);
    free(chunked);
    free(output);
    mem_free(x.data);
    goldenmodel_free(&g);
}

static void a_step_it_cannot_take_is_refused(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct compute *c = NULL;
    struct model_workspace *w = NULL;
    struct model *without = goldenmodel_open("v3"), *m = goldenmodel_open("v3-mtp");
    assert_false(model_has_mtp(without));
    assert_int_equal(model_mtp_bytes(without), 0);
    assert_true(model_mtp_bytes(m) > 0);
    assert_int_equal(compute_new(CPUINFO_REF, 1, true, &c, &info), ERR_OK);
    assert_int_equal(model_workspace_new(m, 2, &w, &info), ERR_OK);
    struct model_cache cache = one_layer(m, DTYPE_F32, 2);
    float hidden[3 * 34] = {0};
    int32_t tokens[3] = {1, 2, 3};
    struct model_mtp_step s = {.cache = &cache, .hidden = hidden, .tokens = tokens, .n_tokens = 3};
    assert_int_equal(model_mtp_forward(without, c, w, &s, &info), ERR_UNSUPPORTED);
    assert_int_equal(model_mtp_forward(m, c, w, &s, &info), ERR_ARGUMENT);
    s.n_tokens = 0;
    assert_int_equal(model_mtp_forward(m, c, w, &s, &info), ERR_ARGUMENT);
    s.n_tokens = 2;
    assert_int_equal(model_mtp_forward(m, c, w, &s, &info), ERR_OK);
    assert_int_equal(model_mtp_forward(m, c, w, &s, &info), ERR_CONTEXT);
    cache.len = 0;
    tokens[1] = 131;
    assert_int_equal(model_mtp_forward(m, c, w, &s, &info), ERR_ARGUMENT);
    assert_int_equal(cache.len, 0);
    free_cache(&cache);
    model_workspace_free(w);
    compute_free(c);
    model_close(m);
    model_close(without);
}

/* Opens the model's tensors but one. */
static err open_without(const struct model *m, const char *name, bool *has, struct errinfo *info)
{
    struct model *out;
    struct tensortable *t = NULL;
    assert_int_equal(tensortable_new(&t, info), ERR_OK);
    for (size_t i = 0; i < tensortable_count(model_tensors(m)); i++) {
        const struct tensortable_entry *e = tensortable_at(model_tensors(m), i);
        if (strcmp(e->name, name) != 0) {
            assert_int_equal(tensortable_add(t, e->name, strlen(e->name), &e->tensor, 0, 0, info),
                             ERR_OK);
        }
    }
    err e = model_from_tensors(model_config(m), t, &out, info);
    *has = e == ERR_OK && model_has_mtp(out);
    if (e == ERR_OK) {
        model_close(out);
    }
    tensortable_free(t);
    return e;
}

static void half_a_layer_is_damage_and_none_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        err want;
        bool has;
    } cases[] = {{"blk.2.nextn.eh_proj.weight", ERR_OK, false},
                 {"blk.2.nextn.embed_tokens.weight", ERR_OK, true},
                 {"blk.2.nextn.shared_head_head.weight", ERR_OK, true},
                 {"blk.2.nextn.shared_head_norm.weight", ERR_OK, true},
                 {"blk.2.nextn.enorm.weight", ERR_CORRUPT, false},
                 {"blk.2.nextn.hnorm.weight", ERR_CORRUPT, false},
                 {"blk.2.attn_output.weight", ERR_CORRUPT, false},
                 {"blk.2.ffn_up_exps.weight", ERR_CORRUPT, false}};
    struct model *m = goldenmodel_open("v3-mtp.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        bool has = false;
        assert_non_null(tensortable_find(model_tensors(m), cases[i].name));
        assert_int_equal(open_without(m, cases[i].name, &has, &info), cases[i].want);
        assert_int_equal(has, cases[i].has);
        assert_true(cases[i].want == ERR_OK || strstr(info.message, cases[i].name));
    }
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layer_computes_what_pytorch_does),
        cmocka_unit_test(pieces_equal_the_whole_bit_for_bit),
        cmocka_unit_test(a_step_it_cannot_take_is_refused),
        cmocka_unit_test(half_a_layer_is_damage_and_none_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
