/* The memory of a benchmark: what its tests need, and what that leaves for random weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/benchmark.h"
#include "model/shapes.h"
#include "model/synth.h"
#include "model/workspace.h"

static const size_t MIB = 1 << 20, GIB = 1 << 30;

static struct config shape(const char *name)
{
    struct config c;
    assert_int_equal(shapes_find(name, &c, NULL), ERR_OK);
    return c;
}

static enum dtype typer(void *user, const struct inventory_item *item)
{
    (void)item;
    return *(const enum dtype *)user;
}

static void test_need_is_that_of_the_largest_test(void **state)
{
    (void)state;
    struct config c = shape("distill-70b"); /* 80 layers, 8 heads of 128 for keys and for values */
    const struct benchmark_test tests[] = {{BENCHMARK_PREFILL, 512, 0, 1, 1},
                                           {BENCHMARK_DECODE, 32, 4096, 3, 1},
                                           {BENCHMARK_DECODE, 32, 0, 4, 1}};
    size_t need, caches = 3 * (4096 + 64) * 80 * 2 * 1024 * sizeof(uint16_t); /* whole pages */
    assert_int_equal(benchmark_bytes(&c, 512, DTYPE_BF16, tests, 3, &need, NULL), ERR_OK);
    assert_int_equal(need, caches + workspace_bytes(&c, 512) + 4 * c.vocab_size * sizeof(float));
}

static void test_mla_needs_its_absorbed_keys_too(void **state)
{
    (void)state;
    struct config c = shape("v3");
    size_t need, absorbed = (size_t)61 * 128 * 128 * 512 * sizeof(float);
    assert_int_equal(benchmark_bytes(&c, 512, DTYPE_BF16, NULL, 0, &need, NULL), ERR_OK);
    assert_int_equal(need, absorbed + workspace_bytes(&c, 512));
}

static void test_a_test_beyond_addresses_is_refused_with_its_options(void **state)
{
    (void)state;
    struct config c = shape("v2-lite");
    struct errinfo info = {0};
    const struct benchmark_test t = {BENCHMARK_DECODE, 1, SIZE_MAX / 2, 1, 1};
    size_t need = 7;
    assert_int_equal(benchmark_bytes(&c, 512, DTYPE_F32, &t, 1, &need, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "--depth"));
    assert_int_equal(need, 7);
}

static void test_the_machine_keeps_a_gibibyte_or_an_eighth(void **state)
{
    (void)state;
    size_t budget;
    assert_int_equal(benchmark_weight_budget(4 * GIB, GIB, &budget, NULL), ERR_OK);
    assert_int_equal(budget, 2 * GIB);
    assert_int_equal(benchmark_weight_budget(64 * GIB, GIB, &budget, NULL), ERR_OK);
    assert_int_equal(budget, 55 * GIB);
    assert_int_equal(benchmark_weight_budget(GIB, 100 * MIB, &budget, NULL), ERR_OK);
    assert_int_equal(budget, 412 * MIB); /* a small machine: half */
}

static void test_no_room_for_weights_names_the_options(void **state)
{
    (void)state;
    struct errinfo info = {0};
    size_t budget = 7;
    assert_int_equal(benchmark_weight_budget(4 * GIB, 3 * GIB, &budget, &info), ERR_NOMEM);
    assert_non_null(strstr(info.message, "--depth"));
    assert_non_null(strstr(info.message, "--prompt"));
    assert_null(strstr(info.message, "--context"));
    assert_int_equal(budget, 7); /* never 0, which would mean no bound */
}

/* The default tests of a model far larger than memory: weights, tests and reserve fit together. */
static void test_weights_leave_room_for_the_default_tests(void **state)
{
    (void)state;
    const size_t available = 4600000 * (size_t)1024;
    struct config c = shape("distill-70b");
    const struct benchmark_test tests[] = {{BENCHMARK_PREFILL, 512, 0, 1, 5},
                                           {BENCHMARK_DECODE, 32, 0, 1, 5},
                                           {BENCHMARK_DECODE, 32, 4096, 1, 5}};
    size_t need, budget;
    struct synth_size size;
    assert_int_equal(benchmark_bytes(&c, 512, DTYPE_BF16, tests, 3, &need, NULL), ERR_OK);
    assert_true(need > 4128 * (size_t)80 * 2 * 1024 * 2);
    assert_int_equal(benchmark_weight_budget(available, need, &budget, NULL), ERR_OK);
    enum dtype type = DTYPE_Q4_K;
    assert_int_equal(synth_measure(&c, typer, &type, budget, &size, NULL), ERR_OK);
    assert_true(size.memory_bytes + need + GIB <= available);
    assert_true(size.total_bytes > 35 * GIB);
    assert_true(size.layers == 80 && size.layers_made >= 1 && size.layers_made < 80);
}

/* As mixes do: some layers get more bits. */
static enum dtype uneven_typer(void *user, const struct inventory_item *item)
{
    (void)user;
    return item->layer % 3 == 2 ? DTYPE_BF16 : DTYPE_Q8_0;
}

static void test_layers_that_share_weights_share_those_of_their_types(void **state)
{
    (void)state;
    struct config c = shape("moe-100m");
    struct synth *s;
    struct model *m;
    struct synth_size size;
    struct errinfo info = {0};
    assert_int_equal(synth_measure(&c, uneven_typer, NULL, 0, &size, &info), ERR_OK);
    size_t budget = size.total_bytes / 4 * 3;
    assert_int_equal(synth_new(&c, uneven_typer, NULL, budget, NULL, &s, &info), ERR_OK);
    assert_true(synth_memory_bytes(s) <= budget);
    assert_int_equal(synth_total_bytes(s), size.total_bytes);
    assert_int_equal(model_from_tensors(&c, synth_tensors(s), &m, &info), ERR_OK);
    assert_in_range(model_weight_bytes(m), size.total_bytes - size.total_bytes / 1000, size.total_bytes);
    model_close(m);
    synth_free(s);
}

/* The 100M mixture of experts with random weights, ready to be measured. */
struct bench_setup {
    struct config c; /* s keeps its address, and type's */
    enum dtype type;
    struct synth *s;
    struct model *m;
    struct compute *compute;
    struct benchmark *b;
};

static void setup_new(struct bench_setup *u, enum cpuinfo_level level)
{
    struct errinfo info = {0};
    u->c = shape("moe-100m");
    u->type = DTYPE_Q8_0;
    assert_int_equal(synth_new(&u->c, typer, &u->type, 0, NULL, &u->s, &info), ERR_OK);
    assert_int_equal(model_from_tensors(&u->c, synth_tensors(u->s), &u->m, &info), ERR_OK);
    assert_int_equal(compute_new(level, 1, false, &u->compute, &info), ERR_OK);
    assert_int_equal(benchmark_new(u->m, u->compute, NULL, 16, DTYPE_BF16, &u->b, &info), ERR_OK);
}

/* A cache no machine holds, asked of a model that is there. */
static void test_a_refused_cache_names_the_options_of_bench(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct bench_setup u;
    setup_new(&u, CPUINFO_REF);
    const struct benchmark_test t = {BENCHMARK_DECODE, 1, (size_t)1 << 40, 1, 1};
    struct benchmark_result r;
    assert_int_equal(benchmark_run(u.b, &t, &r, &info), ERR_NOMEM);
    assert_non_null(strstr(info.message, "--depth"));
    assert_null(strstr(info.message, "--context"));
    benchmark_free(u.b);
    compute_free(u.compute);
    model_close(u.m);
    synth_free(u.s);
}

/* As DeepSeek's own files: FP8 matrices, experts included, with block scales; kv_b's halves BF16. */
static enum dtype fp8_typer(void *user, const struct inventory_item *item)
{
    (void)user;
    bool kv = strstr(item->name, "attn_k_b") || strstr(item->name, "attn_v_b");
    bool router = strstr(item->name, "ffn_gate_inp") != NULL;
    return router ? DTYPE_F32 : item->layer < 0 || kv ? DTYPE_BF16 : DTYPE_F8_E4M3;
}

static void random_fp8_weights_run(void **state)
{
    (void)state;
    struct config c = shape("moe-100m");
    struct synth *s;
    struct model *m;
    struct compute *compute;
    struct benchmark *b;
    struct errinfo info = {0};
    struct benchmark_result r;
    size_t alive = mem_alive();
    assert_int_equal(synth_new(&c, fp8_typer, NULL, 0, NULL, &s, &info), ERR_OK);
    assert_int_equal(model_from_tensors(&c, synth_tensors(s), &m, &info), ERR_OK);
    assert_int_equal(model_main_dtype(m), DTYPE_F8_E4M3);
    assert_int_equal(compute_new(cpuinfo_best(), 1, false, &compute, &info), ERR_OK);
    assert_int_equal(benchmark_new(m, compute, NULL, 16, DTYPE_BF16, &b, &info), ERR_OK);
    const struct benchmark_test t = {BENCHMARK_PREFILL, 8, 0, 1, 2};
    assert_int_equal(benchmark_run(b, &t, &r, &info), ERR_OK);
    assert_string_equal(r.name, "pp8");
    assert_true(r.min > 0 && r.min <= r.median && r.median <= r.max);
    assert_true(r.roof_pct < 0); /* no gauge, no share */
    assert_true(r.overhead_pct > 0 && r.overhead_pct < 100);
    benchmark_free(b);
    compute_free(compute);
    model_close(m);
    synth_free(s);
    assert_int_equal(mem_alive(), alive);
}

static int steps_left;

static bool some_steps(void)
{
    return steps_left-- > 0;
}

/* A run is left between two of its steps, a file between two of its tensors, and nothing stays of it. */
static void one_that_watches_can_stop(void **state)
{
    (void)state;
    char folder[] = "/tmp/fathom-test-XXXXXX", path[64];
    struct benchmark_sample sample;
    struct errinfo info = {0};
    struct bench_setup u;
    setup_new(&u, cpuinfo_best());
    benchmark_watch(u.b, some_steps);
    const struct benchmark_test t = {BENCHMARK_DECODE, 2, 0, 1, 2};
    steps_left = 5;
    assert_int_equal(benchmark_start(u.b, &t, &info), ERR_OK);
    assert_int_equal(benchmark_once(u.b, &sample, &info), ERR_OK);
    assert_int_equal(benchmark_once(u.b, &sample, &info), ERR_CANCELLED);
    assert_non_null(strstr(info.message, "tg2"));
    benchmark_free(u.b);
    compute_free(u.compute);
    model_close(u.m);

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/w.gguf", folder);
    synth_watch(u.s, some_steps);
    steps_left = 3;
    assert_int_equal(synth_write(u.s, path, 7, NULL, &info), ERR_CANCELLED);
    assert_int_equal(rmdir(folder), 0); /* it is empty */
    synth_free(u.s);
}

static void names_say_what_is_measured(void **state)
{
    (void)state;
    char out[BENCHMARK_NAME];
    const struct benchmark_test a = {BENCHMARK_PREFILL, 512, 0, 1, 1}, b = {BENCHMARK_DECODE, 32, 4096, 16, 1};
    assert_string_equal(benchmark_name(&a, out), "pp512");
    assert_string_equal(benchmark_name(&b, out), "tg32x16@4096");
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    assert_true(benchmark_median(odd, 3) == 2);
    assert_true(benchmark_median(even, 4) == 2.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_need_is_that_of_the_largest_test),
        cmocka_unit_test(test_mla_needs_its_absorbed_keys_too),
        cmocka_unit_test(test_a_test_beyond_addresses_is_refused_with_its_options),
        cmocka_unit_test(test_the_machine_keeps_a_gibibyte_or_an_eighth),
        cmocka_unit_test(test_no_room_for_weights_names_the_options),
        cmocka_unit_test(test_weights_leave_room_for_the_default_tests),
        cmocka_unit_test(test_layers_that_share_weights_share_those_of_their_types),
        cmocka_unit_test(test_a_refused_cache_names_the_options_of_bench),
        cmocka_unit_test(random_fp8_weights_run),
        cmocka_unit_test(one_that_watches_can_stop),
        cmocka_unit_test(names_say_what_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
