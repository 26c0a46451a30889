/* The server's store when memory or the disk runs out: an error with a message, nothing half done, nothing left
 * allocated, and it goes on afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "server/chatexport.h"
#include "server/chatimport.h"
#include "server/chatowner.h"
#include "server/claim.h"
#include "server/keystore.h"
#include "server/ratelimit.h"
#include "server/storefixture.h"
#include "server/usagestore.h"

static struct storefixture f;
static struct errinfo info;
static struct pricetable prices;
static json_t *fields, *others;

/* ---- Memory. SQLite goes on without some allocations (a cache, a faster sort): a work in which one failed ends with
 * ERR_NOMEM, or as if none had. ---- */

static err with_chats(struct chatstore *s)
{
    json_t *chat = NULL, *both = NULL, *message = NULL, *list = NULL, *all = NULL;
    char *text = NULL;
    struct chatimport_count counted;
    size_t n = 0;
    err e = chatstore_create(s, "local", fields, 1, &chat, &info);
    const char *id = e == ERR_OK ? json_string_value(json_object_get(chat, "id")) : "";
    struct chattree_turn turn = {.content = "hello there", .think = "off"};
    struct chattree_ending ending = {.content = "general answer", .reasoning = ""};
    e = e == ERR_OK ? chattree_ask(s, "local", id, &turn, 2, &both, &info) : e;
    e = e == ERR_OK ? chattree_end(s, "local", json_string_value(json_object_get(json_object_get(both, "answer"), "id")),
                                   &ending, 3, &message, &info) : e;
    e = e == ERR_OK ? chatstore_list(s, "local", &(struct chatstore_query){.search = "general"}, &list, &info) : e;
    e = e == ERR_OK ? chatexport_part(s, "local", NULL, SIZE_MAX, &all, &info) : e;
    e = e == ERR_OK ? chatexport_markdown(s, "local", id, &text, &info) : e;
    e = e == ERR_OK ? chatimport_read(s, "other", others, 4, &counted, &info) : e;
    e = e == ERR_OK ? chatimport_read(s, "other", all, 4, &counted, &info) : e;
    e = e == ERR_OK ? chatstore_delete(s, "local", id, &info) : e;
    e = e == ERR_OK ? chatowner_change(s, "other", "third", &n, &info) : e;
    e = e == ERR_OK ? chatstore_delete_all(s, "third", &info) : e;
    mem_free(text);
    json_decref(all);
    json_decref(list);
    json_decref(message);
    json_decref(both);
    json_decref(chat);
    return e;
}

static err with_keys(struct database *d)
{
    struct keystore *keys = NULL;
    struct usagestore *usage = NULL;
    struct ratelimit *limits = NULL;
    struct claims *claims = NULL;
    struct keystore_key key = {0}, *list = NULL;
    char secret[KEYSTORE_SECRET + 1];
    json_t *named = json_pack("{s:s, s:s}", "name", "n", "balance", "5"), *report = NULL;
    size_t n = 0;
    struct ratelimit_wait wait;
    err e = named ? keystore_open(d, &keys, &info) : err_set(&info, ERR_NOMEM, "the test's own");
    e = e == ERR_OK ? usagestore_open(d, &prices, &usage, &info) : e;
    e = e == ERR_OK ? ratelimit_new(&limits, &info) : e;
    const struct claims_options with = {keys, usage, limits, &prices, "m"};
    e = e == ERR_OK ? claim_open(&with, &claims, &info) : e;
    e = e == ERR_OK ? keystore_create(keys, named, 1, &key, secret, &info) : e;
    e = e == ERR_OK ? keystore_check(keys, secret, 2, &key, &info) : e;
    e = e == ERR_OK ? ratelimit_begin(limits, key.id, &key.limits, 1, 0, 2, &wait, &info) : e;
    e = e == ERR_OK ? usagestore_add(usage, key.id, "m", &(struct pricetable_tokens){5, 1, 2}, 3, NULL, &info) : e;
    e = e == ERR_OK ? usagestore_report(usage, &(struct usagestore_query){NULL, 0, 5}, &report, &info) : e;
    e = e == ERR_OK ? keystore_list(keys, &list, &n, &info) : e;
    e = e == ERR_OK ? keystore_renew(keys, key.id, 4, &key, secret, &info) : e;
    e = e == ERR_OK ? keystore_named(keys, key.id, 4, &key, &info) : e;
    mem_free(list);
    json_decref(report);
    json_decref(named);
    claim_close(claims);
    ratelimit_free(limits);
    usagestore_close(usage);
    keystore_close(keys);
    return e;
}

static err whole_life(void)
{
    struct database *d = NULL;
    struct chatstore *s = NULL;
    err e = database_open(f.dir.path, NULL, &d, &info);
    e = e == ERR_OK ? chatstore_open(d, false, &s, &info) : e;
    e = e == ERR_OK ? with_chats(s) : e;
    e = e == ERR_OK ? with_keys(d) : e;
    chatstore_close(s);
    database_close(d);
    return e;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_int_equal(whole_life(), ERR_OK);
    mem_fault(0, 0);
    assert_int_equal(whole_life(), ERR_OK);
    size_t n = mem_attempts(), refused = 0;
    assert_true(n > 1000);
    for (int later = 0; later < 2; later++) {
        for (size_t k = 1; k < n; k += k < 32 ? 1 : later ? 307 : 53) {
            size_t alive = mem_alive();
            info.message[0] = '\0';
            mem_fault(k, later);
            err e = whole_life();
            mem_fault(0, 0);
            if (mem_alive() != alive) {
                fail_msg("allocation %zu refused: %zd left behind", k, (ssize_t)(mem_alive() - alive));
            }
            if (e != ERR_OK && (e != ERR_NOMEM || info.message[0] == '\0')) {
                fail_msg("allocation %zu refused gave %s: %s", k, err_name(e), info.message);
            }
            refused += e == ERR_NOMEM;
        }
    }
    print_message("%zu allocations, %zu refusals told\n", n, refused);
    assert_true(refused > 100);
    storefixture_open(&f);
    assert_int_equal(database_check(f.database, &f.info), ERR_OK);
    storefixture_close(&f);
}

/* ---- The disk. ---- */

static void limit_files(rlim_t bytes)
{
    struct rlimit l = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static size_t messages_of(const char *id)
{
    json_t *doc = NULL;
    if (chatstore_get(f.chats, "local", id, &doc, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    size_t n = json_array_size(json_object_get(doc, "messages"));
    json_decref(doc);
    return n;
}

static void a_full_disk_loses_nothing(void **state)
{
    (void)state;
    static char text[40001];
    size_t stored = 0;
    err e = ERR_OK;
    memset(text, 'x', sizeof text - 1);
    signal(SIGXFSZ, SIG_IGN);
    storefixture_open(&f);
    char *id = storefixture_chat(&f, "local", "{'title':'full'}", 1);
    char *other = storefixture_chat(&f, "local", "{'title':'to go'}", 1);
    free(storefixture_talk(&f, "local", other, NULL, text, text, 2));
    struct chattree_turn turn = {.content = text, .think = "off"};
    limit_files(1 << 20);
    while (e == ERR_OK && stored < 1000) {
        json_t *both = NULL;
        e = chattree_ask(f.chats, "local", id, &turn, 3, &both, &f.info);
        json_decref(both);
        stored += e == ERR_OK;
    }
    assert_int_equal(e, ERR_IO);
    assert_non_null(strstr(f.info.message, "nothing was changed"));
    assert_true(stored > 5);
    assert_int_equal(messages_of(id), 2 * stored); /* what is there can be read … */
    limit_files(RLIM_INFINITY);
    json_t *both = NULL;
    assert_int_equal(chattree_ask(f.chats, "local", id, &turn, 3, &both, &f.info), ERR_OK); /* … and it goes on */
    json_decref(both);
    assert_int_equal(chatstore_delete(f.chats, "local", other, &f.info), ERR_OK);
    storefixture_reopen(&f);
    assert_int_equal(messages_of(id), 2 * stored + 2);
    assert_int_equal(database_check(f.database, &f.info), ERR_OK);
    storefixture_close(&f);
    free(id);
    free(other);
}

static void fill_disk(const char *path)
{
    static const char zeros[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0) {}
    close(fd);
}

static off_t spare_room(struct storefixture *on)
{
    struct stat st;
    assert_int_equal(stat(tempdir_file(&on->dir, "fathom.db-spare"), &st), 0);
    return (off_t)st.st_blocks * 512;
}

/* What people want to be rid of goes, however large it is, and the room that this took is kept for the next time. */
static void a_full_disk_keeps_nobody_from_deleting(void **state)
{
    (void)state;
    enum { LARGE = 1 << 20, MESSAGES = 24, SMALL = 20 }; /* more than the spare room */
    static char text[LARGE + 1], whole[CHATTREE_CONTENT_MAX + 1];
    struct storefixture on = {.durable = true};
    tempdir_make(&on.dir);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", on.dir.path, "tmpfs", 0, "size=128m,mode=0700") != 0) {
        tempdir_remove_all(on.dir.path);
        print_message("no small disk can be made here\n");
        skip();
    }
    storefixture_open(&on);
    assert_true(spare_room(&on) >= DATABASE_SPARE);
    memset(text, 'x', LARGE);
    char *large = storefixture_chat(&on, "local", "{'title':'large'}", 1), *parent = NULL, *small[SMALL];
    for (int i = 0; i < MESSAGES; i++) {
        char *next = storefixture_talk(&on, "local", large, parent, "more", text, 2);
        free(parent);
        parent = next;
    }
    memset(whole, 'x', CHATTREE_CONTENT_MAX); /* in one message, which goes in one step */
    char *largest = storefixture_chat(&on, "local", "{'title':'largest'}", 1);
    free(storefixture_talk(&on, "local", largest, NULL, "all", whole, 2));
    struct keystore *keys = NULL;
    struct keystore_key key;
    char secret[KEYSTORE_SECRET + 1];
    json_t *named = storefixture_json("{'name':'n'}");
    assert_int_equal(keystore_open(on.database, &keys, &info), ERR_OK);
    assert_int_equal(keystore_create(keys, named, 1, &key, secret, &info), ERR_OK);
    for (int i = 0; i < SMALL; i++) {
        small[i] = storefixture_chat(&on, "local", "{'title':'small'}", 1);
        text[LARGE / 8] = '\0';
        free(storefixture_talk(&on, "local", small[i], NULL, "more", text, 2));
    }
    assert_int_equal(database_scrub(on.database, &info), ERR_OK); /* no room in the log either */
    fill_disk(tempdir_file(&on.dir, "filler"));
    json_t *chat = NULL;
    assert_int_equal(chatstore_create(on.chats, "local", fields, 1, &chat, &info), ERR_IO);
    assert_non_null(strstr(info.message, "full"));
    assert_int_equal(keystore_revoke(keys, key.id, 2, &info), ERR_OK);
    assert_int_equal(keystore_check(keys, secret, 3, &key, &info), ERR_NOTFOUND);
    const char *const go[] = {small[0], large, largest, small[1]};
    for (size_t i = 0; i < 4; i++) {
        if (chatstore_delete(on.chats, "local", go[i], &info) != ERR_OK) {
            fail_msg("chat %zu: %s", i, info.message);
        }
        assert_true(spare_room(&on) >= DATABASE_SPARE);
    }
    assert_int_equal(chatstore_delete(on.chats, "local", large, &info), ERR_NOTFOUND);
    assert_int_equal(chatstore_delete_all(on.chats, "local", &info), ERR_OK);
    assert_true(spare_room(&on) >= DATABASE_SPARE);
    assert_int_equal(chatstore_delete(on.chats, "local", small[SMALL - 1], &info), ERR_NOTFOUND);
    assert_int_equal(database_check(on.database, &on.info), ERR_OK);
    keystore_close(keys);
    json_decref(named);
    storefixture_close(&on);
    assert_int_equal(umount2(on.dir.path, MNT_DETACH), 0);
    tempdir_remove_all(on.dir.path);
    for (int i = 0; i < SMALL; i++) {
        free(small[i]);
    }
    free(parent);
    free(largest);
    free(large);
}

static void no_room_at_the_first_start_is_told(void **state)
{
    (void)state;
    struct tempdir empty;
    struct database *d = NULL;
    tempdir_make(&empty);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t bytes = 0; bytes < 20000; bytes += 1500) {
        limit_files(bytes);
        err e = database_open(empty.path, NULL, &d, &info);
        limit_files(RLIM_INFINITY);
        assert_int_equal(e, ERR_IO);
        assert_true(info.message[0] != '\0');
    }
    assert_int_equal(database_open(empty.path, NULL, &d, &info), ERR_OK); /* over what the tries left behind */
    database_close(d);
    tempdir_remove_all(empty.path);
}

int main(void)
{
    tempdir_make(&f.dir);
    fields = storefixture_json("{'title':'t','folder':'F','system':'S','settings':{'seed':1}}");
    others = storefixture_json("[{'title':'GPT','current_node':'b','mapping':{"
                               "'a':{'parent':null,'message':{'author':{'role':'user'},'content':{'content_type':'text','parts':['q']}}},"
                               "'b':{'parent':'a','message':{'author':{'role':'assistant'},'content':{'content_type':'text','parts':['r']}}}}}]");
    const char text[] = "currency EUR\n* | 1 | 1 | 1\n";
    if (pricetable_parse(text, strlen(text), &prices, &info) != ERR_OK) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(a_full_disk_keeps_nobody_from_deleting),
        cmocka_unit_test(no_room_at_the_first_start_is_told),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tempdir_remove_all(f.dir.path);
    json_decref(fields);
    json_decref(others);
    return failed;
}
