/* text/grammarmask.c: see grammarmask.h: the tree of tokens is walked together with the grammar's states. What
 * follows a byte is nearly always known, so that a step of the walk is two look-ups; and where every plain
 * character leads to the same state, and so for as many characters as a plain part of the tree has at most,
 * as inside a string of JSON, that part is taken whole. A walk stops where time is up, and goes on there. */
#include "text/grammarmask.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "text/grammar_data.h"
#include "text/grammarstates.h"

enum {
    GRAMMARMASK_KEPT = 64,
    GRAMMARMASK_LOOK = 1024, /* nodes of the tree between two looks at the clock */
};

static const uint32_t GRAMMARMASK_UNKNOWN = UINT32_MAX;

struct grammarmask {
    const struct grammar *grammar;
    const struct tokentrie *trie;
    struct grammarstates *states;
    uint32_t at;
    int32_t after; /* the token that is waited for; -1: none */
    bool asked;                             /* for the mask at `at`: its work is allowed, its making began */
    double until;                           /* when it has to wait, by progress_clock() */
    uint32_t node;                          /* … and where it goes on */
    uint32_t path[TOKENTRIE_DEPTH_MAX + 1]; /* the state before each depth */
    size_t n_words;
    uint64_t *masks;                    /* [GRAMMARMASK_KEPT][n_words] */
    uint32_t mask_of[GRAMMARMASK_KEPT]; /* whose they are; GRAMMARSTATES_DEAD: nobody's */
    size_t oldest;
    uint32_t *plains; /* [n_plains] by state: where every plain character leads; DEAD: to several states */
    size_t n_plains;
};

static err grammarmask_check(const struct grammar *g, const struct tokentrie *v, struct errinfo *info)
{
    for (size_t k = 0; k < g->n_tokens; k++) {
        if ((size_t)g->tokens[k] >= v->vocab_size) {
            return err_set(info, ERR_ARGUMENT, "the grammar names token %d; this vocabulary has %zu",
                           g->tokens[k], v->vocab_size);
        }
    }
    return ERR_OK;
}

err grammarmask_new(const struct grammar *g, const struct tokentrie *v, struct grammarmask **out,
                    struct errinfo *info)
{
    TRY(grammarmask_check(g, v, info));
    struct grammarmask *m = mem_calloc(1, sizeof *m);
    size_t words = (v->vocab_size + 63) / 64;
    if (m) {
        m->grammar = g;
        m->trie = v;
        m->n_words = words;
        m->masks = mem_calloc(GRAMMARMASK_KEPT * words, sizeof *m->masks);
    }
    if (!m || !m->masks) {
        grammarmask_free(m);
        return err_set(info, ERR_NOMEM, "out of memory for a grammar over %zu tokens", v->vocab_size);
    }
    err e = grammarstates_new(g, &m->states, info);
    if (e != ERR_OK) {
        grammarmask_free(m);
        return e;
    }
    grammarmask_begin(m, -1);
    *out = m;
    return ERR_OK;
}

void grammarmask_free(struct grammarmask *m)
{
    if (m) {
        grammarstates_free(m->states);
        mem_free(m->masks);
        mem_free(m->plains);
        mem_free(m);
    }
}

void grammarmask_begin(struct grammarmask *m, int32_t after)
{
    m->at = grammarstates_start(m->states);
    m->after = after;
    m->asked = false;
    grammarstates_allow(m->states, GRAMMARMASK_WORK_MAX);
}

/* ERR_BUSY: time is up. */
static err grammarmask_on_time(const struct grammarmask *m)
{
    return progress_clock() < m->until ? ERR_OK : ERR_BUSY;
}

/* The state after a byte. ERR_BUSY: it is not known yet, and time is up. */
static err grammarmask_step(struct grammarmask *m, uint32_t from, uint8_t byte, uint32_t *to,
                            struct errinfo *info)
{
    struct grammarstates_rows rows = grammarstates_known(m->states);
    uint32_t known = rows.next[from * rows.n_classes + rows.classes[byte]];
    if (known == UINT32_MAX) {
        TRY(grammarmask_on_time(m));
        return grammarstates_next(m->states, from, byte, to, info);
    }
    *to = known;
    return ERR_OK;
}

/* ---- where plain characters lead ---- */

enum { GRAMMARMASK_FRONT = 8 };

/* front[0 … n) becomes the states that the bytes low … high lead to from there; n 0: they are too many. */
static err grammarmask_front(struct grammarmask *m, uint32_t *front, size_t *n, int low, int high,
                             struct errinfo *info)
{
    const uint8_t *classes = grammarstates_known(m->states).classes;
    uint32_t to[GRAMMARMASK_FRONT];
    size_t n_to = 0;
    for (size_t i = 0; i < *n; i++) {
        for (int b = low; b <= high; b++) {
            uint32_t state;
            size_t k = 0;
            if (b > low && classes[b] == classes[b - 1]) {
                continue;
            }
            TRY(grammarmask_step(m, front[i], (uint8_t)b, &state, info));
            while (k < n_to && to[k] != state) {
                k++;
            }
            if (k == GRAMMARMASK_FRONT) {
                *n = 0;
                return ERR_OK;
            }
            to[k] = state;
            n_to = k == n_to ? n_to + 1 : n_to;
        }
    }
    memcpy(front, to, n_to * sizeof *to);
    *n = n_to;
    return ERR_OK;
}

/* The state that every plain character (tokentrie.h) leads to from `state`; DEAD: there is none. */
static err grammarmask_find_plain(struct grammarmask *m, uint32_t state, uint32_t *to, struct errinfo *info)
{
    static const uint8_t characters[][8] = { /* ranges of up to four bytes; Unicode, table 3-7 */
        {' ', '!'}, {'#', '['}, {']', '~'}, {0xc2, 0xdf, 0x80, 0xbf}, {0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf},
        {0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf}, {0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf},
        {0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf}, {0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf}, {0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf}};
    *to = GRAMMARMASK_UNKNOWN;
    for (size_t i = 0; i < sizeof characters / sizeof *characters && *to != GRAMMARSTATES_DEAD; i++) {
        uint32_t front[GRAMMARMASK_FRONT] = {state};
        size_t n = 1;
        for (int k = 0; k < 8 && characters[i][k]; k += 2) {
            TRY(grammarmask_front(m, front, &n, characters[i][k], characters[i][k + 1], info));
        }
        bool same = n == 1 && (i == 0 || front[0] == *to);
        *to = same ? front[0] : GRAMMARSTATES_DEAD;
    }
    return ERR_OK;
}

static err grammarmask_plain(struct grammarmask *m, uint32_t state, uint32_t *to, struct errinfo *info)
{
    if (state >= m->n_plains) {
        size_t n = 2 * (size_t)state + 64;
        uint32_t *p = mem_resize(m->plains, n, sizeof *p);
        if (!p) {
            return err_set(info, ERR_NOMEM, "out of memory for a grammar of %zu states", n);
        }
        for (size_t i = m->n_plains; i < n; i++) {
            p[i] = GRAMMARMASK_UNKNOWN;
        }
        m->plains = p;
        m->n_plains = n;
    }
    if (m->plains[state] == GRAMMARMASK_UNKNOWN) {
        TRY(grammarmask_find_plain(m, state, to, info));
        m->plains[state] = *to;
    }
    *to = m->plains[state];
    return ERR_OK;
}

/* May any n plain characters come? False when that is not plain to see. */
static err grammarmask_takes(struct grammarmask *m, uint32_t state, uint8_t n, bool *yes, struct errinfo *info)
{
    uint32_t next = GRAMMARSTATES_DEAD;
    *yes = true;
    for (; n > 0 && *yes && next != state; n--) {
        state = next ? next : state;
        TRY(grammarmask_plain(m, state, &next, info));
        *yes = next != GRAMMARSTATES_DEAD;
    }
    return ERR_OK;
}

/* ---- masks ---- */

/* The tokens that the grammar names. */
static err grammarmask_named(struct grammarmask *m, uint64_t *mask, struct errinfo *info)
{
    for (size_t k = 0; k < m->grammar->n_tokens; k++) {
        uint32_t to, id = (uint32_t)m->grammar->tokens[k];
        TRY(grammarmask_step(m, m->at, grammar_token_byte(k), &to, info));
        mask[id / 64] |= (uint64_t)(to != GRAMMARSTATES_DEAD) << id % 64;
    }
    return ERR_OK;
}

static void grammarmask_set(const struct grammarmask *m, uint64_t *mask, uint32_t first, uint32_t end)
{
    for (uint32_t k = first; k < end; k++) {
        mask[m->trie->ids[k] / 64] |= (uint64_t)1 << m->trie->ids[k] % 64;
    }
}

/* From m->node on. */
static err grammarmask_walk(struct grammarmask *m, uint64_t *mask, struct errinfo *info)
{
    const struct tokentrie *v = m->trie;
    struct grammarstates_rows rows = grammarstates_known(m->states);
    for (uint32_t n = 1; m->node < v->n_nodes; n++) {
        uint32_t i = m->node, from = m->path[v->depths[i]];
        bool whole = false;
        TRY(n % GRAMMARMASK_LOOK == 0 ? grammarmask_on_time(m) : ERR_OK);
        if (v->plain[i] > 0) {
            TRY(grammarmask_takes(m, from, v->plain[i], &whole, info));
            rows = grammarstates_known(m->states);
        }
        if (whole) {
            grammarmask_set(m, mask, v->firsts[i], v->firsts[v->skips[i]]);
            m->node = v->skips[i];
            continue;
        }
        uint32_t to = rows.next[from * rows.n_classes + rows.classes[v->bytes[i]]];
        if (to == UINT32_MAX) {
            TRY(grammarmask_step(m, from, v->bytes[i], &to, info));
            rows = grammarstates_known(m->states);
        }
        if (to == GRAMMARSTATES_DEAD) {
            m->node = v->skips[i];
            continue;
        }
        m->path[v->depths[i] + 1] = to;
        grammarmask_set(m, mask, v->firsts[i], v->firsts[i + 1]);
        m->node++;
    }
    return ERR_OK;
}

/* The mask that is kept for where the answer is; NULL: none. */
static const uint64_t *grammarmask_kept(const struct grammarmask *m)
{
    for (size_t i = 0; i < GRAMMARMASK_KEPT; i++) {
        if (m->mask_of[i] == m->at) {
            return m->masks + i * m->n_words;
        }
    }
    return NULL;
}

/* What the answer's next token adds to its work, and the place for its mask. */
static err grammarmask_ask(struct grammarmask *m, struct errinfo *info)
{
    uint64_t left = grammarstates_left(m->states) + GRAMMARMASK_WORK_TOKEN;
    grammarstates_allow(m->states, left < GRAMMARMASK_WORK_MAX ? left : GRAMMARMASK_WORK_MAX);
    if (grammarstates_crowded(m->states)) {
        TRY(grammarstates_keep(m->states, &m->at, info));
        memset(m->mask_of, 0, sizeof m->mask_of);
        m->n_plains = 0;
    }
    if (!grammarmask_kept(m)) {
        m->mask_of[m->oldest] = GRAMMARSTATES_DEAD;
        memset(m->masks + m->oldest * m->n_words, 0, m->n_words * sizeof *m->masks);
        m->path[0] = m->at;
        m->node = 0;
    }
    m->asked = true;
    return ERR_OK;
}

/* Makes the mask for where the answer is, unless it is kept. ERR_BUSY: time is up; the next call goes on. */
static err grammarmask_make(struct grammarmask *m, double until, struct errinfo *info)
{
    uint64_t *mask = m->masks + m->oldest * m->n_words;
    m->until = until;
    TRY(m->asked ? ERR_OK : grammarmask_ask(m, info));
    if (!grammarmask_kept(m)) {
        TRY(grammarmask_walk(m, mask, info));
        TRY(grammarmask_named(m, mask, info));
        m->mask_of[m->oldest] = m->at;
        m->oldest = (m->oldest + 1) % GRAMMARMASK_KEPT;
    }
    return ERR_OK;
}

bool grammarmask_ready(struct grammarmask *m, double until)
{
    return m->after >= 0 || grammarmask_make(m, until, NULL) != ERR_BUSY;
}

err grammarmask_next(struct grammarmask *m, const uint64_t **bits, struct errinfo *info)
{
    TRY(m->after >= 0 ? ERR_OK : grammarmask_make(m, INFINITY, info));
    *bits = m->after >= 0 ? NULL : grammarmask_kept(m);
    return ERR_OK;
}

bool grammarmask_may_end(const struct grammarmask *m)
{
    return m->after < 0 && grammarstates_may_end(m->states, m->at);
}

/* The state behind a token that the grammar names here; DEAD: it does not. */
static err grammarmask_follow_named(struct grammarmask *m, int32_t id, uint32_t *at, struct errinfo *info)
{
    *at = GRAMMARSTATES_DEAD;
    for (size_t k = 0; k < m->grammar->n_tokens && *at == GRAMMARSTATES_DEAD; k++) {
        if (m->grammar->tokens[k] == id) {
            TRY(grammarstates_next(m->states, m->at, grammar_token_byte(k), at, info));
        }
    }
    return ERR_OK;
}

/* The state behind a token's text. */
static err grammarmask_follow(struct grammarmask *m, int32_t id, uint32_t *at, struct errinfo *info)
{
    struct tokenizer_piece text = tokenizer_bytes(m->trie->tokenizer, id);
    bool taken = id >= 0 && (size_t)id < m->trie->vocab_size && tokentrie_takes(m->trie->tokenizer, id);
    *at = taken ? m->at : GRAMMARSTATES_DEAD;
    for (size_t i = 0; i < text.len && *at != GRAMMARSTATES_DEAD; i++) {
        TRY(grammarstates_next(m->states, *at, (uint8_t)text.data[i], at, info));
    }
    return ERR_OK;
}

err grammarmask_accept(struct grammarmask *m, int32_t id, struct errinfo *info)
{
    if (m->after >= 0) {
        m->after = id == m->after ? -1 : m->after;
        return ERR_OK;
    }
    uint32_t at;
    TRY(grammarmask_follow_named(m, id, &at, info));
    TRY(at == GRAMMARSTATES_DEAD ? grammarmask_follow(m, id, &at, info) : ERR_OK);
    if (at == GRAMMARSTATES_DEAD) {
        return err_set(info, ERR_ARGUMENT, "token %d does not go on as the grammar wants", id);
    }
    m->at = at;
    m->asked = false;
    return ERR_OK;
}

err grammarmask_accept_text(struct grammarmask *m, const char *text, struct errinfo *info)
{
    uint32_t at = m->at;
    for (const char *p = text; *p; p++) {
        TRY(grammarstates_next(m->states, at, (uint8_t)*p, &at, info));
        if (at == GRAMMARSTATES_DEAD) {
            return err_set(info, ERR_ARGUMENT, "byte %zu of \"%.60s\" does not go on as the grammar wants",
                           (size_t)(p - text) + 1, text);
        }
    }
    m->at = at;
    m->asked = false;
    return ERR_OK;
}
