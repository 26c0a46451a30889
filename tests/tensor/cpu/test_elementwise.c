/* The elementwise ops of every CPU level present against the reference, within the bounds stated in
 * tensor/cpu/elementwise.h, and their speed. */
#include "tensor/levels.h"

#include "tensor/ops.h"

static const size_t SIZES[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 576, 1023};
enum { N_SIZES = sizeof SIZES / sizeof *SIZES };

struct pair { /* the reference and the level under test */
    struct compute *ref, *fast;
};

static void for_levels(void (*check)(struct pair p))
{
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        for (int threads = 1; threads <= 2; threads++) {
            struct pair p = {levels_compute(CPUINFO_REF, 1), levels_compute(level, threads)};
            check(p);
            compute_free(p.ref);
            compute_free(p.fast);
        }
    }
}

static void check_rmsnorm(struct pair p)
{
    static const size_t rows[] = {0, 1, 3, 70};
    for (size_t i = 1; i < N_SIZES; i++) {
        for (size_t r = 0; r < 4; r++) {
            size_t d = SIZES[i], stride = d + 3, n = rows[r] * stride + 1;
            float *x, *w, *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
            void *x_block = levels_floats(n, 1, i, 3.0f, &x);
            void *w_block = levels_floats(d, 3, i + 99, 2.0f, &w);
            memset(a, 0, n * sizeof *a);
            memset(b, 0, n * sizeof *b);
            ops_rmsnorm(p.ref, a, stride, x, stride, w, rows[r], d, 1e-6f);
            ops_rmsnorm(p.fast, b, stride, x, stride, w, rows[r], d, 1e-6f);
            assert_true(levels_max_ulp(a, b, n) <= 1);
            memcpy(b, x, n * sizeof *b); /* in place */
            ops_rmsnorm(p.fast, b, stride, b, stride, w, rows[r], d, 1e-6f);
            for (size_t t = 0; t < rows[r]; t++) {
                assert_true(levels_max_ulp(a + t * stride, b + t * stride, d) <= 1);
                assert_memory_equal(b + t * stride + d, x + t * stride + d, 3 * sizeof *b);
            }
            free(x_block);
            free(w_block);
            free(a);
            free(b);
        }
    }
    float odd[4][18] = {{0}}, one[18], y[2][4][18];
    for (int i = 0; i < 18; i++) {
        one[i] = 1.0f;
        odd[1][i] = 1e30f; /* squares beyond float */
        odd[2][i] = i == 5 ? INFINITY : 1.0f;
        odd[3][i] = i == 17 ? NAN : 1.0f;
    }
    ops_rmsnorm(p.ref, y[0][0], 18, odd[0], 18, one, 4, 18, 1e-5f);
    ops_rmsnorm(p.fast, y[1][0], 18, odd[0], 18, one, 4, 18, 1e-5f);
    assert_true(levels_max_ulp(y[0][0], y[1][0], 72) <= 1);
    assert_true(fabsf(y[1][1][7] - 1.0f) < 1e-6f);
}

static void check_rope(struct pair p)
{
    static const size_t dims[] = {2, 6, 16, 34, 64, 128, 130, 192};
    static const size_t positions[] = {0, 1, 4095, 163839, 1048575};
    for (size_t i = 0; i < 8 * 5 * 2; i++) {
        size_t dim = dims[i % 8], heads = 1 + i % 3, tokens = i % 4, head = dim + 5;
        size_t token = heads * head + 2, n = 4 * token;
        float *a, *b, freqs[96];
        void *a_block = levels_floats(n, 1, i, 4.0f, &a),
             *b_block = levels_floats(n, 1, i, 4.0f, &b);
        for (size_t f = 0; f < dim / 2; f++) {
            freqs[f] = (float)pow(10000.0, -2.0 * (double)f / (double)dim);
        }
        struct rope_args args = {a,   tokens,           heads, token,
                                 head, dim, positions[i / 8 % 5], freqs,
                                 i < 40 ? ROPE_INTERLEAVED : ROPE_HALF};
        ops_rope(p.ref, &args);
        args.x = b;
        ops_rope(p.fast, &args);
        for (size_t j = 0; j < n; j++) { /* the pair's length is below 6: 2 ulp of it */
            assert_true(fabsf(a[j] - b[j]) <= 2 * 4.8e-7f);
        }
        free(a_block);
        free(b_block);
    }
}

static void check_swiglu(struct pair p)
{
    for (size_t i = 0; i < N_SIZES; i++) {
        size_t n = SIZES[i];
        float *g, *u, a[1024], b[1025];
        void *g_block = levels_floats(n, 1, i, 120.0f, &g),
             *u_block = levels_floats(n, 1, 7, 3, &u);
        ops_swiglu(p.ref, a, g, u, n);
        b[n] = 42.0f;
        ops_swiglu(p.fast, b, g, u, n);
        assert_true(b[n] == 42.0f);
        for (size_t j = 0; j < n; j++) { /* below the normal floats an ulp says little */
            assert_true(levels_ulp(a[j], b[j]) <= 4 || fabsf(a[j] - b[j]) < 1e-36f);
        }
        ops_swiglu(p.fast, g, g, u, n); /* in place */
        assert_memory_equal(g, b, n * sizeof *g);
        free(g_block);
        free(u_block);
    }
    float odd[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e30f, -1e30f, 88.8f, -88.8f, -104.0f};
    float one[10], a[10], b[10];
    for (int i = 0; i < 10; i++) {
        one[i] = 1.0f;
    }
    ops_swiglu(p.ref, a, odd, one, 10);
    ops_swiglu(p.fast, b, odd, one, 10);
    for (int i = 0; i < 10; i++) {
        assert_true(levels_ulp(a[i], b[i]) <= 4 || fabsf(a[i] - b[i]) < 1e-36f);
    }
}

static void check_sums(struct pair p)
{
    for (size_t i = 0; i < N_SIZES; i++) {
        size_t d = SIZES[i], rows = i % 5, n = rows * d;
        float *x, *bias, *a, *b, weight[15];
        uint32_t slot[15];
        uint64_t seed = i;
        void *block[4] = {levels_floats(n + 4 * d, 1, i, 3.0f, &x),
                          levels_floats(d, 1, 5, 1, &bias), levels_floats(n, 2, 9, 1.0f, &a),
                          levels_floats(n, 3, 8, 1.0f, &b)};
        for (size_t j = 0; j < n; j++) {
            b[j] = a[j];
        }
        if (n) {
            x[0] = NAN;
            x[n - 1] = INFINITY;
        }
        ops_add(p.ref, a, x, n);
        ops_add(p.fast, b, x, n);
        ops_add_bias(p.ref, a, bias, rows, d);
        ops_add_bias(p.fast, b, bias, rows, d);
        for (size_t j = 0; j < 15; j++) {
            slot[j] = (uint32_t)((j * 7) % (rows ? rows : 1));
            weight[j] = levels_random(&seed, 1.0f);
        }
        ops_combine(p.ref, a, x, d, slot, weight, rows, 3, d);
        ops_combine(p.fast, b, x, d, slot, weight, rows, 3, d);
        assert_true(levels_max_ulp(a, b, n) == 0);
        for (int j = 0; j < 4; j++) {
            free(block[j]);
        }
    }
}

static void check_embed(struct pair p)
{
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0};
    static const size_t cols[] = {1, 17, 64, 96};
    for (size_t i = 0; i < 16; i++) {
        size_t d = types[i / 4] == DTYPE_Q8_0 ? 64 : cols[i % 4], bytes;
        assert_int_equal(dtype_bytes(types[i / 4], 9 * d, &bytes), ERR_OK);
        uint8_t *data = malloc(bytes);
        for (size_t j = 0; j < bytes; j++) {
            data[j] = (uint8_t)(j * 37 % 59); /* exponents stay small in every type */
        }
        struct tensor table;
        assert_int_equal(tensor_init(&table, types[i / 4], 2, (size_t[]){9, d}, data), ERR_OK);
        float a[300], b[300];
        int32_t ids[] = {8, 0, 3};
        ops_embed(p.ref, a, &table, ids, 3);
        ops_embed(p.fast, b, &table, ids, 3);
        assert_memory_equal(a, b, 3 * d * sizeof *a);
        free(data);
    }
}

static void check_cache(struct pair p)
{
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    static const float odd[] = {INFINITY, -INFINITY, 65519.0f, 65520.0f, 1e-40f, -0.0f,
                                6e-8f,    2.9e-8f,   1e38f,    3.4e38f,  -5e-5f, 0.1f};
    for (size_t i = 0; i < 3 * N_SIZES; i++) {
        size_t n = SIZES[i / 3], rows = 3, stride = n + 1;
        enum dtype t = types[i % 3];
        float *x, a[4000], b[4000];
        void *block = levels_floats(rows * (n + 2), 1, i, 100.0f, &x);
        uint32_t half_a[4000] = {0}, half_b[4000] = {0};
        void *ca = (uint16_t *)half_a + (t == DTYPE_F32 ? 0 : 1);
        void *cb = (uint16_t *)half_b + (t == DTYPE_F32 ? 0 : 1);
        for (size_t j = 0; j < 12 && j < n; j++) {
            x[j] = odd[j];
        }
        ops_store(p.ref, ca, t, stride, x, n + 2, rows, n);
        ops_store(p.fast, cb, t, stride, x, n + 2, rows, n);
        assert_memory_equal(half_a, half_b, sizeof half_a);
        memset(a, 0, sizeof a);
        memset(b, 0, sizeof b);
        ops_load(p.ref, a, n + 3, ca, t, stride, rows, n);
        ops_load(p.fast, b, n + 3, ca, t, stride, rows, n);
        assert_memory_equal(a, b, sizeof a);
        free(block);
    }
    float nan[17], back[17];
    uint16_t half[17];
    for (int i = 0; i < 17; i++) {
        nan[i] = NAN;
    }
    for (int i = 1; i < 3; i++) {
        ops_store(p.fast, half, types[i], 17, nan, 17, 1, 17);
        ops_load(p.fast, back, 17, half, types[i], 17, 1, 17);
        assert_true(levels_max_ulp(nan, back, 17) == 0);
    }
}

static void rmsnorm_is_within_1_ulp(void **state)
{
    (void)state;
    for_levels(check_rmsnorm);
}

static void rope_is_within_2_ulp_of_the_pair(void **state)
{
    (void)state;
    for_levels(check_rope);
}

static void swiglu_is_within_4_ulp_and_keeps_special_values(void **state)
{
    (void)state;
    for_levels(check_swiglu);
}

static void add_bias_and_combine_are_exact(void **state)
{
    (void)state;
    for_levels(check_sums);
}

static void embed_is_exact(void **state)
{
    (void)state;
    for_levels(check_embed);
}

static void store_and_load_are_exact(void **state)
{
    (void)state;
    for_levels(check_cache);
}

static void rows_do_not_depend_on_their_number_or_on_threads(void **state)
{
    (void)state;
    enum { T = 48, D = 2048 }; /* enough for a parallel region */
    static float x[T * D], u[T * D], a[T * D], b[T * D], w[D], freqs[32];
    uint64_t seed = 5;
    for (size_t i = 0; i < T * D; i++) {
        x[i] = levels_random(&seed, 5.0f);
        u[i] = levels_random(&seed, 5.0f);
    }
    for (size_t i = 0; i < 32; i++) {
        freqs[i] = (float)pow(10000.0, -(double)i / 32);
    }
    memcpy(w, u, sizeof w);
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *one = levels_compute(level, 1), *two = levels_compute(level, 2);
        ops_rmsnorm(two, a, D, x, D, w, T, D, 1e-6f);
        ops_swiglu(two, a, a, u, T * D);
        struct rope_args r = {a, T, D / 64, D, 64, 64, 1000, freqs, ROPE_INTERLEAVED};
        ops_rope(two, &r);
        for (size_t t = 0; t < T; t++) {
            float *y = b + t * D;
            ops_rmsnorm(one, y, D, x + t * D, D, w, 1, D, 1e-6f);
            ops_swiglu(one, y, y, u + t * D, D);
            struct rope_args s = {y, 1, D / 64, D, 64, 64, 1000 + t, freqs, ROPE_INTERLEAVED};
            ops_rope(one, &s);
        }
        assert_memory_equal(a, b, sizeof a);
        compute_free(one);
        compute_free(two);
    }
}

static void speed(void **state)
{
    (void)state;
    enum { T = 512, D = 2048 };
    float *x = malloc(T * D * sizeof *x), *y = malloc(T * D * sizeof *y), freqs[32], w[D];
    uint16_t *half = malloc(T * D * sizeof *half);
    uint64_t seed = 1;
    for (size_t i = 0; i < T * D; i++) {
        x[i] = levels_random(&seed, 1.0f);
        y[i] = 0;
    }
    memcpy(w, x, sizeof w);
    memcpy(freqs, x, sizeof freqs);
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 1);
        double s[6], gb = 1e-9 * T * D * sizeof(float);
        LEVELS_TIME(s[0], ops_rmsnorm(c, y, D, x, D, w, T, D, 1e-6f));
        LEVELS_TIME(s[1], ops_swiglu(c, y, x, y, T * D));
        LEVELS_TIME(s[2], ops_add(c, y, x, T * D));
        LEVELS_TIME(s[3], ops_store(c, half, DTYPE_BF16, D, x, D, T, D));
        LEVELS_TIME(s[4], ops_rmsnorm(c, y, D, x, D, w, 1, D, 1e-6f));
        struct rope_args r = {y, T, D / 64, D, 64, 64, 0, freqs, ROPE_INTERLEAVED};
        LEVELS_TIME(s[5], ops_rope(c, &r));
        printf("%-6s GB/s on one thread, 512 rows of 2048: rmsnorm %.1f swiglu %.1f add %.1f "
               "store bf16 %.1f "
               "rope %.1f; rmsnorm of one row %.2f us\n",
               cpuinfo_level_name(level), 2 * gb / s[0], 3 * gb / s[1], 3 * gb / s[2],
               1.5 * gb / s[3], 2 * gb / s[5], 1e6 * s[4]);
        compute_free(c);
    }
    free(x);
    free(y);
    free(half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_is_within_1_ulp),
        cmocka_unit_test(rope_is_within_2_ulp_of_the_pair),
        cmocka_unit_test(swiglu_is_within_4_ulp_and_keeps_special_values),
        cmocka_unit_test(add_bias_and_combine_are_exact),
        cmocka_unit_test(embed_is_exact),
        cmocka_unit_test(store_and_load_are_exact),
        cmocka_unit_test(rows_do_not_depend_on_their_number_or_on_threads),
        cmocka_unit_test(speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
