/* The database's files: who may use them, what is refused, what a transaction is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/tempdir.h"
#include "server/database.h"
#include "server/chatstore.h"

static struct tempdir dir;
static struct errinfo info;
static char folder[320];

static int set_up(void **state)
{
    (void)state;
    tempdir_make(&dir);
    snprintf(folder, sizeof folder, "%s/a/store", dir.path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove_all(dir.path);
    return 0;
}

static const char *in(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static struct database *open_it(void)
{
    struct database *d = NULL;
    if (database_open(folder, NULL, &d, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return d;
}

static void refused(err e, const char *says)
{
    struct database *d = NULL;
    assert_int_equal(database_open(folder, NULL, &d, &info), e);
    if (!strstr(info.message, says)) {
        fail_msg("%s", info.message);
    }
}

static mode_t mode(const char *name)
{
    struct stat st;
    assert_int_equal(stat(in(name), &st), 0);
    return st.st_mode & 07777;
}

/* What a pragma says. */
static const char *pragma(struct database *d, const char *sql)
{
    static char text[32];
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_prepare_v2(database_handle(d), sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    return text;
}

static void commits_wait_for_the_disk_and_deleting_overwrites(void **state)
{
    (void)state;
    struct database *d = open_it();
    assert_string_equal(pragma(d, "PRAGMA main.synchronous"), "2");
    assert_string_equal(pragma(d, "PRAGMA main.journal_mode"), "wal");
    assert_string_equal(pragma(d, "PRAGMA main.secure_delete"), "1");
    assert_string_equal(pragma(d, "PRAGMA foreign_keys"), "1");
    assert_string_equal(pragma(d, "PRAGMA temp_store"), "2");
    assert_string_equal(pragma(d, "PRAGMA main.page_size"), "4096");
    database_close(d);
}

static void everything_is_for_its_owner_alone(void **state)
{
    (void)state;
    mode_t before = umask(0);
    struct database *d = open_it();
    assert_int_equal(mode("."), 0700);
    static const char *const files[] = {"fathom.key", "fathom.db", "fathom.db-wal", "fathom.db-shm", "fathom.db-spare"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(mode(files[i]), 0600);
    }
    database_close(d);
    chmod(in("fathom.db"), 0644);
    d = open_it();
    assert_int_equal(mode("fathom.db"), 0600);
    database_close(d);
    umask(before);
    chmod(folder, 0777);
    refused(ERR_ARGUMENT, "chmod 700");
    chmod(folder, 0700);
    chmod(in("fathom.key"), 0644);
    refused(ERR_ARGUMENT, "chmod 600");
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
    (void)state;
    struct database *d = open_it();
    assert_int_equal(sqlite3_exec(database_handle(d), "PRAGMA user_version=7; CREATE TABLE later(x)", 0, 0, 0), SQLITE_OK);
    database_close(d);
    refused(ERR_UNSUPPORTED, "newer fathom (schema 7");
    refused(ERR_UNSUPPORTED, "nothing was changed");
    sqlite3 *raw = NULL;
    assert_int_equal(sqlite3_open(in("fathom.db"), &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, "SELECT x FROM later", 0, 0, 0), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, "PRAGMA user_version=-16777215", 0, 0, 0), SQLITE_OK);
    sqlite3_close(raw);
    refused(ERR_CORRUPT, "schema -16777215");
}

/* What it sealed is bound to less. */
static void the_first_schema_is_refused_and_left_alone(void **state)
{
    (void)state;
    struct database *d = open_it();
    assert_int_equal(sqlite3_exec(database_handle(d), "PRAGMA user_version=1", 0, 0, 0), SQLITE_OK);
    database_close(d);
    refused(ERR_UNSUPPORTED, "older fathom (schema 1)");
    refused(ERR_UNSUPPORTED, "nothing was changed");
}

static void what_is_no_database_of_ours_is_refused(void **state)
{
    (void)state;
    database_close(open_it());
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(in("fathom.db"), 1 << 20, &bytes, &n, &info), ERR_OK);
    assert_int_equal(file_write(in("fathom.db"), "plain text, and long enough", 27, &info), ERR_OK);
    refused(ERR_CORRUPT, "fathom.db");
    unlink(in("fathom.db"));
    sqlite3 *raw = NULL;
    assert_int_equal(sqlite3_open(in("fathom.db"), &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, "CREATE TABLE theirs(x)", 0, 0, 0), SQLITE_OK);
    sqlite3_close(raw);
    refused(ERR_CORRUPT, "another program");
    unlink(in("fathom.db"));
    assert_int_equal(symlink("/etc/passwd", in("fathom.db")), 0);
    refused(ERR_ARGUMENT, "no regular file");
    mem_free(bytes);
}

static void a_lost_or_foreign_key_is_told(void **state)
{
    (void)state;
    char kept[400];
    database_close(open_it());
    snprintf(kept, sizeof kept, "%s/kept", dir.path);
    assert_int_equal(rename(in("fathom.key"), kept), 0);
    refused(ERR_CORRUPT, "fathom.key is gone");
    assert_false(file_exists(in("fathom.key"))); /* no new one beside old chats */
    struct vault *v = NULL;
    assert_int_equal(vault_open(in("fathom.key"), &(struct vault_options){.make = true}, &v, &info), ERR_OK);
    vault_close(v);
    refused(ERR_CORRUPT, "not the one it was written with");
    assert_int_equal(rename(kept, in("fathom.key")), 0);
    database_close(open_it());
}

/* Whatever byte of the file is changed: an error, or all is as it was, never a crash. */
static void damaged_files_give_errors(void **state)
{
    (void)state;
    struct database *d = open_it();
    struct chatstore *s = NULL;
    json_t *fields = json_object(), *chat = NULL;
    assert_int_equal(chatstore_open(d, false, &s, &info), ERR_OK);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(chatstore_create(s, "local", fields, i, &chat, &info), ERR_OK);
        json_decref(chat);
    }
    chatstore_close(s);
    database_close(d);
    char *bytes = NULL;
    size_t n = 0, errors = 0;
    assert_int_equal(file_read(in("fathom.db"), 1 << 22, &bytes, &n, &info), ERR_OK);
    for (size_t at = 0; at < n; at += at < 200 ? 3 : 997) {
        bytes[at] = (char)~bytes[at];
        FILE *to = fopen(in("fathom.db"), "wb");
        assert_int_equal(fwrite(bytes, 1, n, to), n);
        fclose(to);
        bytes[at] = (char)~bytes[at];
        json_t *list = NULL;
        d = NULL;
        s = NULL;
        err e = database_open(folder, NULL, &d, &info);
        e = e == ERR_OK ? chatstore_open(d, false, &s, &info) : e;
        e = e == ERR_OK ? chatstore_list(s, "local", &(struct chatstore_query){.search = "x"}, &list, &info) : e;
        json_decref(list);
        list = NULL;
        e = e == ERR_OK ? chatstore_list(s, "local", &(struct chatstore_query){0}, &list, &info) : e;
        e = e == ERR_OK ? database_check(d, &info) : e;
        json_decref(list);
        chatstore_close(s);
        database_close(d);
        errors += e != ERR_OK;
        assert_true(e == ERR_OK || info.message[0] != '\0');
    }
    assert_true(errors > 20);
    mem_free(bytes);
    json_decref(fields);
}

static void the_default_folder_is_where_data_goes(void **state)
{
    (void)state;
    char *path = NULL;
    setenv("XDG_DATA_HOME", "/data", 1);
    assert_int_equal(database_folder(&path, &info), ERR_OK);
    assert_string_equal(path, "/data/fathom/store");
    mem_free(path);
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", "/house", 1);
    assert_int_equal(database_folder(&path, &info), ERR_OK);
    assert_string_equal(path, "/house/.local/share/fathom/store");
    mem_free(path);
    unsetenv("HOME");
    assert_int_equal(database_folder(&path, &info), ERR_ARGUMENT);
}

static int64_t count(struct database *d)
{
    sqlite3_stmt *st;
    bool row = false;
    assert_int_equal(database_begin(d, &info), ERR_OK);
    assert_int_equal(database_query(d, &st, &info, "SELECT count(*) FROM preset", ""), ERR_OK);
    assert_int_equal(database_next(d, st, &row, &info), ERR_OK);
    int64_t n = sqlite3_column_int64(st, 0);
    assert_int_equal(database_end(d, ERR_OK, &info), ERR_OK);
    return n;
}

static void an_error_undoes_all_of_a_transaction(void **state)
{
    (void)state;
    struct database *d = open_it();
    static const char insert[] = "INSERT INTO preset VALUES(?1, ?2)";
    assert_int_equal(database_begin(d, &info), ERR_OK);
    assert_int_equal(database_run(d, &info, insert, "tb", "a", "x", (size_t)1), ERR_OK);
    assert_int_equal(database_end(d, ERR_ARGUMENT, &info), ERR_ARGUMENT);
    assert_int_equal(count(d), 0);
    assert_int_equal(database_begin(d, &info), ERR_OK);
    assert_int_equal(database_run(d, &info, insert, "tb", "a", "x", (size_t)1), ERR_OK);
    err e = database_run(d, &info, insert, "tb", "a", "x", (size_t)1); /* twice the same key */
    assert_int_equal(e, ERR_IO);
    assert_int_equal(database_end(d, e, &info), ERR_IO);
    assert_int_equal(count(d), 0);
    database_close(d);
}

enum { THREADS = 4, EACH = 25 };

static void *insert_some(void *of)
{
    static const char insert[] = "INSERT INTO preset VALUES(?1, ?2)";
    struct database *d = of;
    struct errinfo own = {0};
    for (int i = 0; i < EACH; i++) {
        char id[VAULT_ID + 1];
        if (vault_id(id, &own) != ERR_OK || database_begin(d, &own) != ERR_OK ||
            database_end(d, database_run(d, &own, insert, "tb", id, "x", (size_t)1), &own) != ERR_OK) {
            return of;
        }
    }
    return NULL;
}

static void threads_and_handles_wait_for_each_other(void **state)
{
    (void)state;
    struct database *d[2] = {open_it(), open_it()};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, insert_some, d[i % 2]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(count(d[0]), THREADS * EACH);
    assert_int_equal(count(d[1]), THREADS * EACH);
    database_close(d[0]);
    database_close(d[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_wait_for_the_disk_and_deleting_overwrites),
        TEST(everything_is_for_its_owner_alone), TEST(a_newer_schema_is_refused_and_left_alone),
        TEST(the_first_schema_is_refused_and_left_alone),
        TEST(what_is_no_database_of_ours_is_refused), TEST(a_lost_or_foreign_key_is_told),
        TEST(damaged_files_give_errors), TEST(the_default_folder_is_where_data_goes),
        TEST(an_error_undoes_all_of_a_transaction), TEST(threads_and_handles_wait_for_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
