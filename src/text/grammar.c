/* text/grammar.c: see grammar.h and grammar_data.h: steps and how pieces of them are joined. What is repeated
 * a number of times is called that often and stands there once, so that repetition inside repetition
 * adds up and does not multiply. */
#include "text/grammar.h"

#include "base/mem.h"
#include "text/grammar_data.h"

err grammar_new(const char *text, size_t len, struct grammar **out, struct errinfo *info)
{
    if (len > GRAMMAR_TEXT_MAX) {
        return err_set(info, ERR_LIMIT, "a grammar of %zu bytes; at most %d", len, GRAMMAR_TEXT_MAX);
    }
    struct grammar *g = mem_calloc(1, sizeof *g);
    err e = g ? grammar_parse_text(g, text, len, info)
              : err_set(info, ERR_NOMEM, "out of memory for a grammar");
    if (e != ERR_OK) {
        grammar_free(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

void grammar_free(struct grammar *g)
{
    if (g) {
        mem_free(g->steps);
        mem_free(g);
    }
}

err grammar_add(struct grammar *g, struct grammar_step step, uint32_t *out, struct errinfo *info)
{
    if (g->n_steps == GRAMMAR_STEPS_MAX) {
        return err_set(info, ERR_LIMIT, "the grammar needs more than %d steps; smaller numbers in {m,n} or "
                       "fewer rules help", GRAMMAR_STEPS_MAX);
    }
    struct grammar_step *p = mem_grow(g->steps, g->n_steps, &g->cap_steps, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for a grammar of %zu steps", g->n_steps + 1);
    }
    g->steps = p;
    *out = (uint32_t)g->n_steps;
    g->steps[g->n_steps++] = step;
    return ERR_OK;
}

err grammar_empty(struct grammar *g, struct grammar_piece *out, struct errinfo *info)
{
    struct grammar_step step = {.op = GRAMMAR_EMPTY, .next = GRAMMAR_OPEN};
    TRY(grammar_add(g, step, &out->first, info));
    out->last = out->first;
    return ERR_OK;
}

err grammar_either(struct grammar *g, struct grammar_piece *all, struct grammar_piece more,
                   struct errinfo *info)
{
    struct grammar_piece end = {0};
    struct grammar_step split = {.op = GRAMMAR_SPLIT, .next = all->first, .other = more.first};
    TRY(grammar_empty(g, &end, info));
    TRY(grammar_add(g, split, &all->first, info));
    g->steps[all->last].next = end.first;
    g->steps[more.last].next = end.first;
    all->last = end.last;
    return ERR_OK;
}

/* p or nothing, or (loop) p again and again or nothing. */
static err grammar_maybe(struct grammar *g, struct grammar_piece *p, bool loop, struct errinfo *info)
{
    struct grammar_piece end = {0};
    uint32_t split = 0;
    TRY(grammar_empty(g, &end, info));
    TRY(grammar_add(g, (struct grammar_step){.op = GRAMMAR_SPLIT, .next = p->first, .other = end.first},
                    &split, info));
    g->steps[p->last].next = loop ? split : end.first;
    *p = (struct grammar_piece){split, end.last};
    return ERR_OK;
}

/* min calls of the steps at `body`, then max - min that may be left out. */
static err grammar_calls(struct grammar *g, uint32_t body, uint32_t min, uint32_t max,
                         struct grammar_piece *out, struct errinfo *info)
{
    struct grammar_piece end = {0};
    TRY(grammar_empty(g, out, info));
    TRY(grammar_empty(g, &end, info));
    bool open = max == GRAMMAR_OPEN;
    for (uint32_t i = 0; i < (open ? min + 1 : max); i++) {
        uint32_t call = 0, split = 0;
        TRY(grammar_add(g, (struct grammar_step){GRAMMAR_CALL, 0, 0, GRAMMAR_OPEN, body}, &call, info));
        if (i >= min) {
            TRY(grammar_add(g, (struct grammar_step){GRAMMAR_SPLIT, 0, 0, call, end.first}, &split, info));
            g->steps[call].next = split; /* the loop, unless another one follows */
        } else {
            split = call;
        }
        g->steps[out->last].next = split;
        out->last = call;
    }
    if (!open) {
        g->steps[out->last].next = end.first;
    }
    out->last = end.last;
    return ERR_OK;
}

err grammar_repeat(struct grammar *g, struct grammar_piece *p, uint32_t min, uint32_t max,
                   struct errinfo *info)
{
    if (max == 0) { /* what is there leads on, and nothing leads to it */
        uint32_t last = p->last;
        TRY(grammar_empty(g, p, info));
        g->steps[last].next = p->first;
        return ERR_OK;
    }
    if (min == 0 && (max == 1 || max == GRAMMAR_OPEN)) {
        return grammar_maybe(g, p, max != 1, info);
    }
    if (min == 1 && max == 1) {
        return ERR_OK;
    }
    uint32_t end = 0;
    TRY(grammar_add(g, (struct grammar_step){.op = GRAMMAR_RETURN}, &end, info));
    g->steps[p->last].next = end;
    return grammar_calls(g, p->first, min, max, p, info);
}
