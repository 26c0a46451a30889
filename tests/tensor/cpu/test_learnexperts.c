/* Routed experts of learning at every level, against the reference in float64: sizes that end within tiles, experts
 * without places, with one, with more than a block, with several parts; threads change no bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tensor/cpu/learnexperts.h"
#include "tensor/levels.h"
#include "tensor/ref/learnref.h"

enum { MATS = 14 };

/* All mats of an operation, in one type or in those of the fast versions. */
struct experts {
    struct mat h, gate, up, down, weight, d;                    /* inputs */
    struct mat gates, ups, y, dweight, dplaces, dgate, dup, ddown; /* outputs; the last three are added to */
};

struct shape {
    size_t tokens, d, f, n_experts, n_chosen;
    size_t favourite; /* tokens of 8 that choose expert 1 */
    enum mat_type y, dplaces;
    size_t gap;       /* behind each row */
};

static struct rng random_state;
static uint32_t *choice;
static size_t *first;

static struct mat *mat_number(struct experts *e, size_t i)
{
    return (struct mat *)e + i;
}

static struct mat room(enum mat_type type, size_t rows, size_t cols, size_t gap)
{
    struct mat m = mat_of(NULL, type, rows, cols);
    m.stride = cols + gap;
    m.data = aligned_alloc(64, (rows * m.stride * mat_type_bytes(type) + 64) / 64 * 64);
    assert_non_null(m.data);
    memset(m.data, 0, rows * m.stride * mat_type_bytes(type));
    return m;
}

/* Zeros, in float64 or as the fast versions take them. */
static struct experts experts_new(const struct shape *s, bool exact)
{
    size_t places = s->tokens * s->n_chosen, n = s->n_experts;
    enum mat_type narrow = exact ? MAT_F64 : MAT_BF16, wide = exact ? MAT_F64 : MAT_F32;
    return (struct experts){.h = room(narrow, s->tokens, s->d, s->gap),
                            .gate = room(narrow, n * s->f, s->d, s->gap),
                            .up = room(narrow, n * s->f, s->d, 0),
                            .down = room(narrow, n * s->d, s->f, s->gap),
                            .weight = room(wide, s->tokens, s->n_chosen, s->gap),
                            .d = room(narrow, s->tokens, s->d, 0),
                            .gates = room(narrow, places, s->f, s->gap),
                            .ups = room(narrow, places, s->f, 0),
                            .y = room(exact ? MAT_F64 : s->y, places, s->d, s->gap),
                            .dweight = room(wide, s->tokens, s->n_chosen, s->gap),
                            .dplaces = room(exact ? MAT_F64 : s->dplaces, places, s->d, s->gap),
                            .dgate = room(wide, n * s->f, s->d, 0),
                            .dup = room(wide, n * s->f, s->d, s->gap),
                            .ddown = room(wide, n * s->d, s->f, 0)};
}

static void experts_free(struct experts *e)
{
    for (size_t i = 0; i < MATS; i++) {
        free(mat_number(e, i)->data);
    }
}

/* The same numbers in both: what is read, and what is added to. */
static void fill(struct experts *a, struct experts *b)
{
    for (size_t i = 0; i < MATS; i++) {
        struct mat *m = mat_number(a, i), *n = mat_number(b, i);
        double scale = i == 1 || i == 2 ? 1 / sqrt((double)a->h.cols) : 1;
        for (size_t r = 0; (i < 6 || i > 10) && r < m->rows; r++) {
            for (size_t c = 0; c < m->cols; c++) {
                mat_set(m, r, c, scale * (double)rng_normal(&random_state));
                mat_set(n, r, c, mat_get(m, r, c));
            }
        }
    }
}

/* Every token's experts, different ones; the last expert is nobody's. */
static void choose(const struct shape *s)
{
    size_t places = s->tokens * s->n_chosen;
    uint32_t *expert = malloc(places * sizeof *expert);
    choice = malloc(places * sizeof *choice);
    first = calloc(s->n_experts + 1, sizeof *first);
    assert_true(expert && choice && first);
    for (size_t i = 0; i < places; i++) {
        size_t t = i / s->n_chosen, k = i % s->n_chosen, others = s->n_experts - 1;
        size_t begin = t % 8 < s->favourite ? 1 : (size_t)(rng_u64(&random_state) % others);
        expert[i] = (uint32_t)(k ? (expert[i - 1] + 1) % others : begin);
        first[expert[i] + 1]++;
    }
    for (size_t e = 0, at = 0; e < s->n_experts; e++) {
        first[e + 1] += first[e];
        for (size_t i = 0; i < places; i++) {
            if (expert[i] == e) {
                choice[at++] = (uint32_t)i;
            }
        }
    }
    free(expert);
}

static struct learnops_experts op_of(const struct experts *e, const struct shape *s)
{
    return (struct learnops_experts){.h = e->h, .gate = e->gate, .up = e->up, .down = e->down, .gates = e->gates,
                                     .ups = e->ups, .first = first, .choice = choice, .n_experts = s->n_experts,
                                     .n_chosen = s->n_chosen};
}

static struct learnops_experts_grads grads_of(const struct experts *e)
{
    return (struct learnops_experts_grads){.d = e->d, .weight = e->weight, .dweight = e->dweight,
                                           .dplaces = e->dplaces, .dgate = e->dgate, .dup = e->dup,
                                           .ddown = e->ddown};
}

static void run(struct compute *c, const struct experts *e, const struct shape *s)
{
    const struct learnops_experts a = op_of(e, s);
    const struct learnops_experts_grads g = grads_of(e);
    assert_int_equal(learnops_experts(c, &a, e->y), ERR_OK);
    assert_int_equal(learnops_experts_backward(c, &a, &g), ERR_OK);
}

static double distance(const struct mat *a, const struct mat *b)
{
    double far = 0, all = 0;
    for (size_t r = 0; r < a->rows; r++) {
        for (size_t c = 0; c < a->cols; c++) {
            double x = mat_get(a, r, c), y = mat_get(b, r, c);
            far += (x - y) * (x - y);
            all += y * y;
        }
    }
    return all > 0 ? sqrt(far / all) : far;
}

/* Outputs as far from float64 as numbers of 8 bits on the way put them, which is 2^-9 and some of it again. */
static void check(struct compute *c, const struct shape *s)
{
    static const char *names[MATS] = {"",  "",        "",        "",     "",    "",    "gates",
                                      "ups", "y", "dweight", "dplaces", "dgate", "dup", "ddown"};
    struct experts fast = experts_new(s, false), judge = experts_new(s, true);
    choose(s);
    fill(&fast, &judge);
    run(c, &fast, s);
    const struct learnops_experts a = op_of(&judge, s);
    const struct learnops_experts_grads g = grads_of(&judge);
    assert_int_equal(learnref_experts(&a, judge.y), ERR_OK);
    assert_int_equal(learnref_experts_backward(&a, &g), ERR_OK);
    for (size_t i = 6; i < MATS; i++) {
        double far = distance(mat_number(&fast, i), mat_number(&judge, i));
        if (!(far <= 0.006)) {
            fail_msg("%s of %zu tokens, %zu wide, %zu within: %g away", names[i], s->tokens, s->d, s->f, far);
        }
    }
    experts_free(&fast);
    experts_free(&judge);
    free(choice);
    free(first);
}

static void test_every_level_equals_the_reference(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {1, 1, 1, 2, 1, 0, MAT_BF16, MAT_BF16, 0},      {40, 33, 17, 6, 3, 0, MAT_F32, MAT_F32, 1},
        {70, 64, 32, 5, 2, 0, MAT_BF16, MAT_F32, 0},    {9, 50, 70, 20, 2, 0, MAT_BF16, MAT_BF16, 3},
        {300, 96, 40, 4, 2, 6, MAT_BF16, MAT_BF16, 0},  {150, 270, 24, 3, 2, 0, MAT_F32, MAT_BF16, 2},
        {150, 24, 300, 4, 1, 0, MAT_BF16, MAT_BF16, 0}, {30, 8, 4, 2, 1, 0, MAT_BF16, MAT_BF16, 5},
    };
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 2);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            check(c, &shapes[i]);
        }
        compute_free(c);
    }
}

static void test_wide_experts_have_blocks_of_fewer_places(void **state)
{
    (void)state;
    struct compute *c = levels_compute(cpuinfo_best(), 2);
    check(c, &(struct shape){220, 40, 810, 3, 1, 0, MAT_BF16, MAT_BF16, 0});
    check(c, &(struct shape){110, 2100, 10, 2, 1, 0, MAT_BF16, MAT_BF16, 0});
    compute_free(c);
}

static void test_kept_rows_that_go_past_the_caches(void **state)
{
    (void)state;
    struct compute *c = levels_compute(cpuinfo_best(), 2);
    check(c, &(struct shape){4100, 4, 512, 4, 1, 0, MAT_BF16, MAT_BF16, 0});
    check(c, &(struct shape){4100, 4, 512, 4, 1, 0, MAT_BF16, MAT_BF16, 1});
    compute_free(c);
}

/* Bit for bit, with an expert of several parts too. */
static void threads(enum cpuinfo_level level, const struct shape *s)
{
    struct experts one = experts_new(s, false), same = experts_new(s, false);
    choose(s);
    fill(&one, &same);
    for (int n = 1; n <= 3; n++) {
        struct compute *c = levels_compute(level, n);
        struct experts other = experts_new(s, false);
        for (size_t i = 0; i < MATS; i++) { /* as both began */
            struct mat *m = mat_number(&other, i);
            memcpy(m->data, mat_number(&same, i)->data, m->rows * m->stride * mat_type_bytes(m->type));
        }
        run(c, n == 1 ? &one : &other, s);
        for (size_t i = 0; n > 1 && i < MATS; i++) {
            struct mat *m = mat_number(&other, i);
            size_t bytes = m->rows * m->stride * mat_type_bytes(m->type);
            assert_memory_equal(m->data, mat_number(&one, i)->data, bytes);
        }
        experts_free(&other);
        compute_free(c);
    }
    experts_free(&one);
    experts_free(&same);
    free(choice);
    free(first);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        threads(level, &(struct shape){333, 40, 24, 9, 2, 0, MAT_BF16, MAT_BF16, 0});
        threads(level, &(struct shape){3 * LEARNEXPERTS_PART, 16, 8, 4, 1, 7, MAT_BF16, MAT_F32, 0});
    }
}

static void test_parts_of_an_expert_add_up(void **state)
{
    (void)state;
    struct compute *c = levels_compute(cpuinfo_best(), 2);
    check(c, &(struct shape){3 * LEARNEXPERTS_PART + 50, 16, 8, 4, 1, 7, MAT_BF16, MAT_BF16, 0});
    compute_free(c);
}

static void test_no_tokens_change_nothing(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        const struct shape s = {0, 8, 4, 3, 2, 0, MAT_BF16, MAT_BF16, 0};
        struct experts e = experts_new(&s, false);
        struct compute *c = levels_compute(level, 2);
        choose(&s);
        mat_set(&e.dgate, 0, 0, 3);
        run(c, &e, &s);
        assert_true(mat_get(&e.dgate, 0, 0) == 3);
        compute_free(c);
        experts_free(&e);
        free(choice);
        free(first);
    }
}

/* The first two allocations fail: the list of parts, and the threads' memory. */
static void test_no_memory_is_said(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        const struct shape s = {5, 8, 4, 3, 2, 0, MAT_BF16, MAT_BF16, 0};
        struct experts e = experts_new(&s, false);
        struct compute *c = levels_compute(level, 1);
        choose(&s);
        const struct learnops_experts a = op_of(&e, &s);
        const struct learnops_experts_grads g = grads_of(&e);
        for (size_t k = 1; k <= (level == CPUINFO_REF ? 1 : 2); k++) {
            mem_fault(k, 0);
            assert_int_equal(learnops_experts_backward(c, &a, &g), ERR_NOMEM);
            mem_fault(k, 0);
            assert_int_equal(learnops_experts(c, &a, e.y), ERR_NOMEM);
        }
        mem_fault(0, 0);
        run(c, &e, &s);
        compute_free(c);
        experts_free(&e);
        free(choice);
        free(first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_level_equals_the_reference),
        cmocka_unit_test(test_wide_experts_have_blocks_of_fewer_places),
        cmocka_unit_test(test_kept_rows_that_go_past_the_caches),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_parts_of_an_expert_add_up),
        cmocka_unit_test(test_no_tokens_change_nothing),
        cmocka_unit_test(test_no_memory_is_said),
    };
    rng_seed(&random_state, 31);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
