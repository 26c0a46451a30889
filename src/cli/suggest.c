/* cli/suggest.c: see suggest.h. The optimal string alignment distance, with three rows kept. */
#include "cli/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { SUGGEST_BEGUN = 2, SUGGEST_SHORTENED = 3, /* letters that say something */
       SUGGEST_PART = 3 /* a shortened word has at least one letter in so many */ };

static size_t suggest_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int suggest_lower(const char *s, size_t i)
{
    return tolower((unsigned char)s[i]);
}

size_t suggest_distance(const char *a, const char *b)
{
    size_t n = strlen(a);
    size_t m = strlen(b);
    if (n > SUGGEST_WORD_MAX || m > SUGGEST_WORD_MAX) {
        return SUGGEST_WORD_MAX + 1;
    }
    size_t rows[3][SUGGEST_WORD_MAX + 1];
    size_t *before = rows[0]; /* row i - 2 */
    size_t *last = rows[1];   /* row i - 1 */
    size_t *row = rows[2];
    for (size_t j = 0; j <= m; j++) {
        last[j] = before[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t same = suggest_lower(a, i - 1) == suggest_lower(b, j - 1);
            size_t d = suggest_min(last[j], row[j - 1]) + 1;
            d = suggest_min(d, last[j - 1] + !same);
            if (i > 1 && j > 1 && suggest_lower(a, i - 1) == suggest_lower(b, j - 2) &&
                suggest_lower(a, i - 2) == suggest_lower(b, j - 1)) {
                d = suggest_min(d, before[j - 2] + 1);
            }
            row[j] = d;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[m];
}

/* Whether `word` is `name` with letters left out, as people shorten: ctx for context. */
static bool suggest_shortens(const char *word, const char *name)
{
    bool first = suggest_lower(word, 0) == suggest_lower(name, 0);
    size_t at = 0;
    for (size_t i = 0; name[i] && word[at]; i++) {
        at += suggest_lower(word, at) == suggest_lower(name, i);
    }
    return first && word[at] == '\0';
}

const char *suggest_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    const char *begun = NULL, *shortened = NULL;
    size_t n_begun = 0, n_shortened = 0;
    size_t best_distance = suggest_min(strlen(word) / 3 + 1, 4);
    for (size_t i = 0; i < n; i++) {
        size_t d = suggest_distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
        if (strlen(word) >= SUGGEST_BEGUN && strncasecmp(word, names[i], strlen(word)) == 0) {
            begun = names[i];
            n_begun++;
        }
        if (strlen(word) >= SUGGEST_SHORTENED && strlen(word) * SUGGEST_PART >= strlen(names[i]) &&
            suggest_shortens(word, names[i])) {
            shortened = names[i];
            n_shortened++;
        }
    }
    return n_begun == 1 ? begun : best ? best : n_shortened == 1 ? shortened : NULL;
}
