/* The page of a run: complete, well formed, safe against what a model writes, bounded however long the run, and
 * reloading only while the run goes on. */
#include "base/htmlcheck.h"
#include "fault/faultsweep.h"

#include <errno.h>
#include <math.h>
#include <sodium.h>

#include "base/file.h"
#include "formats/tempdir.h"
#include "train/linechart.h"
#include "train/runlog.h"
#include "train/runreport.h"

#define HOSTILE "</pre></td></title></style><script>alert(1)</script><img src=x onerror='alert(2)'>\" onload=\"& \x01\xe2\x80\xae"

static struct tempdir dir;

static int set_up(void **state)
{
    (void)state;
    tempdir_make(&dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove_all(dir.path);
    return 0;
}

static void must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s", info->message);
    }
}

static void add(struct runlog *l, json_t *record)
{
    struct errinfo info = {0};
    assert_non_null(record);
    must(runlog_append(l, record, &info), &info);
    json_decref(record);
}

/* A run of so many steps, with everything a run logs, in a model of so many layers and experts. */
static void log_run(int steps, int layers, int experts)
{
    struct errinfo info = {0};
    struct runlog *l;
    unlink(tempdir_file(&dir, RUNLOG_FILE));
    must(runlog_open(dir.path, &l, &info), &info);
    for (int s = 1; s <= steps; s++) {
        double loss = s % 97 == 50 ? NAN : 3 + 8.0 / s;
        add(l, json_pack("{s:s, s:i, s:i, s:f, s:f, s:o, s:f, s:f, s:f, s:f, s:f, s:f}", "kind", "step", "step", s,
                         "tokens", 4096 * s, "flops", 1e15 * s, "seconds", 1.5 * s, "loss", runlog_number(loss),
                         "lr", 1e-3, "grad_norm", 0.5, "tokens_per_s", 2730.0, "peak_share", 0.4, "energy_j", 300.0 * s,
                         "bits_per_byte", 1.1));
        if (s % (steps / 4 + 1) == 0 || s == steps) {
            json_t *shares = json_array(), *row = json_array();
            for (int e = 0; e < experts; e++) {
                json_array_append_new(row, json_real((e % 3) / (double)experts));
            }
            for (int k = 0; k < layers; k++) {
                json_array_append(shares, row);
            }
            json_decref(row);
            add(l, json_pack("{s:s, s:i, s:o}", "kind", "load", "step", s, "layers", shares));
            add(l, json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:[{s:s, s:f}]}", "kind", "val", "step", s, "tokens",
                             4096 * s, "flops", 1e15 * s, "seconds", 1.5 * s, "loss", 3.25, "bits_per_byte", 1.2,
                             "sources", "name", HOSTILE, "bits_per_byte", 0.9));
            add(l, json_pack("{s:s, s:i, s:s, s:s}", "kind", "sample", "step", s, "prompt", HOSTILE, "text", HOSTILE));
            add(l, json_pack("{s:s, s:i, s:s, s:f, s:i}", "kind", "task", "step", s, "name", HOSTILE, "score", 0.5, "n", 9));
            add(l, json_pack("{s:s, s:i, s:s}", "kind", "event", "step", s, "text", HOSTILE));
        }
    }
    runlog_close(l);
}

static const struct runreport_fact FACTS[] = {{"optimiser", "AdamW"}, {HOSTILE, HOSTILE}};

static struct runreport_about about(bool running)
{
    return (struct runreport_about){.title = HOSTILE, .facts = FACTS, .n_facts = 2, .planned_tokens = 1e9,
                                    .hour_price = 3, .kwh_price = 0.3, .currency = "EUR", .running = running};
}

static char *page(const char *name)
{
    char *text;
    size_t n;
    must(file_read(tempdir_file(&dir, name), 64 << 20, &text, &n, NULL), &(struct errinfo){.message = "no page"});
    return text;
}

static char *written(bool running)
{
    struct errinfo info = {0};
    const struct runreport_about a = about(running);
    must(runreport_write(dir.path, dir.path, &a, &info), &info);
    return page(RUNREPORT_PAGE);
}

static void has(const char *text, const char *what)
{
    if (!strstr(text, what)) {
        fail_msg("the page lacks %s", what);
    }
}

static void test_the_page_is_complete_and_well_formed(void **state)
{
    (void)state;
    size_t alive = mem_alive();
    log_run(1000, 4, 16);
    char *text = written(false);
    htmlcheck_page(text);
    static const char *const parts[] = {"h-loss", "h-lr", "h-grad", "h-rate", "h-peak", "h-experts", "h-quality",
                                        "h-samples", "h-events", "h-recipe", "id=\"loss-time-log\"", "AdamW", "4.1M",
                                        "3.25", "40% of the machine", "25 min", "EUR", "0.0833 kWh",
                                        "The numbers", "role=\"img\""};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        has(text, parts[i]);
    }
    assert_int_equal(htmlcheck_count(text, "class=\"tab\"") + htmlcheck_count(text, "class=\"tab first\""), 6);
    assert_int_equal(htmlcheck_count(text, "aria-current=\"true\""), 6 * 2);
    /* Nothing is fetched from anywhere. */
    assert_null(strstr(text, "http:"));
    assert_null(strstr(text, "https:"));
    assert_int_equal(htmlcheck_count(text, "src="), htmlcheck_count(text, "&lt;img src="));
    assert_null(strstr(text, "@import"));
    mem_free(text);
    assert_int_equal(mem_alive(), alive);
}

static void test_text_stays_text(void **state)
{
    (void)state;
    log_run(20, 2, 4);
    char *text = written(false);
    htmlcheck_page(text);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "<img"));
    assert_true(htmlcheck_count(text, "&lt;script&gt;alert(1)") >= 8);
    mem_free(text);
}

/* The hash in the page's policy is that of its one script: any other does not run. */
static void test_it_reloads_only_while_the_run_goes_on(void **state)
{
    (void)state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    char hash[64], policy[128];
    log_run(20, 2, 4);
    char *text = written(true), *still = page(RUNREPORT_STILL);
    htmlcheck_page(text);
    htmlcheck_page(still);
    assert_int_equal(htmlcheck_count(text, "<script>"), 1);
    assert_null(strstr(still, "<script"));
    assert_null(strstr(still, "http-equiv=\"refresh\""));
    const char *script = strstr(text, "<script>") + strlen("<script>"), *end = strstr(script, "</script>");
    assert_non_null(end);
    crypto_hash_sha256(digest, (const unsigned char *)script, (size_t)(end - script));
    sodium_bin2base64(hash, sizeof hash, digest, sizeof digest, sodium_base64_VARIANT_ORIGINAL);
    snprintf(policy, sizeof policy, "script-src 'sha256-%s'", hash);
    has(text, policy);
    mem_free(text);
    mem_free(still);
    text = written(false);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "refresh"));
    mem_free(text);
}

static void test_it_says_whether_the_run_came_to_its_end(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct runreport_about a = about(false);
    log_run(1000, 4, 16);
    char *text = written(false);
    has(text, "A training run, stopped at 0.4% of its tokens: --resume goes on. As of");
    mem_free(text);
    a.planned_tokens = 4e6;
    must(runreport_write(dir.path, dir.path, &a, &info), &info);
    text = page(RUNREPORT_PAGE);
    has(text, "A training run, ended. As of");
    mem_free(text);
    text = written(true);
    has(text, "A training run, going on. As of");
    mem_free(text);
}

static size_t longest_path(const char *text)
{
    size_t most = 0;
    for (const char *p = text; (p = strstr(p, "class=\"raw\" d=\"")) != NULL;) {
        size_t n = 0;
        for (p += strlen("class=\"raw\" d=\""); *p != '"'; p++) {
            n += *p == 'M' || *p == 'L';
        }
        most = n > most ? n : most;
    }
    return most;
}

static void test_long_runs_make_no_longer_pages(void **state)
{
    (void)state;
    log_run(30000, 60, 256);
    char *text = written(false);
    htmlcheck_page(text);
    size_t most = longest_path(text);
    assert_true(most <= LINECHART_POINTS && most > LINECHART_POINTS - 5);
    assert_true(strlen(text) < 1 << 20);
    assert_true(htmlcheck_count(text, "<tr>") < 120 + 60);
    mem_free(text);
}

static void test_short_runs_and_odd_ones(void **state)
{
    (void)state;
    struct errinfo info = {0};
    const struct runreport_about a = {.title = "t"};
    assert_int_equal(runreport_write(dir.path, dir.path, &a, &info), ERR_NOTFOUND);
    static const char *const logs[] = {
        "", "{\"kind\":\"step\",\"step\":1}\n", "{\"kind\":\"val\",\"step\":1}\n", "{\"kind\":\"load\",\"step\":1}\n",
        "{\"kind\":\"load\",\"step\":1,\"layers\":[[],[1]]}\n{\"kind\":\"load\",\"step\":2,\"layers\":[[0.5,0.5]]}\n",
        "{\"kind\":\"step\",\"step\":1,\"loss\":null,\"tokens\":1e300,\"lr\":-1e308,\"grad_norm\":0,\"seconds\":-5}\n",
        "{\"kind\":\"step\",\"step\":18446744073709551615,\"loss\":3}\n"};
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        tempdir_text(&dir, RUNLOG_FILE, logs[i]);
        err e = runreport_write(dir.path, dir.path, &a, &info);
        if (e != ERR_OK) {
            assert_int_equal(e, ERR_CORRUPT); /* a step beyond what JSON's integers hold */
            continue;
        }
        char *text = page(RUNREPORT_PAGE);
        htmlcheck_page(text);
        assert_null(strstr(text, "nan"));
        has(text, "no prices given");
        mem_free(text);
    }
}

/* ---- What fails. ---- */

static err report(struct errinfo *info)
{
    const struct runreport_about a = about(true);
    return runreport_write(dir.path, dir.path, &a, info);
}

static void test_refused_memory(void **state)
{
    (void)state;
    log_run(3, 2, 4);
    faultsweep_run(&(struct faultsweep){"runreport", report, 100, 1});
}

static void test_a_full_disk_leaves_the_page_before(void **state)
{
    (void)state;
    struct errinfo info = {0};
    log_run(3, 2, 4);
    char *before = written(true);
    log_run(9, 2, 4);
    file_fault(1, ENOSPC);
    assert_int_equal(report(&info), ERR_IO);
    file_fault(0, 0);
    char *after = page(RUNREPORT_PAGE);
    assert_string_equal(before, after);
    mem_free(before);
    mem_free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_page_is_complete_and_well_formed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text_stays_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_says_whether_the_run_came_to_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_reloads_only_while_the_run_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_runs_make_no_longer_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_runs_and_odd_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_disk_leaves_the_page_before, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
