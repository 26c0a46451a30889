/* `fathom keys` and `fathom usage` over a store of their own. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/barchart.h"
#include "cli/storeaccess.h"
#include "cli/verbs.h"
#include "formats/tempdir.h"
#include "server/chatstore.h"
#include "server/keystore.h"
#include "server/usagestore.h"

static struct tempdir dir;
static char folder[80], out[1 << 16], errs[1 << 12];
static struct errinfo info;
static int terminal = -1; /* what a person types at, if anybody does */

static int set_up(void **state)
{
    (void)state;
    tempdir_make(&dir);
    snprintf(folder, sizeof folder, "%s/store", dir.path);
    unsetenv("FATHOM_PASSPHRASE");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove_all(dir.path);
    return 0;
}

static void keep(int fd, char *text, size_t cap)
{
    ssize_t n = pread(fd, text, cap - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
}

/* Runs `fathom WORDS… --data FOLDER`; what it printed is in out and errs. */
static int fathom(const char *words)
{
    char line[400], *argv[32] = {0};
    int argc = 0, shown[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)}, to[2], nothing = open(terminal < 0 ? "/dev/null" : ptsname(terminal), O_RDWR | O_NOCTTY);
    snprintf(line, sizeof line, "fathom %s --data %s", words, folder);
    for (char *rest = line; rest && argc < 31; argc++) {
        argv[argc] = strsep(&rest, " ");
    }
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        to[i] = open(tempdir_file(&dir, i ? "errs" : "out"), O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_true(dup2(to[i], i + 1) >= 0);
    }
    assert_true(dup2(nothing, STDIN_FILENO) >= 0);
    int status = verbs_main(argc, argv);
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        dup2(shown[i], i + 1);
        close(shown[i]);
    }
    close(nothing);
    keep(to[0], out, sizeof out);
    keep(to[1], errs, sizeof errs);
    return status;
}

static json_t *printed(void)
{
    json_t *value = NULL;
    if (json_parse(out, strlen(out), "stdout", &value, &info) != ERR_OK) {
        fail_msg("%s: %s", info.message, out);
    }
    return value;
}

static void a_key_is_shown_once(void **state)
{
    (void)state;
    struct database *d = NULL;
    struct keystore *keys = NULL;
    struct keystore_key key;
    assert_int_equal(fathom("keys create --name laptop --rpm 60 --balance 12.50 --scope chat --scope admin"), 0);
    assert_int_equal(strlen(out), KEYSTORE_SECRET + 1);
    assert_non_null(strstr(errs, "shown only now"));
    out[KEYSTORE_SECRET] = '\0';
    assert_int_equal(storeaccess_open(folder, &d, &info), ERR_OK);
    assert_int_equal(keystore_open(d, &keys, &info), ERR_OK);
    assert_int_equal(keystore_check(keys, out, storeaccess_now(), &key, &info), ERR_OK);
    assert_string_equal(key.name, "laptop");
    assert_int_equal(key.scopes, CALLER_CHAT | CALLER_ADMIN);
    assert_int_equal(key.limits.requests_per_minute, 60);
    keystore_close(keys);
    database_close(d);
    assert_int_equal(fathom("keys"), 0);
    assert_non_null(strstr(out, "laptop"));
    assert_non_null(strstr(out, "60/min"));
    assert_null(strstr(out, "fathom-"));
}

static void a_script_reads_json(void **state)
{
    (void)state;
    assert_int_equal(fathom("keys list --json"), 0);
    assert_string_equal(out, "[]\n");
    assert_int_equal(fathom("keys create --name ci --expires-days 2 --json"), 0);
    json_t *made = printed();
    assert_int_equal(json_string_length(json_object_get(made, "key")), KEYSTORE_SECRET);
    assert_in_range(json_integer_value(json_object_get(made, "expires")) - json_integer_value(json_object_get(made, "created")),
                    172800000, 172800000);
    char revoke[100];
    snprintf(revoke, sizeof revoke, "keys revoke %s --json", json_string_value(json_object_get(made, "id")));
    assert_int_equal(fathom(revoke), 0);
    json_t *gone = printed();
    assert_true(json_is_integer(json_object_get(gone, "revoked")));
    assert_int_equal(fathom("keys"), 0);
    assert_non_null(strstr(out, "revoked 20"));
    json_decref(made);
    json_decref(gone);
}

/* The key that the words made, as programs read it. */
static json_t *made(const char *words)
{
    assert_int_equal(fathom(words), 0);
    return printed();
}

static void what_may_not_have_been_meant_is_noted(void **state)
{
    (void)state;
    assert_int_equal(fathom("keys create --name Anna"), 0);
    assert_null(strstr(errs, "note:"));
    assert_int_equal(fathom("keys create --name rich --balance 5"), 0);
    assert_non_null(strstr(errs, "serve --prices"));
    assert_non_null(strstr(errs, "fathom keys renew"));
    assert_int_equal(fathom("keys create --name Anna --scope admin"), 0);
    assert_non_null(strstr(errs, "note: this key cannot chat"));
    assert_non_null(strstr(errs, "note: 2 keys are named \"Anna\""));
}

static void a_key_is_renewed_by_its_name(void **state)
{
    (void)state;
    json_t *old = made("keys create --name Ben --json");
    assert_int_equal(fathom("keys revoke Ben"), 0);
    assert_non_null(strstr(errs, "Its chats stay"));
    json_t *new = made("keys renew Ben --expires-days 3 --json");
    assert_string_equal(json_string_value(json_object_get(new, "id")), json_string_value(json_object_get(old, "id")));
    assert_string_not_equal(json_string_value(json_object_get(new, "key")), json_string_value(json_object_get(old, "key")));
    assert_true(json_is_null(json_object_get(new, "revoked")));
    assert_true(json_integer_value(json_object_get(new, "expires")) > storeaccess_now());
    json_decref(new);
    json_decref(old);
}

static void a_key_is_changed(void **state)
{
    (void)state;
    json_t *key = made("keys create --name Ben --rpm 5 --concurrent 2 --balance 1 --expires-days 3 --json");
    char words[100];
    snprintf(words, sizeof words, "keys change %.8s --rpm 60 --name Benjamin --json",
             json_string_value(json_object_get(key, "id")));
    json_t *changed = made(words), *limits = json_object_get(changed, "limits");
    assert_string_equal(json_string_value(json_object_get(changed, "name")), "Benjamin");
    assert_int_equal(json_integer_value(json_object_get(limits, "requests_per_minute")), 60);
    assert_int_equal(json_integer_value(json_object_get(limits, "concurrent")), 2);
    assert_string_equal(json_string_value(json_object_get(changed, "balance")), "1");
    assert_true(json_equal(json_object_get(changed, "expires"), json_object_get(key, "expires")));
    json_decref(changed);
    changed = made("keys change Benjamin --balance none --expires-days 0 --concurrent 0 --json");
    assert_true(json_is_null(json_object_get(changed, "balance")));
    assert_true(json_is_null(json_object_get(changed, "expires")));
    assert_int_equal(fathom("keys change Benjamin --balance 7.5 --tokens-per-day 9"), 0);
    assert_non_null(strstr(out, "60/min 9 tokens/day"));
    assert_non_null(strstr(out, "7.5"));
    json_decref(changed);
    json_decref(key);
}

static void the_next_command_names_the_data(void **state)
{
    (void)state;
    char next[200];
    snprintf(next, sizeof next, " --data %s\n", folder);
    assert_int_equal(fathom("keys create --name Ben --balance 7.5"), 0);
    assert_non_null(strstr(errs, next));
    assert_non_null(strstr(errs, "balance 7.5\n"));
    assert_int_equal(fathom("keys revoke Ben"), 0);
    assert_non_null(strstr(errs, next));
}

static void who_only_looks_makes_nothing(void **state)
{
    (void)state;
    static const char *const looks[] = {"keys", "keys list", "keys renew Ben", "keys revoke Ben", "usage"};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        int status = fathom(looks[i]);
        bool noted = strstr(errs, "note: --data names ") && strstr(errs, "and there is no such folder");
        if (status != (strstr(looks[i], "Ben") ? 1 : 0) || access(folder, F_OK) == 0 || !noted) {
            fail_msg("%s gave %d: %s", looks[i], status, errs);
        }
    }
}

/* A page that the server keeps of a text, as prefixdisk.h lays it out. */
static void put_page(char path[400])
{
    enum { HEX = 64 };
    snprintf(path, 400, "%s/prefixes", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    sprintf(path + strlen(path), "/%0*d", HEX, 1);
    assert_int_equal(mkdir(path, 0700), 0);
    sprintf(path + strlen(path), "/%0*d", HEX, 2);
    assert_int_equal(file_write(path, "page", 4, &info), ERR_OK);
}

static void a_key_adopts_the_chats_made_without_any(void **state)
{
    (void)state;
    char page[400];
    struct database *d = NULL;
    struct chatstore *chats = NULL;
    json_t *chat = NULL, *list = NULL, *fields = json_pack("{s:s}", "title", "whales");
    json_t *key = made("keys create --name Ben --json");
    const char *id = json_string_value(json_object_get(key, "id"));
    assert_int_equal(storeaccess_open(folder, &d, &info), ERR_OK);
    assert_int_equal(chatstore_open(d, false, &chats, &info), ERR_OK);
    assert_int_equal(chatstore_create(chats, "local", fields, 1, &chat, &info), ERR_OK);
    assert_int_equal(fathom("keys adopt Ben"), 1); /* while a server has them */
    assert_non_null(strstr(errs, "stop it"));
    chatstore_close(chats);
    put_page(page);
    assert_int_equal(fathom("keys create --name boss --scope admin"), 0);
    assert_int_equal(fathom("keys adopt boss"), 2);
    assert_non_null(strstr(errs, "scope chat"));
    assert_int_equal(fathom("keys adopt Ben"), 0);
    assert_non_null(strstr(out, "(Ben): 1\n"));
    assert_int_equal(access(page, F_OK), -1); /* no chat that Ben deletes leaves something of it there */
    assert_int_equal(chatstore_open(d, false, &chats, &info), ERR_OK);
    assert_int_equal(chatstore_list(chats, id, &(struct chatstore_query){0}, &list, &info), ERR_OK);
    assert_int_equal(json_array_size(json_object_get(list, "chats")), 1);
    chatstore_close(chats);
    database_close(d);
    assert_int_equal(fathom("keys revoke Ben"), 0);
    assert_int_equal(fathom("keys adopt Ben"), 2);
    assert_non_null(strstr(errs, "keys renew"));
    json_decref(list);
    json_decref(chat);
    json_decref(fields);
    json_decref(key);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        int status;
        const char *says;
    } bad[] = {
        {"keys create", 2, "wants a name"}, {"keys revoke", 2, "which key?"}, {"keys make", 2, "list, create, change, renew, revoke"},
        {"keys create --name=", 2, "--name needs 1 to 100 bytes of text, got 0"},
        {"keys create --name x --scope root", 2, "--scope needs one of"},
        {"keys create --name x --balance lots", 2, "--balance needs an amount like 12.50"},
        {"keys create --name x --balance -5", 2, "--balance needs an amount like 12.50"},
        {"keys renew x --rpm 5", 2, "renew takes no --rpm; of a key that is there it is set by `fathom keys change NAME`"},
        {"keys revoke x --name y", 2, "revoke takes no --name"}, {"keys list x", 2, "list takes no \"x\""},
        {"keys list --expires-days 3", 2, "list takes no --expires-days"}, {"keys change x", 2, "change what?"},
        {"keys create x", 2, "goes with --name"}, {"keys change --rpm 3", 2, "which key?"},
        {"keys create --name x --rpm -1", 2, "--rpm"}, {"keys revoke 0123", 1, "no key 0123"},
        {"keys renew", 2, "which key?"}, {"keys renew Ben", 1, "no key Ben"}, {"keys adopt", 2, "which key?"},
        {"usage --days 0", 2, "--days"}, {"keys passphrase", 2, "FATHOM_NEW_PASSPHRASE"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = fathom(bad[i].words);
        if (status != bad[i].status || !strstr(errs, bad[i].says) || out[0]) {
            fail_msg("%s gave %d: %s%s", bad[i].words, status, out, errs);
        }
    }
}

static void usage_is_told_by_day_key_and_model(void **state)
{
    (void)state;
    struct database *d = NULL;
    struct usagestore *usage = NULL;
    struct pricetable prices;
    const char text[] = "currency EUR\n* | 1 | 1 | 1\n";
    const struct pricetable_tokens tokens = {1000000, 5, 234567};
    const char free[] = "currency USD\n* | 0 | 0 | 0\n";
    assert_int_equal(fathom("usage"), 0);
    assert_non_null(strstr(errs, "nothing was asked"));
    assert_int_equal(fathom("keys create --name reader --json"), 0);
    json_t *key = printed();
    const char *id = json_string_value(json_object_get(key, "id"));
    int64_t now = storeaccess_now(), day = 86400000;
    assert_int_equal(pricetable_parse(free, strlen(free), &prices, &info), ERR_OK);
    assert_int_equal(storeaccess_open(folder, &d, &info), ERR_OK);
    assert_int_equal(usagestore_open(d, &prices, &usage, &info), ERR_OK);
    assert_int_equal(usagestore_add(usage, "local", "older", &tokens, now - 50 * day, NULL, &info), ERR_OK);
    usagestore_close(usage);
    assert_int_equal(fathom("usage --days 51"), 0);
    assert_non_null(strstr(out, "older"));
    assert_null(strstr(out, "USD")); /* nobody named a price */
    assert_int_equal(pricetable_parse(text, strlen(text), &prices, &info), ERR_OK);
    assert_int_equal(usagestore_open(d, &prices, &usage, &info), ERR_OK);
    assert_int_equal(usagestore_add(usage, id, "smollm2", &tokens, now, NULL, &info), ERR_OK);
    assert_int_equal(usagestore_add(usage, "local", "smollm2", &tokens, now, NULL, &info), ERR_OK);
    assert_int_equal(usagestore_add(usage, "local", "old\x1b[31m", &tokens, now - 40 * day, NULL, &info), ERR_OK);
    usagestore_close(usage);
    database_close(d);
    assert_int_equal(fathom("usage"), 0);
    assert_non_null(strstr(out, "in all: 2 requests, 2000000 prompt tokens (10 of them out of the cache), 469134 completion"));
    assert_non_null(strstr(out, "2.469134"));
    assert_non_null(strstr(out, "2.469134 EUR\n")); /* that of the prices the server had */
    assert_non_null(strstr(out, "reader"));
    assert_non_null(strstr(out, "████████████████████████\n"));
    assert_null(strstr(out, "old"));
    assert_int_equal(fathom("usage --days 41"), 0);
    assert_non_null(strstr(out, "old?[31m"));
    char words[100];
    assert_int_equal(fathom("usage --key reader"), 0);
    assert_non_null(strstr(out, "in all: 1 requests"));
    assert_int_equal(fathom("usage --key nonsense"), 1);
    assert_non_null(strstr(errs, "there is no key nonsense"));
    assert_int_equal(fathom("usage --key local"), 0);
    assert_non_null(strstr(out, "in all: 1 requests"));
    snprintf(words, sizeof words, "usage --json --key %s", id);
    assert_int_equal(fathom(words), 0);
    json_t *report = printed();
    assert_int_equal(json_integer_value(json_object_get(json_object_get(report, "totals"), "requests")), 1);
    json_decref(report);
    json_decref(key);
}

/* A person at `terminal`, who answers two questions, the first one wrong. */
static void *type_when_asked(void *nothing)
{
    static const char *const answers[] = {"one too\n", "one two\n"};
    char shown[400], path[200];
    snprintf(path, sizeof path, "%s/errs", dir.path);
    for (size_t i = 0; i < 2; i++) {
        size_t asked = 0;
        for (int tries = 0; asked <= i && tries < 1000; tries++) {
            struct timespec pause = {.tv_nsec = 10000000};
            nanosleep(&pause, NULL);
            keep(open(path, O_RDONLY), shown, sizeof shown);
            asked = 0;
            for (const char *at = shown; (at = strstr(at, "passphrase of")) != NULL; at++) {
                asked++;
            }
        }
        (void)!write(terminal, answers[i], strlen(answers[i]));
    }
    return nothing;
}

/* Few words: each costs Argon2id's second. Wrong ones, and none again: test_vault.c. */
static void a_passphrase_is_taken_from_the_environment(void **state)
{
    (void)state;
    assert_int_equal(fathom("keys create --name a"), 0);
    setenv("FATHOM_NEW_PASSPHRASE", "one two", 1);
    assert_int_equal(fathom("keys passphrase"), 0);
    assert_non_null(strstr(errs, "note: who has the disk can try all passphrases of 7 characters"));
    assert_int_equal(fathom("keys"), 2);
    assert_non_null(strstr(errs, "wants its passphrase"));
    setenv("FATHOM_PASSPHRASE", "one two", 1);
    const char *there = getenv("FATHOM_PASSPHRASE");
    assert_int_equal(fathom("keys"), 0);
    assert_non_null(strstr(out, "good"));
    assert_null(getenv("FATHOM_PASSPHRASE")); /* taken, and nothing of it is left there */
    assert_string_equal(there, "");
    unsetenv("FATHOM_NEW_PASSPHRASE");
    /* On a terminal one slip is no end. */
    pthread_t person;
    terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    assert_int_equal(pthread_create(&person, NULL, type_when_asked, NULL), 0);
    assert_int_equal(fathom("keys"), 0);
    assert_int_equal(pthread_join(person, NULL), 0);
    assert_non_null(strstr(errs, "that is not it; once more"));
    close(terminal);
    terminal = -1;
}

static void bars_are_as_long_as_they_should(void **state)
{
    (void)state;
    char line[BARCHART_LINE];
    assert_string_equal(barchart_line(1, 1, 3, line), "███");
    assert_string_equal(barchart_line(0.5, 1, 3, line), "█▌");
    assert_string_equal(barchart_line(1e-9, 1, 3, line), "▏");
    assert_string_equal(barchart_line(0, 1, 3, line), "");
    assert_string_equal(barchart_line(0, 0, 3, line), "");
    assert_int_equal(strlen(barchart_line(7, 7, 40, line)), 120);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_is_shown_once), TEST(a_script_reads_json), TEST(what_may_not_have_been_meant_is_noted),
        TEST(a_key_is_renewed_by_its_name), TEST(a_key_is_changed), TEST(the_next_command_names_the_data),
        TEST(who_only_looks_makes_nothing), TEST(a_key_adopts_the_chats_made_without_any),
        TEST(mistakes_are_told), TEST(usage_is_told_by_day_key_and_model),
        TEST(a_passphrase_is_taken_from_the_environment), TEST(bars_are_as_long_as_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
