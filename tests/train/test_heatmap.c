/* Heat maps: every cell once, in the step of its ratio; neighbours are joined when there are too many. */
#include "base/htmlcheck.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "train/heatmap.h"

static char *drawn(const float *values, size_t rows, size_t cols)
{
    uint32_t *labels = calloc(rows, sizeof *labels);
    struct htmltext h = {0};
    char *text;
    assert_non_null(labels);
    heatmap_draw(&(struct heatmap){.id = "m", .title = "title", .across = "<across>", .down = "down", .first = "0",
                                   .last = "9", .values = values, .rows = rows, .cols = cols, .labels = labels}, &h);
    heatmap_key(&h);
    assert_int_equal(h.failed, ERR_OK);
    assert_int_equal(strbuf_take(&h.text, &text), ERR_OK);
    htmlcheck_page(text);
    free(labels);
    return text;
}

/* Cells of a level in the map itself. */
static size_t cells(const char *text, int level)
{
    char start[32];
    size_t n = 0, x, y, width;
    const char *end = strstr(text, "</svg>");
    snprintf(start, sizeof start, "class=\"h%d\" d=\"", level);
    const char *p = strstr(text, start);
    if (!p || p > end) {
        return 0;
    }
    for (p += strlen(start); sscanf(p, "M%zu %zuh%zu", &x, &y, &width) == 3; p = strchr(p, 'z') + 1) {
        n += width;
    }
    return n;
}

static void test_cells_have_the_step_of_their_ratio(void **state)
{
    (void)state;
    const float values[2][6] = {{0, 0.25f, 1, 1, 1.05f, 4}, {2, 2, NAN, INFINITY, 1e30f, -1}};
    char *text = drawn(values[0], 2, 6);
    assert_int_equal(cells(text, 0), 3);
    assert_int_equal(cells(text, 4), 3);
    assert_int_equal(cells(text, 6), 2);
    assert_int_equal(cells(text, 8), 2);
    assert_non_null(strstr(text, "M2 0h3v1h-3z"));
    assert_non_null(strstr(text, "&lt;across&gt;"));
    mem_free(text);
}

static void test_many_columns_are_joined(void **state)
{
    (void)state;
    enum { ROWS = 61, COLS = 1000 };
    static float values[ROWS][COLS];
    for (size_t i = 0; i < ROWS * COLS; i++) {
        values[i / COLS][i % COLS] = 1;
    }
    values[3][999] = 4;
    values[3][0] = 0.1f;
    char *text = drawn(values[0], ROWS, COLS);
    assert_int_equal(cells(text, 8), 1);
    assert_int_equal(cells(text, 0), 1);
    assert_int_equal(cells(text, 4), ROWS * 250 - 2);
    assert_true(strlen(text) < 6000);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_have_the_step_of_their_ratio),
        cmocka_unit_test(test_many_columns_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
