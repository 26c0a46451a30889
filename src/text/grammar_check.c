/* text/grammar_check.c: see grammar_data.h. Both questions are about the graph of steps and take time in
 * proportion to its size. */
#include "base/mem.h"
#include "text/grammar_data.h"

/* The ways into each step: to the steps of `from` between at[i] and at[i + 1]. */
struct grammar_check_into {
    uint32_t *at, *from;
};

/* The steps a step leads to, calls into what is called included. */
static size_t grammar_check_ways(const struct grammar_step *s, uint32_t way[2])
{
    switch (s->op) {
    case GRAMMAR_RETURN: return 0;
    case GRAMMAR_SPLIT:
    case GRAMMAR_CALL: way[0] = s->next; way[1] = s->other; return 2;
    default: way[0] = s->next; return 1;
    }
}

static err grammar_check_into_fill(const struct grammar *g, struct grammar_check_into *in)
{
    in->at = mem_calloc(g->n_steps + 2, sizeof *in->at);
    in->from = mem_calloc(2 * g->n_steps, sizeof *in->from);
    if (!in->at || !in->from) {
        return ERR_NOMEM;
    }
    uint32_t way[2];
    for (size_t i = 0; i < g->n_steps; i++) {
        for (size_t k = grammar_check_ways(&g->steps[i], way); k-- > 0;) {
            in->at[way[k] + 2]++;
        }
    }
    for (size_t i = 2; i < g->n_steps + 2; i++) {
        in->at[i] += in->at[i - 1];
    }
    for (size_t i = 0; i < g->n_steps; i++) { /* at[s + 1] is where the next way into s goes */
        for (size_t k = grammar_check_ways(&g->steps[i], way); k-- > 0;) {
            in->from[in->at[way[k] + 1]++] = (uint32_t)i;
        }
    }
    return ERR_OK;
}

static bool grammar_check_ends_now(const struct grammar_step *s, bool bytes, const bool *done)
{
    switch (s->op) {
    case GRAMMAR_RETURN: return true;
    case GRAMMAR_BYTES: return bytes && done[s->next];
    case GRAMMAR_SPLIT: return done[s->next] || done[s->other];
    case GRAMMAR_CALL: return done[s->next] && done[s->other];
    default: return done[s->next];
    }
}

err grammar_check_ends(const struct grammar *g, bool bytes, bool *done, struct errinfo *info)
{
    struct grammar_check_into in = {0};
    uint32_t *todo = mem_calloc(g->n_steps, sizeof *todo);
    err e = todo ? grammar_check_into_fill(g, &in) : ERR_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < g->n_steps; i++) {
        done[i] = g->steps[i].op == GRAMMAR_RETURN;
        if (done[i] && e == ERR_OK) {
            todo[n++] = (uint32_t)i;
        }
    }
    while (n > 0) {
        uint32_t s = todo[--n];
        for (uint32_t k = in.at[s]; k < in.at[s + 1]; k++) {
            uint32_t from = in.from[k];
            if (!done[from] && grammar_check_ends_now(&g->steps[from], bytes, done)) {
                done[from] = true;
                todo[n++] = from;
            }
        }
    }
    mem_free(in.at);
    mem_free(in.from);
    mem_free(todo);
    return e == ERR_OK ? ERR_OK : err_set(info, e, "out of memory for checking a grammar");
}

/* Tarjan's strongly connected components over the ways that take no byte, without recursion. */
struct grammar_check_left {
    const struct grammar *g;
    const bool *empty;       /* steps that reach a return without a byte */
    uint32_t *order, *low;   /* 0: not met; low is GRAMMAR_OPEN once the component is known */
    uint32_t *component;
    uint32_t *path, *stack;  /* steps being looked at; steps whose component is open */
    uint8_t *turn;           /* ways already taken */
    size_t n_path, n_stack;
    uint32_t n_met, n_components;
};

/* Way number `k` from step s without a byte; false when there are no more. */
static bool grammar_check_left_way(const struct grammar_check_left *c, uint32_t s, uint8_t k, uint32_t *to)
{
    const struct grammar_step *step = &c->g->steps[s];
    if (step->op == GRAMMAR_RETURN || step->op == GRAMMAR_BYTES) {
        return false;
    }
    if (step->op == GRAMMAR_CALL) {
        *to = k == 0 ? step->other : step->next;
        return k == 0 || (k == 1 && c->empty[step->other]);
    }
    *to = k == 0 ? step->next : step->other;
    return k == 0 || (k == 1 && step->op == GRAMMAR_SPLIT);
}

static void grammar_check_left_meet(struct grammar_check_left *c, uint32_t s)
{
    c->order[s] = c->low[s] = ++c->n_met;
    c->path[c->n_path++] = c->stack[c->n_stack++] = s;
}

static void grammar_check_left_from(struct grammar_check_left *c, uint32_t start)
{
    grammar_check_left_meet(c, start);
    while (c->n_path > 0) {
        uint32_t s = c->path[c->n_path - 1], to;
        if (grammar_check_left_way(c, s, c->turn[s], &to)) {
            c->turn[s]++;
            if (c->order[to] == 0) {
                grammar_check_left_meet(c, to);
            } else if (c->component[to] == 0 && c->order[to] < c->low[s]) {
                c->low[s] = c->order[to];
            }
            continue;
        }
        c->n_path--;
        if (c->n_path > 0 && c->low[s] < c->low[c->path[c->n_path - 1]]) {
            c->low[c->path[c->n_path - 1]] = c->low[s];
        }
        if (c->low[s] == c->order[s]) {
            c->n_components++;
            do {
                c->component[c->stack[--c->n_stack]] = c->n_components;
            } while (c->stack[c->n_stack] != s);
        }
    }
}

err grammar_check_left(const struct grammar *g, uint32_t *call, struct errinfo *info)
{
    bool *empty = mem_calloc(g->n_steps, sizeof *empty);
    uint32_t *words = mem_calloc(5 * g->n_steps, sizeof *words);
    uint8_t *turn = mem_calloc(g->n_steps, sizeof *turn);
    err e = ERR_OK;
    if (!empty || !words || !turn) {
        e = err_set(info, ERR_NOMEM, "out of memory for checking a grammar");
    } else {
        e = grammar_check_ends(g, false, empty, info);
    }
    if (e == ERR_OK) {
        size_t n = g->n_steps;
        struct grammar_check_left c = {.g = g, .empty = empty, .order = words, .low = words + n,
                                       .component = words + 2 * n, .path = words + 3 * n,
                                       .stack = words + 4 * n, .turn = turn};
        *call = GRAMMAR_OPEN;
        for (uint32_t s = 0; s < n; s++) {
            if (c.order[s] == 0) {
                grammar_check_left_from(&c, s);
            }
        }
        for (uint32_t s = 0; s < n && *call == GRAMMAR_OPEN; s++) {
            const struct grammar_step *step = &g->steps[s];
            if (step->op == GRAMMAR_CALL && g->steps[step->other].op == GRAMMAR_RULE &&
                c.component[s] == c.component[step->other]) {
                *call = s;
            }
        }
    }
    mem_free(empty);
    mem_free(words);
    mem_free(turn);
    return e;
}
