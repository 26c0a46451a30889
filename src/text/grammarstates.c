/* text/grammarstates.c: see grammarstates.h. A place is a step and the place it returns to, stored once:
 * the calls of all places form a tree whose root is place 0. A call that has nothing left to do in its
 * caller is replaced by what is called, so that lists written as recursion stay flat. */
#include "text/grammarstates.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/grammar_data.h"

enum { GRAMMARSTATES_UNKNOWN = UINT32_MAX };
enum { GRAMMARSTATES_LOOKS = 8 }; /* looks at a place or a class that cost as much as passing a place */

struct grammarstates_place {
    uint32_t step, parent;
    uint32_t seen; /* turn in which it was last passed */
};

struct grammarstates_set { /* a state: places[at … at + n) in order, all at steps that take a byte */
    uint32_t at, n;
    bool may_end;
};

struct grammarstates {
    const struct grammar *grammar;
    uint32_t start, turn;
    struct grammarstates_place *places;
    size_t n_places, cap_places;
    uint32_t *by_place; /* [2 * cap_places] 1 + place by hash; 0: none */
    struct grammarstates_set *sets;
    size_t n_sets, cap_sets;
    uint32_t *by_set;   /* [2 * cap_sets] 1 + set by hash of its places */
    uint32_t *rows;     /* [cap_sets][n_classes] */
    uint32_t *members;
    size_t n_members, cap_members;
    uint32_t *work;     /* places still to be passed */
    size_t n_work, cap_work;
    uint64_t left;      /* steps of work that may be done */
};

static err grammarstates_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for the states of a grammar");
}

/* Room for element number n. */
static err grammarstates_room(void **array, size_t *cap, size_t n, size_t size, struct errinfo *info)
{
    void *p = mem_grow(*array, n, cap, size);
    if (!p) {
        return grammarstates_nomem(info);
    }
    *array = p;
    return ERR_OK;
}

static err grammarstates_spend(struct grammarstates *s, uint64_t steps, struct errinfo *info)
{
    if (s->left < steps) {
        s->left = 0;
        return err_set(info, ERR_LIMIT, "the grammar takes too much work to follow: at every character too "
                       "many of its parts may come; it needs fewer optional or repeated parts in a row");
    }
    s->left -= steps;
    return ERR_OK;
}

static inline uint64_t grammarstates_mix(uint64_t h, uint32_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* ---- places ---- */

static uint32_t *grammarstates_place_slot(struct grammarstates *s, uint32_t step, uint32_t parent)
{
    size_t mask = 2 * s->cap_places - 1;
    for (size_t i = grammarstates_mix(grammarstates_mix(1, step), parent) & mask;; i = (i + 1) & mask) {
        uint32_t k = s->by_place[i];
        if (k == 0 || (s->places[k - 1].step == step && s->places[k - 1].parent == parent)) {
            return &s->by_place[i];
        }
    }
}

static err grammarstates_places_grow(struct grammarstates *s, struct errinfo *info)
{
    TRY(grammarstates_room((void **)&s->places, &s->cap_places, s->n_places, sizeof *s->places, info));
    uint32_t *table = mem_calloc(2 * s->cap_places, sizeof *table);
    if (!table) {
        return grammarstates_nomem(info);
    }
    mem_free(s->by_place);
    s->by_place = table;
    for (uint32_t i = 0; i < s->n_places; i++) {
        *grammarstates_place_slot(s, s->places[i].step, s->places[i].parent) = i + 1;
    }
    return ERR_OK;
}

static err grammarstates_place(struct grammarstates *s, uint32_t step, uint32_t parent, uint32_t *out,
                               struct errinfo *info)
{
    if (s->n_places == s->cap_places) {
        TRY(grammarstates_places_grow(s, info));
    }
    uint32_t *slot = grammarstates_place_slot(s, step, parent);
    if (*slot == 0) {
        if (s->n_places == GRAMMARSTATES_CALLS_MAX) {
            return err_set(info, ERR_LIMIT, "the grammar has come to more than %d places; a simpler or less "
                           "deeply nested one is needed", GRAMMARSTATES_CALLS_MAX);
        }
        s->places[s->n_places++] = (struct grammarstates_place){step, parent, 0};
        *slot = (uint32_t)s->n_places;
    }
    *out = *slot - 1;
    return ERR_OK;
}

/* ---- from a set to the next ---- */

/* Notes a place to be passed, once in a turn. A return is followed at once; *end: out of the root. */
static err grammarstates_visit(struct grammarstates *s, uint32_t step, uint32_t parent, bool *end,
                               struct errinfo *info)
{
    uint32_t place;
    while (s->grammar->steps[step].op == GRAMMAR_RETURN) {
        if (parent == 0) {
            *end = true;
            return ERR_OK;
        }
        step = s->places[parent].step;
        parent = s->places[parent].parent;
    }
    TRY(grammarstates_place(s, step, parent, &place, info));
    if (s->places[place].seen == s->turn) {
        return ERR_OK;
    }
    s->places[place].seen = s->turn;
    TRY(grammarstates_spend(s, 1, info));
    if (s->n_work == GRAMMARSTATES_WORK_MAX) {
        return err_set(info, ERR_LIMIT, "the grammar passes more than %d places between two bytes; it must be "
                       "less ambiguous", GRAMMARSTATES_WORK_MAX);
    }
    TRY(grammarstates_room((void **)&s->work, &s->cap_work, s->n_work, sizeof *s->work, info));
    s->work[s->n_work++] = place;
    return ERR_OK;
}

static err grammarstates_pass(struct grammarstates *s, uint32_t place, bool *end, struct errinfo *info)
{
    const struct grammar_step *steps = s->grammar->steps;
    struct grammar_step step = steps[s->places[place].step];
    uint32_t parent = s->places[place].parent;
    if (step.op == GRAMMAR_SPLIT) {
        TRY(grammarstates_visit(s, step.next, parent, end, info));
        return grammarstates_visit(s, step.other, parent, end, info);
    }
    if (steps[step.next].op != GRAMMAR_RETURN) {
        TRY(grammarstates_place(s, step.next, parent, &parent, info));
    }
    return grammarstates_visit(s, step.other, parent, end, info);
}

static int grammarstates_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* ---- sets ---- */

static uint32_t *grammarstates_set_slot(struct grammarstates *s, const struct grammarstates_set *set)
{
    size_t mask = 2 * s->cap_sets - 1;
    uint64_t h = set->may_end;
    for (uint32_t i = 0; i < set->n; i++) {
        h = grammarstates_mix(h, s->members[set->at + i]);
    }
    for (size_t i = h & mask;; i = (i + 1) & mask) {
        const struct grammarstates_set *k = s->by_set[i] ? &s->sets[s->by_set[i] - 1] : NULL;
        if (!k || (k->may_end == set->may_end && k->n == set->n &&
                   (k->n == 0 || memcmp(s->members + k->at, s->members + set->at,
                                        k->n * sizeof *s->members) == 0))) {
            return &s->by_set[i];
        }
    }
}

static err grammarstates_sets_grow(struct grammarstates *s, struct errinfo *info)
{
    size_t cap = s->cap_sets ? 2 * s->cap_sets : 64;
    uint32_t *table = mem_calloc(2 * cap, sizeof *table);
    uint32_t *rows = table ? mem_resize(s->rows, cap * s->grammar->n_classes, sizeof *rows) : NULL;
    if (rows) {
        s->rows = rows;
    }
    struct grammarstates_set *sets = rows ? mem_resize(s->sets, cap, sizeof *sets) : NULL;
    if (!sets) {
        mem_free(table);
        return grammarstates_nomem(info);
    }
    mem_free(s->by_set);
    s->sets = sets;
    s->by_set = table;
    s->cap_sets = cap;
    for (uint32_t i = 0; i < s->n_sets; i++) {
        *grammarstates_set_slot(s, &s->sets[i]) = i + 1;
    }
    return ERR_OK;
}

static err grammarstates_set_check(const struct grammarstates *s, struct errinfo *info)
{
    size_t n = s->n_work;
    if (n > GRAMMARSTATES_PLACES_MAX) {
        return err_set(info, ERR_LIMIT, "the text can be read in more than %d ways; the grammar must be less "
                       "ambiguous", GRAMMARSTATES_PLACES_MAX);
    }
    if (s->n_sets == GRAMMARSTATES_MAX || s->n_members + n > GRAMMARSTATES_STORED_MAX ||
        s->n_sets * s->grammar->n_classes > GRAMMARSTATES_STORED_MAX) {
        return err_set(info, ERR_LIMIT, "the grammar has come to more than %zu states; a simpler one is needed",
                       s->n_sets);
    }
    return ERR_OK;
}

/* The places in s->work as a state. */
static err grammarstates_intern(struct grammarstates *s, bool may_end, uint32_t *out, struct errinfo *info)
{
    size_t n = s->n_work;
    TRY(grammarstates_set_check(s, info));
    if (n > 1) {
        qsort(s->work, n, sizeof *s->work, grammarstates_compare);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(grammarstates_room((void **)&s->members, &s->cap_members, s->n_members + i, sizeof *s->members,
                               info));
        s->members[s->n_members + i] = s->work[i];
    }
    if (s->n_sets == s->cap_sets) {
        TRY(grammarstates_sets_grow(s, info));
    }
    struct grammarstates_set set = {(uint32_t)s->n_members, (uint32_t)n, may_end};
    uint32_t *slot = grammarstates_set_slot(s, &set);
    if (*slot == 0) {
        size_t classes = s->grammar->n_classes;
        TRY(grammarstates_spend(s, 1 + classes / GRAMMARSTATES_LOOKS, info));
        s->n_members += n;
        s->sets[s->n_sets] = set;
        for (size_t c = 0; c < classes; c++) {
            s->rows[s->n_sets * classes + c] = GRAMMARSTATES_UNKNOWN;
        }
        *slot = (uint32_t)++s->n_sets;
    }
    *out = *slot - 1;
    return ERR_OK;
}

/* Follows everything in s->work that takes no byte; then s->work holds the places that take one. */
static err grammarstates_close(struct grammarstates *s, bool end, uint32_t *out, struct errinfo *info)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n_work; i++) {
        uint32_t place = s->work[i];
        if (s->grammar->steps[s->places[place].step].op == GRAMMAR_BYTES) {
            s->work[kept++] = place; /* kept <= i: never over what is still to be passed */
        } else {
            TRY(grammarstates_pass(s, place, &end, info));
        }
    }
    s->n_work = kept;
    return grammarstates_intern(s, end, out, info);
}

static void grammarstates_turn(struct grammarstates *s)
{
    s->n_work = 0;
    if (++s->turn == 0) {
        for (size_t i = 0; i < s->n_places; i++) {
            s->places[i].seen = 0;
        }
        s->turn = 1;
    }
}

err grammarstates_next(struct grammarstates *s, uint32_t state, uint8_t byte, uint32_t *out,
                       struct errinfo *info)
{
    size_t at = state * s->grammar->n_classes + s->grammar->classes[byte];
    bool end = false;
    if (s->rows[at] == GRAMMARSTATES_UNKNOWN) {
        struct grammarstates_set set = s->sets[state];
        uint32_t next;
        TRY(grammarstates_spend(s, 1 + set.n / GRAMMARSTATES_LOOKS, info));
        grammarstates_turn(s);
        for (uint32_t i = 0; i < set.n; i++) {
            struct grammarstates_place p = s->places[s->members[set.at + i]];
            const struct grammar_step *step = &s->grammar->steps[p.step];
            if (byte >= step->low && byte <= step->high) {
                TRY(grammarstates_visit(s, step->next, p.parent, &end, info));
            }
        }
        TRY(grammarstates_close(s, end, &next, info));
        s->rows[at] = next;
    }
    *out = s->rows[at];
    return ERR_OK;
}

bool grammarstates_may_end(const struct grammarstates *s, uint32_t state)
{
    return s->sets[state].may_end;
}

void grammarstates_allow(struct grammarstates *s, uint64_t steps)
{
    s->left = steps;
}

uint64_t grammarstates_left(const struct grammarstates *s)
{
    return s->left;
}

uint32_t grammarstates_start(const struct grammarstates *s)
{
    return s->start;
}

struct grammarstates_rows grammarstates_known(const struct grammarstates *s)
{
    return (struct grammarstates_rows){s->rows, s->grammar->classes, s->grammar->n_classes};
}

/* ---- the whole ---- */

void grammarstates_free(struct grammarstates *s)
{
    if (s) {
        mem_free(s->places);
        mem_free(s->by_place);
        mem_free(s->sets);
        mem_free(s->by_set);
        mem_free(s->rows);
        mem_free(s->members);
        mem_free(s->work);
        mem_free(s);
    }
}

/* An object with the root's place and the dead state. */
static err grammarstates_make(const struct grammar *g, struct grammarstates **out, struct errinfo *info)
{
    struct grammarstates *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return grammarstates_nomem(info);
    }
    uint32_t root, dead;
    s->grammar = g;
    s->left = UINT64_MAX;
    err e = grammarstates_place(s, GRAMMAR_OPEN, 0, &root, info);
    if (e == ERR_OK) {
        grammarstates_turn(s);
        e = grammarstates_close(s, false, &dead, info);
    }
    if (e != ERR_OK) {
        grammarstates_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

err grammarstates_new(const struct grammar *g, struct grammarstates **out, struct errinfo *info)
{
    struct grammarstates *s = NULL;
    bool end = false;
    TRY(grammarstates_make(g, &s, info));
    grammarstates_turn(s);
    err e = grammarstates_visit(s, g->root, 0, &end, info);
    if (e == ERR_OK) {
        e = grammarstates_close(s, end, &s->start, info);
    }
    if (e != ERR_OK) {
        grammarstates_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

bool grammarstates_crowded(const struct grammarstates *s)
{
    return s->n_places > GRAMMARSTATES_CALLS_MAX / 4 || s->n_sets > GRAMMARSTATES_MAX / 4 ||
           s->n_members > GRAMMARSTATES_STORED_MAX / 4 ||
           s->n_sets * s->grammar->n_classes > GRAMMARSTATES_STORED_MAX / 4;
}

/* The places of `old` that a state and its calls need, copied; parents come before what they are parents of.
 * new_of: [old->n_places] */
static err grammarstates_copy(const struct grammarstates *old, uint32_t state, struct grammarstates *s,
                              uint32_t *new_of, uint32_t *out, struct errinfo *info)
{
    struct grammarstates_set set = old->sets[state];
    for (uint32_t i = 0; i < set.n; i++) {
        for (uint32_t p = old->members[set.at + i]; p != 0 && new_of[p] == 0; p = old->places[p].parent) {
            new_of[p] = 1;
        }
    }
    for (uint32_t p = 1; p < old->n_places; p++) {
        if (new_of[p]) {
            const struct grammarstates_place *place = &old->places[p];
            TRY(grammarstates_place(s, place->step, new_of[place->parent], &new_of[p], info));
        }
    }
    grammarstates_turn(s);
    for (uint32_t i = 0; i < set.n; i++) {
        TRY(grammarstates_room((void **)&s->work, &s->cap_work, s->n_work, sizeof *s->work, info));
        s->work[s->n_work++] = new_of[old->members[set.at + i]];
    }
    return grammarstates_intern(s, set.may_end, out, info);
}

err grammarstates_keep(struct grammarstates *s, uint32_t *state, struct errinfo *info)
{
    struct grammarstates *fresh = NULL;
    uint32_t kept = GRAMMARSTATES_DEAD;
    TRY(grammarstates_new(s->grammar, &fresh, info));
    uint32_t *new_of = mem_calloc(s->n_places, sizeof *new_of);
    err e = new_of ? grammarstates_copy(s, *state, fresh, new_of, &kept, info) : grammarstates_nomem(info);
    mem_free(new_of);
    if (e == ERR_OK) {
        struct grammarstates old = *s;
        *s = *fresh;
        s->left = old.left;
        *fresh = old;
        *state = kept;
    }
    grammarstates_free(fresh);
    return e;
}
