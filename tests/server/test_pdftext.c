/* The text of PDF files: small ones written here, broken ones, and ones made to exhaust whoever reads them; behind
 * the server's sandbox as before it. */
#include "server/sandboxfixture.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "server/pdftext.h"

/* ---- PDF files ---- */

struct pdf {
    struct strbuf bytes;
    size_t at[32]; /* where object i begins */
    int n;
};

static void put(struct pdf *p, const char *text)
{
    assert_int_equal(strbuf_puts(&p->bytes, text), ERR_OK);
}

static void begin(struct pdf *p)
{
    *p = (struct pdf){.n = 0};
    put(p, "%PDF-1.4\n");
}

static void object(struct pdf *p, const char *body)
{
    p->at[++p->n] = p->bytes.len;
    assert_int_equal(strbuf_printf(&p->bytes, "%d 0 obj%s endobj\n", p->n, body), ERR_OK);
}

static void stream(struct pdf *p, const char *dictionary, const char *content)
{
    p->at[++p->n] = p->bytes.len;
    assert_int_equal(strbuf_printf(&p->bytes, "%d 0 obj<<%s/Length %zu>>stream\n%s\nendstream endobj\n", p->n,
                                   dictionary, strlen(content), content),
                     ERR_OK);
}

static void finish(struct pdf *p, const char *trailer)
{
    size_t table = p->bytes.len;
    assert_int_equal(strbuf_printf(&p->bytes, "xref\n0 %d\n0000000000 65535 f \n", p->n + 1), ERR_OK);
    for (int i = 1; i <= p->n; i++) {
        assert_int_equal(strbuf_printf(&p->bytes, "%010zu 00000 n \n", p->at[i]), ERR_OK);
    }
    assert_int_equal(strbuf_printf(&p->bytes, "trailer<</Root 1 0 R/Size %d%s>>\nstartxref\n%zu\n%%%%EOF\n", p->n + 1,
                                   trailer, table),
                     ERR_OK);
}

static void page(struct pdf *p, const char *content)
{
    begin(p);
    object(p, "<</Type/Catalog/Pages 2 0 R>>");
    object(p, "<</Type/Pages/Kids[3 0 R]/Count 1>>");
    object(p, "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>"
              "/XObject<</X 6 0 R>>>>>>");
    stream(p, "", content);
    object(p, "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>");
}

/* Eight levels, each drawing the one below twenty times. */
static void nested(struct pdf *p, const char *innermost)
{
    enum { LEVELS = 8 };
    page(p, "/X Do");
    for (int i = 0; i < LEVELS; i++) {
        char dictionary[200], content[400] = "";
        bool last = i == LEVELS - 1;
        snprintf(dictionary, sizeof dictionary,
                 "/Type/XObject/Subtype/Form/BBox[0 0 300 300]/Resources<</Font<</F1 5 0 R>>/XObject<</X %d 0 R>>>>",
                 last ? 6 : p->n + 2);
        for (int j = 0; j < 20 && !last; j++) {
            strcat(content, "/X Do ");
        }
        stream(p, dictionary, last ? innermost : content);
    }
    finish(p, "");
}

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

static void refused(struct pdftext *p, struct pdf *file, err expected, const char *words)
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
    struct pdf file;
    char *text = NULL;
    (void)state;
    if (!p) {
        skip();
    }
    page(&file, "BT /F1 18 Tf 20 200 Td (Hello Fathom, na\\357ve) Tj ET");
    finish(&file, "");
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
    struct pdf file;
    (void)state;
    if (!p) {
        skip();
    }
    page(&file, "0 0 100 100 re f");
    finish(&file, "");
    refused(p, &file, ERR_UNSUPPORTED, "no text");
    file = (struct pdf){.n = 0};
    put(&file, "this is no PDF");
    refused(p, &file, ERR_CORRUPT, "cannot be read as a PDF");
    page(&file, "BT /F1 18 Tf (x) Tj ET");
    file.bytes.len /= 3;
    refused(p, &file, ERR_CORRUPT, "cannot be read as a PDF");
    page(&file, "BT /F1 18 Tf (x) Tj ET");
    finish(&file, "/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/Length 40"
                  "/O<0000000000000000000000000000000000000000000000000000000000000000>"
                  "/U<0000000000000000000000000000000000000000000000000000000000000000>>>");
    refused(p, &file, ERR_UNSUPPORTED, "password");
    file = (struct pdf){.n = 0};
    refused(p, &file, ERR_CORRUPT, "empty");
    begin(&file);
    while (file.bytes.len <= small.input_max) {
        put(&file, "% a comment that goes on and on and on and on and on and on and on and on\n");
    }
    refused(p, &file, ERR_LIMIT, "larger than 1.05 MB");
    pdftext_stop(p);
}

/* What is made to exhaust its reader ends by a limit, and the next file is read as if nothing had been. */
static void test_bombs(void **state)
{
    struct pdftext *p = start();
    struct errinfo info;
    struct pdf file;
    char *text = NULL;
    (void)state;
    if (!p) {
        skip();
    }
    nested(&file, "0 0 m 9 9 l S");
    refused(p, &file, ERR_LIMIT, "takes longer than 1 s");
    struct strbuf much = {0};
    for (int y = 5; y < 300; y += 5) {
        assert_int_equal(strbuf_printf(&much, "BT /F1 4 Tf 0 %d Td (%080d) Tj ET\n", y, y), ERR_OK);
    }
    page(&file, much.data);
    finish(&file, "");
    refused(p, &file, ERR_LIMIT, "more than");
    strbuf_deinit(&much);
    page(&file, "BT /F1 18 Tf 20 200 Td (still here) Tj ET");
    finish(&file, "");
    assert_int_equal(read_bytes(p, file.bytes.data, file.bytes.len, &text, &info), ERR_OK);
    assert_string_equal(text, "still here\n\n\f");
    mem_free(text);
    strbuf_deinit(&file.bytes);
    pdftext_stop(p);
}

/* ---- many at once ---- */

struct reader {
    struct pdftext *p;
    struct pdf *file;
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
    struct pdf files[N];
    (void)state;
    if (!p) {
        skip();
    }
    for (int i = 0; i < N; i++) {
        char content[100];
        snprintf(content, sizeof content, "BT /F1 18 Tf 20 200 Td (number %d) Tj ET", i);
        page(&files[i], content);
        finish(&files[i], "");
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
    struct pdf file;
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
    page(&file, "BT /F1 18 Tf 20 200 Td (still here) Tj ET");
    finish(&file, "");
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
    struct pdf file;
    char *text = NULL;
    if (!p) {
        return WENT_WELL; /* said, and counted by the others as skipped */
    }
    if (!sandboxfixture_enter(place, 0)) {
        return NOT_ENTERED;
    }
    page(&file, "BT /F1 18 Tf 20 200 Td (behind) Tj ET");
    finish(&file, "");
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
