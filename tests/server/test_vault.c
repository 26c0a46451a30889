/* Keys at rest: the file and its passphrase, wrapped keys, sealed bytes; every damage is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/tempdir.h"
#include "server/vault.h"

static struct tempdir dir;
static struct errinfo info;
static char path[320];

static int set_up(void **state)
{
    (void)state;
    tempdir_make(&dir);
    snprintf(path, sizeof path, "%s", tempdir_file(&dir, "key"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove_all(dir.path);
    return 0;
}

/* With the cheapest Argon2id there is. */
static err open_with(const char *passphrase, bool make, struct vault **out)
{
    const struct vault_options o = {.passphrase = passphrase, .make = make, .ops = 1, .memory = 8192};
    return vault_open(path, &o, out, &info);
}

/* What tells one master key from another. */
static void fingerprint(const struct vault *v, unsigned char tag[VAULT_TAG])
{
    struct vault_key *k = NULL;
    assert_int_equal(vault_key_new(&k, &info), ERR_OK);
    vault_derive(v, "testtest", 1, k);
    vault_tag(k, "x", 1, tag);
    vault_key_free(k);
}

static void a_key_file_is_made_once_and_found_again(void **state)
{
    (void)state;
    struct vault *v = NULL;
    unsigned char first[VAULT_TAG], again[VAULT_TAG];
    bool locked = true;
    struct stat st;
    assert_int_equal(open_with(NULL, false, &v), ERR_NOTFOUND);
    assert_int_equal(open_with(NULL, true, &v), ERR_OK);
    fingerprint(v, first);
    vault_close(v);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(tempdir_count(&dir), 1);
    assert_int_equal(open_with(NULL, true, &v), ERR_OK);
    fingerprint(v, again);
    vault_close(v);
    assert_memory_equal(first, again, VAULT_TAG);
    assert_int_equal(vault_locked(path, &locked, &info), ERR_OK);
    assert_false(locked);
    assert_int_equal(open_with("needless", true, &v), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "has none"));
}

static void a_passphrase_opens_and_can_be_changed(void **state)
{
    (void)state;
    struct vault *v = NULL;
    unsigned char first[VAULT_TAG], again[VAULT_TAG];
    bool locked = false;
    assert_int_equal(open_with("first", true, &v), ERR_OK);
    fingerprint(v, first);
    assert_int_equal(vault_locked(path, &locked, &info), ERR_OK);
    assert_true(locked);
    static const char *const wrong[] = {"firs", "first ", "First", "firstfirst"};
    struct vault *none = NULL;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(open_with(wrong[i], true, &none), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "wrong passphrase"));
    }
    assert_int_equal(open_with("", true, &none), ERR_ARGUMENT);
    assert_int_equal(open_with(NULL, true, &none), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "passphrase"));
    static const char *const next[] = {"second", NULL, "third"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(vault_change(v, next[i], &info), ERR_OK);
        vault_close(v);
        assert_int_equal(open_with("first", false, &none), ERR_ARGUMENT);
        assert_int_equal(open_with(next[i], false, &v), ERR_OK);
        fingerprint(v, again);
        assert_memory_equal(first, again, VAULT_TAG);
    }
    assert_int_equal(vault_change(v, "", &info), ERR_ARGUMENT); /* and the old one still holds */
    vault_close(v);
    assert_int_equal(open_with("third", false, &v), ERR_OK);
    vault_close(v);
}

static void a_change_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct vault *v = NULL;
    assert_int_equal(open_with("old", true, &v), ERR_OK);
    for (size_t k = 1; k <= 3; k++) { /* the write, the sync, the rename */
        file_fault(k, 28 /* ENOSPC */);
        assert_int_equal(vault_change(v, "new", &info), ERR_IO);
        file_fault(0, 0);
        struct vault *again = NULL;
        assert_int_equal(open_with("old", false, &again), ERR_OK);
        vault_close(again);
    }
    vault_close(v);
}

static void files_of_others_are_refused(void **state)
{
    (void)state;
    struct vault *v = NULL;
    assert_int_equal(open_with(NULL, true, &v), ERR_OK);
    vault_close(v);
    static const mode_t modes[] = {0640, 0604, 0620, 0601, 0777};
    for (size_t i = 0; i < 5; i++) {
        chmod(path, modes[i]);
        assert_int_equal(open_with(NULL, true, &v), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "chmod 600"));
    }
    chmod(path, 0600);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
        assert_int_equal(open_with(NULL, true, &v), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "12345"));
        assert_int_equal(chown(path, 0, (gid_t)-1), 0);
    }
    char moved[320];
    snprintf(moved, sizeof moved, "%s", tempdir_file(&dir, "elsewhere"));
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink(moved, path), 0);
    assert_int_equal(open_with(NULL, true, &v), ERR_IO);
    assert_non_null(strstr(info.message, "link"));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(open_with(NULL, true, &v), ERR_ARGUMENT);
}

static void every_damage_of_the_file_is_found(void **state)
{
    (void)state;
    struct vault *v = NULL;
    for (int locked = 0; locked < 2; locked++) {
        char *bytes = NULL;
        size_t n = 0;
        unlink(path);
        assert_int_equal(open_with(locked ? "p" : NULL, true, &v), ERR_OK);
        vault_close(v);
        assert_int_equal(file_read(path, 1000, &bytes, &n, &info), ERR_OK);
        for (size_t i = 0; i < n; i++) {
            bytes[i] ^= 1;
            tempdir_put(&dir, "key", bytes, n);
            assert_int_equal(open_with(locked ? "p" : NULL, true, &v), ERR_CORRUPT);
            bytes[i] ^= 1;
        }
        for (size_t i = 0; i < n; i += 7) {
            tempdir_put(&dir, "key", bytes, i);
            assert_int_equal(open_with(locked ? "p" : NULL, true, &v), ERR_CORRUPT);
        }
        mem_free(bytes);
    }
}

static void sealed_bytes_open_under_their_words_alone(void **state)
{
    (void)state;
    struct vault *v = NULL;
    struct vault_key *k = NULL, *other = NULL;
    unsigned char sealed[100 + VAULT_EXTRA], twice[sizeof sealed], opened[100], wrapped[VAULT_WRAPPED];
    const char text[100] = "a text";
    assert_int_equal(vault_new(&v, &info), ERR_OK);
    assert_int_equal(vault_key_new(&k, &info), ERR_OK);
    assert_int_equal(vault_key_new(&other, &info), ERR_OK);
    vault_key_random(k);
    for (size_t n = 0; n <= 100; n += 25) {
        vault_seal(k, "words", text, n, sealed);
        assert_int_equal(vault_unseal(k, "words", sealed, n + VAULT_EXTRA, opened, &info), ERR_OK);
        assert_memory_equal(opened, text, n);
        assert_int_equal(vault_unseal(k, "word", sealed, n + VAULT_EXTRA, opened, &info), ERR_CORRUPT);
        assert_int_equal(vault_unseal(other, "words", sealed, n + VAULT_EXTRA, opened, &info), ERR_CORRUPT);
        for (size_t cut = 0; cut < n + VAULT_EXTRA; cut++) {
            assert_int_equal(vault_unseal(k, "words", sealed, cut, opened, &info), ERR_CORRUPT);
            sealed[cut] ^= 0x80;
            assert_int_equal(vault_unseal(k, "words", sealed, n + VAULT_EXTRA, opened, &info), ERR_CORRUPT);
            sealed[cut] ^= 0x80;
        }
    }
    vault_seal(k, "words", text, 100, sealed);
    vault_seal(k, "words", text, 100, twice);
    assert_memory_not_equal(sealed, twice, sizeof sealed);
    vault_wrap(v, k, "mine", wrapped);
    assert_int_equal(vault_unwrap(v, wrapped, "yours", other, &info), ERR_CORRUPT);
    assert_int_equal(vault_unwrap(v, wrapped, "mine", other, &info), ERR_OK);
    assert_int_equal(vault_unseal(other, "words", sealed, sizeof sealed, opened, &info), ERR_OK);
    vault_key_free(k);
    vault_key_free(other);
    vault_close(v);
}

static void purposes_and_numbers_give_other_keys(void **state)
{
    (void)state;
    static const char purposes[][9] = {"purposea", "purposeb"};
    unsigned char tags[4][VAULT_TAG];
    struct vault *v = NULL;
    struct vault_key *k = NULL;
    assert_int_equal(vault_new(&v, &info), ERR_OK);
    assert_int_equal(vault_key_new(&k, &info), ERR_OK);
    for (int i = 0; i < 4; i++) {
        vault_derive(v, purposes[i / 2], (uint64_t)(i % 2), k);
        vault_tag(k, "x", 1, tags[i]);
        for (int j = 0; j < i; j++) {
            assert_memory_not_equal(tags[i], tags[j], VAULT_TAG);
        }
    }
    char ids[3][VAULT_ID + 1];
    for (size_t i = 0; i < 3; i++) {
        vault_id_of(k, i < 2 ? "x" : "y", 1, ids[i]);
        assert_int_equal(strspn(ids[i], "0123456789abcdef"), VAULT_ID);
    }
    assert_string_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[0], ids[2]);
    assert_int_equal(vault_change(v, "p", &info), ERR_ARGUMENT); /* it is in no file */
    vault_key_free(k);
    vault_close(v);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_file_is_made_once_and_found_again), TEST(a_passphrase_opens_and_can_be_changed),
        TEST(a_change_that_fails_changes_nothing), TEST(files_of_others_are_refused),
        TEST(every_damage_of_the_file_is_found), TEST(sealed_bytes_open_under_their_words_alone),
        TEST(purposes_and_numbers_give_other_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
