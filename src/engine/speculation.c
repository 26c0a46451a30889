/* engine/speculation.c: see speculation.h. */
#include "engine/speculation.h"

#include <math.h>

enum {
    SPECULATION_AVERAGE = 12,  /* steps a running mean of times looks back */
    SPECULATION_IDLE = 8,      /* steps of one row after which a measurement is old */
    SPECULATION_SINGLES = 4,   /* steps of one row to see before anything is tried */
    SPECULATION_REFRESH = 32,  /* steps with guesses after which one without is due */
    SPECULATION_SOON = 4,      /* the same when little is gained */
    SPECULATION_MIDDLE_AT = 6, /* tokens that agree */
    SPECULATION_LONG_AT = 16
};

static const double SPECULATION_MARGIN = 1.05;  /* what a draft must promise */
static const double SPECULATION_CLEAR = 1.25;   /* what is not little */
static const double SPECULATION_EARN = 0.01;    /* share of its time that a step earns */
static const double SPECULATION_SAVED = 4;      /* most that is kept, in steps of one row */
static const double SPECULATION_DEBT = 2;       /* most that is owed, likewise */
static const double SPECULATION_SLOWER = 0.15;  /* a row more, before it is measured */
static const double SPECULATION_OUTLIER = 2;    /* times the mean: what a step may count for */
static const double SPECULATION_DECAY = 0.95;   /* of experience, by experience */
static const double SPECULATION_FADE = 0.998;   /* of experience, by tokens without any */
static const double SPECULATION_WEIGHT = 4;     /* of the chance before experience, in guesses */
static const double SPECULATION_CREDIT = 2;     /* at the start, in steps of one row */
static const double SPECULATION_WORTH = 1.2;    /* tokens a draft must promise to be tried at a loss */

/* Chances before experience: first guess, later ones. */
static const double SPECULATION_PRIOR[SPECULATION_SOURCES][2] = {
    [SPECULATION_SHORT] = {0.3, 0.5},
    [SPECULATION_MIDDLE] = {0.6, 0.7},
    [SPECULATION_LONG] = {0.85, 0.9},
    [SPECULATION_MTP] = {0.7, 0.5},
};

/* ---- time ---- */

double speculation_experts(const struct speculation_costs *c, size_t rows)
{
    double e = (double)c->bytes.experts, k = (double)c->bytes.experts_per_token;
    if (c->bytes.experts == 0) {
        return 0;
    }
    return c->pace[rows].n ? c->pace[rows].experts : e * (1 - pow(1 - k / e, (double)rows));
}

static double speculation_step_bytes(const struct speculation_costs *c, size_t rows, size_t position,
                                     double experts_per_layer)
{
    const struct speculation_bytes *b = &c->bytes;
    return b->dense + b->expert * (double)b->moe_layers * experts_per_layer +
           b->position * (double)(position + rows);
}

static void speculation_mean(double *mean, size_t n, double x)
{
    double share = n < SPECULATION_AVERAGE ? (double)(n + 1) : (double)SPECULATION_AVERAGE;
    *mean += (x - *mean) / share;
}

/* Steps of one row have changed by this factor. */
static void speculation_age(struct speculation_costs *c, double factor)
{
    for (size_t i = 2; i <= SPECULATION_ROWS_MAX; i++) {
        struct speculation_pace *p = &c->pace[i];
        p->rate *= ++p->idle > SPECULATION_IDLE ? factor : 1;
    }
}

void speculation_measured(struct speculation_costs *c, size_t rows, size_t position, size_t experts,
                          double seconds)
{
    struct speculation_pace *p = &c->pace[rows];
    double per_layer = c->bytes.moe_layers ? (double)experts / (double)c->bytes.moe_layers : 0;
    double rate = seconds / speculation_step_bytes(c, rows, position, per_layer);
    if (p->n > 0 && rate > p->rate * SPECULATION_OUTLIER) {
        rate = p->rate * SPECULATION_OUTLIER; /* the machine did something else for a moment */
    } else if (p->n > 0 && p->n < SPECULATION_SINGLES && rate < p->rate / SPECULATION_OUTLIER) {
        p->rate = rate; /* the first steps found their weights still on disk */
    }
    double before = p->rate;
    speculation_mean(&p->rate, p->n, rate);
    speculation_mean(&p->experts, p->n, per_layer);
    if (rows == 1 && p->n > 0) {
        speculation_age(c, p->rate / before);
    }
    p->n++;
    p->idle = 0;
}

/* Seconds per byte: as measured, else on the line through one row and the nearest number of rows that
 * was, but no less than for fewer rows. */
static double speculation_rate(const struct speculation_costs *c, size_t rows)
{
    double single = c->pace[1].rate;
    if (c->pace[rows].n) {
        return c->pace[rows].rate;
    }
    for (size_t d = 1; d < SPECULATION_ROWS_MAX; d++) {
        size_t near = rows > d + 1 && c->pace[rows - d].n ? rows - d : rows + d;
        if (near <= SPECULATION_ROWS_MAX && c->pace[near].n) {
            double known = c->pace[near].rate;
            double line = single + (known - single) * (double)(rows - 1) / (double)(near - 1);
            return near < rows && line < known ? known : line;
        }
    }
    return single * (1 + SPECULATION_SLOWER * (double)(rows - 1));
}

double speculation_seconds(const struct speculation_costs *c, size_t rows, size_t position)
{
    double bytes = speculation_step_bytes(c, rows, position, speculation_experts(c, rows));
    return speculation_rate(c, rows) * bytes;
}

void speculation_guessed(struct speculation_costs *c, size_t n, double seconds)
{
    speculation_mean(&c->guess, c->n_guesses++, seconds / (double)n);
}

double speculation_guess_seconds(const struct speculation_costs *c)
{
    return c->n_guesses ? c->guess : c->pace[1].rate * c->bytes.guess;
}

/* ---- chances ---- */

enum speculation_source speculation_of_match(size_t matched)
{
    return matched < SPECULATION_MIDDLE_AT ? SPECULATION_SHORT
           : matched < SPECULATION_LONG_AT ? SPECULATION_MIDDLE
                                           : SPECULATION_LONG;
}

static size_t speculation_place(size_t place)
{
    return place < SPECULATION_PLACES ? place : SPECULATION_PLACES - 1;
}

void speculation_outcome(struct speculation *s, enum speculation_source source, size_t place,
                         bool right)
{
    struct speculation_odds *o = &s->odds[source][speculation_place(place)];
    o->right = o->right * SPECULATION_DECAY + (right ? 1 : 0);
    o->tried = o->tried * SPECULATION_DECAY + 1;
}

double speculation_chance(const struct speculation *s, enum speculation_source source, size_t place)
{
    const struct speculation_odds *o = &s->odds[source][speculation_place(place)];
    double prior = SPECULATION_PRIOR[source][place > 0];
    return (prior * SPECULATION_WEIGHT + o->right) / (SPECULATION_WEIGHT + o->tried);
}

double speculation_tokens(const struct speculation *s, enum speculation_source source, size_t k)
{
    double sum = 1, all_right = 1;
    for (size_t i = 0; i < k; i++) {
        all_right *= speculation_chance(s, source, i);
        sum += all_right;
    }
    return sum;
}

/* ---- what it comes to ---- */

static void speculation_earn(struct speculation *s, double seconds, double single)
{
    s->balance += seconds;
    if (s->balance > SPECULATION_SAVED * single) {
        s->balance = SPECULATION_SAVED * single;
    } else if (s->balance < -4 * SPECULATION_DEBT * single) {
        s->balance = -4 * SPECULATION_DEBT * single; /* a program that was stopped comes back */
    }
}

void speculation_single(struct speculation *s, const struct speculation_costs *c, size_t position,
                        double seconds)
{
    double single = speculation_seconds(c, 1, position);
    if (!s->has_credit) {
        s->has_credit = true;
        s->balance = SPECULATION_CREDIT * single;
    }
    speculation_earn(s, seconds * SPECULATION_EARN, single);
    for (size_t i = 0; i < SPECULATION_SOURCES * SPECULATION_PLACES; i++) {
        struct speculation_odds *o = &s->odds[i / SPECULATION_PLACES][i % SPECULATION_PLACES];
        o->right *= SPECULATION_FADE;
        o->tried *= SPECULATION_FADE;
    }
    s->since_single = 0;
}

void speculation_settle(struct speculation *s, const struct speculation_costs *c, size_t position,
                        double seconds, size_t rows, size_t tokens)
{
    double single = speculation_seconds(c, 1, position);
    double most = SPECULATION_OUTLIER * single * (double)rows; /* more is not the guesses' doing */
    seconds = seconds < most ? seconds : most;
    speculation_earn(s, (double)tokens * single - seconds * (1 - SPECULATION_EARN), single);
    s->since_single++;
}

size_t speculation_choose(const struct speculation *s, const struct speculation_costs *c,
                          enum speculation_source source, size_t most, size_t position,
                          double guess_seconds)
{
    double single = speculation_seconds(c, 1, position), best = 0;
    size_t k = 0;
    if (c->pace[1].n < SPECULATION_SINGLES || s->since_single >= SPECULATION_REFRESH ||
        s->balance < -SPECULATION_DEBT * single) {
        return 0;
    }
    for (size_t i = 1; i <= most && i < SPECULATION_ROWS_MAX; i++) {
        double tokens = speculation_tokens(s, source, i);
        double seconds = speculation_seconds(c, i + 1, position) + (double)i * guess_seconds;
        double loss = seconds - tokens * single;
        bool good = tokens * single >= seconds * SPECULATION_MARGIN;
        bool affordable = tokens >= SPECULATION_WORTH && loss <= s->balance;
        if ((good || affordable) && tokens / seconds > best) {
            best = tokens / seconds;
            k = i;
        }
    }
    /* A small gain may be one of an outdated clock. */
    bool is_small = best * single < SPECULATION_CLEAR;
    return is_small && s->since_single >= SPECULATION_SOON ? 0 : k;
}
