/* A timed compute gives the same results, counts products and attention, and is itself again after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/opstimer.h"

static void a_timed_product_is_the_same_and_is_counted(void **state)
{
    (void)state;
    enum { ROWS = 64, WIDTH = 256, TOKENS = 8 };
    static float w[ROWS * WIDTH], x[TOKENS * WIDTH], plain[TOKENS * ROWS], timed[TOKENS * ROWS];
    struct compute *c;
    struct opstimer timer;
    assert_int_equal(compute_new(cpuinfo_best(), 1, true, &c, NULL), ERR_OK);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        w[i] = (float)(i % 13) - 6;
    }
    for (size_t i = 0; i < TOKENS * WIDTH; i++) {
        x[i] = (float)(i % 7) - 3;
    }
    struct matmul_job job = {.w = {.dtype = DTYPE_F32, .rank = 2, .shape = {ROWS, WIDTH, 1, 1}, .data = w},
                             .x = x, .y = plain, .n_rows = TOKENS, .x_stride = WIDTH, .y_stride = ROWS};
    const struct ops_table *table = c->ops;
    assert_int_equal(ops_matmul(c, &job, 1), ERR_OK);
    opstimer_begin(&timer, c);
    job.y = timed;
    assert_int_equal(ops_matmul(c, &job, 1), ERR_OK);
    opstimer_end(&timer, c);
    assert_memory_equal(plain, timed, sizeof plain);
    assert_true(timer.matmul_seconds > 0);
    assert_true(timer.attention_seconds == 0);
    assert_ptr_equal(c->ops, table);
    compute_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_timed_product_is_the_same_and_is_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
