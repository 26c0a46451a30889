/* Text out of PDF files over HTTP: what is read, what is refused, and that nobody's files keep others' waiting. */
#include "server/pagefixture.h"

#include "base/procself.h"
#include "server/pagepdf.h"
#include "server/pdffixture.h"

/* Short enough to end soon after the test, and long enough to tell from a server that does not wait. */
static const struct pdfworker_limits limits = {
    .cpu_s = 4, .wall_s = 6, .memory = 1 << 29, .input_max = 1 << 20, .text_max = 2000};

static struct servicefixture f;
static struct pdftext *reader;

static bool open_service(void)
{
    struct errinfo info = {0};
    err e = pdftext_start(&limits, &reader, &info);
    if (e != ERR_OK) {
        assert_true(e == ERR_NOTFOUND || e == ERR_UNSUPPORTED);
        print_message("skipped: %s\n", info.message);
        return false;
    }
    const struct service_options o = {.format = CHAT_CHATML, .guard = {.key_required = true}, .pdf = reader};
    servicefixture_open(&f, ENGINEFIXTURE_CHAT, &o);
    return true;
}

static void close_service(void)
{
    servicefixture_close(&f);
    pdftext_stop(reader);
}

static void send_file(struct rawclient *c, const struct pagefixture_key *who, const struct pdffixture *file)
{
    char head[PAGEFIXTURE_HEADERS + 200];
    snprintf(head, sizeof head,
             "POST /api/extract HTTP/1.1\r\nHost: localhost\r\n%sContent-Type: application/pdf\r\n"
             "Content-Length: %zu\r\n\r\n",
             who->headers, file->bytes.len);
    *c = rawclient_open(f.port);
    assert_true(rawclient_say(c, head) && rawclient_send(c, file->bytes.data, file->bytes.len));
}

/* The reply must have that status and, at `path` of its document, that text. */
static void gives(const struct pagefixture_key *who, struct pdffixture *file, int status, const char *path,
                  const char *text)
{
    struct rawclient c;
    send_file(&c, who, file);
    struct rawclient_reply r = rawclient_reply(&c);
    assert_int_equal(r.status, status);
    json_t *d = servicefixture_parse(r.body, r.len);
    servicefixture_says(d, path, text);
    json_decref(d);
    rawclient_free(&r);
    rawclient_close(&c);
    strbuf_deinit(&file->bytes);
}

static void small_file(struct pdffixture *file, const char *words)
{
    char content[100];
    snprintf(content, sizeof content, "BT /F1 18 Tf 20 200 Td (%s) Tj ET", words);
    pdffixture_page(file, content);
    pdffixture_finish(file, "");
}

static void test_a_file_gives_its_text(void **state)
{
    struct pagefixture_key ann;
    struct pdffixture file;
    (void)state;
    if (!open_service()) {
        skip();
    }
    pagefixture_key(&f, "{'name':'ann'}", &ann);
    small_file(&file, "Hello Fathom");
    gives(&ann, &file, 200, "text", "Hello Fathom\n\n\f");
    file = (struct pdffixture){.n = 0};
    pdffixture_put(&file, "this is no PDF");
    gives(&ann, &file, 415, "error.code", "no_text");
    file = (struct pdffixture){.n = 0};
    gives(&ann, &file, 415, "error.code", "no_text");
    close_service();
}

/* One who sends many files that take long: one is read, some wait, the others are refused. No thread is made for
 * them, another's file is read meanwhile, and the server stops as soon as it is told to. */
static void test_nobody_keeps_the_readers(void **state)
{
    enum { MANY = PAGEPDF_WAITING + 4 };
    struct pagefixture_key ann, bob;
    struct pdffixture slow, small;
    struct rawclient c[MANY];
    int refused = 0;
    (void)state;
    if (!open_service()) {
        skip();
    }
    pagefixture_key(&f, "{'name':'ann'}", &ann);
    pagefixture_key(&f, "{'name':'bob'}", &bob);
    pdffixture_nested(&slow, "0 0 m 9 9 l S");
    size_t before = procself_number("status", "Threads");
    for (int i = 0; i < MANY; i++) {
        send_file(&c[i], &ann, &slow);
        usleep(20000);
    }
    assert_true(procself_number("status", "Threads") <= before); /* some of its beginning may have ended */
    for (int i = PAGEPDF_WAITING; i < MANY; i++) {
        if (rawclient_more(&c[i], 500)) {
            char seconds[1024];
            struct rawclient_reply r = rawclient_reply(&c[i]);
            assert_int_equal(r.status, 429);
            assert_non_null(rawclient_header(&r, "Retry-After", seconds));
            assert_non_null(strstr(r.body, "overloaded"));
            rawclient_free(&r);
            refused++;
        }
    }
    assert_int_equal(refused, MANY - PAGEPDF_WAITING - 1);
    small_file(&small, "in between");
    gives(&bob, &small, 200, "text", "in between\n\n\f");
    double since = progress_clock();
    close_service();
    assert_true(progress_clock() - since < limits.cpu_s / 2.0);
    for (int i = 0; i < MANY; i++) {
        rawclient_close(&c[i]);
    }
    strbuf_deinit(&slow.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_gives_its_text),
        cmocka_unit_test(test_nobody_keeps_the_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
