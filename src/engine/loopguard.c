/* engine/loopguard.c: see loopguard.h. */
#include "engine/loopguard.h"

size_t loopguard_push(struct loopguard *g, const int32_t *tokens, size_t n)
{
    for (size_t p = 1; p <= LOOPGUARD_PERIOD && p < n; p++) {
        g->run[p] = tokens[n - 1] == tokens[n - 1 - p] ? g->run[p] + 1 : 0;
        if (g->run[p] >= LOOPGUARD_TOKENS && g->run[p] >= LOOPGUARD_TIMES * p) {
            return p;
        }
    }
    return 0;
}
