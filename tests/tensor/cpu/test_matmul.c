/* tests/tensor/cpu/test_matmul.c: every matmul kernel of every CPU level this machine has against the
 * reference, within bounds that follow from the kernel's own rounding; then how fast each is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tensor/ops.h"
#include "tensor/ref/dequant.h"

enum { FIRST_LEVEL = CPUINFO_AVX2 };

static struct rng test_rng;

static float rand_f32(void)
{
    return (float)(rng_double(&test_rng) * 2 - 1);
}

static void put_f16(uint8_t *p, float f)
{
    uint16_t h = dtype_to_f16(f);
    memcpy(p, &h, sizeof h);
}

/* Offsets of the half floats in a block, -1 for none. */
static void block_halves(enum dtype t, int *a, int *b)
{
    *a = *b = -1;
    switch (t) {
    case DTYPE_Q8_0:
    case DTYPE_Q4_0:
    case DTYPE_Q5_0: *a = 0; break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
    case DTYPE_Q4_K:
    case DTYPE_Q5_K: *a = 0, *b = 2; break;
    case DTYPE_Q2_K: *a = 80, *b = 82; break;
    case DTYPE_Q3_K: *a = 108; break;
    case DTYPE_Q6_K: *a = 208; break;
    default: break;
    }
}

static void fill_plain(enum dtype t, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float f = rand_f32();
        uint16_t h = t == DTYPE_F16 ? dtype_to_f16(f) : dtype_to_bf16(f);
        switch (t) {
        case DTYPE_F32: memcpy(p + 4 * i, &f, 4); break;
        case DTYPE_F8_E4M3:
            p[i] = (uint8_t)rng_u64(&test_rng);
            p[i] = (p[i] & 0x7f) == 0x7f ? 0 : p[i];
            break;
        default: memcpy(p + 2 * i, &h, 2); break;
        }
    }
}

/* Random weights: any bits a file may hold, with scales of a sane size. */
static void fill_weights(enum dtype t, uint8_t *p, size_t bytes)
{
    const struct dtype_info *d = dtype_info(t);
    if (d->block_elems == 1) {
        fill_plain(t, p, bytes / d->block_bytes);
        return;
    }
    int a, b;
    block_halves(t, &a, &b);
    for (size_t i = 0; i < bytes; i++) {
        p[i] = (uint8_t)(rng_u64(&test_rng) >> 24);
    }
    for (uint8_t *q = p; q < p + bytes; q += d->block_bytes) {
        if (a >= 0) {
            put_f16(q + a, rand_f32() * 0.01f);
        }
        if (b >= 0) {
            put_f16(q + b, rand_f32() * 0.05f);
        }
        if (t == DTYPE_MXFP4) {
            q[0] = (uint8_t)(q[0] & 31 ? 118 + q[0] % 8 : q[0] % 2);
        }
    }
}

struct weight {
    struct tensor t;
    uint8_t *data;
    float *scale;
};

static struct weight weight_new(enum dtype t, size_t n, size_t k)
{
    struct weight w = {0};
    size_t shape[2] = {n, k}, bytes;
    assert_int_equal(dtype_bytes(t, n * k, &bytes), ERR_OK);
    w.data = mem_alloc(bytes); /* exact: reading past the end shows under a sanitizer */
    assert_non_null(w.data);
    fill_weights(t, w.data, bytes);
    assert_int_equal(tensor_init(&w.t, t, 2, shape, w.data), ERR_OK);
    if (t == DTYPE_F8_E4M3) {
        size_t blocks = (n + 127) / 128 * ((k + 127) / 128);
        w.scale = mem_alloc(blocks * sizeof *w.scale);
        assert_non_null(w.scale);
        for (size_t i = 0; i < blocks; i++) {
            w.scale[i] = 0.001f + fabsf(rand_f32()) * 0.01f;
        }
        w.t.scale = w.scale;
    }
    return w;
}

static void weight_free(struct weight *w)
{
    mem_free(w->data);
    mem_free(w->scale);
}

static struct compute *compute_at(enum cpuinfo_level level, int threads, bool deterministic)
{
    struct compute *c = NULL;
    struct errinfo info;
    err e = compute_new(level, threads, deterministic, &c, &info);
    if (e != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return c;
}

enum path { PATH_F32, PATH_BF16, PATH_Q15, PATH_Q16 };

static enum path path_of(const struct compute *c, enum dtype t, size_t rows)
{
    bool plain = dtype_info(t)->block_elems == 1;
    bool integers = !plain && (c->level == CPUINFO_AVX512 || c->level == CPUINFO_AVX512BF16);
    bool minimum = t == DTYPE_Q4_1 || t == DTYPE_Q5_1;
    if (!c->deterministic && rows <= 4 && !(integers && minimum)) {
        return plain ? PATH_F32 : PATH_Q15;
    }
    if (integers) {
        return PATH_Q16;
    }
    return c->level == CPUINFO_AMX && t != DTYPE_F32 && t != DTYPE_F16 ? PATH_BF16 : PATH_F32;
}

/* The largest error the arithmetic of a path may make: every term's rounding, all in one direction.
 * float32 sums: 1e-5 of sum |x w|. bfloat16: rounding takes 2^-9 of an operand at most, 2^-8 of one just
 * above a power of two; cutting weights off 0.0050: 2^-7 for the two covers both. 15 bits: each x is off by
 * half of 1/16256 of the largest of 32; 16 bits: of 1/32767 of the largest of 256. */
static double bound_of(enum path p, const float *w, const float *x, size_t k)
{
    double b = 0;
    size_t step = p == PATH_Q16 ? 256 : 32;
    for (size_t g = 0; g < k; g += step) {
        double max = 0, sum = 0, prod = 0;
        for (size_t i = g; i < k && i < g + step; i++) {
            max = fmax(max, fabs((double)x[i]));
            sum += fabs((double)w[i]);
            prod += fabs((double)x[i] * (double)w[i]);
        }
        b += p == PATH_Q15 ? max / 32512 * sum * 1.001 : p == PATH_Q16 ? max / 65534 * sum * 1.001 : 0;
        b += prod * (p == PATH_BF16 ? 0x1p-7 + 1e-4 : 1e-5);
    }
    return b + 1e-30;
}

struct stats {
    double err2, ref2;
};

/* Every element of y against the reference's and its bound. */
static void check_job(const struct compute *c, const struct matmul_job *j, const float *want,
                      struct stats *st)
{
    size_t k = tensor_cols(&j->w), n_out = tensor_rows(&j->w);
    float *w = mem_alloc(k * sizeof *w);
    assert_non_null(w);
    for (size_t n = 0; n < n_out; n++) {
        dequant_row(&j->w, n, w);
        for (size_t t = 0; t < j->n_rows; t++) {
            const float *x = j->x + (j->rows ? j->rows[t] : t) * j->x_stride;
            double y = (double)j->y[t * j->y_stride + n], r = (double)want[t * n_out + n];
            double bound = bound_of(path_of(c, j->w.dtype, j->n_rows), w, x, k);
            if (!(fabs(y - r) <= bound)) {
                fail_msg("%s %s rows %zu of %zu, n %zu/%zu k %zu: %.9g, reference %.9g, bound %g",
                         cpuinfo_level_name(c->level), dtype_info(j->w.dtype)->name, t, j->n_rows,
                         n, n_out, k, y, r, bound);
            }
            st->err2 += (y - r) * (y - r);
            st->ref2 += r * r;
        }
    }
    mem_free(w);
}

static const size_t row_counts[] = {0, 1, 2, 3, 4, 5, 16, 17, 33, 64, 100};

/* k values with every tail: part of a run, part of a group, more than a panel. */
static size_t pick_k(enum dtype t, size_t i)
{
    static const size_t plain[] = {1, 15, 16, 33, 70, 256, 300, 1100};
    static const size_t small[] = {1, 2, 7, 8, 9, 13, 33, 44};
    switch (dtype_info(t)->block_elems) {
    case 1: return plain[i % 8];
    case 32: return small[i % 8] * 32;
    default: return (1 + i % 5) * 256;
    }
}

static void one_case(struct compute *c, struct compute *ref, enum dtype t, size_t i, size_t rows,
                     size_t k, struct stats *st)
{
    size_t n = 1 + (size_t)(rng_u64(&test_rng) % 75);
    size_t xs = k + i % 3, ys = n + i % 5, n_x = rows + 3;
    struct weight w = weight_new(t, n, k);
    float *x = mem_alloc(n_x * xs * sizeof *x), *y = mem_alloc((rows + 1) * ys * sizeof *y);
    float *want = mem_alloc((rows + 1) * n * sizeof *want);
    uint32_t *idx = mem_alloc((rows + 1) * sizeof *idx);
    assert_true(x && y && want && idx);
    for (size_t e = 0; e < n_x * xs; e++) {
        x[e] = rand_f32();
    }
    for (size_t e = 0; e < (rows + 1) * ys; e++) {
        y[e] = 12345;
    }
    for (size_t e = 0; e < rows; e++) {
        idx[e] = (uint32_t)(rng_u64(&test_rng) % n_x);
    }
    struct matmul_job j = {.w = w.t, .x = x, .rows = i % 2 ? idx : NULL, .y = y, .n_rows = rows,
                           .x_stride = xs, .y_stride = ys};
    struct matmul_job r = j;
    r.y = want;
    r.y_stride = n;
    assert_int_equal(ops_matmul(ref, &r, 1), ERR_OK);
    assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
    check_job(c, &j, want, st);
    for (size_t t0 = 0; t0 <= rows; t0++) { /* nothing outside the rows is written */
        for (size_t e = t0 < rows ? n : 0; e < ys; e++) {
            assert_true(y[t0 * ys + e] == 12345);
        }
    }
    mem_free(x);
    mem_free(y);
    mem_free(want);
    mem_free(idx);
    weight_free(&w);
}

static void test_every_type_and_level_stays_within_its_rounding(void **state)
{
    (void)state;
    struct compute *ref = compute_at(CPUINFO_REF, 1, true);
    rng_seed(&test_rng, 7);
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        for (int det = 0; det < 2; det++) {
            struct compute *c = compute_at((enum cpuinfo_level)level, 2, det);
            for (int t = 0; t < DTYPE_COMPUTABLE; t++) {
                struct stats st = {0};
                for (size_t i = 0; i < 44; i++) {
                    one_case(c, ref, (enum dtype)t, i, row_counts[i % 11], pick_k((enum dtype)t, i), &st);
                }
                double rel = sqrt(st.err2 / st.ref2);
                printf("  %-6s %-4s %-7s relative error %.2e\n", cpuinfo_level_name(c->level),
                       det ? "det" : "fast", dtype_info((enum dtype)t)->name, rel);
                assert_true(rel < 0.01);
            }
            compute_free(c);
        }
    }
    compute_free(ref);
}

/* A task takes four tiles of 16 rows of so many activations at a time: these are three. */
static void test_activations_of_several_blocks(void **state)
{
    (void)state;
    struct compute *ref = compute_at(CPUINFO_REF, 2, true);
    rng_seed(&test_rng, 5);
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        struct compute *c = compute_at((enum cpuinfo_level)level, 2, false);
        for (int t = 0; t < DTYPE_COMPUTABLE; t++) {
            struct stats st = {0};
            one_case(c, ref, (enum dtype)t, 0, 150, 5120, &st);
        }
        compute_free(c);
    }
    compute_free(ref);
}

/* Blocks of weights that are all zero, with a scale that is not. */
static void test_zero_times_anything_is_zero(void **state)
{
    (void)state;
    enum { N = 32, K = 1024, ROWS = 20 };
    static const struct {
        enum dtype type;
        int bytes, from; /* of a block: `head` before this byte, `tail` from it on */
        uint8_t head, tail;
    } zero[] = {{DTYPE_Q8_0, 34, 2, 0, 0}, {DTYPE_Q4_0, 18, 2, 0, 0x88}, {DTYPE_Q5_0, 22, 6, 0xff, 0},
                {DTYPE_Q6_K, 210, 128, 0, 0xaa}};
    static float x[ROWS * K], y[ROWS * N];
    rng_seed(&test_rng, 3);
    for (size_t i = 0; i < ROWS * K; i++) {
        x[i] = rand_f32();
    }
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        struct compute *c = compute_at((enum cpuinfo_level)level, 2, false);
        for (size_t z = 0; z < sizeof zero / sizeof *zero; z++) {
            struct weight w = weight_new(zero[z].type, N, K);
            size_t bytes = tensor_row_bytes(&w.t) * N;
            for (size_t i = 0; i < bytes; i++) {
                int at = (int)(i % (size_t)zero[z].bytes);
                w.data[i] = at < zero[z].from ? zero[z].head : zero[z].tail;
            }
            for (uint8_t *q = w.data; q < w.data + bytes; q += zero[z].bytes) {
                put_f16(q + (zero[z].type == DTYPE_Q6_K ? 208 : 0), 0.0123f);
            }
            struct matmul_job j = {.w = w.t, .x = x, .y = y, .n_rows = ROWS, .x_stride = K, .y_stride = N};
            assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
            for (size_t i = 0; i < ROWS * N; i++) {
                assert_true(y[i] == 0);
            }
            weight_free(&w);
        }
        compute_free(c);
    }
}

/* Row t of a batch of `rows` starting at `first`, as its own call. */
static void run_rows(struct compute *c, const struct matmul_job *all, size_t first, size_t rows,
                     float *y)
{
    struct matmul_job j = *all;
    j.x += first * j.x_stride;
    j.n_rows = rows;
    j.y = y;
    assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
}

static void test_deterministic_rows_do_not_depend_on_company_or_threads(void **state)
{
    (void)state;
    enum { ROWS = 64, N = 77, K_MAX = 1536 };
    rng_seed(&test_rng, 11);
    float *x = mem_alloc(ROWS * K_MAX * sizeof *x);
    float *a = mem_alloc(ROWS * N * sizeof *a), *b = mem_alloc(ROWS * N * sizeof *b);
    assert_true(x && a && b);
    for (size_t i = 0; i < ROWS * K_MAX; i++) {
        x[i] = rand_f32();
    }
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        struct compute *one = compute_at((enum cpuinfo_level)level, 1, true);
        struct compute *two = compute_at((enum cpuinfo_level)level, 2, true);
        for (int t = 0; t < DTYPE_COMPUTABLE; t++) {
            size_t k = dtype_info((enum dtype)t)->block_elems == 1    ? 1333
                       : dtype_info((enum dtype)t)->block_elems == 32 ? 1408
                                                                      : K_MAX;
            struct weight w = weight_new((enum dtype)t, N, k);
            struct matmul_job j = {.w = w.t, .x = x, .x_stride = K_MAX, .y_stride = N};
            run_rows(one, &j, 0, ROWS, a);
            run_rows(two, &j, 0, ROWS, b);
            assert_memory_equal(a, b, ROWS * N * sizeof *a);
            for (size_t row = 0; row < ROWS; row += 9) {
                run_rows(two, &j, row, 1, b);
                assert_memory_equal(a + row * N, b, N * sizeof *a);
            }
            for (size_t row = 0; row + 7 <= ROWS; row += 10) {
                run_rows(one, &j, row, 7, b);
                assert_memory_equal(a + row * N, b, 7 * N * sizeof *a);
            }
            weight_free(&w);
        }
        compute_free(one);
        compute_free(two);
    }
    mem_free(x);
    mem_free(a);
    mem_free(b);
}

static void test_many_jobs_of_mixed_types_and_sizes_equal_single_calls(void **state)
{
    (void)state;
    enum { JOBS = 40, K = 512, ROWS = 23 };
    rng_seed(&test_rng, 13);
    float *x = mem_alloc(ROWS * K * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < ROWS * K; i++) {
        x[i] = rand_f32();
    }
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        for (int det = 0; det < 2; det++) {
            struct compute *c = compute_at((enum cpuinfo_level)level, 2, det);
            struct weight w[JOBS];
            struct matmul_job jobs[JOBS];
            uint32_t rows[ROWS];
            for (size_t i = 0; i < ROWS; i++) {
                rows[i] = (uint32_t)(i * 7 % ROWS);
            }
            for (size_t i = 0; i < JOBS; i++) {
                size_t n = 1 + i * 5;
                w[i] = weight_new((enum dtype)(i % DTYPE_COMPUTABLE), n, K);
                jobs[i] = (struct matmul_job){.w = w[i].t, .x = x, .rows = i % 3 ? rows : NULL,
                                              .n_rows = i % 4 == 3 ? ROWS : i % 6, .x_stride = K,
                                              .y_stride = n};
                jobs[i].y = mem_calloc(ROWS * n, sizeof(float));
                assert_non_null(jobs[i].y);
            }
            assert_int_equal(ops_matmul(c, jobs, JOBS), ERR_OK);
            for (size_t i = 0; i < JOBS; i++) {
                struct matmul_job j = jobs[i];
                j.y = mem_calloc(ROWS * j.y_stride, sizeof(float));
                assert_non_null(j.y);
                assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
                assert_memory_equal(j.y, jobs[i].y, ROWS * j.y_stride * sizeof(float));
                mem_free(j.y);
                mem_free(jobs[i].y);
                weight_free(&w[i]);
            }
            assert_int_equal(ops_matmul(c, NULL, 0), ERR_OK);
            compute_free(c);
        }
    }
    mem_free(x);
}

static void test_nan_and_infinity_reach_every_output_of_their_row_only(void **state)
{
    (void)state;
    enum { K = 512, N = 20 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    rng_seed(&test_rng, 17);
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        struct compute *c = compute_at((enum cpuinfo_level)level, 2, false);
        for (int t = 0; t < DTYPE_COMPUTABLE; t++) {
            struct weight w = weight_new((enum dtype)t, N, K);
            for (size_t i = 0; i < 6; i++) {
                size_t rows = i < 3 ? 3 : 20;
                static float x[20 * K], y[20 * N];
                for (size_t e = 0; e < rows * K; e++) {
                    x[e] = rand_f32();
                }
                x[K + 37] = bad[i % 3];
                struct matmul_job j = {.w = w.t, .x = x, .y = y, .n_rows = rows, .x_stride = K,
                                       .y_stride = N};
                assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
                for (size_t n = 0; n < N; n++) {
                    assert_true(isfinite(y[n]) && isfinite(y[2 * N + n]));
                    assert_false(isfinite(y[N + n]));
                }
            }
            weight_free(&w);
        }
        compute_free(c);
    }
}

/* One weight of each product counts, so that its value and its block's scale show. */
static void test_every_f8_byte_has_its_value_in_every_block_and_nan_its_row(void **state)
{
    (void)state;
    enum { N = 160, K = 448, ROWS = 16 };
    static float x[ROWS * K], y[ROWS * N], want[K];
    rng_seed(&test_rng, 19);
    struct weight w = weight_new(DTYPE_F8_E4M3, N, K);
    for (size_t i = 0; i < (size_t)N * K; i++) {
        uint8_t byte = (uint8_t)(i / K * 7 + i % K * 11);
        w.data[i] = (byte & 0x7f) == 0x7f ? 0 : byte;
    }
    w.data[3 * K + 5] = 0x7f;
    w.data[130 * K + 200] = 0xff;
    for (size_t t = 0; t < ROWS; t++) {
        x[t * K + t * 29] = 1;
    }
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        struct compute *c = compute_at((enum cpuinfo_level)level, 2, true);
        struct matmul_job j = {.w = w.t, .x = x, .y = y, .n_rows = ROWS, .x_stride = K, .y_stride = N};
        assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
        for (size_t n = 0; n < N; n++) {
            dequant_row(&w.t, n, want);
            for (size_t t = 0; t < ROWS; t++) {
                double got = (double)y[t * N + n], v = (double)want[t * 29];
                assert_true(n == 3 || n == 130 ? isnan(got) : fabs(got - v) <= fabs(v) * 0x1p-8);
            }
        }
        compute_free(c);
    }
    weight_free(&w);
}

static void test_memory_shortage_is_an_error(void **state)
{
    (void)state;
    for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
        struct weight w = weight_new(DTYPE_Q8_0, 8, 64);
        static float x[64 * 8], y[64];
        struct matmul_job j = {.w = w.t, .x = x, .y = y, .n_rows = 8, .x_stride = 64, .y_stride = 8};
        struct compute *c = compute_at((enum cpuinfo_level)level, 2, true);
        for (size_t k = 1; k <= 2; k++) {
            mem_fault(k, 0);
            err e = ops_matmul(c, &j, 1);
            mem_fault(0, 0);
            assert_true(e == ERR_NOMEM);
        }
        assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
        compute_free(c);
        weight_free(&w);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Best of three passes over `rows` rows times a weight too large for the caches of a core. */
static double seconds(struct compute *c, const struct weight *w, size_t rows, const float *x,
                      float *y)
{
    size_t n = tensor_rows(&w->t), k = tensor_cols(&w->t);
    struct matmul_job j = {.w = w->t, .x = x, .y = y, .n_rows = rows, .x_stride = k, .y_stride = n};
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        double t = now();
        assert_int_equal(ops_matmul(c, &j, 1), ERR_OK);
        t = now() - t;
        best = t < best ? t : best;
    }
    return best;
}

static void test_speed_of_every_type_and_level(void **state)
{
    (void)state;
    enum { K = 2048, N = 2048, ROWS = 48 };
    rng_seed(&test_rng, 23);
    float *x = mem_alloc(ROWS * K * sizeof *x), *y = mem_alloc(ROWS * N * sizeof *y);
    assert_true(x && y);
    for (size_t i = 0; i < ROWS * K; i++) {
        x[i] = rand_f32();
    }
    printf("  [%d x %d]       1 row GB/s   1 row det   4 rows GB/s  48 rows GFLOP/s\n", N, K);
    for (int t = 0; t < DTYPE_COMPUTABLE; t++) {
        struct weight w = weight_new((enum dtype)t, N, K);
        double bytes = (double)tensor_bytes(&w.t), flops = 2.0 * N * K;
        for (int level = FIRST_LEVEL; level <= (int)cpuinfo_best(); level++) {
            struct compute *c = compute_at((enum cpuinfo_level)level, 0, false);
            struct compute *d = compute_at((enum cpuinfo_level)level, 0, true);
            printf("  %-7s %-7s %11.1f %11.1f %12.1f %15.0f\n", dtype_info((enum dtype)t)->name,
                   cpuinfo_level_name(c->level), bytes / seconds(c, &w, 1, x, y) / 1e9,
                   bytes / seconds(d, &w, 1, x, y) / 1e9, bytes / seconds(c, &w, 4, x, y) / 1e9,
                   flops * ROWS / seconds(c, &w, ROWS, x, y) / 1e9);
            compute_free(c);
            compute_free(d);
        }
        weight_free(&w);
    }
    mem_free(x);
    mem_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_and_level_stays_within_its_rounding),
        cmocka_unit_test(test_activations_of_several_blocks),
        cmocka_unit_test(test_zero_times_anything_is_zero),
        cmocka_unit_test(test_deterministic_rows_do_not_depend_on_company_or_threads),
        cmocka_unit_test(test_many_jobs_of_mixed_types_and_sizes_equal_single_calls),
        cmocka_unit_test(test_nan_and_infinity_reach_every_output_of_their_row_only),
        cmocka_unit_test(test_every_f8_byte_has_its_value_in_every_block_and_nan_its_row),
        cmocka_unit_test(test_memory_shortage_is_an_error),
        cmocka_unit_test(test_speed_of_every_type_and_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
