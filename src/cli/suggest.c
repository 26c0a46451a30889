/* cli/suggest.c: see suggest.h. The optimal string alignment distance, with three rows kept. */
#include "cli/suggest.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

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

const char *suggest_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    const char *begun = NULL;
    size_t n_begun = 0;
    size_t best_distance = suggest_min(strlen(word) / 3 + 1, 4);
    for (size_t i = 0; i < n; i++) {
        size_t d = suggest_distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
        if (word[0] && strncasecmp(word, names[i], strlen(word)) == 0) {
            begun = names[i];
            n_begun++;
        }
    }
    return n_begun == 1 ? begun : best;
}
