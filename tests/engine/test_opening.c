/* Opening a model's file again and again gives times in order, and leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/opening.h"

static void a_small_model_opens_in_measured_time(void **state)
{
    (void)state;
    struct compute *c;
    struct opening o;
    assert_int_equal(compute_new(CPUINFO_REF, 1, false, &c, NULL), ERR_OK);
    assert_int_equal(opening_measure("tests/golden/model/llama-tied", c, 16, DTYPE_BF16, 3, &o, NULL), ERR_OK);
    size_t alive = mem_alive();
    assert_int_equal(opening_measure("tests/golden/model/llama-tied", c, 16, DTYPE_BF16, 3, &o, NULL), ERR_OK);
    assert_int_equal(mem_alive(), alive);
    assert_true(o.runs >= 1 && o.runs <= 3);
    assert_true(o.min > 0 && o.min <= o.median && o.median <= o.max);
    assert_true(o.open_median > 0 && o.open_median <= o.max);
    compute_free(c);
}

static void no_file_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    struct compute *c;
    struct opening o;
    struct errinfo info;
    assert_int_equal(compute_new(CPUINFO_REF, 1, false, &c, NULL), ERR_OK);
    size_t alive = mem_alive();
    assert_int_not_equal(opening_measure("tests/golden/none.gguf", c, 16, DTYPE_BF16, 3, &o, &info), ERR_OK);
    assert_non_null(strstr(info.message, "none.gguf"));
    assert_int_equal(mem_alive(), alive);
    compute_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_model_opens_in_measured_time),
        cmocka_unit_test(no_file_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
