/* The log of a run: what is written comes back, a cut log equals that of a run that stopped there, half lines and
 * full disks leave whole lines, damage is named. */
#include "fault/faultsweep.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "formats/tempdir.h"
#include "train/runlog.h"

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

static err add(struct runlog *l, json_t *record, struct errinfo *info)
{
    err e = record ? runlog_append(l, record, info) : err_set(info, ERR_NOMEM, "out of memory");
    json_decref(record);
    return e;
}

/* What a run logs at one step. */
static err log_step(struct runlog *l, int step, struct errinfo *info)
{
    TRY(add(l, json_pack("{s:s, s:i, s:i, s:f, s:f, s:o, s:n}", "kind", "step", "step", step, "tokens", 1024 * step,
                         "flops", 1e15 * step, "seconds", 0.5 * step, "loss",
                         runlog_number(step == 3 ? NAN : 10.0 / step), "energy_j"), info));
    if (step % 5 == 0) {
        TRY(add(l, json_pack("{s:s, s:i, s:i, s:f, s:[{s:s, s:f}, {s:s, s:f}]}", "kind", "val", "step", step, "tokens",
                             1024 * step, "loss", 3.5, "sources", "name", "a", "bits_per_byte", 1.25, "name", "b",
                             "bits_per_byte", 1.5), info));
        TRY(add(l, json_pack("{s:s, s:i, s:[[], [f, f, f], [f, f, n]]}", "kind", "load", "step", step, "layers", 0.25,
                             0.5, 0.25, 1.0, 0.0), info));
        TRY(add(l, json_pack("{s:s, s:i, s:s, s:s}", "kind", "sample", "step", step, "prompt", "Once", "text",
                             "<b>upon\n\"a\" time"), info));
        TRY(add(l, json_pack("{s:s, s:i, s:s, s:f, s:i}", "kind", "task", "step", step, "name", "sums", "score", 0.5,
                             "n", 100), info));
    }
    return ERR_OK;
}

static void log_run(int from, int to)
{
    struct errinfo info = {0};
    struct runlog *l;
    must(runlog_open(dir.path, &l, &info), &info);
    for (int step = from; step <= to; step++) {
        must(log_step(l, step, &info), &info);
    }
    must(runlog_sync(l, &info), &info);
    runlog_close(l);
}

static char *text_of_log(size_t *n)
{
    char *text;
    must(file_read(tempdir_file(&dir, RUNLOG_FILE), 1 << 20, &text, n, NULL), &(struct errinfo){.message = "no log"});
    return text;
}

static void test_records_come_back(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct runlog_records r;
    struct runlog *l;
    log_run(1, 100);
    must(runlog_open(dir.path, &l, &info), &info);
    must(add(l, json_pack("{s:s, s:i, s:s}", "kind", "event", "step", 100, "text", "done"), &info), &info);
    must(add(l, json_pack("{s:s, s:i}", "kind", "of a later version", "step", 100), &info), &info);
    runlog_close(l);
    must(runlog_read(dir.path, &r, &info), &info);
    assert_int_equal(r.n_steps, 100);
    assert_int_equal(r.steps[99].step, 100);
    assert_float_equal(r.steps[99].tokens, 102400, 0);
    assert_float_equal(r.steps[99].flops, 1e17, 1e7);
    assert_float_equal(r.steps[9].loss, 1, 1e-9);
    assert_true(isnan(r.steps[2].loss) && isnan(r.steps[99].energy_j) && isnan(r.steps[99].lr));
    assert_int_equal(r.n_vals, 20);
    assert_int_equal(r.vals[19].n_sources, 2);
    assert_string_equal(r.vals[19].sources[1].name, "b");
    assert_float_equal(r.vals[19].sources[1].bits_per_byte, 1.5, 0);
    assert_int_equal(r.n_loads, 20);
    assert_int_equal(r.loads[0].n_layers, 2);
    assert_int_equal(r.loads[0].n_experts, 3);
    assert_int_equal(r.loads[0].layers[1], 2);
    assert_float_equal(r.loads[0].shares[1], 0.5, 0);
    assert_float_equal(r.loads[0].shares[3], 1, 0);
    assert_string_equal(r.samples[19].text, "<b>upon\n\"a\" time");
    assert_string_equal(r.tasks[19].name, "sums");
    assert_int_equal(r.n_events, 1);
    assert_string_equal(r.events[0].text, "done");
    runlog_read_deinit(&r);
}

static void test_a_cut_log_equals_one_that_ended_there(void **state)
{
    (void)state;
    struct errinfo info = {0};
    size_t n, again;
    must(runlog_cut(dir.path, 5, &info), &info); /* no log yet */
    log_run(1, 60);
    char *whole = text_of_log(&n);
    must(runlog_cut(dir.path, 35, &info), &info);
    log_run(36, 60);
    char *resumed = text_of_log(&again);
    assert_string_equal(whole, resumed);
    mem_free(whole);
    mem_free(resumed);
    must(runlog_cut(dir.path, 0, &info), &info);
    resumed = text_of_log(&again);
    assert_int_equal(again, 0);
    mem_free(resumed);
}

/* A crash of the system can leave half a line, at any byte. */
static void test_half_a_line_is_removed(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct runlog_records r;
    size_t n, again;
    log_run(1, 5);
    char *whole = text_of_log(&n);
    size_t before = n - 1;
    while (whole[before - 1] != '\n') {
        before--;
    }
    for (size_t cut = before; cut < n; cut++) {
        tempdir_put(&dir, RUNLOG_FILE, whole, cut);
        must(runlog_read(dir.path, &r, &info), &info);
        assert_int_equal(r.n_steps, 5);
        assert_int_equal(r.n_tasks, 0);
        runlog_read_deinit(&r);
        if (cut % 2) {
            must(runlog_cut(dir.path, 5, &info), &info);
        } else {
            struct runlog *l;
            must(runlog_open(dir.path, &l, &info), &info);
            runlog_close(l);
        }
        char *text = text_of_log(&again);
        assert_int_equal(again, before);
        assert_memory_equal(text, whole, before);
        mem_free(text);
    }
    mem_free(whole);
}

static void test_no_records_are_refused(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct runlog *l;
    size_t n;
    must(runlog_open(dir.path, &l, &info), &info);
    assert_int_equal(add(l, json_pack("{s:s}", "kind", "step"), &info), ERR_ARGUMENT);
    assert_int_equal(add(l, json_pack("{s:i}", "step", 3), &info), ERR_ARGUMENT);
    assert_int_equal(add(l, json_pack("[s]", "step"), &info), ERR_ARGUMENT);
    runlog_close(l);
    char *text = text_of_log(&n);
    assert_int_equal(n, 0);
    mem_free(text);
}

static void test_damage_is_named(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct runlog_records r;
    static const char *const lines[] = {"{", "3", "{}", "{\"kind\":\"step\"}", "{\"kind\":3,\"step\":1}",
                                        "{\"kind\":\"step\",\"step\":-1}",
                                        "{\"kind\":\"load\",\"step\":1,\"layers\":[[1],[0.5,0.5]]}"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"kind\":\"event\",\"step\":1}\n%s\n{\"kind\":\"event\",\"step\":1}\n", lines[i]);
        tempdir_text(&dir, RUNLOG_FILE, text);
        assert_int_equal(runlog_read(dir.path, &r, &info), ERR_CORRUPT);
        assert_non_null(strstr(info.message, RUNLOG_FILE ", line 2"));
        assert_null(strstr(info.message, "line 1"));
        if (i < 4) {
            assert_int_equal(runlog_cut(dir.path, 1, &info), ERR_CORRUPT);
            assert_non_null(strstr(info.message, RUNLOG_FILE ", line 2"));
            assert_null(strstr(info.message, "line 1"));
            assert_non_null(strstr(info.message, "without that line"));
        }
    }
    unlink(tempdir_file(&dir, RUNLOG_FILE));
    assert_int_equal(runlog_read(dir.path, &r, &info), ERR_NOTFOUND);
    /* Keys of other types than said are as good as absent. */
    tempdir_text(&dir, RUNLOG_FILE,
                 "{\"kind\":\"step\",\"step\":1,\"loss\":\"x\"}\n{\"kind\":\"val\",\"step\":1,\"sources\":[3,{}]}\n"
                 "{\"kind\":\"load\",\"step\":1,\"layers\":[3,\"x\",[\"y\"]]}\n{\"kind\":\"load\",\"step\":1}\n"
                 "{\"kind\":\"sample\",\"step\":1,\"text\":[]}\n");
    must(runlog_read(dir.path, &r, &info), &info);
    assert_true(isnan(r.steps[0].loss));
    assert_string_equal(r.vals[0].sources[1].name, "");
    assert_int_equal(r.loads[0].n_layers, 1);
    assert_string_equal(r.samples[0].text, "");
    runlog_read_deinit(&r);
}

static void test_a_full_disk_leaves_whole_lines(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct runlog *l;
    struct rlimit was, little;
    size_t n, again;
    log_run(1, 5);
    char *before = text_of_log(&n);
    must(runlog_open(dir.path, &l, &info), &info);
    file_fault(1, ENOSPC);
    assert_int_equal(log_step(l, 6, &info), ERR_IO);
    file_fault(1, EIO);
    assert_int_equal(runlog_sync(l, &info), ERR_IO);
    file_fault(0, 0);
    /* The system takes ten bytes of a line and no more. */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    little = (struct rlimit){n + 10, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    err e = log_step(l, 6, &info);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(e, ERR_IO);
    assert_non_null(strstr(info.message, RUNLOG_FILE));
    char *after = text_of_log(&again);
    assert_string_equal(before, after);
    must(log_step(l, 6, &info), &info);
    runlog_close(l);
    mem_free(before);
    mem_free(after);
}

static err sweep(struct errinfo *info)
{
    struct runlog *l;
    struct runlog_records r;
    unlink(tempdir_file(&dir, RUNLOG_FILE));
    TRY(runlog_open(dir.path, &l, info));
    err e = log_step(l, 5, info);
    runlog_close(l);
    TRY(e);
    TRY(runlog_cut(dir.path, 5, info));
    TRY(runlog_read(dir.path, &r, info));
    runlog_read_deinit(&r);
    return ERR_OK;
}

static void test_refused_memory(void **state)
{
    (void)state;
    faultsweep_run(&(struct faultsweep){"runlog", sweep, 40, 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cut_log_equals_one_that_ended_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_half_a_line_is_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_records_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_disk_leaves_whole_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
