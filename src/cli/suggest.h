/* cli/suggest.h: "did you mean": the known word nearest to a mistyped one. */
#ifndef CLI_SUGGEST_H
#define CLI_SUGGEST_H

#include <stddef.h>

enum { SUGGEST_WORD_MAX = 64 }; /* longer words get no suggestion */

/* Letters to insert, delete, replace or swap with a neighbour to get from a to b (case ignored);
 * a number beyond every threshold for words over SUGGEST_WORD_MAX. */
size_t suggest_distance(const char *a, const char *b);

/* The nearest of names[n], or NULL when none is near enough to be worth saying: at most a third of
 * the letters wrong, or `word` is the beginning of exactly one name, or exactly one name with letters left out,
 * at most two thirds of them. */
const char *suggest_nearest(const char *word, const char *const *names, size_t n);

#endif
