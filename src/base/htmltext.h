/* base/htmltext.h: an HTML page being written, piece by piece. The first failure is kept and
 * everything after it is left out, so that a page's code need ask only once, at the end. */
#ifndef BASE_HTMLTEXT_H
#define BASE_HTMLTEXT_H

#include "base/strbuf.h"

struct htmltext {
    struct strbuf text; /* owned; strbuf_deinit */
    err failed;
};

/* Markup as it is. */
void htmltext_put(struct htmltext *h, const char *markup);
/* Markup with numbers in it; names and other text from outside go through htmltext_escaped instead.
 */
void htmltext_printf(struct htmltext *h, const char *fmt, ...) ERR_PRINTF(2, 3);
/* Text, safe inside an element and inside quotes: <, >, &, " and ' are written as entities, control
 * characters but newline and tab as U+FFFD. */
void htmltext_escaped(struct htmltext *h, const char *text);

#endif
