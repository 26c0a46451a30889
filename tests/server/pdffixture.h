/* tests/server/pdffixture.h: small PDF files, good ones and ones made to exhaust who reads them. Test programs
 * only. */
#ifndef TESTS_SERVER_PDFFIXTURE_H
#define TESTS_SERVER_PDFFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"

struct pdffixture {
    struct strbuf bytes;
    size_t at[32]; /* where object i begins */
    int n;
};

static inline void pdffixture_put(struct pdffixture *p, const char *text)
{
    assert_int_equal(strbuf_puts(&p->bytes, text), ERR_OK);
}

static inline void pdffixture_begin(struct pdffixture *p)
{
    *p = (struct pdffixture){.n = 0};
    pdffixture_put(p, "%PDF-1.4\n");
}

static inline void pdffixture_object(struct pdffixture *p, const char *body)
{
    p->at[++p->n] = p->bytes.len;
    assert_int_equal(strbuf_printf(&p->bytes, "%d 0 obj%s endobj\n", p->n, body), ERR_OK);
}

static inline void pdffixture_stream(struct pdffixture *p, const char *dictionary, const char *content)
{
    p->at[++p->n] = p->bytes.len;
    assert_int_equal(strbuf_printf(&p->bytes, "%d 0 obj<<%s/Length %zu>>stream\n%s\nendstream endobj\n", p->n,
                                   dictionary, strlen(content), content),
                     ERR_OK);
}

static inline void pdffixture_finish(struct pdffixture *p, const char *trailer)
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

static inline void pdffixture_page(struct pdffixture *p, const char *content)
{
    pdffixture_begin(p);
    pdffixture_object(p, "<</Type/Catalog/Pages 2 0 R>>");
    pdffixture_object(p, "<</Type/Pages/Kids[3 0 R]/Count 1>>");
    pdffixture_object(p, "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>"
              "/XObject<</X 6 0 R>>>>>>");
    pdffixture_stream(p, "", content);
    pdffixture_object(p, "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>");
}

/* Eight levels, each drawing the one below twenty times. */
static inline void pdffixture_nested(struct pdffixture *p, const char *innermost)
{
    enum { LEVELS = 8 };
    pdffixture_page(p, "/X Do");
    for (int i = 0; i < LEVELS; i++) {
        char dictionary[200], content[400] = "";
        bool last = i == LEVELS - 1;
        snprintf(dictionary, sizeof dictionary,
                 "/Type/XObject/Subtype/Form/BBox[0 0 300 300]/Resources<</Font<</F1 5 0 R>>/XObject<</X %d 0 R>>>>",
                 last ? 6 : p->n + 2);
        for (int j = 0; j < 20 && !last; j++) {
            strcat(content, "/X Do ");
        }
        pdffixture_stream(p, dictionary, last ? innermost : content);
    }
    pdffixture_finish(p, "");
}

#endif
