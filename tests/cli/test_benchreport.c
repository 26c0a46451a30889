/* The report of a benchmark: complete, self-contained, safe against names, replaced as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/barchart.h"
#include "cli/benchreport.h"

static char folder[] = "/tmp/fathom-test-XXXXXX";
static struct model *model;
static struct benchtable table;

static struct benchtable_row row(enum benchmark_kind kind, size_t tokens, size_t depth, size_t batch, double rate)
{
    struct benchtable_row r = {.test = {kind, tokens, depth, batch, 3}};
    benchmark_name(&r.test, r.ours.name);
    r.ours.median = rate;
    r.ours.min = 0.9 * rate;
    r.ours.max = 1.1 * rate;
    r.ours.roof_pct = 40;
    r.ours.roof_per_s = rate / 0.4;
    r.ours.roof_min = 3e10;
    r.ours.roof_max = 3.3e10;
    r.peer.measured = batch == 1;
    r.peer.median = r.peer.min = r.peer.max = rate / 2;
    r.peer.ratio = 2;
    return r;
}

static char *read_page(const char *name)
{
    char *path = file_join(folder, name), *text = NULL;
    size_t size;
    assert_int_equal(file_read(path, 1 << 20, &text, &size, NULL), ERR_OK);
    mem_free(path);
    return text;
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    while ((text = strstr(text, word))) {
        text++;
        n++;
    }
    return n;
}

/* Every element of this name that opens also closes. */
static void balanced(const char *page, const char *name)
{
    char open_space[32], open_end[32], close[32];
    snprintf(open_space, sizeof open_space, "<%s ", name);
    snprintf(open_end, sizeof open_end, "<%s>", name);
    snprintf(close, sizeof close, "</%s>", name);
    size_t opened = count(page, open_space) + count(page, open_end), closed = count(page, close);
    if (opened == 0 || opened != closed) {
        fail_msg("%zu <%s> and %zu </%s>", opened, name, closed, name);
    }
}

static void the_page_holds_every_test_and_needs_nothing_else(void **state)
{
    (void)state;
    size_t alive = mem_alive();
    assert_int_equal(benchreport_write(&table, folder, NULL), ERR_OK);
    char *page = read_page(BENCHREPORT_PAGE), *data = read_page(BENCHREPORT_DATA);
    static const char *const elements[] = {"svg", "table", "section", "figure", "td", "th", "div", "p", "dl", "html"};
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++) {
        balanced(page, elements[i]);
    }
    assert_int_equal(count(page, "role=\"img\""), 3); /* a plot by prompt, by depth, by batch */
    for (size_t i = 0; i < table.n_rows; i++) {
        assert_non_null(strstr(page, table.rows[i].ours.name));
        assert_non_null(strstr(data, table.rows[i].ours.name));
    }
    assert_null(strstr(page, "http://"));
    assert_null(strstr(page, "https://"));
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "src="));
    mem_free(page);
    mem_free(data);
    assert_int_equal(mem_alive(), alive);
}

static void names_cannot_become_markup(void **state)
{
    (void)state;
    char words[] = "<script>alert('1')</script>", verb[] = "bench";
    char *argv[] = {verb, words, NULL};
    struct benchtable t = table;
    benchtable_stamp(&t, 2, argv);
    benchtable_entitle(&t, "models/<b>&\"bold\".gguf");
    snprintf(t.peer_title, sizeof t.peer_title, "%s", words);
    assert_string_equal(t.title, "<b>&\"bold\"");
    assert_string_equal(t.command, "fathom bench '<script>alert('\\''1'\\'')</script>'");
    assert_int_equal(benchreport_write(&t, folder, NULL), ERR_OK);
    char *page = read_page(BENCHREPORT_PAGE);
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "<b>"));
    assert_non_null(strstr(page, "&lt;b&gt;&amp;&quot;bold&quot;"));
    mem_free(page);
}

/* JSON holds whole characters only; file names and commands hold any bytes and any length. */
static void names_become_whole_characters(void **state)
{
    (void)state;
    char words[2 * BENCHTABLE_TEXT + 1], verb[] = "bench", stray[] = "a\xff.gguf";
    for (size_t shift = 0; shift < 2; shift++) {
        memset(words, 'x', shift);
        for (size_t i = shift; i + 1 < sizeof words; i += 2) {
            memcpy(words + i, "ä", 2);
        }
        words[sizeof words - 1] = '\0';
        char *argv[] = {verb, stray, words, NULL};
        struct benchtable t = table;
        benchtable_stamp(&t, 3, argv);
        benchtable_entitle(&t, words);
        size_t title = strlen(t.title);
        assert_true(title >= 119 && title <= 120 && title % 2 == shift);
        assert_non_null(strstr(t.command, "'a?.gguf'"));
        json_t *all = benchtable_json(&t);
        assert_non_null(all);
        json_decref(all);
    }
    struct benchtable t = table;
    benchtable_entitle(&t, "models/b\xc3(.gguf");
    assert_string_equal(t.title, "b?(");
}

static void a_report_that_cannot_be_written_leaves_the_old_one(void **state)
{
    (void)state;
    struct errinfo info;
    assert_int_equal(benchreport_write(&table, folder, NULL), ERR_OK);
    char *before = read_page(BENCHREPORT_PAGE);
    size_t alive = mem_alive();
    for (size_t k = 1; k <= 4; k++) {
        struct benchtable t = table;
        t.n_rows = 1;
        file_fault(k, 28); /* no space left */
        assert_int_equal(benchreport_write(&t, folder, &info), ERR_IO);
        file_fault(0, 0);
        assert_int_equal(mem_alive(), alive);
    }
    char *after = read_page(BENCHREPORT_PAGE);
    assert_string_equal(before, after);
    mem_free(before);
    mem_free(after);
}

static void short_memory_is_an_error_wherever_it_strikes(void **state)
{
    (void)state;
    struct errinfo info;
    size_t alive = mem_alive();
    err e = ERR_NOMEM;
    for (size_t k = 1; k < 3000 && e != ERR_OK; k++) {
        mem_fault(k, 0);
        e = benchreport_write(&table, folder, &info);
        mem_fault(0, 0);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        assert_int_equal(mem_alive(), alive);
    }
    assert_int_equal(e, ERR_OK);
}

/* A line at the height of another value would be a lie; an arrow with the number is none. */
static void a_roof_beyond_the_scale_is_a_number_and_no_line(void **state)
{
    (void)state;
    struct benchtable t = table;
    assert_int_equal(benchreport_write(&t, folder, NULL), ERR_OK);
    char *page = read_page(BENCHREPORT_PAGE);
    assert_int_equal(count(page, "<line class=\"roof\" x1"), t.n_rows + 1); /* batch 1 at depth 0: in two plots */
    assert_null(strstr(page, "↑"));
    mem_free(page);
    t.rows[3].ours.roof_per_s = 44000;
    assert_int_equal(benchreport_write(&t, folder, NULL), ERR_OK);
    page = read_page(BENCHREPORT_PAGE);
    assert_int_equal(count(page, "<line class=\"roof\" x1"), t.n_rows);
    assert_non_null(strstr(page, "↑ 44,000"));
    assert_int_equal(count(page, "beyond the scale"), 1);
    mem_free(page);
}

static void numbers_have_three_digits_or_all(void **state)
{
    (void)state;
    char out[32];
    assert_string_equal(barchart_number(0.524, out), "0.52");
    assert_string_equal(barchart_number(12.34, out), "12.3");
    assert_string_equal(barchart_number(123.4, out), "123");
    assert_string_equal(barchart_number(1234.5, out), "1,235");
    assert_string_equal(barchart_number(999.9, out), "1,000");
}

static int prepare(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || model_open("tests/golden/chatmodel", &model, NULL) != ERR_OK) {
        return -1;
    }
    table = (struct benchtable){.level = "avx2", .threads = 2, .model = model, .kv_type = "bf16", .chunk = 512,
                                .title = "chatmodel", .peer_name = "llama.cpp", .peer_title = "llama-bench",
                                .roof = {.read_gbs = 33, .float_flops = 4.6e12, .float_name = "amx bf16"},
                                .opening = {0.3, 0.2, 0.4, 0.1, 5, 1000000}, .date = "2026-01-01 00:00 UTC"};
    table.rows[table.n_rows++] = row(BENCHMARK_PREFILL, 512, 0, 1, 1000);
    table.rows[table.n_rows++] = row(BENCHMARK_PREFILL, 2048, 0, 1, 900);
    table.rows[table.n_rows++] = row(BENCHMARK_DECODE, 32, 0, 1, 50);
    table.rows[table.n_rows++] = row(BENCHMARK_DECODE, 32, 0, 4, 120);
    table.rows[table.n_rows++] = row(BENCHMARK_DECODE, 32, 4096, 1, 40);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    model_close(model);
    char *page = file_join(folder, BENCHREPORT_PAGE), *data = file_join(folder, BENCHREPORT_DATA);
    unlink(page);
    unlink(data);
    mem_free(page);
    mem_free(data);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_holds_every_test_and_needs_nothing_else),
        cmocka_unit_test(names_cannot_become_markup),
        cmocka_unit_test(names_become_whole_characters),
        cmocka_unit_test(a_report_that_cannot_be_written_leaves_the_old_one),
        cmocka_unit_test(short_memory_is_an_error_wherever_it_strikes),
        cmocka_unit_test(a_roof_beyond_the_scale_is_a_number_and_no_line),
        cmocka_unit_test(numbers_have_three_digits_or_all),
    };
    return cmocka_run_group_tests(tests, prepare, finish);
}
