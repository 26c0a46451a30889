/* engine/speculation.h: is a guess worth trying? Speculative decoding (Leviathan et al., 2023) reads the
 * last token and k guesses in one step of k + 1 rows; of the guesses those count that the model would have
 * sampled itself, and every step makes one token more than were right. It pays when
 *
 *     expected tokens * time of a step of one row  >  time of a step of k + 1 rows + time to guess
 *
 * Tokens: how often guesses of this source were right lately at each place of a draft, given that those
 * before it were; guesses that were not tried are watched too, for nothing.
 * Time: bytes a step reads times seconds per byte. Bytes: dense weights once, the experts of every row
 * (as many different ones as steps of so many rows were seen to touch; before that, rows that choose
 * independently), the cache. Seconds per byte: measured, for each number of rows by itself; what was not
 * measured for a while is taken to have become faster or slower as steps of one row have.
 * Losing: every step earns one hundredth of its time, every step that tried guesses is charged what it took
 * longer than its tokens would have taken one by one. Drafts that look slightly bad are tried out of what was
 * earned and a credit of two steps to begin with; with debts of two steps nothing is tried at all.
 *
 * No model is run here and no clock is read. Thread rule: costs belong to the engine, the rest to a session. */
#ifndef ENGINE_SPECULATION_H
#define ENGINE_SPECULATION_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SPECULATION_ROWS_MAX = 16, /* of a step: the token that waits and at most 15 guesses */
    SPECULATION_PLACES = 4     /* places of a draft told apart; later ones are like the last */
};

/* What one step reads, in bytes. */
struct speculation_bytes {
    double dense;    /* weights read once, however many rows */
    double expert;   /* one routed expert of one layer */
    double position; /* keys and values of one position */
    double guess;    /* weights of the layer that guesses one token, 0 without */
    size_t moe_layers, experts, experts_per_token;
};

struct speculation_pace { /* steps of one number of rows */
    double rate;    /* seconds per byte */
    double experts; /* different experts per layer */
    size_t n;       /* steps measured */
    size_t idle;    /* steps of one row since */
};

struct speculation_costs {
    struct speculation_bytes bytes;
    struct speculation_pace pace[SPECULATION_ROWS_MAX + 1]; /* [rows] */
    double guess; /* seconds of a guess by the model's own layer */
    size_t n_guesses;
};

/* A step of `rows` rows after `position` others took so long; it touched `experts` different experts,
 * counted in every layer. */
void speculation_measured(struct speculation_costs *c, size_t rows, size_t position, size_t experts,
                          double seconds);
/* Seconds such a step would take; 0 while no step of one row was measured. */
double speculation_seconds(const struct speculation_costs *c, size_t rows, size_t position);
/* The model's own layer took so long for n guesses; what one takes, expected from its bytes before. */
void speculation_guessed(struct speculation_costs *c, size_t n, double seconds);
double speculation_guess_seconds(const struct speculation_costs *c);
/* Different experts per layer that `rows` rows touch: seen, else expected of independent choices. */
double speculation_experts(const struct speculation_costs *c, size_t rows);

/* Where guesses come from. A longer match is a better guess, so they are counted apart. */
enum speculation_source {
    SPECULATION_SHORT,
    SPECULATION_MIDDLE,
    SPECULATION_LONG,
    SPECULATION_MTP,
    SPECULATION_SOURCES
};
enum speculation_source speculation_of_match(size_t matched); /* tokens that agreed (lookup.h) */

struct speculation_odds { /* decayed counts */
    double right, tried;
};

struct speculation {
    struct speculation_odds odds[SPECULATION_SOURCES][SPECULATION_PLACES];
    double balance;      /* seconds */
    bool has_credit;     /* which a session starts with */
    size_t since_single; /* steps with guesses since one without */
};

/* The guess at `place` (0: the first) of a draft, those before it being right, was or was not. */
void speculation_outcome(struct speculation *s, enum speculation_source source, size_t place,
                         bool right);
double speculation_chance(const struct speculation *s, enum speculation_source source, size_t place);
/* Tokens that a step with k guesses makes on average. */
double speculation_tokens(const struct speculation *s, enum speculation_source source, size_t k);

/* After a step without guesses of so many seconds: earns, and lets old experience fade. */
void speculation_single(struct speculation *s, const struct speculation_costs *c, size_t position,
                        double seconds);
/* After a step of `rows` rows that took so long, guessing included, and made `tokens`. */
void speculation_settle(struct speculation *s, const struct speculation_costs *c, size_t position,
                        double seconds, size_t rows, size_t tokens);

/* How many guesses to try of at most `most`; 0: none. guess_seconds: what each costs to make. */
size_t speculation_choose(const struct speculation *s, const struct speculation_costs *c,
                          enum speculation_source source, size_t most, size_t position,
                          double guess_seconds);

#endif
