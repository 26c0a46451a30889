/* Whole runs that meet trouble: a disk that fails at any moment loses nothing that was saved, and the run goes on to
 * the same bits; losses that jump take a run back, and end it when that does not help. */
#include "trainfixture.h"

#include <errno.h>

#include "base/file.h"
#include "train/trainrun.h"

static char notes[4096];
static bool changed;        /* --changed */
static size_t asked, stops; /* how often go_on was asked; when it says no; 0: never */

static bool go_on(void *user)
{
    (void)user;
    return ++asked != stops;
}

static void note(void *user, uint64_t step, const char *text)
{
    (void)user;
    size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%llu %s\n", (unsigned long long)step, text);
}

static err run(const struct trainfixture *x, const char *name, bool resume, enum trainrun_end *end,
               struct errinfo *info)
{
    char dir[128];
    struct trainrun_options o = {.data = x->dataset.dir, .dir = dir, .resume = resume, .changed = changed,
                                 .n_threads = 2, .view = {.noted = note, .go_on = go_on}};
    snprintf(dir, sizeof dir, "%s/%s", x->files.dir, name);
    notes[0] = '\0';
    asked = 0;
    datasetfixture_must(cpuinfo_choose(&o.level, info), info);
    return trainrun_run(&x->recipe, &o, end, info);
}

static size_t model_of(const struct trainfixture *x, const char *name, char **data)
{
    char path[160];
    size_t n;
    struct errinfo info = {0};
    snprintf(path, sizeof path, "%s/%s/model.gguf", x->files.dir, name);
    datasetfixture_must(file_read(path, 64 << 20, data, &n, &info), &info);
    return n;
}

static void test_a_full_disk_loses_nothing_that_was_saved(void **state)
{
    (void)state;
    struct trainfixture x;
    struct errinfo info = {0};
    enum trainrun_end end;
    char *whole, *again;
    trainfixture_init(&x, "checkpoint_every = 8\nvalidate_every = 0\nsample_tokens = 0\n");
    datasetfixture_must(run(&x, "whole", false, &end, &info), &info);
    assert_int_equal(end, TRAINRUN_DONE);
    size_t n = model_of(&x, "whole", &whole), k = 1;
    for (;; k += 9) {
        char name[32];
        snprintf(name, sizeof name, "full%zu", k);
        file_fault(k, ENOSPC);
        err e = run(&x, name, false, &end, &info);
        file_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_IO);
        assert_non_null(strstr(info.message, strerror(ENOSPC)));
        datasetfixture_must(run(&x, name, true, &end, &info), &info);
        assert_int_equal(end, TRAINRUN_DONE);
        assert_int_equal(model_of(&x, name, &again), n);
        assert_memory_equal(again, whole, n);
        mem_free(again);
    }
    assert_true(k > 40); /* recipe, log, three checkpoints, the model */
    mem_free(whole);
    trainfixture_deinit(&x);
}

static void test_losses_that_jump_take_the_run_back(void **state)
{
    (void)state;
    struct trainfixture x;
    struct errinfo info = {0};
    enum trainrun_end end;
    trainfixture_init(&x, "checkpoint_every = 1\nvalidate_every = 0\nsample_tokens = 0\nspike = 0.3\n"
                          "[optimizer]\nlr = 3\nlr_embeddings = 3\nclip = 0\n");
    assert_int_equal(run(&x, "jumps", false, &end, &info), ERR_LIMIT);
    assert_non_null(strstr(notes, "the loss jumped"));
    assert_non_null(strstr(notes, ": back to step 1, on with the next data"));
    assert_non_null(strstr(info.message, "going back did not help: a lower learning rate"));
    trainfixture_deinit(&x);
}

/* ---- Stopped. ---- */

/* Records of a kind in a run's log. */
static size_t logged(const struct trainfixture *x, const char *name, const char *kind)
{
    char path[160], key[32], *text;
    size_t n, found = 0;
    struct errinfo info = {0};
    snprintf(path, sizeof path, "%s/%s/metrics.jsonl", x->files.dir, name);
    snprintf(key, sizeof key, "\"kind\":\"%s\"", kind);
    datasetfixture_must(file_read(path, 1 << 24, &text, &n, &info), &info);
    for (const char *at = text; (at = strstr(at, key)); at++) {
        found++;
    }
    mem_free(text);
    return found;
}

/* Whenever a run is asked whether to go on, and so in the middle of rows, of a sample and of a question, a no saves and
 * ends; resumed, it ends with the same bits, and every validation is logged once. */
static void test_a_run_stops_anywhere(void **state)
{
    (void)state;
    static const char *const kinds[] = {"step", "load", "val", "sample", "task"};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    struct trainfixture x;
    struct errinfo info = {0};
    enum trainrun_end end;
    char *whole, *again, task[] = "/tmp/fathom-task-XXXXXX", more[160];
    const char *questions = "{\"prompt\": \"w1\", \"choices\": [\"2\", \"3\"], \"answer\": 0}\n"
                            "{\"prompt\": \"w\", \"answer\": \"9\"}\n";
    size_t counts[KINDS];
    int fd = mkstemp(task);
    assert_true(fd >= 0 && write(fd, questions, strlen(questions)) == (ssize_t)strlen(questions) && close(fd) == 0);
    snprintf(more, sizeof more, "validate_every = 10\nsample_tokens = 4\n[tasks]\nt = %s\n", task);
    trainfixture_init(&x, more);
    datasetfixture_must(run(&x, "whole", false, &end, &info), &info);
    assert_int_equal(end, TRAINRUN_DONE);
    size_t n = model_of(&x, "whole", &whole), all = asked;
    assert_true(all > 20 + 2 * (4 + 4 + 2)); /* steps, rows, tokens, questions */
    for (int i = 0; i < KINDS; i++) {
        counts[i] = logged(&x, "whole", kinds[i]);
    }
    assert_int_equal(counts[2], 2);
    for (size_t k = 11; k <= all; k += 23) {
        char name[32];
        snprintf(name, sizeof name, "stop%zu", k);
        stops = k;
        datasetfixture_must(run(&x, name, false, &end, &info), &info);
        stops = 0;
        if (end == TRAINRUN_STOPPED) {
            datasetfixture_must(run(&x, name, true, &end, &info), &info);
        }
        assert_int_equal(end, TRAINRUN_DONE);
        assert_int_equal(model_of(&x, name, &again), n);
        assert_memory_equal(again, whole, n);
        mem_free(again);
        for (int i = 0; i < KINDS; i++) {
            assert_int_equal(logged(&x, name, kinds[i]), counts[i]);
        }
    }
    mem_free(whole);
    unlink(task);
    trainfixture_deinit(&x);
}

/* ---- Going on. ---- */

static void write_text(const struct trainfixture *x, const char *name, const char *mode, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", x->files.dir, name);
    FILE *f = fopen(path, mode);
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void refused(const struct trainfixture *x, err code, const char *says, const char *says_too)
{
    struct errinfo info = {0};
    enum trainrun_end end;
    assert_int_equal(run(x, "run", true, &end, &info), code);
    if (!strstr(info.message, says) || !strstr(info.message, says_too)) {
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", info.message, says, says_too);
    }
}

/* A run of 20 steps, with checkpoints of the last two. */
static void whole_run(struct trainfixture *x)
{
    struct errinfo info = {0};
    enum trainrun_end end;
    trainfixture_init(x, "checkpoint_every = 10\nvalidate_every = 0\nsample_tokens = 0\n");
    datasetfixture_must(run(x, "run", false, &end, &info), &info);
}

static void test_other_data_are_refused_with_both_hashes(void **state)
{
    (void)state;
    struct trainfixture x;
    struct errinfo info = {0};
    enum trainrun_end end;
    char first[TOKENSHARD_HASH];
    whole_run(&x);
    strcpy(first, x.dataset.sha256);
    dataset_deinit(&x.dataset);
    x.dataset = datasetfixture_pack(&x.files, 0.4, 100000, 2); /* the same text, otherwise divided */
    assert_string_not_equal(first, x.dataset.sha256);
    refused(&x, ERR_ARGUMENT, first, x.dataset.sha256);
    refused(&x, ERR_ARGUMENT, "was begun with other data", "--changed goes on");
    changed = true;
    datasetfixture_must(run(&x, "run", true, &end, &info), &info);
    changed = false;
    assert_int_equal(end, TRAINRUN_DONE);
    trainfixture_deinit(&x);
}

static void test_another_recipe_is_refused_without_recipe_json(void **state)
{
    (void)state;
    struct trainfixture x;
    char path[128];
    whole_run(&x);
    snprintf(path, sizeof path, "%s/run/recipe.json", x.files.dir);
    assert_int_equal(unlink(path), 0);
    json_object_set_new(x.recipe.given, "optimizer", json_pack("{s:s}", "lr", "0.5"));
    refused(&x, ERR_ARGUMENT, "another recipe: lr differs", "--changed goes on");
    assert_false(file_exists(path));
    trainfixture_deinit(&x);
}

static void test_a_log_that_is_none_changes_nothing(void **state)
{
    (void)state;
    struct trainfixture x;
    char path[128];
    whole_run(&x);
    snprintf(path, sizeof path, "%s/run/recipe.json", x.files.dir);
    assert_int_equal(unlink(path), 0);
    write_text(&x, "run/metrics.jsonl", "a", "rubbish\n");
    refused(&x, ERR_CORRUPT, "metrics.jsonl, line ", "without that line");
    assert_false(file_exists(path));
    trainfixture_deinit(&x);
}

static void test_an_older_checkpoint_is_said(void **state)
{
    (void)state;
    struct trainfixture x;
    struct errinfo info = {0};
    enum trainrun_end end;
    whole_run(&x);
    write_text(&x, "run/checkpoints/step-0000000020/manifest.json", "a", "\n");
    datasetfixture_must(run(&x, "run", true, &end, &info), &info);
    assert_non_null(strstr(notes, "10 resumed from an older checkpoint, the newest is damaged: "));
    assert_non_null(strstr(notes, "step-0000000020/manifest.json was changed"));
    trainfixture_deinit(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_disk_loses_nothing_that_was_saved),
        cmocka_unit_test(test_losses_that_jump_take_the_run_back),
        cmocka_unit_test(test_a_run_stops_anywhere),
        cmocka_unit_test(test_other_data_are_refused_with_both_hashes),
        cmocka_unit_test(test_another_recipe_is_refused_without_recipe_json),
        cmocka_unit_test(test_a_log_that_is_none_changes_nothing),
        cmocka_unit_test(test_an_older_checkpoint_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
