/* server/searchwords.c: see searchwords.h. */
#include "server/searchwords.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

enum { SEARCHWORDS_BEFORE = 60, SEARCHWORDS_WINDOW = 200 };

/* Scripts that write no blanks between words. */
static bool searchwords_alone(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x0e00, 0x0eff}, {0x1000, 0x109f},   {0x1780, 0x17ff},   {0x2e80, 0x2fdf}, {0x3005, 0x3007},
        {0x3040, 0x312f}, {0x31a0, 0x31ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff}, {0xf900, 0xfaff},
        {0xff66, 0xff9f}, {0x1b000, 0x1b16f}, {0x20000, 0x3ffff},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (c >= ranges[i][0] && c <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}

static bool searchwords_wordly(uint32_t c)
{
    if (c < 0x80) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NO;
}

/* Adds what `c` is compared by; nothing for an accent, and nothing more to a word that is long enough. */
static void searchwords_fold(uint32_t c, struct searchwords_word *w)
{
    utf8proc_int32_t points[32];
    int boundary = 0;
    utf8proc_ssize_t n = 1;
    points[0] = c >= 'A' && c <= 'Z' ? (utf8proc_int32_t)c + 32 : (utf8proc_int32_t)c;
    if (c >= 0x80) {
        n = utf8proc_decompose_char((utf8proc_int32_t)c, points, 32,
                                    UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                                        UTF8PROC_STRIPMARK | UTF8PROC_IGNORE,
                                    &boundary);
    }
    for (utf8proc_ssize_t i = 0; i < n && i < 32 && w->length < SEARCHWORDS_LONGEST; i++) {
        if (searchwords_wordly((uint32_t)points[i])) {
            w->length += utf8_write((uint32_t)points[i], w->folded + w->length);
        }
    }
}

/* The character at the walk's place; 0 length at the end. Bytes that are no character are passed over. */
static size_t searchwords_char(struct searchwords *walk, uint32_t *point)
{
    while (walk->at < walk->n) {
        size_t n = utf8_length(walk->text + walk->at, walk->n - walk->at, NULL, NULL);
        if (n > 0) {
            *point = utf8_point(walk->text + walk->at, n);
            return n;
        }
        walk->at++;
    }
    return 0;
}

bool searchwords_next(struct searchwords *walk, struct searchwords_word *out)
{
    uint32_t c = 0;
    size_t n;
    out->length = 0;
    while (out->length == 0) {
        while ((n = searchwords_char(walk, &c)) > 0 && !searchwords_wordly(c)) {
            walk->at += n;
        }
        if (n == 0) {
            return false;
        }
        out->start = walk->at;
        out->alone = searchwords_alone(c);
        do {
            searchwords_fold(c, out);
            out->end = walk->at += n;
            n = searchwords_char(walk, &c);
        } while (n > 0 && !out->alone && searchwords_wordly(c) && !searchwords_alone(c));
    }
    out->folded[out->length] = '\0';
    return true;
}

err searchwords_append(const char *text, size_t n, struct strbuf *out)
{
    struct searchwords walk = {text, n, 0};
    struct searchwords_word w;
    while (searchwords_next(&walk, &w)) {
        w.folded[w.length] = ' ';
        TRY(strbuf_append(out, w.folded, w.length + 1));
    }
    return ERR_OK;
}

/* ---- Queries. ---- */

void searchwords_parse(const char *typed, struct searchwords_query *out)
{
    struct searchwords walk = {typed, strnlen(typed, SEARCHWORDS_QUERY_MAX), 0};
    out->n = 0;
    while (out->n < SEARCHWORDS_TERMS_MAX && searchwords_next(&walk, &out->words[out->n])) {
        out->n++;
    }
}

/* Whether word i + 1 belongs to the same term as word i. */
static bool searchwords_goes_on(const struct searchwords_query *q, size_t i)
{
    const struct searchwords_word *w = &q->words[i];
    return i + 1 < q->n && w->alone && w[1].alone && w->end == w[1].start;
}

/* Whether only the beginning of word i must be there: of the last, which may not be typed to its end. One
 * letter begins too many to be of use. */
static bool searchwords_begins(const struct searchwords_query *q, size_t i)
{
    return i + 1 == q->n && !q->words[i].alone && q->words[i].length > 1;
}

err searchwords_expression(const struct searchwords_query *q, struct strbuf *out)
{
    for (size_t i = 0; i < q->n; i++) {
        bool first = i == 0 || !searchwords_goes_on(q, i - 1);
        TRY(strbuf_puts(out, first ? "\"" : " "));
        TRY(strbuf_append(out, q->words[i].folded, q->words[i].length));
        if (!searchwords_goes_on(q, i)) {
            TRY(strbuf_puts(out, searchwords_begins(q, i) ? "\"* " : "\" "));
        }
    }
    return ERR_OK;
}

/* ---- Snippets. ---- */

static bool searchwords_same(const struct searchwords_query *q, size_t i, const struct searchwords_word *w)
{
    const struct searchwords_word *x = &q->words[i];
    bool long_enough = searchwords_begins(q, i) ? w->length >= x->length : w->length == x->length;
    return long_enough && memcmp(w->folded, x->folded, x->length) == 0;
}

/* Where the term whose first word is `i` ends when it begins with `word`, which `rest` follows; 0: it does not.
 */
static size_t searchwords_match(const struct searchwords_query *q, size_t i, struct searchwords_word word,
                                struct searchwords rest)
{
    while (searchwords_same(q, i, &word)) {
        if (!searchwords_goes_on(q, i)) {
            return word.end;
        }
        i++;
        if (!searchwords_next(&rest, &word)) {
            return 0;
        }
    }
    return 0;
}

/* The next hit of any term. */
static bool searchwords_hit(const struct searchwords_query *q, struct searchwords *walk, size_t *start,
                            size_t *end)
{
    struct searchwords_word w;
    while (searchwords_next(walk, &w)) {
        for (size_t i = 0; i < q->n; i++) {
            size_t stop = i > 0 && searchwords_goes_on(q, i - 1) ? 0 : searchwords_match(q, i, w, *walk);
            if (stop > 0) {
                *start = w.start;
                *end = walk->at = stop;
                return true;
            }
        }
    }
    return false;
}

/* Plain text: one blank for blanks and control characters. */
static err searchwords_plain(const char *text, size_t from, size_t to, struct strbuf *out)
{
    for (size_t i = from; i < to; i++) {
        bool blank = (unsigned char)text[i] <= ' ' || text[i] == 0x7f;
        if (!blank) {
            TRY(strbuf_append(out, text + i, 1));
        } else if (out->len > 0 && out->data[out->len - 1] != ' ') {
            TRY(strbuf_append(out, " ", 1));
        }
    }
    return ERR_OK;
}

static size_t searchwords_boundary(const char *text, size_t at)
{
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) {
        at--;
    }
    return at;
}

err searchwords_snippet(const struct searchwords_query *q, const char *text, struct strbuf *out)
{
    struct searchwords walk = {text, strlen(text), 0};
    size_t start = 0, end = 0, from = 0, to = walk.n;
    bool hit = searchwords_hit(q, &walk, &start, &end);
    if (start > SEARCHWORDS_BEFORE) {
        from = searchwords_boundary(text, start - SEARCHWORDS_BEFORE);
        const char *blank = memchr(text + from, ' ', start - from);
        from = blank ? (size_t)(blank - text) + 1 : from;
        TRY(strbuf_puts(out, "…"));
    }
    if (to - from > SEARCHWORDS_WINDOW) {
        to = searchwords_boundary(text, from + SEARCHWORDS_WINDOW);
    }
    while (hit && start < to) {
        end = end < to ? end : to;
        TRY(searchwords_plain(text, from, start, out));
        TRY(strbuf_puts(out, "\x02"));
        TRY(searchwords_plain(text, start, end, out));
        TRY(strbuf_puts(out, "\x03"));
        from = end;
        hit = searchwords_hit(q, &walk, &start, &end);
    }
    TRY(searchwords_plain(text, from, to, out));
    return to < strlen(text) ? strbuf_puts(out, "…") : strbuf_append(out, "", 0);
}
