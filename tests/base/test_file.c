/* tests/base/test_file.c: files are mapped, read, and written complete or not at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/tempdir.h"

static void a_file_is_mapped_and_read_as_it_is(void **state)
{
    (void)state;
    struct tempdir t;
    struct file_map m = {0};
    struct errinfo info = {0};
    char *data = NULL;
    size_t size = 0;
    tempdir_make(&t);
    tempdir_put(&t, "x", "a\0b", 3);
    assert_int_equal(file_map_open(tempdir_file(&t, "x"), &m, &info), ERR_OK);
    assert_int_equal(m.size, 3);
    assert_memory_equal(m.data, "a\0b", 3);
    file_map_close(&m);
    file_map_close(&m);
    assert_null(m.data);
    assert_int_equal(file_read(tempdir_file(&t, "x"), 3, &data, &size, &info), ERR_OK);
    assert_int_equal(size, 3);
    assert_memory_equal(data, "a\0b\0", 4);
    mem_free(data);
    assert_int_equal(file_read(tempdir_file(&t, "x"), 2, &data, &size, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "has 3 bytes; at most 2"));
    tempdir_text(&t, "empty", "");
    assert_int_equal(file_map_open(tempdir_file(&t, "empty"), &m, &info), ERR_OK);
    assert_true(m.data == NULL && m.size == 0);
    assert_int_equal(file_read(tempdir_file(&t, "empty"), 0, &data, &size, &info), ERR_OK);
    assert_string_equal(data, "");
    mem_free(data);
    tempdir_remove(&t);
}

static void what_is_absent_or_no_file_is_said_so(void **state)
{
    (void)state;
    struct tempdir t;
    struct file_map m = {0};
    struct errinfo info = {0};
    char *data;
    size_t size;
    tempdir_make(&t);
    assert_int_equal(file_map_open(tempdir_file(&t, "none"), &m, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "none"));
    assert_int_equal(file_map_open(t.path, &m, &info), ERR_ARGUMENT);
    assert_int_equal(file_read(t.path, 10, &data, &size, &info), ERR_ARGUMENT);
    assert_true(file_exists(t.path) && file_is_dir(t.path));
    tempdir_text(&t, "x", "");
    assert_true(file_exists(tempdir_file(&t, "x")) && !file_is_dir(tempdir_file(&t, "x")));
    assert_false(file_exists(tempdir_file(&t, "y")) || file_is_dir(tempdir_file(&t, "y")));
    tempdir_remove(&t);
}

static void a_pipe_is_refused_without_waiting_for_a_writer(void **state)
{
    (void)state;
    struct tempdir t;
    struct file_map m = {0};
    struct errinfo info = {0};
    tempdir_make(&t);
    assert_int_equal(mkfifo(tempdir_file(&t, "pipe"), 0600), 0);
    assert_int_equal(file_map_open(tempdir_file(&t, "pipe"), &m, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "not a regular file"));
    tempdir_remove(&t);
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    struct tempdir t;
    struct errinfo info = {0};
    char deep[128];
    tempdir_make(&t);
    snprintf(deep, sizeof deep, "%s/a/b", t.path);
    assert_int_equal(file_make_dirs(deep, &info), ERR_OK);
    assert_int_equal(file_make_dirs(deep, &info), ERR_OK);
    assert_true(file_is_dir(deep));
    rmdir(deep);
    rmdir(tempdir_file(&t, "a"));
    tempdir_text(&t, "file", "");
    snprintf(deep, sizeof deep, "%s/file/b", t.path);
    assert_int_equal(file_make_dirs(deep, &info), ERR_IO);
    assert_int_equal(file_make_dirs(tempdir_file(&t, "file"), &info), ERR_IO); /* it is there, and no folder */
    assert_non_null(strstr(info.message, "Not a directory"));
    char *joined = file_join("a", "b.c");
    assert_string_equal(joined, "a/b.c");
    mem_free(joined);
    tempdir_remove(&t);
}

/* Writes `n` bytes in uneven pieces; without `commit` gives up at the end. */
static err write_file(const char *path, size_t n, bool commit, struct errinfo *info)
{
    struct file_writer *w = NULL;
    TRY(file_writer_open(path, &w, info));
    err e = ERR_OK;
    char piece[7001];
    memset(piece, 'z', sizeof piece);
    for (size_t done = 0; done < n && e == ERR_OK;) {
        size_t now = n - done < sizeof piece ? n - done : sizeof piece;
        e = file_writer_write(w, piece, now, info);
        done += now;
        if (e == ERR_OK && file_writer_offset(w) != done) {
            e = err_set(info, ERR_CORRUPT, "wrong offset");
        }
    }
    if (e == ERR_OK && commit) {
        e = file_writer_commit(w, info);
    }
    file_writer_close(w);
    return e;
}

static void a_file_appears_only_when_committed(void **state)
{
    (void)state;
    struct tempdir t;
    struct errinfo info = {0};
    char *data = NULL;
    size_t size = 0;
    tempdir_make(&t);
    assert_int_equal(write_file(tempdir_file(&t, "x"), 5000, false, &info), ERR_OK);
    assert_int_equal(tempdir_count(&t), 0);
    static const size_t sizes[] = {0, 1, 7001, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(write_file(tempdir_file(&t, "x"), sizes[i], true, &info), ERR_OK);
        assert_int_equal(file_read(tempdir_file(&t, "x"), 1 << 30, &data, &size, &info), ERR_OK);
        assert_int_equal(size, sizes[i]);
        assert_int_equal(strlen(data), size);
        mem_free(data);
        assert_int_equal(tempdir_count(&t), 1);
    }
    file_writer_close(NULL);
    tempdir_remove(&t);
}

static void one_write_larger_than_the_buffer_is_whole(void **state)
{
    (void)state;
    struct tempdir t;
    struct file_writer *w = NULL;
    struct file_map m = {0};
    size_t n = (3 << 20) + 5;
    char *big = mem_calloc(n, 1);
    tempdir_make(&t);
    assert_int_equal(file_writer_open(tempdir_file(&t, "x"), &w, NULL), ERR_OK);
    assert_int_equal(file_writer_write(w, "a", 1, NULL), ERR_OK);
    assert_int_equal(file_writer_write(w, big, n, NULL), ERR_OK);
    assert_int_equal(file_writer_write(w, "b", 1, NULL), ERR_OK);
    assert_int_equal(file_writer_commit(w, NULL), ERR_OK);
    file_writer_close(w);
    assert_int_equal(file_map_open(tempdir_file(&t, "x"), &m, NULL), ERR_OK);
    assert_int_equal(m.size, n + 2);
    assert_true(m.data[0] == 'a' && m.data[1] == 0 && m.data[n + 1] == 'b');
    file_map_close(&m);
    mem_free(big);
    tempdir_remove(&t);
}

static void a_failing_disk_leaves_the_old_file_or_the_whole_new_one(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    for (size_t k = 1;; k++) {
        struct errinfo info = {0};
        char *data = NULL;
        size_t size = 0;
        tempdir_text(&t, "x", "old");
        file_fault(k, k % 2 ? ENOSPC : EIO);
        err e = write_file(tempdir_file(&t, "x"), 3 << 20, true, &info);
        file_fault(0, 0);
        assert_int_equal(tempdir_count(&t), 1);
        if (e == ERR_OK) {
            assert_true(k > 5);
            break;
        }
        assert_int_equal(e, ERR_IO);
        assert_int_equal(file_read(tempdir_file(&t, "x"), 1 << 30, &data, &size, NULL), ERR_OK);
        assert_true(size == 3 << 20 || strcmp(data, "old") == 0);
        mem_free(data);
    }
    tempdir_remove(&t);
}

static void refused_memory_is_an_error_without_a_leak(void **state)
{
    (void)state;
    struct tempdir t;
    size_t alive = mem_alive();
    tempdir_make(&t);
    for (size_t k = 1;; k++) {
        struct errinfo info = {0};
        char *data = NULL, *joined = NULL;
        size_t size = 0;
        mem_fault(k, 0);
        err e = write_file(tempdir_file(&t, "x"), 10, true, &info);
        if (e == ERR_OK) {
            e = file_read(tempdir_file(&t, "x"), 10, &data, &size, &info);
        }
        if (e == ERR_OK) {
            e = file_make_dirs(t.path, &info);
        }
        if (e == ERR_OK) {
            joined = file_join("a", "b");
            e = joined ? ERR_OK : ERR_NOMEM;
        }
        mem_fault(0, 0);
        mem_free(data);
        mem_free(joined);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            assert_true(k > 6);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
    tempdir_remove(&t);
}

static void a_folder_is_locked_once(void **state)
{
    (void)state;
    struct tempdir t;
    struct errinfo info = {0};
    int first, second;
    tempdir_make(&t);
    assert_int_equal(file_lock_folder(t.path, &first, &info), ERR_OK);
    assert_int_equal(file_lock_folder(t.path, &second, &info), ERR_IO);
    assert_non_null(strstr(info.message, "in use by another process"));
    file_unlock(first);
    assert_int_equal(file_lock_folder(t.path, &second, &info), ERR_OK);
    file_unlock(second);
    assert_int_equal(file_lock_folder("/no/such/folder", &first, &info), ERR_NOTFOUND);
    file_unlock(-1);
    tempdir_remove(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_mapped_and_read_as_it_is),
        cmocka_unit_test(what_is_absent_or_no_file_is_said_so),
        cmocka_unit_test(a_pipe_is_refused_without_waiting_for_a_writer),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(a_file_appears_only_when_committed),
        cmocka_unit_test(one_write_larger_than_the_buffer_is_whole),
        cmocka_unit_test(a_failing_disk_leaves_the_old_file_or_the_whole_new_one),
        cmocka_unit_test(a_folder_is_locked_once),
        cmocka_unit_test(refused_memory_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
