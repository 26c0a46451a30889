/* The text of PDF files: small ones written here, broken ones, and ones made to exhaust whoever reads them; behind
 * the server's sandbox as before it. */
#include "server/pdffixture.h"
#include "server/sandboxfixture.h"

#include <pthread.h>

#include "base/mem.h"
#include "server/pdftext.h"

/* ---- readers ---- */

static const struct pdfworker_limits small = {
    .cpu_s = 1, .wall_s = 3, .memory = 1 << 29, .input_max = 1 << 20, .text_max = 2000};

static struct pdftext *start(void)
{
    struct errinfo info = {0};
    struct pdftext *p = NULL;
    err e = pdftext_start(&small, &p, &info);
    if (e == ERR_NOTFOUND || e == ERR_UNSUPPORTED) {
        print_message("skipped: %s\n", info.message);
        return NULL;
    }
    if (e != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return p;
}

static err read_bytes(struct pdftext *p, const void *bytes, size_t n, char **text, struct errinfo *info)
{
    size_t len = 0;
    *info = (struct errinfo){0};
    err e = pdftext_read(p, bytes, n, text, &len, info);
    if (e == ERR_OK) {
        assert_int_equal(strlen(*text), len);
    }
    return e;
}

static void refused(struct pdftext *p, struct pdffixture *file, err expected, const char *words)
{
    struct errinfo info;
    char *text = NULL;
    err e = read_bytes(p, file->bytes.data, file->bytes.len, &text, &info);
    if (e != expected || !strstr(info.message, words)) {
        fail_msg("%s: %s, expected %s: … %s …", err_name(e), info.message, err_name(expected), words);
    }
    strbuf_deinit(&file->bytes);
}

static void test_text(void **state)
{
    struct pdftext *p = start();
    struct errinfo info;
    struct pdffixture file;
    char *text = NULL;
    (void)state;
    if (!p) {
        skip();
    }
    pdffixture_page(&file, "BT /F1 18 Tf 20 200 Td (Hello Fathom, na\\357ve) Tj ET");
    pdffixture_finish(&file, "");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_bytes(p, file.bytes.data, file.bytes.len, &text, &info), ERR_OK);
        assert_string_equal(text, "Hello Fathom, na\xc3\xafve\n\n\f");
        mem_free(text);
    }
    strbuf_deinit(&file.bytes);
    pdftext_stop(p);
}

static void test_refused(void **state)
{
    struct pdftext *p = start();
    struct pdffixture file;
    (void)state;
    if (!p) {
        skip();
    }
    pdffixture_page(&file, "0 0 100 100 re f");
    pdffixture_finish(&file, "");
    refused(p, &file, ERR_UNSUPPORTED, "no text");
    file = (struct pdffixture){.n = 0};
    pdffixture_put(&file, "this is no PDF");
    refused(p, &file, ERR_CORRUPT, "cannot be read as a PDF");
    pdffixture_page(&file, "BT /F1 18 Tf (x) Tj ET");
    file.bytes.len /= 3;
    refused(p, &file, ERR_CORRUPT, "cannot be read as a PDF");
    pdffixture_page(&file, "BT /F1 18 Tf (x) Tj ET");
    pdffixture_finish(&file, "/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/Length 40"
                  "/O<0000000000000000000000000000000000000000000000000000000000000000>"
                  "/U<0000000000000000000000000000000000000000000000000000000000000000>>>");
    refused(p, &file, ERR_UNSUPPORTED, "password");
    file = (struct pdffixture){.n = 0};
    refused(p, &file, ERR_CORRUPT, "empty");
    pdffixture_begin(&file);
    while (file.bytes.len <= small.input_max) {
        pdffixture_put(&file, "% a comment that goes on and on and on and on and on and on and on and on\n");
    }
    refused(p, &file, ERR_LIMIT, "larger than 1.05 MB");
    pdftext_stop(p);
}

/* What is made to exhaust its reader ends by a limit, and the next file is read as if nothing had been. */
static void test_bombs(void **state)
{
    struct pdftext *p = start();
    struct errinfo info;
    struct pdffixture file;
    char *text = NULL;
    (void)state;
    if (!p) {
        skip();
    }
    pdffixture_nested(&file, "0 0 m 9 9 l S");
    refused(p, &file, ERR_LIMIT, "takes longer than 1 s");
    struct strbuf much = {0};
    for (int y = 5; y < 300; y += 5) {
        assert_int_equal(strbuf_printf(&much, "BT /F1 4 Tf 0 %d Td (%080d) Tj ET\n", y, y), ERR_OK);
    }
    pdffixture_page(&file, much.data);
    pdffixture_finish(&file, "");
    refused(p, &file, ERR_LIMIT, "more than");
    strbuf_deinit(&much);
    pdffixture_page(&file, "BT /F1 18 Tf 20 200 Td (still here) Tj ET");
    pdffixture_finish(&file, "");
    assert_int_equal(read_bytes(p, file.bytes.data, file.bytes.len, &text, &info), ERR_OK);
    assert_string_equal(text, "still here\n\n\f");
    mem_free(text);
    strbuf_deinit(&file.bytes);
    pdftext_stop(p);
}

/* ---- many at once ---- */

struct reader {
    struct pdftext *p;
    struct pdffixture *file;
    char *text;
    struct errinfo info;
    err e;
};

static void *read_in_thread(void *user)
{
    struct reader *r = user;
    r->e = read_bytes(r->p, r->file->bytes.data, r->file->bytes.len, &r->text, &r->info);
    return NULL;
}

static void test_many(void **state)
{
    enum { N = 6 };
    struct pdftext *p = start();
    struct reader readers[N];
    pthread_t threads[N];
    struct pdffixture files[N];
    (void)state;
    if (!p) {
        skip();
    }
    for (int i = 0; i < N; i++) {
        char content[100];
        snprintf(content, sizeof content, "BT /F1 18 Tf 20 200 Td (number %d) Tj ET", i);
        pdffixture_page(&files[i], content);
        pdffixture_finish(&files[i], "");
        readers[i] = (struct reader){.p = p, .file = &files[i]};
        pthread_create(&threads[i], NULL, read_in_thread, &readers[i]);
    }
    for (int i = 0; i < N; i++) {
        char expected[100];
        snprintf(expected, sizeof expected, "number %d\n\n\f", i);
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].e, ERR_OK);
        assert_string_equal(readers[i].text, expected);
        mem_free(readers[i].text);
        strbuf_deinit(&files[i].bytes);
    }
    pdftext_stop(p);
}

/* ---- memory that is short ---- */

static void test_memory(void **state)
{
    struct pdftext *p = start();
    struct errinfo info;
    struct pdffixture file;
    char *text = NULL;
    (void)state;
    if (!p) {
        skip();
    }
    pdftext_stop(p);
    size_t before = mem_alive();
    err e = ERR_NOMEM;
    for (size_t k = 1; e != ERR_OK; k++) {
        mem_fault(k, 0);
        e = pdftext_start(&small, &p, &info);
        mem_fault(0, 0);
        assert_true(e == ERR_OK || mem_alive() == before); /* whether it was short here or in the reader */
    }
    pdffixture_page(&file, "BT /F1 18 Tf 20 200 Td (still here) Tj ET");
    pdffixture_finish(&file, "");
    mem_fault(1, 0);
    e = read_bytes(p, file.bytes.data, file.bytes.len, &text, &info);
    mem_fault(0, 0);
    assert_int_equal(e, ERR_NOMEM);
    for (int i = 0; i < PDFTEXT_WORKERS; i++) { /* none was lost by it */
        assert_int_equal(read_bytes(p, file.bytes.data, file.bytes.len, &text, &info), ERR_OK);
        mem_free(text);
    }
    strbuf_deinit(&file.bytes);
    pdftext_stop(p);
    assert_int_equal(mem_alive(), before);
}

/* ---- behind the sandbox ---- */

static int reads_behind(struct place *place)
{
    struct pdftext *p = start();
    struct errinfo info;
    struct pdffixture file;
    char *text = NULL;
    if (!p) {
        return WENT_WELL; /* said, and counted by the others as skipped */
    }
    if (!sandboxfixture_enter(place, 0)) {
        return NOT_ENTERED;
    }
    pdffixture_page(&file, "BT /F1 18 Tf 20 200 Td (behind) Tj ET");
    pdffixture_finish(&file, "");
    bool well = read_bytes(p, file.bytes.data, file.bytes.len, &text, &info) == ERR_OK &&
                strcmp(text, "behind\n\n\f") == 0;
    mem_free(text);
    strbuf_deinit(&file.bytes);
    pdftext_stop(p);
    return well ? WENT_WELL : STRANGE;
}

static void test_behind_the_sandbox(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    assert_int_equal(sandboxfixture_run(reads_behind, 0, true), WENT_WELL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bombs),  cmocka_unit_test(test_many),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_behind_the_sandbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
