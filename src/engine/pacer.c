/* engine/pacer.c: see pacer.h. */
#include "engine/pacer.h"

enum {
    PACER_TILE = 16,    /* rows that matrix products take at once (tensor/cpu/matmul.h) */
    PACER_REFRESH = 16, /* steps with prompts, then one of answers alone, so that its time stays known */
};
#define PACER_SHARE 0.7   /* of the time of answers alone: what as many prompts may add to a step */
#define PACER_MASKS 0.6   /* … and grammars, in a step without prompts */
#define PACER_MASKS_TOO 0.2 /* … in one with them */
#define PACER_WEIGHT 0.25 /* of the newest measurement */
#define PACER_SLOWER 0.05 /* of one of answers alone that is above the others: most often a disturbance */
#define PACER_LEAST 0.25  /* of the time of answers alone: what a piece is thought to add at least, so that the
                             next one is not much longer */
#define PACER_MOST 2      /* … and what is a disturbance above it, and no debt of the prompts */

size_t pacer_budget(struct pacer *p, size_t n_answers, size_t n_prompts, size_t room)
{
    size_t tile = PACER_TILE - n_answers % PACER_TILE;
    if (n_answers == 0) {
        return room;
    }
    tile += tile < PACER_TILE / 2 ? PACER_TILE : 0; /* by one or two tokens a step a prompt never ends */
    size_t n = tile;
    p->share = PACER_SHARE * (n_prompts > n_answers ? (double)n_prompts / (double)n_answers : 1);
    if (p->debt_s > 0 || p->beside == PACER_REFRESH) {
        return 0;
    }
    if (p->answers_s > 0 && p->token_s > 0) {
        double most = p->share * p->answers_s / p->token_s;
        n = most < (double)room ? (size_t)most : room;
        n = n < tile ? tile : tile + (n - tile) / PACER_TILE * PACER_TILE;
    }
    return n < room ? n : room;
}

static void pacer_measure(double *mean, double now, double weight)
{
    *mean = *mean > 0 ? (1 - weight) * *mean + weight * now : now;
}

void pacer_learn(struct pacer *p, double seconds, size_t n_answers, size_t n_prompt_tokens)
{
    double added = seconds, least = PACER_LEAST * p->answers_s, most = PACER_MOST * p->answers_s;
    if (n_prompt_tokens > 0 && n_answers > 0) {
        added = seconds - p->answers_s > least ? seconds - p->answers_s : least;
        p->beside++;
        p->debt_s += added < most ? added : most;
    } else {
        p->beside = 0;
    }
    if (n_prompt_tokens == 0) {
        pacer_measure(&p->answers_s, seconds, seconds > p->answers_s ? PACER_SLOWER : PACER_WEIGHT);
    } else if (n_answers == 0 || p->answers_s > 0) {
        pacer_measure(&p->token_s, added / (double)n_prompt_tokens, PACER_WEIGHT);
    }
    p->debt_s -= p->share * p->answers_s;
    p->debt_s = p->debt_s > 0 && n_answers > 0 && p->answers_s > 0 ? p->debt_s : 0;
}

double pacer_masks(struct pacer *p, double pass_s)
{
    double share = p->beside > 0 ? PACER_MASKS_TOO : PACER_MASKS;
    double debt_s = p->masks_s < 0 ? -p->masks_s : 0;
    p->masks_s = share * (p->answers_s > 0 ? p->answers_s : pass_s) - debt_s;
    return p->masks_s;
}

void pacer_masked(struct pacer *p, double seconds)
{
    p->masks_s -= seconds;
}
