/* Attention at every CPU level present: against the reference on random shapes, equal bits for any
 * chunking and number of threads, special values, and speed. */
#include "tensor/levels.h"

#include "tensor/ops.h"

struct shape {
    size_t n_heads, n_kv_heads, k_dim, v_dim;
    bool absorbed; /* the values are the first v_dim of the keys */
};

static const struct shape SHAPES[] = {
    {4, 4, 24, 20, false},    {6, 2, 33, 17, false},   {1, 1, 1, 1, false},
    {9, 3, 64, 64, false},    {28, 4, 128, 128, false}, {3, 3, 192, 128, false},
    {16, 1, 576, 512, true},  {5, 1, 96, 64, true},     {70, 1, 40, 24, true},
    {2, 2, 160, 96, false},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

/* Queries, a cache of `keys` positions and room for the result, all from one seed. */
struct problem {
    struct attention_args a;
    void *blocks[6];
    float *q, *out;
    size_t n_out;
};

/* n rows in pages, the first of them last in the block; blocks[0] and [1] are for the caller to free. */
static void problem_cache(struct compute *ref, enum dtype t, size_t n, uint64_t seed, void **blocks,
                          struct attention_rows *rows)
{
    float *x;
    size_t size = t == DTYPE_F32 ? 4 : 2, n_pages = ((n - 1) >> rows->shift) + 1;
    size_t in_page = n_pages > 1 ? (size_t)1 << rows->shift : n, page = (in_page * rows->stride + 2) * size;
    void *floats = levels_floats(n * rows->stride, 0, seed, 1.0f, &x);
    char **pages = calloc(n_pages, sizeof *pages), *block = calloc(n_pages, page);
    for (size_t i = 0; i < n_pages; i++) {
        size_t left = n - i * in_page, here = left < in_page ? left : in_page;
        pages[i] = block + (n_pages - 1 - i) * page;
        ops_store(ref, pages[i] + size, t, rows->stride, x + i * in_page * rows->stride, rows->stride, here,
                  rows->stride);
    }
    rows->offset = size; /* no more aligned than the type asks */
    rows->pages = (const char *const *)pages;
    blocks[0] = block;
    blocks[1] = pages;
    free(floats);
}

static struct problem problem_paged(const struct shape *s, enum dtype t, size_t pos, size_t n_tokens,
                                    uint64_t seed, unsigned shift)
{
    struct compute *ref = levels_compute(CPUINFO_REF, 1);
    struct problem p = {0};
    size_t keys = pos + n_tokens;
    struct attention_args *a = &p.a;
    a->n_tokens = n_tokens;
    a->n_heads = s->n_heads;
    a->n_kv_heads = s->n_kv_heads;
    a->k_dim = s->k_dim;
    a->v_dim = s->v_dim;
    a->pos = pos;
    a->kv_dtype = t;
    a->scale = 3.0f / sqrtf((float)s->k_dim);
    a->k = (struct attention_rows){
        .stride = s->n_kv_heads * s->k_dim + 3, .head_stride = s->k_dim, .shift = shift};
    a->v = (struct attention_rows){
        .stride = s->n_kv_heads * s->v_dim + 1, .head_stride = s->v_dim, .shift = shift};
    problem_cache(ref, t, keys, seed + 1, p.blocks + 2, &a->k);
    problem_cache(ref, t, keys, seed + 2, p.blocks + 4, &a->v);
    a->v = s->absorbed ? a->k : a->v;
    a->q_stride = s->n_heads * s->k_dim + 1;
    a->out_stride = s->n_heads * s->v_dim + 2;
    p.n_out = n_tokens * a->out_stride;
    p.blocks[0] = levels_floats(n_tokens * a->q_stride, 1, seed + 3, 2.0f, &p.q);
    p.blocks[1] = levels_floats(p.n_out, 1, seed + 4, 1.0f, &p.out);
    a->q = p.q;
    a->out = p.out;
    compute_free(ref);
    return p;
}

static struct problem problem_new(const struct shape *s, enum dtype t, size_t pos, size_t n_tokens,
                                  uint64_t seed)
{
    static const unsigned shifts[] = {ATTENTION_ONE_PAGE, 6, 4};
    return problem_paged(s, t, pos, n_tokens, seed, shifts[seed % 3]);
}

static void problem_free(struct problem *p)
{
    for (int i = 0; i < 6; i++) {
        free(p->blocks[i]);
    }
}

/* Runs queries [first, first + n) of the problem into out. */
static void problem_run(const struct problem *p, struct compute *c, float *out, size_t first,
                        size_t n)
{
    struct attention_args a = p->a;
    a.q = p->a.q + first * a.q_stride;
    a.out = out + first * a.out_stride;
    a.pos = p->a.pos + first;
    a.n_tokens = n;
    assert_int_equal(ops_attention(c, &a, 1), ERR_OK);
}

/* Bounds of attention.h; |v| <= 1 and |score| <= 12 here. */
static double bound_of(enum cpuinfo_level level, enum dtype t)
{
    return level == CPUINFO_AMX && t == DTYPE_BF16 ? 0x1p-6 : 1e-5;
}

static void every_shape_agrees_with_the_reference(void **state)
{
    (void)state;
    static const size_t lengths[][2] = {{0, 1},  {0, 7},   {5, 16},  {62, 3},  {0, 70},
                                        {63, 1}, {255, 2}, {300, 1}, {511, 17}};
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    struct compute *ref = levels_compute(CPUINFO_REF, 2);
    double worst[CPUINFO_LEVELS][2] = {{0}};
    for (size_t i = 0; i < N_SHAPES * 9; i++) {
        const struct shape *s = &SHAPES[i % N_SHAPES];
        const size_t *len = lengths[i / N_SHAPES];
        if (s->n_heads * s->k_dim * len[1] * (len[0] + 9) > 6000000) {
            continue; /* the judge is slow */
        }
        enum dtype t = types[(i + i / N_SHAPES) % 3];
        struct problem p = problem_new(s, t, len[0], len[1], i);
        float *want = malloc(p.n_out * sizeof *want), *got = malloc(p.n_out * sizeof *got);
        memcpy(want, p.out, p.n_out * sizeof *want);
        problem_run(&p, ref, want, 0, len[1]);
        for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
            struct compute *c = levels_compute(level, 1 + (int)(i % 2));
            memcpy(got, p.out, p.n_out * sizeof *got);
            problem_run(&p, c, got, 0, len[1]);
            for (size_t j = 0; j < p.n_out; j++) {
                double e = fabs((double)want[j] - (double)got[j]);
                worst[level][t == DTYPE_BF16] = fmax(worst[level][t == DTYPE_BF16], e);
                assert_true(e <= bound_of(level, t));
            }
            compute_free(c);
        }
        free(want);
        free(got);
        problem_free(&p);
    }
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        printf("%-6s largest error for |v| <= 1: %.2g, with a bf16 cache %.2g\n",
               cpuinfo_level_name(level), worst[level][0], worst[level][1]);
    }
    compute_free(ref);
}

static void whole_chunked_and_single_queries_are_the_same_bits(void **state)
{
    (void)state;
    static const struct shape shapes[] = {{4, 4, 24, 20, false},
                                          {8, 2, 64, 64, false},
                                          {3, 3, 192, 128, false},
                                          {16, 1, 576, 512, true}};
    for (size_t i = 0; i < 8; i++) {
        struct problem p =
            problem_new(&shapes[i % 4], i < 4 ? DTYPE_BF16 : DTYPE_F32, 200, 147, i);
        float *got[3];
        for (int j = 0; j < 3; j++) {
            got[j] = malloc(p.n_out * sizeof **got);
            memcpy(got[j], p.out, p.n_out * sizeof **got);
        }
        /* the judge is slow: one shape is enough for it */
        for (enum cpuinfo_level level = i ? CPUINFO_AVX2 : CPUINFO_REF; level <= cpuinfo_best();
             level++) {
            struct compute *one = levels_compute(level, 1), *two = levels_compute(level, 2);
            problem_run(&p, two, got[0], 0, 147);
            for (size_t t = 0, n = 1; t < 147; t += n, n = 1 + (n * 5 + 11) % 43) {
                n = n < 147 - t ? n : 147 - t;
                problem_run(&p, two, got[1], t, n);
            }
            for (size_t t = 0; t < 147; t++) {
                problem_run(&p, t % 2 ? one : two, got[2], t, 1);
            }
            assert_memory_equal(got[0], got[1], p.n_out * sizeof **got);
            assert_memory_equal(got[0], got[2], p.n_out * sizeof **got);
            compute_free(one);
            compute_free(two);
        }
        for (int j = 0; j < 3; j++) {
            free(got[j]);
        }
        problem_free(&p);
    }
}

/* Spans shared by threads, in one wave and in several, against one thread. */
static void threads_do_not_change_long_contexts(void **state)
{
    (void)state;
    struct problem p = problem_new(&SHAPES[6], DTYPE_BF16, 5000, 1, 3);
    float *one = malloc(p.n_out * sizeof *one), *many = malloc(p.n_out * sizeof *many);
    memcpy(one, p.out, p.n_out * sizeof *one);
    memcpy(many, p.out, p.n_out * sizeof *many);
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        for (int threads = 2; threads < 5; threads++) {
            struct compute *a = levels_compute(level, 1), *b = levels_compute(level, threads);
            problem_run(&p, a, one, 0, 1);
            problem_run(&p, b, many, 0, 1);
            assert_memory_equal(one, many, p.n_out * sizeof *one);
            compute_free(a);
            compute_free(b);
        }
    }
    free(one);
    free(many);
    problem_free(&p);
}

/* Calls of many sequences, a very long one and one of many queries among them, against each alone. */
static void calls_together_are_the_same_bits(void **state)
{
    (void)state;
    enum { N = 9 };
    static const size_t lengths[N][2] = {{3, 1}, {219, 1}, {0, 40}, {3000, 1}, {64, 1}, {15, 0}, {700, 4},
                                         {63, 2}, {300, 1}};
    static const size_t shapes[] = {3, 6, 7}; /* grouped heads, MLA absorbed with many heads and with few */
    for (size_t i = 0; i < 3; i++) {
        struct problem p[N];
        struct attention_args calls[N];
        float *alone[N];
        for (size_t j = 0; j < N; j++) {
            p[j] = problem_new(&SHAPES[shapes[i]], DTYPE_BF16, lengths[j][0], lengths[j][1], i * N + j);
            calls[j] = p[j].a;
            alone[j] = malloc(p[j].n_out * sizeof **alone + 1);
        }
        for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
            struct compute *c = levels_compute(level, level == CPUINFO_REF ? 2 : 3);
            for (size_t j = 0; j < N; j++) {
                memcpy(alone[j], p[j].out, p[j].n_out * sizeof **alone);
                problem_run(&p[j], c, alone[j], 0, lengths[j][1]);
            }
            assert_int_equal(ops_attention(c, calls, N), ERR_OK);
            assert_int_equal(ops_attention(c, calls, 0), ERR_OK);
            for (size_t j = 0; j < N; j++) {
                assert_memory_equal(p[j].out, alone[j], p[j].n_out * sizeof **alone);
            }
            compute_free(c);
        }
        for (size_t j = 0; j < N; j++) {
            free(alone[j]);
            problem_free(&p[j]);
        }
    }
}

static void pages_change_no_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct problem one = problem_paged(&SHAPES[i], DTYPE_BF16, 290, 3, i, ATTENTION_ONE_PAGE);
        struct problem many = problem_paged(&SHAPES[i], DTYPE_BF16, 290, 3, i, 4 + (unsigned)i % 3);
        for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
            struct compute *c = levels_compute(level, 2);
            problem_run(&one, c, one.out, 0, 3);
            problem_run(&many, c, many.out, 0, 3);
            assert_memory_equal(one.out, many.out, one.n_out * sizeof *one.out);
            compute_free(c);
        }
        problem_free(&one);
        problem_free(&many);
    }
}

static void no_queries_is_nothing_to_do(void **state)
{
    (void)state;
    struct problem p = problem_new(&SHAPES[3], DTYPE_BF16, 4, 1, 3);
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 2);
        problem_run(&p, c, p.out, 0, 0);
        compute_free(c);
    }
    problem_free(&p);
}

/* Scores that overflow exp, that are -infinity for some or all keys, NaN in a query or a key. */
static void special_values_end_as_in_the_reference(void **state)
{
    (void)state;
    static const struct shape s = {2, 2, 64, 64, false};
    struct compute *ref = levels_compute(CPUINFO_REF, 1);
    for (int kind = 0; kind < 6; kind++) {
        struct problem p = problem_paged(&s, DTYPE_F32, 20, 20, (uint64_t)kind, ATTENTION_ONE_PAGE);
        float *k = (float *)(void *)(p.a.k.pages[0] + p.a.k.offset);
        for (size_t i = 0; i < 128; i++) {
            p.q[i] = kind == 3 ? 1e18f : fabsf(p.q[i]) + 0.1f;
            k[7 * p.a.k.stride + i] = kind == 0   ? -INFINITY
                                      : kind == 1 ? NAN
                                      : kind == 2 ? INFINITY
                                                  : k[7 * p.a.k.stride + i];
        }
        if (kind == 4) {
            p.q[5] = NAN;
        }
        for (size_t j = 0; kind == 5 && j < 40; j++) {
            for (size_t i = 0; i < 128; i++) {
                k[j * p.a.k.stride + i] = j == 30 ? 0.1f : -INFINITY;
            }
        }
        float *want = calloc(p.n_out, sizeof *want), *got = calloc(p.n_out, sizeof *got);
        problem_run(&p, ref, want, 0, 20);
        for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
            struct compute *c = levels_compute(level, 1);
            problem_run(&p, c, got, 0, 20);
            for (size_t i = 0; i < p.n_out; i++) {
                assert_true(isnan(want[i]) == isnan(got[i]));
                assert_true(isnan(want[i]) || fabsf(want[i] - got[i]) < 1e-4f);
            }
            compute_free(c);
        }
        free(want);
        free(got);
        problem_free(&p);
    }
    compute_free(ref);
}

static void speed_of(const char *name, const struct shape *s, size_t pos, size_t n_tokens)
{
    struct problem p = problem_paged(s, DTYPE_BF16, pos, n_tokens, 1, 6);
    double pairs = (double)n_tokens * ((double)pos + 0.5 * (double)(n_tokens + 1));
    double flop = 2 * pairs * (double)(s->n_heads * (s->k_dim + s->v_dim));
    double bytes = 2 * (double)((pos + n_tokens) * s->n_kv_heads) *
                   (double)(s->absorbed ? s->k_dim : s->k_dim + s->v_dim);
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        double s1, s2;
        struct compute *one = levels_compute(level, 1), *all = levels_compute(level, 0);
        LEVELS_TIME(s1, problem_run(&p, one, p.out, 0, n_tokens));
        LEVELS_TIME(s2, problem_run(&p, all, p.out, 0, n_tokens));
        printf("%-6s %-44s 1 thread %7.0f GFLOP/s %9.0f us %5.1f GB/s; all %7.0f %9.0f %5.1f\n",
               cpuinfo_level_name(level), name, flop / s1 * 1e-9, s1 * 1e6, bytes / s1 * 1e-9,
               flop / s2 * 1e-9, s2 * 1e6, bytes / s2 * 1e-9);
        compute_free(one);
        compute_free(all);
    }
    problem_free(&p);
}

static void speed(void **state)
{
    (void)state;
    speed_of("prefill 512, 16 heads 192/128 (MLA expanded)", &(struct shape){16, 16, 192, 128, 0},
             0, 512);
    speed_of("prefill 512, 28 heads on 4 of 128 (GQA)", &(struct shape){28, 4, 128, 128, 0}, 0,
             512);
    speed_of("prefill 64 at 2048, 16 heads on 576/512", &(struct shape){16, 1, 576, 512, 1}, 2048,
             64);
    speed_of("decode at 4096, 16 heads on 576/512 (MLA)", &(struct shape){16, 1, 576, 512, 1}, 4095,
             1);
    speed_of("decode at 4096, 128 heads on 576/512 (MLA)", &(struct shape){128, 1, 576, 512, 1},
             4095, 1);
    speed_of("decode at 4096, 28 heads on 4 of 128 (GQA)", &(struct shape){28, 4, 128, 128, 0},
             4095, 1);
    speed_of("decode at 32, 16 heads on 576/512", &(struct shape){16, 1, 576, 512, 1}, 31, 1);
    speed_of("decode at 220, 9 heads on 3 of 64 (GQA)", &(struct shape){9, 3, 64, 64, 0}, 219, 1);
    speed_of("decode at 220, 4 heads on 80/64 (MLA)", &(struct shape){4, 1, 80, 64, 1}, 219, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_agrees_with_the_reference),
        cmocka_unit_test(pages_change_no_bit),
        cmocka_unit_test(whole_chunked_and_single_queries_are_the_same_bits),
        cmocka_unit_test(threads_do_not_change_long_contexts),
        cmocka_unit_test(calls_together_are_the_same_bits),
        cmocka_unit_test(no_queries_is_nothing_to_do),
        cmocka_unit_test(special_values_end_as_in_the_reference),
        cmocka_unit_test(speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
