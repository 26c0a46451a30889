/* Folders: listed in order, removed only with files in them, replaced in one step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "formats/tempdir.h"

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

/* A folder in dir with one file that says what it is. */
static void make(const char *name, const char *text)
{
    char file[128];
    snprintf(file, sizeof file, "%s/text", name);
    assert_int_equal(mkdir(tempdir_file(&dir, name), 0777), 0);
    tempdir_text(&dir, file, text);
}

static void test_names_come_in_order(void **state)
{
    (void)state;
    struct folder_names l;
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "n%02d", (i * 37) % 100);
        tempdir_text(&dir, name, "");
    }
    assert_int_equal(folder_list(dir.path, &l, NULL), ERR_OK);
    assert_int_equal(l.n, 100);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "n%02d", i);
        assert_string_equal(l.names[i], name);
    }
    folder_names_deinit(&l);
    assert_int_equal(folder_list(tempdir_file(&dir, "none"), &l, NULL), ERR_NOTFOUND);
}

static void test_only_folders_of_files_are_removed(void **state)
{
    (void)state;
    struct errinfo info;
    char path[320];
    make("a", "x");
    make("a/b", "y");
    strcpy(path, tempdir_file(&dir, "a"));
    assert_int_equal(folder_remove(path, &info), ERR_IO);
    assert_true(file_exists(tempdir_file(&dir, "a/b/text")));
    assert_int_equal(folder_remove(tempdir_file(&dir, "a/b"), &info), ERR_OK);
    assert_int_equal(symlink("/", tempdir_file(&dir, "a/root")), 0);
    assert_int_equal(folder_remove(path, &info), ERR_OK);
    assert_false(file_exists(path));
    assert_int_equal(folder_remove(path, &info), ERR_OK);
    /* A link to a folder is no folder. */
    make("kept", "x");
    assert_int_equal(symlink("kept", path), 0);
    assert_int_equal(folder_remove(path, &info), ERR_IO);
    assert_true(file_exists(tempdir_file(&dir, "kept/text")));
}

static void expect_text(const char *name, const char *want)
{
    char *text;
    size_t n;
    assert_int_equal(file_read(tempdir_file(&dir, name), 100, &text, &n, NULL), ERR_OK);
    assert_string_equal(text, want);
    mem_free(text);
}

static void test_publishing_replaces(void **state)
{
    (void)state;
    struct errinfo info;
    char made[320], path[320];
    strcpy(made, tempdir_file(&dir, "made"));
    strcpy(path, tempdir_file(&dir, "path"));
    make("made", "first");
    assert_int_equal(folder_publish(made, path, &info), ERR_OK);
    expect_text("path/text", "first");
    make("made", "second");
    assert_int_equal(folder_publish(made, path, &info), ERR_OK);
    expect_text("path/text", "second");
    assert_false(file_exists(made));
    /* A file system without swapping: the third call, after fsync and rename, is the swap. */
    make("made", "third");
    file_fault(3, ENOSYS);
    assert_int_equal(folder_publish(made, path, &info), ERR_OK);
    file_fault(0, 0);
    expect_text("path/text", "third");
    assert_int_equal(tempdir_count(&dir), 1);
    tempdir_text(&dir, "file", "");
    make("made", "fourth");
    assert_int_equal(folder_publish(made, tempdir_file(&dir, "file"), &info), ERR_IO);
    assert_non_null(strstr(info.message, "rename into place"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_come_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_folders_of_files_are_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_publishing_replaces, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
