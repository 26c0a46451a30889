/* Strings are found by their bytes, the first of equal ones counts, strangers are not found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/piecemap.h"

enum { STRINGS = 5000, ROOM = 64 * STRINGS };

static void what_was_added_is_found_and_nothing_else(void **state)
{
    (void)state;
    char *block = mem_alloc(ROOM);
    uint32_t *at = mem_resize(NULL, STRINGS + 1, sizeof *at);
    struct piecemap m;
    uint32_t used = 0;
    for (uint32_t i = 0; i < STRINGS; i++) { /* every third is equal to the one before */
        at[i] = used;
        used += (uint32_t)snprintf(block + used, ROOM - used, "%*u", (int)(i % 23), i - (i % 3 == 2));
    }
    at[STRINGS] = used;
    assert_int_equal(piecemap_init(&m, STRINGS, 42, block, at), ERR_OK);
    for (int32_t i = 0; i < STRINGS; i++) {
        bool again = i % 3 == 2 && at[i + 1] - at[i] == at[i] - at[i - 1] &&
                     memcmp(block + at[i], block + at[i - 1], at[i + 1] - at[i]) == 0;
        assert_int_equal(piecemap_add(&m, i), again ? i - 1 : i);
    }
    for (int32_t i = 0; i < STRINGS; i++) {
        int32_t found = piecemap_find(&m, block + at[i], at[i + 1] - at[i]);
        assert_true(found == i || found == i - 1);
        char other[80];
        int n = snprintf(other, sizeof other, "%.*s!", (int)(at[i + 1] - at[i]), block + at[i]);
        assert_int_equal(piecemap_find(&m, other, (size_t)n), -1);
    }
    assert_int_equal(piecemap_find(&m, "", 0), -1);
    piecemap_deinit(&m);
    mem_free(block);
    mem_free(at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_added_is_found_and_nothing_else)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
