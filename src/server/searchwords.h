/* server/searchwords.h: text as the words that a search looks for: letters and digits, without case and
 * accents. Characters of scripts that write no blanks between words (Chinese, Japanese, Thai …) are words of
 * their own. Pure; text is UTF-8, other bytes are passed over. */
#ifndef SERVER_SEARCHWORDS_H
#define SERVER_SEARCHWORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

enum { SEARCHWORDS_LONGEST = 64, SEARCHWORDS_TERMS_MAX = 32, SEARCHWORDS_QUERY_MAX = 1000 };

struct searchwords { /* a walk over text; start with {text, n, 0} */
    const char *text;
    size_t n, at;
};

struct searchwords_word {
    size_t start, end; /* in the text */
    bool alone;        /* one character, of a script without blanks */
    size_t length;     /* of what it is compared by, cut at the longest */
    char folded[SEARCHWORDS_LONGEST + 4];
};

/* The next word; false at the end. */
bool searchwords_next(struct searchwords *walk, struct searchwords_word *out);

/* Appends the text's words, with a blank after each. */
ERR_MUST_USE err searchwords_append(const char *text, size_t n, struct strbuf *out);

/* What a person looks for: terms, each a word or characters that stand side by side. */
struct searchwords_query {
    struct searchwords_word words[SEARCHWORDS_TERMS_MAX];
    size_t n;
};
/* At most the first SEARCHWORDS_TERMS_MAX words of the first SEARCHWORDS_QUERY_MAX bytes. */
void searchwords_parse(const char *typed, struct searchwords_query *out);
/* The same as an expression of FTS5: every term must be there, the last word may be the beginning of one. */
ERR_MUST_USE err searchwords_expression(const struct searchwords_query *q, struct strbuf *out);

/* Some of the text around the first hit, with \u0002 and \u0003 around each hit, blanks for line ends and no
 * other control characters; the beginning when there is none. */
ERR_MUST_USE err searchwords_snippet(const struct searchwords_query *q, const char *text, struct strbuf *out);

#endif
