/* Downloads against a server that misbehaves: nothing half or wrong ever gets the file's name, and what
 * can be continued is. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <sodium.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/download.h"
#include "cli/loopback.h"

enum { SIZE = 3 << 20, HALF = SIZE / 2 };

static char content[SIZE];
static char content_sha[65];
static struct loopback server;
static char folder[] = "/tmp/fathom-download-XXXXXX";
static char path[256];

static void truncated(int fd, size_t from, size_t to)
{
    char head[256];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nETag: \"v1\"\r\nContent-Length: %zu\r\n%s",
             from ? "206 Partial Content" : "200 OK", SIZE - from, from ? "" : "\r\n");
    loopback_text(fd, head);
    if (from) {
        snprintf(head, sizeof head, "Content-Range: bytes %zu-%d/%d\r\n\r\n", from, SIZE - 1, SIZE);
        loopback_text(fd, head);
    }
    loopback_send(fd, content + from, to - from);
}

static void redirect(int fd, const char *to, const char *more)
{
    char headers[1024];
    snprintf(headers, sizeof headers, "Location: %s\r\n%s", to, more);
    loopback_reply(fd, "302 Found", headers, "moved", 5);
}

/* The path says how to misbehave. */
static void answer(struct loopback *s, const struct loopback_request *q, int fd)
{
    const char *p = q->path;
    int hit = atomic_load(&s->hits);
    char line[256];
    if (strcmp(p, "/plain") == 0) {
        loopback_serve(fd, q, "\"v1\"", content, SIZE);
    } else if (strcmp(p, "/changed") == 0) {
        loopback_serve(fd, q, "\"v2\"", content, SIZE);
    } else if (strcmp(p, "/noranges") == 0) {
        loopback_reply(fd, "200 OK", "", content, SIZE);
    } else if (strcmp(p, "/half-each") == 0) { /* every answer breaks off half way */
        size_t to = q->from + (SIZE - q->from) / 2 + 1;
        truncated(fd, q->from, to < SIZE ? to : SIZE);
    } else if (strcmp(p, "/half-always") == 0) {
        truncated(fd, 0, HALF);
    } else if (strcmp(p, "/nothing") == 0) {
        truncated(fd, 0, 0);
    } else if (strcmp(p, "/flaky") == 0) {
        if (hit < 3) {
            loopback_reply(fd, "503 Busy", "", "later", 5);
        } else {
            loopback_serve(fd, q, "\"v1\"", content, SIZE);
        }
    } else if (strcmp(p, "/loop") == 0) {
        redirect(fd, "/loop", "");
    } else if (strcmp(p, "/hop") == 0) {
        redirect(fd, "/plain", "");
    } else if (strcmp(p, "/linked") == 0 || strcmp(p, "/linked-wrong") == 0) {
        char tag[200];
        snprintf(tag, sizeof tag, "X-Linked-ETag: \"%s\"\r\nX-Linked-Size: %d\r\n",
                 p[7] ? "00000000000000000000000000000000000000000000000000000000deadbeef" : content_sha,
                 SIZE);
        redirect(fd, "/plain", tag);
    } else if (strncmp(p, "/to/", 4) == 0) {
        redirect(fd, p + 4, "");
    } else if (strcmp(p, "/wrong-range") == 0 && q->has_range) {
        snprintf(line, sizeof line, "ETag: \"v1\"\r\nContent-Range: bytes 0-%d/%d\r\n", SIZE - 1, SIZE);
        loopback_reply(fd, "206 Partial Content", line, content, SIZE);
    } else if (strcmp(p, "/no-range-header") == 0 && q->has_range) {
        loopback_reply(fd, "206 Partial Content", "", content, SIZE);
    } else if (strcmp(p, "/416") == 0 && q->has_range) {
        loopback_reply(fd, "416 Range Not Satisfiable", "", "", 0);
    } else if (strcmp(p, "/huge") == 0) {
        loopback_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1152921504606846976\r\n\r\nabc");
    } else if (strcmp(p, "/unsized") == 0) {
        loopback_text(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        loopback_send(fd, content, SIZE);
    } else if (strcmp(p, "/short-length") == 0) { /* says less than it sends */
        snprintf(line, sizeof line, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", HALF);
        loopback_text(fd, line);
        loopback_send(fd, content, SIZE);
    } else if (strcmp(p, "/packed") == 0) {
        loopback_reply(fd, "200 OK", "Content-Encoding: gzip\r\n", content, 100);
    } else if (strcmp(p, "/garbage") == 0) {
        loopback_text(fd, "\x01\x02 this is no HTTP\r\n\r\n");
    } else if (strcmp(p, "/500") == 0) {
        loopback_reply(fd, "500 Oops", "", "sorry", 5);
    } else if (strcmp(p, "/403") == 0) {
        loopback_reply(fd, "403 Forbidden", "", "no", 2);
    } else if (strcmp(p, "/wrong-range") == 0 || strcmp(p, "/no-range-header") == 0 ||
               strcmp(p, "/416") == 0) {
        loopback_serve(fd, q, "\"v1\"", content, SIZE);
    } else {
        loopback_reply(fd, "404 Not Found", "", "no such page, at length", 23);
    }
}

static int set_up_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE; i++) {
        content[i] = (char)(i * 2654435761u >> 13);
    }
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, (unsigned char *)content, SIZE);
    sodium_bin2hex(content_sha, sizeof content_sha, digest, sizeof digest);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    return loopback_start(&server, answer) ? 0 : -1;
}

static char *beside(const char *suffix)
{
    static char name[300];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return name;
}

static int clean(void **state)
{
    (void)state;
    unlink(path);
    unlink(beside(".part"));
    unlink(beside(".part-tag"));
    atomic_store(&server.hits, 0);
    return 0;
}

static int tear_down_all(void **state)
{
    clean(state);
    rmdir(folder);
    loopback_stop(&server);
    curl_global_cleanup();
    return 0;
}

static err fetch_with(const char *page, const char *sha256, uint64_t size, unsigned retries,
                      struct download_result *out, struct errinfo *info)
{
    char url[600];
    snprintf(url, sizeof url, "%s%s", server.base, page);
    const struct download d = {.url = url,
                               .path = path,
                               .sha256 = sha256,
                               .size = size,
                               .retries = retries,
                               .retry_seconds = 0.001};
    *info = (struct errinfo){0};
    return download_file(&d, out, info);
}

static struct download_result result;
static struct errinfo info;

static err fetch(const char *page)
{
    return fetch_with(page, NULL, 0, 3, &result, &info);
}

static size_t size_of(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 ? (size_t)st.st_size : SIZE_MAX;
}

static void assert_complete(void)
{
    char *data;
    size_t n;
    assert_int_equal(file_read(path, SIZE_MAX / 2, &data, &n, &info), ERR_OK);
    assert_int_equal(n, SIZE);
    assert_memory_equal(data, content, SIZE);
    mem_free(data);
    assert_string_equal(result.sha256, content_sha);
    assert_int_equal(result.size, SIZE);
    assert_int_equal(size_of(beside(".part")), SIZE_MAX);
    assert_int_equal(size_of(beside(".part-tag")), SIZE_MAX);
}

static void assert_refused(err e, err code, const char *says)
{
    if (e != code || !strstr(info.message, says)) {
        fail_msg("code %d, \"%s\"; expected %d, \"%s\"", e, info.message, code, says);
    }
    assert_int_equal(size_of(path), SIZE_MAX);
}

/* Leaves a part of n right (or wrong) bytes with the tag "v1", as an interrupted run would. */
static void leave_part(size_t n, bool right, const char *tag)
{
    FILE *f = fopen(beside(".part"), "wb");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++) {
        fputc(right ? content[i % SIZE] : 'x', f);
    }
    fclose(f);
    if (tag) {
        f = fopen(beside(".part-tag"), "wb");
        assert_non_null(f);
        fputs(tag, f);
        fclose(f);
    }
}

static void a_plain_file_arrives_whole(void **state)
{
    (void)state;
    assert_int_equal(fetch("/plain"), ERR_OK);
    assert_complete();
    assert_int_equal(result.resumed, 0);
    assert_int_equal(atomic_load(&server.hits), 1);
    clean(state);
    assert_int_equal(fetch_with("/plain", content_sha, SIZE, 0, &result, &info), ERR_OK);
    assert_complete();
    clean(state);
    assert_int_equal(fetch("/unsized"), ERR_OK);
    assert_complete();
}

static void a_part_is_continued_with_a_range(void **state)
{
    (void)state;
    leave_part(HALF, true, "\"v1\"");
    assert_int_equal(fetch("/plain"), ERR_OK);
    assert_complete();
    assert_int_equal(result.resumed, HALF);
    assert_int_equal(atomic_load(&server.from), HALF);
    assert_int_equal(atomic_load(&server.hits), 1);
}

static void a_complete_part_of_known_size_needs_no_network(void **state)
{
    (void)state;
    leave_part(SIZE, true, NULL);
    assert_int_equal(fetch_with("/plain", content_sha, SIZE, 0, &result, &info), ERR_OK);
    assert_complete();
    assert_int_equal(atomic_load(&server.hits), 0);
}

static void without_tag_or_hash_a_part_is_not_trusted(void **state)
{
    (void)state;
    leave_part(HALF, false, NULL);
    assert_int_equal(fetch("/plain"), ERR_OK);
    assert_complete();
    assert_int_equal(atomic_load(&server.from), 0);
}

static void a_changed_file_is_fetched_from_the_beginning(void **state)
{
    (void)state;
    leave_part(HALF, false, "\"v1\"");
    assert_int_equal(fetch("/changed"), ERR_OK);
    assert_complete();
    leave_part(SIZE + 5, false, "\"v1\""); /* longer than the file now is */
    unlink(path);
    assert_int_equal(fetch("/plain"), ERR_OK);
    assert_complete();
}

static void servers_without_ranges_or_with_wrong_ones_still_give_the_file(void **state)
{
    const char *pages[] = {"/noranges", "/416"};
    for (size_t i = 0; i < 2; i++) {
        leave_part(HALF, true, "\"v1\"");
        assert_int_equal(fetch(pages[i]), ERR_OK);
        assert_complete();
        clean(state);
    }
    const char *liars[] = {"/wrong-range", "/no-range-header"};
    for (size_t i = 0; i < 2; i++) {
        leave_part(HALF, true, "\"v1\"");
        assert_int_equal(fetch(liars[i]), ERR_OK);
        assert_complete();
        assert_int_equal(atomic_load(&server.hits), 2);
        clean(state);
    }
}

static void broken_off_answers_are_continued_while_they_progress(void **state)
{
    (void)state;
    assert_int_equal(fetch_with("/half-each", content_sha, 0, 2, &result, &info), ERR_OK);
    assert_complete();
    assert_true(atomic_load(&server.hits) > 5);
    clean(state);
    assert_int_equal(fetch("/flaky"), ERR_OK);
    assert_complete();
    assert_int_equal(atomic_load(&server.hits), 3);
}

static void hopeless_servers_are_given_up_and_the_part_is_kept(void **state)
{
    assert_refused(fetch("/nothing"), ERR_IO, "");
    assert_int_equal(atomic_load(&server.hits), 4);
    clean(state);
    assert_refused(fetch_with("/half-always", NULL, 0, 0, &result, &info), ERR_IO, "");
    assert_int_equal(size_of(beside(".part")), HALF);
    assert_int_equal(size_of(beside(".part-tag")), 4);
    clean(state);
    assert_refused(fetch("/500"), ERR_IO, "HTTP 500");
    assert_int_equal(atomic_load(&server.hits), 4);
    clean(state);
    assert_refused(fetch("/404"), ERR_NOTFOUND, "HTTP 404");
    assert_int_equal(atomic_load(&server.hits), 1);
    assert_int_equal(size_of(beside(".part")), SIZE_MAX);
    clean(state);
    assert_refused(fetch("/403"), ERR_IO, "login");
    assert_refused(fetch("/packed"), ERR_UNSUPPORTED, "compressed");
    assert_refused(fetch("/garbage"), ERR_IO, "");
}

static void wrong_content_never_gets_the_name(void **state)
{
    const char *wrong = "00000000000000000000000000000000000000000000000000000000deadbeef";
    assert_refused(fetch_with("/plain", wrong, 0, 3, &result, &info), ERR_CORRUPT, "expected 0000");
    assert_int_equal(size_of(beside(".part")), SIZE_MAX);
    assert_refused(fetch_with("/plain", NULL, SIZE + 1, 3, &result, &info), ERR_CORRUPT,
                   "3145729 were expected");
    clean(state);
    assert_refused(fetch_with("/unsized", NULL, SIZE - 1, 3, &result, &info), ERR_CORRUPT, "more than");
    clean(state);
    assert_refused(fetch_with("/unsized", NULL, SIZE + 1, 1, &result, &info), ERR_IO, "ended after");
    clean(state);
    assert_refused(fetch_with("/short-length", content_sha, 0, 3, &result, &info), ERR_CORRUPT,
                   "SHA-256");
    clean(state);
    leave_part(HALF, false, "\"v1\""); /* wrong bytes under the right tag: only the hash can tell */
    assert_refused(fetch_with("/plain", content_sha, SIZE, 3, &result, &info), ERR_CORRUPT, "SHA-256");
    assert_int_equal(fetch_with("/plain", content_sha, SIZE, 3, &result, &info), ERR_OK);
    assert_complete();
}

static void the_hubs_own_hash_is_used(void **state)
{
    (void)state;
    assert_int_equal(fetch("/linked"), ERR_OK);
    assert_complete();
    clean(state);
    assert_refused(fetch("/linked-wrong"), ERR_CORRUPT, "SHA-256");
    char url[600];
    struct download_about about;
    snprintf(url, sizeof url, "%s/linked", server.base);
    assert_int_equal(download_ask(url, &about, &info), ERR_OK);
    assert_int_equal(about.size, SIZE);
    assert_string_equal(about.sha256, content_sha);
}

static void redirects_are_followed_but_not_everywhere(void **state)
{
    assert_int_equal(fetch("/hop"), ERR_OK);
    assert_complete();
    clean(state);
    assert_refused(fetch("/loop"), ERR_IO, "more than 5 times");
    assert_int_equal(atomic_load(&server.hits), DOWNLOAD_REDIRECTS + 1);
    const char *bad[] = {"/to/file:///etc/passwd", "/to/http://example.com/x", "/to/ftp://127.0.0.1/x",
                         "/to/http://127.0.0.1.example.com/x", "/to/http://user:pw@127.0.0.1/x",
                         "/to/gopher://127.0.0.1/x", "/to/http://2130706434.com/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(fetch(bad[i]), ERR_IO, "forbidden address");
    }
}

static void addresses_are_judged_before_anything_is_sent(void **state)
{
    (void)state;
    const char *good[] = {"https://example.com/x", "http://127.0.0.1:8080/x", "http://localhost/x",
                          "http://[::1]/x", "HTTPS://example.com/"};
    const char *bad[] = {"http://example.com/x", "file:///etc/passwd", "ftp://example.com/", "x", "",
                         "http://localhost.example.com/", "https://u:p@example.com/", "https://",
                         "http://10.0.0.1/", "javascript:alert(1)"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(download_check_url(good[i], &info), ERR_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(download_check_url(bad[i], &info), ERR_ARGUMENT);
    }
    static char huge[DOWNLOAD_URL_MAX + 10];
    memset(huge, 'a', sizeof huge - 1);
    memcpy(huge, "https://", 8);
    assert_int_equal(download_check_url(huge, &info), ERR_ARGUMENT);
}

static void a_disk_too_small_is_refused_beforehand_with_numbers(void **state)
{
    (void)state;
    assert_refused(fetch("/huge"), ERR_LIMIT, "1152921504606846976 bytes");
    assert_int_equal(download_check_space("/no/such/folder/yet", 1, &info), ERR_OK);
    assert_int_equal(download_check_space("/no/such/folder/yet", UINT64_MAX, &info), ERR_LIMIT);
}

static void a_disk_that_fills_up_keeps_what_is_sound_and_continues_later(void **state)
{
    (void)state;
    struct rlimit old;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small = {.rlim_cur = HALF + 1000, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    err e = fetch("/plain");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_refused(e, ERR_IO, "File too large");
    size_t kept = size_of(beside(".part"));
    assert_true(kept > 0 && kept <= HALF + 1000);
    assert_int_equal(fetch("/plain"), ERR_OK);
    assert_complete();
    assert_int_equal(result.resumed, kept);
}

static void every_failing_disk_call_is_an_error_and_the_next_run_repairs(void **state)
{
    size_t k = 1;
    for (;; k++) {
        file_fault(k, ENOSPC);
        err e = fetch("/plain");
        file_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_IO);
        assert_int_equal(fetch("/plain"), ERR_OK);
        assert_complete();
        clean(state);
    }
    assert_true(k > 5);
    assert_complete();
}

static void every_failing_allocation_is_an_error_without_a_leak(void **state)
{
    for (size_t k = 1;; k++) {
        size_t alive = mem_alive();
        leave_part(HALF, true, "\"v1\"");
        mem_fault(k, 0);
        err e = fetch("/plain");
        mem_fault(0, 0);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            assert_true(k > 5);
            assert_complete();
            return;
        }
        assert_int_equal(e, ERR_NOMEM);
        clean(state);
    }
}

static bool now(void)
{
    return true;
}

static void stopping_keeps_the_part(void **state)
{
    (void)state;
    char url[600];
    snprintf(url, sizeof url, "%s/plain", server.base);
    leave_part(HALF, true, "\"v1\"");
    const struct download d = {.url = url, .path = path, .retries = 5, .cancelled = now};
    assert_refused(download_file(&d, &result, &info), ERR_CANCELLED, "");
    assert_true(size_of(beside(".part")) >= HALF);
    assert_int_equal(fetch("/plain"), ERR_OK);
    assert_complete();
}

static void two_writers_do_not_share_a_part(void **state)
{
    (void)state;
    struct file_writer *w;
    assert_int_equal(file_writer_resume(path, &w, &info), ERR_OK);
    assert_refused(fetch("/plain"), ERR_IO, "another process");
    file_writer_close(w);
}

static void small_texts_are_bounded(void **state)
{
    (void)state;
    char url[600];
    char *text;
    size_t n;
    snprintf(url, sizeof url, "%s/plain", server.base);
    assert_int_equal(download_text(url, SIZE - 1, &text, &n, &info), ERR_LIMIT);
    assert_int_equal(download_text(url, SIZE, &text, &n, &info), ERR_OK);
    assert_int_equal(n, SIZE);
    mem_free(text);
    snprintf(url, sizeof url, "%s/404", server.base);
    assert_int_equal(download_text(url, SIZE, &text, &n, &info), ERR_NOTFOUND);
}

#define TEST(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_plain_file_arrives_whole),
        TEST(a_part_is_continued_with_a_range),
        TEST(a_complete_part_of_known_size_needs_no_network),
        TEST(without_tag_or_hash_a_part_is_not_trusted),
        TEST(a_changed_file_is_fetched_from_the_beginning),
        TEST(servers_without_ranges_or_with_wrong_ones_still_give_the_file),
        TEST(broken_off_answers_are_continued_while_they_progress),
        TEST(hopeless_servers_are_given_up_and_the_part_is_kept),
        TEST(wrong_content_never_gets_the_name),
        TEST(the_hubs_own_hash_is_used),
        TEST(redirects_are_followed_but_not_everywhere),
        TEST(addresses_are_judged_before_anything_is_sent),
        TEST(a_disk_too_small_is_refused_beforehand_with_numbers),
        TEST(a_disk_that_fills_up_keeps_what_is_sound_and_continues_later),
        TEST(every_failing_disk_call_is_an_error_and_the_next_run_repairs),
        TEST(every_failing_allocation_is_an_error_without_a_leak),
        TEST(stopping_keeps_the_part),
        TEST(two_writers_do_not_share_a_part),
        TEST(small_texts_are_bounded),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
