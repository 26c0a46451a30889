/* engine/loopguard.h: has an answer fallen into saying the same thing for ever? Small models do, and
 * without a limit they would go on to the end of the context.
 *
 * Only exact repetition counts: the last LOOPGUARD_TOKENS tokens, and at least LOOPGUARD_TIMES times the
 * period, are each the same as the token one period before them. So a passage of p tokens is seen at least
 * LOOPGUARD_TIMES + 1 times over, and a single token or short phrase for LOOPGUARD_TOKENS tokens. */
#ifndef ENGINE_LOOPGUARD_H
#define ENGINE_LOOPGUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOOPGUARD_PERIOD = 256, LOOPGUARD_TOKENS = 160, LOOPGUARD_TIMES = 3 };

struct loopguard {
    size_t run[LOOPGUARD_PERIOD + 1]; /* [p] tokens in a row equal to the one p before */
};

/* To be called after every token of an answer, from the first on, with a struct that was zero before:
 * looks at the last of its n tokens. Returns the period of the loop the answer is in, or 0. */
size_t loopguard_push(struct loopguard *g, const int32_t *tokens, size_t n);

#endif
