/* The least work of a pass, against numbers worked out by hand from the shapes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/workload.h"
#include "model/shapes.h"
#include "model/synth.h"

struct made {
    struct config config;
    struct synth *synth;
    struct model *model;
};

static enum dtype typer(void *user, const struct inventory_item *item)
{
    (void)user;
    (void)item;
    return DTYPE_Q8_0;
}

static struct made make(const char *shape)
{
    struct made m;
    assert_int_equal(shapes_find(shape, &m.config, NULL), ERR_OK);
    assert_int_equal(synth_new(&m.config, typer, NULL, 0, NULL, &m.synth, NULL), ERR_OK);
    assert_int_equal(model_from_tensors(&m.config, synth_tensors(m.synth), &m.model, NULL), ERR_OK);
    return m;
}

static void drop(struct made *m)
{
    model_close(m->model);
    synth_free(m->synth);
}

static void near(double a, double b)
{
    if (fabs(a - b) > 1e-6 * fabs(b)) {
        fail_msg("%.9g is not %.9g", a, b);
    }
}

static void experts_are_touched_once_however_many_tokens_want_them(void **state)
{
    (void)state;
    near(workload_unique_experts(64, 6, 1), 6);
    near(workload_unique_experts(64, 6, 2), 6 + 6 * (58.0 / 64));
    assert_true(workload_unique_experts(64, 6, 512) > 63.999);
    assert_true(workload_unique_experts(64, 6, 512) <= 64);
    near(workload_unique_experts(8, 8, 3), 8);
}

static void a_dense_step_reads_all_weights_once_and_each_cache(void **state)
{
    (void)state;
    struct made m = make("smollm2-135m");
    double weights = (double)model_active_bytes(m.model), params = (double)model_active_parameters(m.model);
    double position = 30 * 2 * 3 * 64 * 2; /* layers, K and V, heads, width, bytes */
    struct workload one = workload_decode(m.model, 1, 100, DTYPE_BF16);
    struct workload four = workload_decode(m.model, 4, 100, DTYPE_BF16);
    near(one.bytes, weights + 100 * position);
    near(four.bytes, weights + 400 * position);
    near(one.flops, 2 * params + 101 * 2.0 * 2 * 64 * 9 * 30);
    near(four.flops, 4 * one.flops);
    drop(&m);
}

static void a_mixture_reads_more_experts_for_more_tokens(void **state)
{
    (void)state;
    struct made m = make("moe-100m"); /* 32 experts, 4 per token */
    double active = (double)model_active_bytes(m.model), experts = (double)model_expert_bytes(m.model);
    double expert = 3.0 * 256 * 512 * 34 / 32 * 7; /* gate, up, down in Q8_0, seven layers */
    near(experts, 32 * expert);
    near(workload_decode(m.model, 1, 0, DTYPE_BF16).bytes, active);
    near(workload_decode(m.model, 2, 0, DTYPE_BF16).bytes, active + 4 * 28.0 / 32 * expert);
    assert_true(workload_prefill(m.model, 512, 0, 512, DTYPE_BF16).bytes <= active + 28 * expert);
    near(workload_prefill(m.model, 1024, 0, 512, DTYPE_BF16).bytes,
         2 * workload_prefill(m.model, 512, 0, 512, DTYPE_BF16).bytes + 512 * 576 * 8 * 2);
    drop(&m);
}

static void the_slower_of_the_two_bounds(void **state)
{
    (void)state;
    const struct workload w = {.flops = 100, .bytes = 10};
    assert_int_equal(workload_bound_of(&w, 5, 1), WORKLOAD_COMPUTE);
    assert_int_equal(workload_bound_of(&w, 20, 1), WORKLOAD_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_are_touched_once_however_many_tokens_want_them),
        cmocka_unit_test(a_dense_step_reads_all_weights_once_and_each_cache),
        cmocka_unit_test(a_mixture_reads_more_experts_for_more_tokens),
        cmocka_unit_test(the_slower_of_the_two_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
