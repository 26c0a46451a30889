/* text/grammar_data.h: the inside of a grammar, and how it is built step by step; for the grammar*.c files
 * alone. */
#ifndef TEXT_GRAMMAR_DATA_H
#define TEXT_GRAMMAR_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "text/grammar.h"

enum grammar_op {
    GRAMMAR_BYTES,  /* a byte in low … high, then next */
    GRAMMAR_SPLIT,  /* next or other */
    GRAMMAR_EMPTY,  /* next; no way of a finished grammar leads to one */
    GRAMMAR_RULE,   /* the same, where a rule with a name begins */
    GRAMMAR_CALL,   /* the steps from other to their return, then next */
    GRAMMAR_RETURN,
};

enum { GRAMMAR_OPEN = UINT32_MAX }; /* a step's next that is not known yet */

struct grammar_step {
    uint8_t op, low, high;
    uint32_t next, other;
};

struct grammar {
    struct grammar_step *steps;
    size_t n_steps, cap_steps;
    uint32_t root;       /* first step */
    uint8_t classes[256]; /* bytes that no step tells apart share a class */
    size_t n_classes;
    int32_t tokens[GRAMMAR_TOKENS_MAX]; /* of <[…]> */
    size_t n_tokens;
};

/* The byte that token k of a grammar is to it; no character has one of these. */
static inline uint8_t grammar_token_byte(size_t k)
{
    return (uint8_t)(0xf8 + k);
}

static inline bool grammar_is_empty(const struct grammar_step *s)
{
    return s->op == GRAMMAR_EMPTY || s->op == GRAMMAR_RULE;
}

/* A part of a grammar: begins at step `first`, leaves through the open next of step `last`. */
struct grammar_piece {
    uint32_t first, last;
};

/* New steps. ERR_LIMIT, ERR_NOMEM. */
ERR_MUST_USE err grammar_add(struct grammar *g, struct grammar_step step, uint32_t *out,
                             struct errinfo *info);
ERR_MUST_USE err grammar_empty(struct grammar *g, struct grammar_piece *out, struct errinfo *info);
/* Either of two pieces: *all, to which `more` is added. */
ERR_MUST_USE err grammar_either(struct grammar *g, struct grammar_piece *all, struct grammar_piece more,
                                struct errinfo *info);
/* `p` between min and max times; max GRAMMAR_OPEN: no end. */
ERR_MUST_USE err grammar_repeat(struct grammar *g, struct grammar_piece *p, uint32_t min, uint32_t max,
                                struct errinfo *info);

/* ---- text/grammar_class.c: sets of characters ---- */

struct grammar_range {
    uint32_t low, high; /* code points, both included */
};
struct grammar_class {
    struct grammar_range *ranges; /* owned */
    size_t n, cap;
};
ERR_MUST_USE err grammar_class_add(struct grammar_class *c, uint32_t low, uint32_t high,
                                   struct errinfo *info);
/* The class, or all characters but its own, as steps; *any false: no character is left. Orders and joins
 * the ranges. */
ERR_MUST_USE err grammar_class_piece(struct grammar *g, struct grammar_class *c, bool negated,
                                     struct grammar_piece *out, bool *any, struct errinfo *info);

/* ---- text/grammar_check.c: what can be known of a grammar before any text ---- */

/* Which steps are on a way to a return: without a byte (`bytes` false), or at all. done: [n_steps]. */
ERR_MUST_USE err grammar_check_ends(const struct grammar *g, bool bytes, bool *done,
                                    struct errinfo *info);
/* Step *call enters a rule that leads to it again without a byte; GRAMMAR_OPEN when there is none. */
ERR_MUST_USE err grammar_check_left(const struct grammar *g, uint32_t *call, struct errinfo *info);

/* ---- text/grammar_parse.c ---- */

ERR_MUST_USE err grammar_parse_text(struct grammar *g, const char *text, size_t len, struct errinfo *info);

#endif
