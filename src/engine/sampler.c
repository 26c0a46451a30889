/* engine/sampler.c: see sampler.h. */
#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { SAMPLER_LANES = 16 };

/* Below this a temperature is 0: its inverse times a difference of logits would not fit a float. */
static const float SAMPLER_COLDEST = 1e-5f;

struct sampler_candidate {
    float logit;
    int32_t id;
};

struct sampler {
    size_t vocab_size;
    float *logits;                   /* [V] after bias and penalties */
    uint32_t *counts;                /* [V] zero between calls */
    struct sampler_candidate *cands; /* [V] */
};

err sampler_new(size_t vocab_size, struct sampler **out, struct errinfo *info)
{
    struct sampler *s = mem_calloc(1, sizeof *s);
    if (s) {
        s->vocab_size = vocab_size;
        s->logits = mem_calloc(vocab_size, sizeof *s->logits);
        s->counts = mem_calloc(vocab_size, sizeof *s->counts);
        s->cands = mem_calloc(vocab_size, sizeof *s->cands);
    }
    if (!s || !s->logits || !s->counts || !s->cands) {
        sampler_free(s);
        return err_set(info, ERR_NOMEM, "out of memory for sampling from %zu tokens", vocab_size);
    }
    *out = s;
    return ERR_OK;
}

void sampler_free(struct sampler *s)
{
    if (s) {
        mem_free(s->logits);
        mem_free(s->counts);
        mem_free(s->cands);
        mem_free(s);
    }
}

/* e^x for x <= 0 within 2 units in the last place, 0 below -87: branch-free, so that loops over a
 * vocabulary become vector code. 2^k * p(f), |f| <= ln2/2; p is the Taylor polynomial of degree 6. */
static inline float sampler_exp(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float y = x < -87.0f ? -87.0f : x;
    float k = (y * 1.44269504f + magic) - magic;
    float f = (y - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.0f / 720;
    p = p * f + 1.0f / 120;
    p = p * f + 1.0f / 24;
    p = p * f + 1.0f / 6;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    union {
        int32_t i;
        float f;
    } scale = {.i = ((int32_t)k + 127) << 23};
    return x < -87.0f ? 0.0f : p * scale.f;
}

/* NaN becomes -inf, +inf the largest float: what is left compares and subtracts like numbers. */
static inline float sampler_clean(float v)
{
    float c = v > FLT_MAX ? FLT_MAX : v;
    return c == c ? c : -INFINITY;
}

static float sampler_max(const float *logits, size_t n)
{
    float lane[SAMPLER_LANES];
    for (int j = 0; j < SAMPLER_LANES; j++) {
        lane[j] = -INFINITY;
    }
    size_t i = 0;
    for (; i + SAMPLER_LANES <= n; i += SAMPLER_LANES) {
        for (int j = 0; j < SAMPLER_LANES; j++) { /* false for NaN */
            lane[j] = logits[i + j] > lane[j] ? logits[i + j] : lane[j];
        }
    }
    for (int j = 0; i < n; i++, j++) {
        lane[j] = logits[i] > lane[j] ? logits[i] : lane[j];
    }
    float best = lane[0];
    for (int j = 1; j < SAMPLER_LANES; j++) {
        best = lane[j] > best ? lane[j] : best;
    }
    return sampler_clean(best);
}

/* Sum of exp((logits - max) * scale), lanes first so that the order is fixed and vector code fits. */
static double sampler_sum(const float *logits, size_t n, float max, float scale)
{
    enum { BLOCK = 4096 }; /* floats are summed in blocks, blocks in double */
    double sum = 0;
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t end = n - start < BLOCK ? n : start + BLOCK;
        float lane[SAMPLER_LANES] = {0};
        size_t i = start;
        for (; i + SAMPLER_LANES <= end; i += SAMPLER_LANES) {
            for (int j = 0; j < SAMPLER_LANES; j++) {
                lane[j] += sampler_exp((sampler_clean(logits[i + j]) - max) * scale);
            }
        }
        for (int j = 0; i < end; i++, j++) {
            lane[j] += sampler_exp((sampler_clean(logits[i]) - max) * scale);
        }
        for (int j = 0; j < SAMPLER_LANES; j++) {
            sum += lane[j];
        }
    }
    return sum;
}

double sampler_logsumexp(const float *logits, size_t n)
{
    float max = sampler_max(logits, n);
    return max == -INFINITY ? -INFINITY : (double)max + log(sampler_sum(logits, n, max, 1.0f));
}

/* Is (la, a) before (lb, b) in the order "best first, smaller id among equals"? */
static inline bool sampler_before(float la, int32_t a, float lb, int32_t b)
{
    return la > lb || (la == lb && a < b);
}

void sampler_logprobs(const float *logits, size_t vocab_size, int32_t id, int n_top,
                      struct session_token *token)
{
    double z = sampler_logsumexp(logits, vocab_size);
    int n = 0;
    float *values = token->top_logprobs;
    for (size_t i = 0; n_top > 0 && i < vocab_size; i++) {
        float v = sampler_clean(logits[i]);
        if (n == n_top && !(v > values[n - 1])) {
            continue;
        }
        int at = n < n_top ? n++ : n - 1;
        for (; at > 0 && v > values[at - 1]; at--) {
            values[at] = values[at - 1];
            token->top_ids[at] = token->top_ids[at - 1];
        }
        values[at] = v;
        token->top_ids[at] = (int32_t)i;
    }
    for (int i = 0; i < n; i++) {
        values[i] = (float)((double)values[i] - z);
    }
    token->n_top = n;
    token->logprob = (float)((double)sampler_clean(logits[id]) - z);
}

static int32_t sampler_argmax(const float *logits, size_t n)
{
    float max = sampler_max(logits, n);
    size_t i = 0;
    while (sampler_clean(logits[i]) != max) {
        i++;
    }
    return (int32_t)i;
}

static void sampler_repetition(struct sampler *s, const struct sampling *p,
                               const struct sampler_past *past)
{
    bool all = p->penalty_window == 0 || p->penalty_window > past->n_tokens;
    size_t n = all ? past->n_tokens : p->penalty_window;
    const int32_t *recent = past->tokens + past->n_tokens - n;
    for (size_t i = 0; i < n; i++) {
        float *l = &s->logits[recent[i]];
        if (s->counts[recent[i]]++ == 0) {
            *l = *l > 0 ? *l / p->repetition_penalty : *l * p->repetition_penalty;
        }
    }
    for (size_t i = 0; i < n; i++) {
        s->counts[recent[i]] = 0;
    }
}

static void sampler_presence(struct sampler *s, const struct sampling *p,
                             const struct sampler_past *past)
{
    const int32_t *made = past->tokens + past->n_tokens - past->n_generated;
    for (size_t i = 0; i < past->n_generated; i++) {
        s->counts[made[i]]++;
    }
    for (size_t i = 0; i < past->n_generated; i++) {
        uint32_t *count = &s->counts[made[i]];
        if (*count > 0) {
            s->logits[made[i]] -= p->presence_penalty + p->frequency_penalty * (float)*count;
            *count = 0;
        }
    }
}

/* Steps 2 to 4. Returns the logits to choose from: the model's own when nothing changes them. */
static const float *sampler_adjust(struct sampler *s, const struct sampling *p, const float *logits,
                                   const struct sampler_past *past)
{
    bool repetition = p->repetition_penalty != 0 && p->repetition_penalty != 1;
    bool presence = p->presence_penalty != 0 || p->frequency_penalty != 0;
    if (!repetition && !presence && p->n_bias == 0 && !past->allowed) {
        return logits;
    }
    memcpy(s->logits, logits, s->vocab_size * sizeof *logits);
    for (size_t i = 0; past->allowed && i < s->vocab_size; i++) {
        s->logits[i] = past->allowed[i / 64] >> i % 64 & 1 ? s->logits[i] : -INFINITY;
    }
    for (size_t i = 0; i < p->n_bias; i++) {
        s->logits[p->bias_ids[i]] += p->bias_values[i];
    }
    if (repetition) {
        sampler_repetition(s, p, past);
    }
    if (presence) {
        sampler_presence(s, p, past);
    }
    return s->logits;
}

/* The weight a candidate counts with: 1 for top-k, its unnormalised probability for top-p. */
struct sampler_weight {
    bool count;
    float max, scale;
};

static inline double sampler_weigh(const struct sampler_weight *w, float logit)
{
    return w->count ? 1.0 : (double)sampler_exp((logit - w->max) * w->scale);
}

/* Middle one of three candidates. */
static struct sampler_candidate sampler_pivot(const struct sampler_candidate *c, size_t n)
{
    struct sampler_candidate a = c[0], b = c[n / 2], d = c[n - 1];
    bool ab = sampler_before(a.logit, a.id, b.logit, b.id);
    bool bd = sampler_before(b.logit, b.id, d.logit, d.id);
    bool ad = sampler_before(a.logit, a.id, d.logit, d.id);
    if (ab == bd) {
        return b;
    }
    return ab == ad ? d : a;
}

/* Weighted quickselect: moves the shortest run of best candidates whose weights sum to at least
 * `target` to the front (in no particular order) and returns its length; n when they never do. */
static size_t sampler_select(struct sampler_candidate *c, size_t n, const struct sampler_weight *w,
                             double target)
{
    size_t low = 0, high = n; /* c[0 … low) is in, c[high … n) is out */
    double taken = 0;
    while (high - low > 1) {
        struct sampler_candidate pivot = sampler_pivot(c + low, high - low);
        size_t mid = low; /* c[low … mid) becomes those not after the pivot */
        double mass = 0;
        for (size_t i = low; i < high; i++) {
            struct sampler_candidate v = c[i];
            if (!sampler_before(pivot.logit, pivot.id, v.logit, v.id)) {
                mass += sampler_weigh(w, v.logit);
                c[i] = c[mid];
                c[mid++] = v;
            }
        }
        if (taken + mass < target) {
            taken += mass;
            low = mid;
            continue;
        }
        /* The pivot itself may be the one too many: put it last and look at the rest. */
        for (size_t i = low; i < mid; i++) {
            if (c[i].id == pivot.id) {
                c[i] = c[mid - 1];
                c[mid - 1] = pivot;
                break;
            }
        }
        double before = mass - sampler_weigh(w, pivot.logit);
        if (taken + before < target) {
            return mid;
        }
        high = mid - 1;
    }
    return high > 0 ? high : 1;
}

/* Collects tokens whose logit is a number of at least `least`. */
static size_t sampler_collect(struct sampler *s, const float *logits, float least)
{
    size_t n = 0;
    for (size_t i = 0; i < s->vocab_size; i++) {
        float l = sampler_clean(logits[i]);
        if (l >= least && l > -INFINITY) {
            s->cands[n++] = (struct sampler_candidate){l, (int32_t)i};
        }
    }
    return n;
}

static double sampler_mass(const struct sampler *s, size_t n, const struct sampler_weight *w)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += sampler_weigh(w, s->cands[i].logit);
    }
    return sum;
}

/* Steps 6 and 8 when top-k is off: the set of top-p nearly always lies within e^-12 of the best
 * token, so only those are looked at, unless they turn out not to be enough. */
static size_t sampler_cut_top_p(struct sampler *s, float top_p, const float *logits,
                                const struct sampler_weight *w)
{
    double target = (double)top_p * sampler_sum(logits, s->vocab_size, w->max, w->scale);
    size_t n = sampler_collect(s, logits, w->max - 12.0f / w->scale);
    if (sampler_mass(s, n, w) < target) {
        n = sampler_collect(s, logits, -INFINITY);
    }
    return sampler_select(s->cands, n, w, target);
}

/* Steps 6, 8 and 9: fills s->cands with what may be drawn, any order; returns how many (at least 1). */
static size_t sampler_cut(struct sampler *s, const struct sampling *p, const float *logits,
                          const struct sampler_weight *weight)
{
    size_t n;
    bool top_p = p->top_p > 0 && p->top_p < 1;
    if (p->top_k == 0 && top_p) {
        n = sampler_cut_top_p(s, p->top_p, logits, weight);
    } else {
        n = sampler_collect(s, logits, -INFINITY);
        if (p->top_k > 0 && (size_t)p->top_k < n) {
            n = sampler_select(s->cands, n, &(struct sampler_weight){.count = true}, p->top_k);
        }
        if (top_p) {
            n = sampler_select(s->cands, n, weight, (double)p->top_p * sampler_mass(s, n, weight));
        }
    }
    size_t kept = 0;
    for (size_t i = 0; p->min_p > 0 && i < n; i++) {
        if (sampler_weigh(weight, s->cands[i].logit) >= (double)p->min_p) {
            s->cands[kept++] = s->cands[i];
        }
    }
    return p->min_p > 0 ? kept : n;
}

/* A number in [0, 1) for this seed and position, the same on every machine. */
static double sampler_uniform(uint64_t seed, uint64_t position)
{
    struct rng r;
    rng_seed(&r, position);
    rng_seed(&r, seed ^ rng_u64(&r));
    return rng_double(&r);
}

/* Draws from the kept tokens. Selection leaves them in no order; they are put in order of id first
 * (marks, then one walk), so that a tiny change of the logits cannot shuffle the draw. */
static int32_t sampler_draw(struct sampler *s, const float *logits, size_t n_kept,
                            const struct sampler_weight *w, double u)
{
    for (size_t i = 0; i < n_kept; i++) {
        s->counts[s->cands[i].id] = 1;
    }
    size_t n = 0;
    double sum = 0;
    for (size_t i = 0; n < n_kept; i++) {
        if (s->counts[i]) {
            s->counts[i] = 0;
            float v = sampler_exp((sampler_clean(logits[i]) - w->max) * w->scale);
            sum += (double)v;
            s->cands[n++] = (struct sampler_candidate){v, (int32_t)i};
        }
    }
    double left = u * sum;
    int32_t id = -1;
    for (size_t i = 0; i < n && left >= 0; i++) {
        if (s->cands[i].logit > 0) { /* a probability that underflowed is never drawn */
            id = s->cands[i].id;
            left -= (double)s->cands[i].logit;
        }
    }
    return id;
}

err sampler_pick(struct sampler *s, const struct sampling *p, const float *logits,
                 const struct sampler_past *past, int32_t *id, struct errinfo *info)
{
    const float *l = sampler_adjust(s, p, logits, past);
    float max = sampler_max(l, s->vocab_size);
    if (max == -INFINITY) {
        return err_set(info, ERR_CORRUPT,
                       "the model gave no usable logit at position %zu (all are NaN or minus "
                       "infinity): its weights are damaged, or every token is banned by logit_bias",
                       past->n_tokens);
    }
    if (p->temperature < SAMPLER_COLDEST) {
        *id = sampler_argmax(l, s->vocab_size);
        return ERR_OK;
    }
    struct sampler_weight w = {.max = max, .scale = 1.0f / p->temperature};
    size_t n = sampler_cut(s, p, l, &w);
    *id = sampler_draw(s, l, n, &w, sampler_uniform(p->seed, past->n_tokens));
    return ERR_OK;
}
