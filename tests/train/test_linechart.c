/* Line charts: never more points than columns, gaps where nothing is, no number that breaks them. */
#include "base/htmlcheck.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "train/linechart.h"

enum { N = 10000 };

static double x[N], y[N];

static char *drawn(const struct linechart *c)
{
    struct htmltext h = {0};
    char *text;
    linechart_draw(c, &h);
    assert_int_equal(h.failed, ERR_OK);
    assert_int_equal(strbuf_append(&h.text, "", 0), ERR_OK);
    assert_int_equal(strbuf_take(&h.text, &text), ERR_OK);
    htmlcheck_page(text);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    return text;
}

/* Points of the first path of a class. */
static size_t points(const char *text, const char *look)
{
    char start[64];
    size_t n = 0;
    snprintf(start, sizeof start, "class=\"%s\" d=\"", look);
    const char *p = strstr(text, start);
    assert_non_null(p);
    for (p += strlen(start); *p != '"'; p++) {
        n += *p == 'M' || *p == 'L';
    }
    return n;
}

static struct linechart chart(size_t n, enum linechart_look look)
{
    struct linechart c = {.id = "c", .title = "a title", .unit = "a unit", .across = "across", .n = 1};
    c.series[0] = (struct linechart_series){x, y, n, look};
    return c;
}

static void test_long_series_have_as_many_points_as_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++) {
        x[i] = (double)i + 1;
        y[i] = 5 + sin((double)i);
    }
    struct linechart c = chart(N, LINECHART_RAW);
    for (int k = 0; k < 8; k++) {
        c.log_x = k & 1;
        c.log_y = k & 2;
        c.numbers = k & 4 ? LINECHART_TIME : LINECHART_COUNT;
        char *text = drawn(&c);
        size_t n = points(text, "raw");
        assert_true(n <= LINECHART_POINTS && n > (c.log_x ? 200 : LINECHART_POINTS - 2));
        assert_true(points(text, "range") > 100);
        size_t ticks = htmlcheck_count(text, "class=\"grid\"");
        assert_true(ticks >= 4 && ticks < 24);
        mem_free(text);
    }
    c = chart(7, LINECHART_SMOOTH);
    char *text = drawn(&c);
    assert_int_equal(points(text, "smooth"), 7);
    mem_free(text);
}

static void test_gaps_stay_gaps(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        x[i] = (double)i;
        y[i] = i == 0 || i == 40 || i == 41 || i == 99 ? NAN : 1 + (double)i;
    }
    struct linechart c = chart(100, LINECHART_MARKED);
    char *text = drawn(&c);
    const char *path = strstr(text, "class=\"marked\"");
    assert_non_null(path);
    *strchr(strstr(path, "d=\"") + 3, '"') = '\0';
    assert_int_equal(htmlcheck_count(path, "M"), 2);
    assert_int_equal(htmlcheck_count(path, "L"), 96 - 2);
    mem_free(text);
}

/* What runs that went wrong, and files that lie, can hold. */
static void test_no_number_breaks_a_chart(void **state)
{
    (void)state;
    static const double odd[] = {0, -1, 1, 1e300, -1e300, DBL_MAX, -DBL_MAX, DBL_MIN, 1e17, 1e17 + 16, NAN, INFINITY};
    enum { ODD = sizeof odd / sizeof *odd };
    struct linechart c = chart(2, LINECHART_RAW);
    for (int i = 0; i < ODD * ODD * ODD * ODD; i++) {
        x[0] = odd[i % ODD];
        x[1] = odd[i / ODD % ODD];
        y[0] = odd[i / ODD / ODD % ODD];
        y[1] = odd[i / ODD / ODD / ODD];
        c.log_x = i & 1;
        c.log_y = i & 2;
        c.late = i & 4;
        c.from_zero = i & 8;
        bool any = linechart_has_points(&c);
        char *text = drawn(&c);
        assert_true(any == (text[0] != '\0'));
        mem_free(text);
    }
    c.n = 0;
    assert_false(linechart_has_points(&c));
}

static void test_numbers_are_short(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } numbers[] = {{0, "0"}, {3e-4, "0.0003"}, {999, "999"}, {1500, "1.5k"}, {999999, "1M"}, {2e9, "2B"}, {-4e12, "-4T"},
                   {1.2e18, "1.2E"}, {NAN, "–"}},
      times[] = {{2, "2 s"}, {90, "1.5 min"}, {7200, "2 h"}, {86400 * 3, "3 days"}, {INFINITY, "–"}};
    char text[LINECHART_NUMBER];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_string_equal(linechart_number(numbers[i].v, text), numbers[i].text);
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_string_equal(linechart_time(times[i].v, text), times[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_series_have_as_many_points_as_columns),
        cmocka_unit_test(test_gaps_stay_gaps),
        cmocka_unit_test(test_no_number_breaks_a_chart),
        cmocka_unit_test(test_numbers_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
