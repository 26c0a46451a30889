/* engine/pacer.h: how many tokens of prompts a step may read beside answers, so that the answers go on at more
 * than half of their pace. Where more prompts than answers wait, their number counts: one answer does not hold
 * up thirty that have none yet. It learns from the times of steps. And how long a step may work out what
 * grammars let come next (generation_ready), by the same measure.
 *
 * Steps are not paid by the token: matrix products take rows in tiles, and the first tile may cost as much as
 * the answers alone. So a piece fills the tile at least, and the next one where little is left of it; where
 * that takes longer than prompts may, the steps after it leave prompts out until the time is made up for. A
 * zeroed struct knows nothing yet. */
#ifndef ENGINE_PACER_H
#define ENGINE_PACER_H

#include <stddef.h>

struct pacer {
    double answers_s; /* a step of answers alone; 0: unknown */
    double token_s;   /* what a prompt's token adds to it; 0: unknown */
    double debt_s;    /* what prompts took too much of late */
    double share;     /* of the time of answers alone: what prompts may add to a step now */
    size_t beside;    /* steps with prompts since the last of answers alone */
    double masks_s;   /* what grammars may take in this step; below 0: what they took too much of late */
};

/* Tokens of n_prompts prompts beside n_answers answers, 0 … room. */
size_t pacer_budget(struct pacer *p, size_t n_answers, size_t n_prompts, size_t room);

/* The step that was asked for took so long. */
void pacer_learn(struct pacer *p, double seconds, size_t n_answers, size_t n_prompt_tokens);

/* Seconds that grammars may take in the step that was learnt last, whose pass took pass_s; none where that is
 * not above 0. */
double pacer_masks(struct pacer *p, double pass_s);
/* They took so much of it. */
void pacer_masked(struct pacer *p, double seconds);

#endif
