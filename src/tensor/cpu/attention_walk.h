/* tensor/cpu/attention_walk.h: one span of keys for one set of rows, as described in attention.h;
 * attention_plan.h walks the spans. Included by each attention_*.c after vec_*.h and after its own
 * constants:
 *
 *     ATTENTION_ROWS   rows (query, head) worked on at a time, a multiple of VEC_N
 *     ATTENTION_KEYS   keys in a block; divides ATTENTION_SPAN
 *     ATTENTION_WORK   multiply-adds below which a call stays on one thread
 *
 * The including file then defines the steps that depend on the number format (declared below). */
#ifndef TENSOR_CPU_ATTENTION_WALK_H
#define TENSOR_CPU_ATTENTION_WALK_H

#include <string.h>

#include "tensor/cpu/attention.h"
#include "tensor/cpu/vec_convert.h"

enum {
    ATTENTION_SPAN = 256,
    ATTENTION_AHEAD = 32, /* keys between asking for a row and reading it */
    ATTENTION_WAVE = 4, /* spans in flight per thread when spans are shared */
    ATTENTION_VECS = ATTENTION_ROWS / VEC_N,
};

/* A partial softmax sum over some keys, for up to ATTENTION_ROWS rows. */
struct attention_sum {
    float *max, *weight; /* [ROWS]: largest score, sum of exp(score - max) */
    float *out;          /* [ROWS, v_pad]: sum of exp(score - max) * v */
};

/* One thread's memory. */
struct attention_work {
    float *score; /* [KEYS, n_vecs * VEC_N]: scores, then probabilities */
    float *alpha; /* [ROWS]: what the block before is worth after this one */
    float *q;     /* packed queries, ROWS * k_pad floats */
    float *k;     /* KEYS * k_pad floats */
    float *v;     /* KEYS * v_pad floats */
    float *p;     /* ROWS * KEYS floats */
    struct attention_sum part, total;
};

/* ATTENTION_ROWS or fewer rows of one KV head. Row i of all is query i / group, head i % group. */
struct attention_task {
    const struct attention_args *a;
    size_t kv_head, group;
    size_t row, n_rows, n_vecs;
    size_t k_pad, v_pad; /* dimensions rounded up to VEC_N */
};

/* One block of keys for one task. */
struct attention_block {
    size_t key, n_keys;              /* n_keys: what the last row sees of the block */
    size_t n_visible[ATTENTION_VECS]; /* the same for the last row of each vector of rows */
};

/* The steps each file defines. pack: the queries of a task to w->q. block: takes the keys and values
 * of a block into w->part. weight: rounds probabilities as values are multiplied by them. begin, end:
 * around the work of a thread. */
static void attention_pack(struct attention_work *w, const struct attention_task *t);
static void attention_block(struct attention_work *w, const struct attention_task *t,
                            const struct attention_block *b);
static inline vec attention_weight(vec p);
static void attention_begin(void);
static void attention_end(void);

static inline size_t attention_round(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static inline size_t attention_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The query row i of a task (i < n_rows). */
static inline const float *attention_query(const struct attention_task *t, size_t i)
{
    size_t row = t->row + i, head = t->kv_head * t->group + row % t->group;
    return t->a->q + row / t->group * t->a->q_stride + head * t->a->k_dim;
}

static inline const void *attention_row(const struct attention_task *t, const struct attention_rows *r,
                                        size_t row)
{
    size_t first = row >> r->shift << r->shift;
    return vec_convert_at(r->pages[row >> r->shift] + r->offset, t->a->kv_dtype,
                          (row - first) * r->stride + t->kv_head * r->head_stride);
}

static inline const void *attention_key(const struct attention_task *t, size_t key)
{
    return attention_row(t, &t->a->k, key);
}

static inline const void *attention_value(const struct attention_task *t, size_t key)
{
    return attention_row(t, &t->a->v, key);
}

/* Asks for the cache lines of a row that will be read soon: rows of one head lie far apart, where
 * the processor's own prefetcher sees no stream. */
static inline void attention_ask(const char *row, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        /* not __builtin_prefetch: GCC takes a function of nothing else for pure and drops it */
        __asm__ volatile("prefetcht1 %0" ::"m"(row[i]));
    }
}

/* The same of a key or value. Past the last key the call's own rows end. */
static inline void attention_ahead(const struct attention_task *t, size_t key, bool values)
{
    const struct attention_args *a = t->a;
    if (key < a->pos + a->n_tokens) {
        const char *row = values ? attention_value(t, key) : attention_key(t, key);
        attention_ask(row, (values ? a->v_dim : a->k_dim) * (a->kv_dtype == DTYPE_F32 ? 4 : 2));
    }
}

/* MLA absorbed: the values are the first part of the keys. */
static inline bool attention_shares(const struct attention_task *t)
{
    const struct attention_args *a = t->a;
    return a->k.pages == a->v.pages && a->k.offset == a->v.offset && a->k.stride == a->v.stride &&
           a->v_dim <= a->k_dim && (a->k.head_stride == a->v.head_stride || a->n_kv_heads == 1);
}

/* Keys of the block that row i of the task sees. */
static inline size_t attention_sees(const struct attention_task *t, size_t i, size_t key)
{
    size_t end = t->a->pos + (t->row + i) / t->group + 1;
    return end <= key ? 0 : attention_least(end - key, ATTENTION_KEYS);
}

static struct attention_block attention_block_at(const struct attention_task *t, size_t key)
{
    struct attention_block b = {.key = key};
    b.n_keys = attention_sees(t, t->n_rows - 1, key);
    for (size_t v = 0; v < t->n_vecs; v++) {
        b.n_visible[v] =
            attention_sees(t, attention_least((v + 1) * VEC_N, t->n_rows) - 1, key);
    }
    return b;
}

static void attention_clear(struct attention_sum *s, const struct attention_task *t)
{
    for (size_t i = 0; i < t->n_vecs * VEC_N; i++) {
        s->max[i] = -__builtin_inff();
        s->weight[i] = 0;
    }
    memset(s->out, 0, t->n_vecs * VEC_N * t->v_pad * sizeof *s->out);
}

/* Scales and masks one vector of rows, returns the new maxima. */
static vec attention_mask(struct attention_work *w, const struct attention_task *t,
                          const struct attention_block *b, size_t v)
{
    size_t stride = t->n_vecs * VEC_N, first = t->row + v * VEC_N;
    vec scale = vec_set(t->a->scale), max = vec_load(w->part.max + v * VEC_N);
    for (size_t j = 0; j < b->n_visible[v]; j++) {
        float *at = w->score + j * stride + v * VEC_N;
        vec s = vec_mul(vec_load(at), scale);
        size_t key = b->key + j;
        if (key > t->a->pos) { /* rows of queries before this key do not see it */
            size_t row = (key - t->a->pos) * t->group;
            if (row > first) {
                s = vec_first(row - first, vec_set(-__builtin_inff()), s);
            }
        }
        vec_store(at, s);
        max = vec_max(s, max);
    }
    return max;
}

/* Scores to probabilities, with the running maxima and sums brought up to date. */
static void attention_softmax(struct attention_work *w, const struct attention_task *t,
                              const struct attention_block *b)
{
    size_t stride = t->n_vecs * VEC_N;
    for (size_t v = 0; v < t->n_vecs; v++) {
        if (b->n_visible[v] == 0) {
            vec_store(w->alpha + v * VEC_N, vec_set(1.0f));
            continue;
        }
        vec max = attention_mask(w, t, b, v), old = vec_load(w->part.max + v * VEC_N);
        vec base = vec_if_minus_inf(max, vec_set(0.0f), max); /* -inf - -inf would be NaN */
        vec alpha = vec_exp(vec_sub(old, base)), sum = vec_set(0.0f);
        for (size_t j = 0; j < b->n_visible[v]; j++) {
            float *at = w->score + j * stride + v * VEC_N;
            vec p = attention_weight(vec_exp(vec_sub(vec_load(at), base)));
            vec_store(at, p);
            sum = vec_add(sum, p);
        }
        vec_store(w->part.max + v * VEC_N, max);
        vec_store(w->part.weight + v * VEC_N,
                  vec_fma(vec_load(w->part.weight + v * VEC_N), alpha, sum));
        vec_store(w->alpha + v * VEC_N, alpha);
    }
}

/* w->part = the sum over one span of keys. w->q is packed. */
static void attention_span(struct attention_work *w, const struct attention_task *t, size_t span)
{
    attention_clear(&w->part, t);
    for (size_t i = 0; i < ATTENTION_SPAN; i += ATTENTION_KEYS) {
        struct attention_block b = attention_block_at(t, span * ATTENTION_SPAN + i);
        if (b.n_keys == 0) {
            break;
        }
        attention_block(w, t, &b);
    }
}

#endif
