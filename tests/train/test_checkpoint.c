/* Checkpoints: what is saved comes back bit for bit; any changed or missing byte, any other model is refused before
 * an array is touched; a failing disk leaves what was there; pruning keeps whole ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "formats/tempdir.h"
#include "train/checkpointfixture.h"

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

static void save(uint64_t step)
{
    struct errinfo info = {0};
    must(checkpointfixture_save(dir.path, step, &info), &info);
}

static size_t entries(const char *path)
{
    struct folder_names l;
    must(folder_list(path, &l, NULL), &(struct errinfo){.message = "no such folder"});
    size_t n = l.n;
    folder_names_deinit(&l);
    return n;
}

/* The newest step, 0 for none. */
static uint64_t newest(void)
{
    struct errinfo info = {0}, passed;
    uint64_t step = 0;
    bool found;
    must(checkpoint_find(dir.path, &step, &found, &passed, &info), &info);
    return found ? step : 0;
}

static void test_what_is_saved_comes_back(void **state)
{
    (void)state;
    struct errinfo info = {0};
    save(100);
    must(checkpointfixture_load(dir.path, 100, &info), &info);
    assert_int_equal(newest(), 100);
    assert_true(file_exists(tempdir_file(&dir, "step-0000000100/manifest.json")));
    assert_int_equal(entries(dir.path), 1);
    assert_int_equal(entries(tempdir_file(&dir, "step-0000000100")), 3);
}

/* More than one file, written and read by several threads; doubles after an odd number of floats are aligned. */
static void test_large_arrays_fill_several_files(void **state)
{
    (void)state;
    enum { N = 5, ROWS = 1001, COLS = 4099 };
    struct checkpoint_array arrays[N];
    struct errinfo info = {0};
    json_t *got = NULL, *none = json_null();
    float *data[N], *back = malloc(sizeof(float) * ROWS * COLS);
    assert_non_null(back);
    for (int i = 0; i < N; i++) {
        data[i] = malloc(sizeof(float) * ROWS * COLS);
        assert_non_null(data[i]);
        for (size_t k = 0; k < (size_t)ROWS * COLS; k++) {
            data[i][k] = (float)(k * 7 + (size_t)i);
        }
        snprintf(arrays[i].name, sizeof arrays[i].name, "a%d", i);
        arrays[i].mat = i == 3 ? mat_of(data[i], MAT_F64, ROWS, COLS / 2) : mat_of(data[i], MAT_F32, ROWS, COLS);
    }
    must(checkpoint_save(dir.path, 1, arrays, N, none, &info), &info);
    assert_true(file_exists(tempdir_file(&dir, "step-0000000001/arrays-00003.safetensors")));
    for (int i = 0; i < N; i++) {
        memcpy(back, data[i], sizeof(float) * ROWS * COLS);
        memset(data[i], 0, arrays[i].mat.rows * arrays[i].mat.cols * mat_type_bytes(arrays[i].mat.type));
        must(checkpoint_load(dir.path, 1, arrays, N, &got, &info), &info);
        assert_memory_equal(back, data[i], sizeof(float) * ROWS * COLS);
        assert_true(json_is_null(got));
        json_decref(got);
    }
    for (int i = 0; i < N; i++) {
        free(data[i]);
    }
    free(back);
}

static void test_no_arrays_and_a_step_again(void **state)
{
    (void)state;
    struct errinfo info = {0};
    json_t *first = json_integer(1), *second = json_string("another"), *got = NULL;
    must(checkpoint_save(dir.path, 7, NULL, 0, first, &info), &info);
    must(checkpoint_save(dir.path, 7, NULL, 0, second, &info), &info);
    must(checkpoint_load(dir.path, 7, NULL, 0, &got, &info), &info);
    assert_true(json_equal(got, second));
    assert_int_equal(entries(dir.path), 1);
    json_decref(first);
    json_decref(second);
    json_decref(got);
}

/* The k-th call of a save over a checkpoint of the same step fails with what a file system says that cannot swap
 * folders. Where the swap itself is refused, two renames do it instead. */
static void test_replacing_where_folders_cannot_be_swapped(void **state)
{
    (void)state;
    enum { CALLS = 16 }; /* of three files, the folders, rename and swap */
    struct errinfo info = {0};
    size_t saved = 0;
    save(7);
    for (size_t k = 1; k <= CALLS; k++) {
        file_fault(k, EINVAL);
        saved += checkpointfixture_save(dir.path, 7, &info) == ERR_OK;
        file_fault(0, 0);
        must(checkpointfixture_load(dir.path, 7, &info), &info);
        assert_int_equal(entries(dir.path), 1);
    }
    assert_int_equal(saved, 1);
}

/* ---- What was changed. ---- */

static char *read_all(const char *path, size_t *n)
{
    char *data;
    must(file_read(path, 1 << 20, &data, n, NULL), &(struct errinfo){.message = "cannot read"});
    return data;
}

static void expect_refused(const char *what)
{
    struct errinfo info = {0};
    err e = checkpointfixture_load(dir.path, 100, &info);
    if ((e != ERR_CORRUPT && e != ERR_UNSUPPORTED) || !strstr(info.message, dir.path)) {
        fail_msg("%s: %s: %s", what, err_name(e), info.message);
    }
}

static const char *const FILES[] = {"step-0000000100/manifest.json", "step-0000000100/state.json",
                                    "step-0000000100/arrays-00001.safetensors"};

static void test_every_changed_byte_is_refused(void **state)
{
    (void)state;
    save(100);
    for (size_t f = 0; f < 3; f++) {
        char what[400], path[320];
        size_t n;
        strcpy(path, tempdir_file(&dir, FILES[f]));
        char *data = read_all(path, &n);
        for (size_t i = 0; i < n; i++) {
            for (int k = 0; k < 2; k++) { /* a low bit, and one that changes the class of a character */
                char bit = (char)(1 << (k ? 4 + i % 4 : i % 3));
                data[i] ^= bit;
                tempdir_put(&dir, FILES[f], data, n);
                data[i] ^= bit;
                snprintf(what, sizeof what, "%s, byte %zu", FILES[f], i);
                expect_refused(what);
            }
        }
        tempdir_put(&dir, FILES[f], data, n);
        mem_free(data);
    }
    must(checkpointfixture_load(dir.path, 100, NULL), &(struct errinfo){.message = "it was put back"});
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    save(50);
    save(100);
    for (size_t f = 0; f < 3; f++) {
        char path[320];
        size_t n;
        strcpy(path, tempdir_file(&dir, FILES[f]));
        char *data = read_all(path, &n);
        for (size_t cut = 0; cut < n; cut++) {
            tempdir_put(&dir, FILES[f], data, cut);
            expect_refused(FILES[f]);
            assert_int_equal(newest(), 50);
        }
        unlink(path);
        expect_refused(FILES[f]);
        assert_int_equal(newest(), 50);
        data = mem_resize(data, n + 1, 1);
        data[n] = '\n';
        tempdir_put(&dir, FILES[f], data, n + 1);
        expect_refused(FILES[f]);
        tempdir_put(&dir, FILES[f], data, n);
        mem_free(data);
    }
    assert_int_equal(newest(), 100);
}

static void test_foreign_folders_are_refused(void **state)
{
    (void)state;
    struct errinfo info = {0}, passed;
    uint64_t step = 17;
    bool found = true;
    must(checkpoint_find(tempdir_file(&dir, "nothing"), &step, &found, &passed, &info), &info);
    assert_false(found);
    assert_int_equal(checkpointfixture_load(dir.path, 100, &info), ERR_NOTFOUND);
    assert_int_equal(mkdir(tempdir_file(&dir, "step-0000000100"), 0777), 0);
    assert_int_equal(mkdir(tempdir_file(&dir, "step-9"), 0777), 0);
    expect_refused("no manifest");
    static const char *const texts[] = {
        "", "[]", "{}", "{\"format\":\"fathom-tokens\",\"version\":1}",
        "{\"format\":\"fathom-checkpoint\",\"version\":1,\"step\":100,\"files\":[]}",
        "{\"format\":\"fathom-checkpoint\",\"version\":1,\"step\":100,\"files\":[3]}",
        "{\"format\":\"fathom-checkpoint\",\"version\":2,\"step\":100,\"files\":[]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tempdir_text(&dir, FILES[0], texts[i]);
        expect_refused(texts[i]);
        assert_int_equal(checkpoint_find(dir.path, &step, &found, &passed, &info), ERR_CORRUPT);
    }
    assert_int_equal(step, 17);
    save(101);
    assert_int_equal(rename(tempdir_file(&dir, "step-0000000101"), "/nowhere/at-all"), -1);
    char from[320];
    strcpy(from, tempdir_file(&dir, "step-0000000101"));
    assert_int_equal(rename(from, tempdir_file(&dir, "step-0000000102")), 0);
    assert_int_equal(checkpointfixture_load(dir.path, 102, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "is of step 101"));
    assert_int_equal(checkpoint_find(dir.path, &step, &found, &passed, &info), ERR_CORRUPT);
}

/* ---- Arrays of another model. ---- */

static void expect_other_model(struct checkpoint_array *arrays, size_t n, const char *word)
{
    struct errinfo info = {0};
    json_t *got = NULL;
    assert_int_equal(checkpoint_load(dir.path, 100, arrays, n, &got, &info), ERR_CORRUPT);
    if (!strstr(info.message, word) || !strstr(info.message, "of another model")) {
        fail_msg("\"%s\" does not say %s", info.message, word);
    }
    assert_null(got);
}

static void test_arrays_of_another_model_are_refused(void **state)
{
    (void)state;
    struct checkpointfixture x;
    enum { N = CHECKPOINTFIXTURE_ARRAYS };
    save(100);
    checkpointfixture_init(&x, 3);
    expect_other_model(x.arrays, N - 1, "half");
    struct checkpoint_array more[N + 1] = {x.arrays[0], x.arrays[1], x.arrays[2], x.arrays[0]};
    strcpy(more[N].name, "one.more");
    expect_other_model(more, N + 1, "one.more");
    strcpy(more[0].name, "renamed");
    expect_other_model(more, N, "renamed");
    more[0] = x.arrays[0];
    more[0].mat = mat_of(x.weight, MAT_F32, 5, 3);
    expect_other_model(more, N, "[5, 3]");
    more[0].mat = mat_of(x.moment, MAT_F64, 3, 5);
    expect_other_model(more, N, "f64");
    assert_true(checkpointfixture_is(&x, 3));
}

static void test_impossible_arrays_are_refused(void **state)
{
    (void)state;
    struct checkpointfixture x;
    struct errinfo info = {0};
    json_t *text = json_string("x");
    checkpointfixture_init(&x, 3);
    struct checkpoint_array two[2] = {x.arrays[0], x.arrays[0]};
    assert_int_equal(checkpoint_save(dir.path, 1, two, 2, text, &info), ERR_ARGUMENT);
    assert_int_equal(checkpoint_save(dir.path, CHECKPOINT_STEP_MAX + 1, two, 1, text, &info), ERR_ARGUMENT);
    assert_int_equal(checkpoint_save(dir.path, 1, two, 1, NULL, &info), ERR_ARGUMENT);
    two[1].mat = mat_cols(two[0].mat, 1, 3);
    assert_int_equal(checkpoint_save(dir.path, 1, two + 1, 1, text, &info), ERR_ARGUMENT);
    two[1].mat = mat_of(x.weight, MAT_F32, 0, 3);
    assert_int_equal(checkpoint_save(dir.path, 1, two + 1, 1, text, &info), ERR_ARGUMENT);
    memset(two[1].name, 'a', sizeof two[1].name);
    assert_int_equal(checkpoint_save(dir.path, 1, two + 1, 1, text, &info), ERR_ARGUMENT);
    assert_int_equal(entries(dir.path), 0);
    json_decref(text);
}

static void test_what_is_no_folder_is_said_so(void **state)
{
    (void)state;
    struct errinfo info = {0}, passed;
    uint64_t step;
    bool found;
    char path[200];
    snprintf(path, sizeof path, "%s/plain", dir.path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_not_equal(checkpoint_find(path, &step, &found, &passed, &info), ERR_OK);
    assert_non_null(strstr(info.message, path));
}

static void test_why_the_newest_was_passed_is_said(void **state)
{
    (void)state;
    struct errinfo info = {0}, passed;
    uint64_t step;
    bool found;
    save(50);
    save(100);
    must(checkpoint_find(dir.path, &step, &found, &passed, &info), &info);
    assert_int_equal(passed.code, ERR_OK);
    tempdir_text(&dir, FILES[0], "{}");
    must(checkpoint_find(dir.path, &step, &found, &passed, &info), &info);
    assert_int_equal(step, 50);
    assert_int_equal(passed.code, ERR_CORRUPT);
    assert_non_null(strstr(passed.message, FILES[0]));
}

static void test_links_are_refused_and_stay(void **state)
{
    (void)state;
    struct errinfo info = {0}, passed;
    uint64_t step;
    bool found;
    char link[320];
    save(50);
    save(100);
    strcpy(link, tempdir_file(&dir, "step-0000000100"));
    assert_int_equal(rename(link, tempdir_file(&dir, "elsewhere")), 0);
    assert_int_equal(symlink("elsewhere", link), 0);
    assert_int_equal(checkpoint_find(dir.path, &step, &found, &passed, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "step-0000000100 is a symbolic link: put the folder itself"));
    save(150);
    save(200);
    must(checkpoint_prune(dir.path, 1, &info), &info);
    assert_int_equal(entries(dir.path), 3); /* the newest, the link, and what it points to */
    assert_int_equal(entries(link), 3);
    assert_int_equal(newest(), 200);
}

static void test_the_state_alone_is_verified_too(void **state)
{
    (void)state;
    struct errinfo info = {0};
    json_t *given = json_pack("{s:s}", "data", "x"), *got = NULL;
    must(checkpoint_save(dir.path, 7, NULL, 0, given, &info), &info);
    must(checkpoint_load_state(dir.path, 7, &got, &info), &info);
    assert_true(json_equal(given, got));
    json_decref(got);
    assert_int_equal(checkpoint_load_state(dir.path, 8, &got, &info), ERR_NOTFOUND);
    tempdir_text(&dir, "step-0000000007/state.json", "{\n \"data\": \"y\"\n}");
    assert_int_equal(checkpoint_load_state(dir.path, 7, &got, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "is not what was saved"));
    json_decref(given);
}

/* ---- A disk that fails. ---- */

static void test_a_failing_disk_leaves_what_was_there(void **state)
{
    (void)state;
    struct errinfo info = {0};
    size_t k = 1;
    save(1);
    for (;; k++) {
        file_fault(k, ENOSPC);
        err e = checkpointfixture_save(dir.path, 2, &info);
        file_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_IO);
        assert_non_null(strstr(info.message, "step 2 was not saved"));
        assert_non_null(strstr(info.message, strerror(ENOSPC)));
        /* Renamed already when the last fsync fails: then both are whole. */
        uint64_t last = newest();
        assert_int_equal(entries(dir.path), last);
        must(checkpointfixture_load(dir.path, last, &info), &info);
        must(checkpointfixture_load(dir.path, 1, &info), &info);
    }
    assert_true(k > 12); /* three files of write, fsync, rename, fsync; the folder's */
}

/* A limit of the system on the size of files: its write fails in earnest, in several threads. */
static void test_files_that_may_not_grow(void **state)
{
    (void)state;
    enum { N = 3, BYTES = 17 << 20 };
    struct checkpoint_array arrays[N];
    struct rlimit was, little;
    struct errinfo info = {0};
    json_t *none = json_null();
    float *data = calloc(1, BYTES);
    assert_non_null(data);
    for (int i = 0; i < N; i++) {
        snprintf(arrays[i].name, sizeof arrays[i].name, "a%d", i);
        arrays[i].mat = mat_of(data, MAT_F32, BYTES / sizeof *data / 1024, 1024);
    }
    save(1);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    little = (struct rlimit){BYTES / 2, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    err e = checkpoint_save(dir.path, 2, arrays, N, none, &info);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(e, ERR_IO);
    assert_non_null(strstr(info.message, strerror(EFBIG)));
    assert_int_equal(entries(dir.path), 1);
    assert_int_equal(newest(), 1);
    free(data);
}

/* ---- Pruning. ---- */

static void test_pruning_keeps_the_newest_whole_ones(void **state)
{
    (void)state;
    struct errinfo info = {0};
    for (uint64_t step = 1; step <= 6; step++) {
        save(step);
    }
    tempdir_text(&dir, "step-0000000006/state.json", "cut");
    tempdir_text(&dir, "step-0000000002/state.json", "cut");
    tempdir_text(&dir, "notes.txt", "mine");
    assert_int_equal(mkdir(tempdir_file(&dir, "step-0000000000"), 0777), 0);
    tempdir_text(&dir, "step-0000000000/notes.txt", "mine, no manifest");
    assert_int_equal(mkdir(tempdir_file(&dir, ".tmp-step-0000000007"), 0777), 0);
    tempdir_text(&dir, ".tmp-step-0000000007/arrays-00001.safetensors.tmp-12", "left by a kill");
    assert_int_equal(checkpoint_prune(dir.path, 0, &info), ERR_ARGUMENT);
    must(checkpoint_prune(dir.path, 2, &info), &info);
    for (uint64_t step = 4; step <= 5; step++) {
        must(checkpointfixture_load(dir.path, step, &info), &info);
    }
    assert_int_equal(newest(), 5);
    assert_true(file_exists(tempdir_file(&dir, "notes.txt")));
    assert_true(file_exists(tempdir_file(&dir, "step-0000000000/notes.txt")));
    assert_int_equal(entries(dir.path), 5); /* 0, 4, 5, 6 (damaged, but newer), the notes */
    must(checkpoint_prune(dir.path, 100, &info), &info);
    assert_int_equal(entries(dir.path), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_saved_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_arrays_fill_several_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_arrays_and_a_step_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replacing_where_folders_cannot_be_swapped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_changed_byte_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_truncation_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_folders_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arrays_of_another_model_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_impossible_arrays_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_folder_is_said_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_why_the_newest_was_passed_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_links_are_refused_and_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_state_alone_is_verified_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_failing_disk_leaves_what_was_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_that_may_not_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pruning_keeps_the_newest_whole_ones, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
