/* The reference ops against PyTorch and transformers (tools/golden/ops.py), and against numbers
 * that can be worked out by hand: the judge is judged too. Every faster level present takes the
 * same test. */
#include "tensor/levels.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "tensor/ops.h"

struct golden {
    char *data;
    size_t size, at;
};

static struct golden golden_open(const char *name)
{
    struct golden g = {0};
    struct errinfo info;
    struct strbuf path = {0};
    assert_int_equal(strbuf_printf(&path, "tests/golden/ops/%s.bin", name), ERR_OK);
    assert_int_equal(file_read(path.data, 1 << 20, &g.data, &g.size, &info), ERR_OK);
    strbuf_deinit(&path);
    return g;
}

/* The next array; it has n values and lives until golden_close. */
static float *golden_next(struct golden *g, size_t n)
{
    uint32_t count;
    assert_true(g->at + sizeof count <= g->size);
    memcpy(&count, g->data + g->at, sizeof count);
    assert_int_equal(count, n);
    float *values = (float *)(void *)(g->data + g->at + sizeof count);
    g->at += sizeof count + n * sizeof *values;
    assert_true(g->at <= g->size);
    return values;
}

static void golden_close(struct golden *g)
{
    assert_int_equal(g->at, g->size);
    mem_free(g->data);
}

static void close_to(const float *got, const float *want, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance)) {
            fail_msg("value %zu: got %.9g, expected %.9g", i, (double)got[i], (double)want[i]);
        }
    }
}

static void for_levels(void (*check)(struct compute *c))
{
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 2);
        check(c);
        compute_free(c);
    }
}

static void check_rmsnorm(struct compute *c)
{
    struct golden g = golden_open("rmsnorm");
    float *x = golden_next(&g, 3 * 37), *w = golden_next(&g, 37), *want = golden_next(&g, 3 * 37);
    float y[3 * 37];
    ops_rmsnorm(c, y, 37, x, 37, w, 3, 37, 1e-6f);
    close_to(y, want, 3 * 37, 2e-6);
    golden_close(&g);
    float hand[2] = {3.0f, 4.0f}, one[2] = {1.0f, 2.0f}; /* root mean square: sqrt(12.5) */
    ops_rmsnorm(c, hand, 2, hand, 2, one, 1, 2, 0.0f);
    close_to(hand, (float[]){0.84852814f, 2.2627417f}, 2, 1e-6);
}

static void check_rope(struct compute *c)
{
    struct golden g = golden_open("rope");
    float *x = golden_next(&g, 5 * 48), *freqs = golden_next(&g, 8);
    for (int pairs = ROPE_INTERLEAVED; pairs <= ROPE_HALF; pairs++) {
        float y[5 * 48], *want = golden_next(&g, 5 * 48);
        memcpy(y, x, sizeof y);
        struct rope_args a = {y, 5, 3, 48, 16, 16, 1000, freqs, (enum rope_pairs)pairs};
        ops_rope(c, &a);
        close_to(y, want, 5 * 48, 2e-6);
    }
    golden_close(&g);
    float quarter[1] = {1.57079632679f}, v[4] = {1.0f, 2.0f, 9.0f, 9.0f}; /* a quarter turn */
    struct rope_args a = {v, 1, 1, 4, 4, 2, 1, quarter, ROPE_INTERLEAVED};
    ops_rope(c, &a);
    close_to(v, (float[]){-2.0f, 1.0f, 9.0f, 9.0f}, 4, 1e-6);
}

static struct attention_rows rows_of(const char *const *page, size_t stride, size_t head_stride)
{
    return (struct attention_rows){
        .pages = page, .stride = stride, .head_stride = head_stride, .shift = ATTENTION_ONE_PAGE};
}

static void check_attention(struct compute *c, const char *name, const size_t s[6])
{
    size_t heads = s[0], kv_heads = s[1], k_dim = s[2], v_dim = s[3], keys = s[4], t = s[5];
    struct golden g = golden_open(name);
    float scale = *golden_next(&g, 1);
    float *q = golden_next(&g, t * heads * k_dim), *k = golden_next(&g, keys * kv_heads * k_dim);
    float *v = golden_next(&g, keys * kv_heads * v_dim), *want = golden_next(&g, t * heads * v_dim);
    bool absorbed = strcmp(name, "attention_absorbed") == 0;
    float *out = malloc(t * heads * v_dim * sizeof *out);
    const char *const pages[2] = {(const char *)k, (const char *)v};
    struct attention_args a = {
        .out = out,
        .q = q,
        .out_stride = heads * v_dim,
        .q_stride = heads * k_dim,
        .k = rows_of(&pages[0], kv_heads * k_dim, k_dim),
        .v = absorbed ? rows_of(&pages[0], kv_heads * k_dim, k_dim) : rows_of(&pages[1], kv_heads * v_dim, v_dim),
        .kv_dtype = DTYPE_F32,
        .n_tokens = t,
        .n_heads = heads,
        .n_kv_heads = kv_heads,
        .k_dim = k_dim,
        .v_dim = v_dim,
        .pos = keys - t,
        .scale = scale,
    };
    assert_int_equal(ops_attention(c, &a, 1), ERR_OK);
    close_to(out, want, t * heads * v_dim, 3e-6);
    free(out);
    golden_close(&g);
}

static void check_attentions(struct compute *c)
{
    check_attention(c, "attention_gqa", (size_t[]){6, 2, 16, 16, 21, 5});
    check_attention(c, "attention_mla", (size_t[]){3, 3, 24, 16, 19, 19});
    check_attention(c, "attention_absorbed", (size_t[]){4, 1, 40, 32, 17, 2});
    /* Scores 0 and ln 3 weigh the values 1/4 and 3/4. */
    float q = 1.0986123f, k[2] = {0.0f, 1.0f}, v[2] = {8.0f, 16.0f}, out;
    const char *const pages[2] = {(const char *)k, (const char *)v};
    struct attention_args a = {&out, &q, 1, 1, rows_of(&pages[0], 1, 1), rows_of(&pages[1], 1, 1), DTYPE_F32,
                               1, 1, 1, 1, 1, 1, 1.0f};
    assert_int_equal(ops_attention(c, &a, 1), ERR_OK);
    close_to(&out, (float[]){14.0f}, 1, 1e-5);
}

static void check_swiglu(struct compute *c)
{
    struct golden g = golden_open("swiglu");
    float *gate = golden_next(&g, 101), *up = golden_next(&g, 101), *want = golden_next(&g, 101);
    float y[101];
    ops_swiglu(c, y, gate, up, 101);
    close_to(y, want, 101, 1e-5);
    golden_close(&g);
}

static void check_matmul(struct compute *c)
{
    struct golden g = golden_open("matmul");
    float *x = golden_next(&g, 4 * 33), *w = golden_next(&g, 7 * 33), *want = golden_next(&g, 28);
    float y[3 * 7];
    struct matmul_job job = {.x = x, .rows = (uint32_t[]){3, 0, 3}, .y = y, .n_rows = 3,
                             .x_stride = 33, .y_stride = 7};
    assert_int_equal(tensor_init(&job.w, DTYPE_F32, 2, (size_t[]){7, 33}, w), ERR_OK);
    assert_int_equal(ops_matmul(c, &job, 1), ERR_OK);
    close_to(y, want + 21, 7, 1e-5);
    close_to(y + 7, want, 7, 1e-5);
    close_to(y + 14, want + 21, 7, 1e-5);
    golden_close(&g);
}

static void check_rows(struct compute *c)
{
    float y[4] = {1.0f, 2.0f, 3.0f, 4.0f}, table[6] = {10.0f, 20.0f, 30.0f, 40.0f, 50.0f, 60.0f};
    ops_add(c, y, (float[]){1.0f, 1.0f, 1.0f, 1.0f}, 4);
    ops_add_bias(c, y, (float[]){0.5f, -0.5f}, 2, 2);
    close_to(y, (float[]){2.5f, 2.5f, 4.5f, 4.5f}, 4, 0);
    ops_combine(c, y, table, 2, (uint32_t[]){2, 0, 1, 1}, (float[]){0.5f, 0.1f, 1.0f, -1.0f}, 2, 2,
                2);
    close_to(y, (float[]){28.5f, 34.5f, 4.5f, 4.5f}, 4, 1e-5);
    struct tensor t;
    assert_int_equal(tensor_init(&t, DTYPE_F32, 2, (size_t[]){3, 2}, table), ERR_OK);
    ops_embed(c, y, &t, (int32_t[]){2, 0}, 2);
    close_to(y, (float[]){50.0f, 60.0f, 10.0f, 20.0f}, 4, 0);
    uint16_t half[2]; /* 1 + 2^-8 lies between two bf16: to even; 1 + 3 * 2^-8 too: up */
    ops_store(c, half, DTYPE_BF16, 2, (float[]){1.00390625f, 1.01171875f}, 2, 1, 2);
    assert_int_equal(half[0], 0x3f80);
    assert_int_equal(half[1], 0x3f82);
    ops_store(c, half, DTYPE_F16, 2, (float[]){-2.0f, 65504.0f}, 2, 1, 2);
    assert_int_equal(half[0], 0xc000);
    assert_int_equal(half[1], 0x7bff);
    ops_load(c, y, 2, half, DTYPE_F16, 2, 1, 2);
    close_to(y, (float[]){-2.0f, 65504.0f}, 2, 0);
}

static void rmsnorm_equals_transformers(void **state)
{
    (void)state;
    for_levels(check_rmsnorm);
}

static void rope_equals_transformers_in_both_layouts(void **state)
{
    (void)state;
    for_levels(check_rope);
}

static void attention_equals_pytorch_for_gqa_and_mla(void **state)
{
    (void)state;
    for_levels(check_attentions);
}

static void swiglu_equals_pytorch(void **state)
{
    (void)state;
    for_levels(check_swiglu);
}

static void matmul_with_gathered_rows_equals_pytorch(void **state)
{
    (void)state;
    for_levels(check_matmul);
}

static void sums_tables_and_caches_equal_hand_worked_numbers(void **state)
{
    (void)state;
    for_levels(check_rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_equals_transformers),
        cmocka_unit_test(rope_equals_transformers_in_both_layouts),
        cmocka_unit_test(attention_equals_pytorch_for_gqa_and_mla),
        cmocka_unit_test(swiglu_equals_pytorch),
        cmocka_unit_test(matmul_with_gathered_rows_equals_pytorch),
        cmocka_unit_test(sums_tables_and_caches_equal_hand_worked_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
