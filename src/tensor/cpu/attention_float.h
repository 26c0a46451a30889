/* tensor/cpu/attention_float.h: the steps of attention_walk.h in float32 over vec_*.h. Included by
 * attention_avx2.c and attention_avx512.c, which set the sizes of the register tiles:
 *
 *     ATTENTION_TILE_KEYS   keys x 2 vectors of rows when scoring; divides ATTENTION_KEYS
 *     ATTENTION_TILE_ROWS   rows x 2 vectors of values when mixing; divides VEC_N
 */
#include "tensor/cpu/attention_plan.h"

#define ATTENTION_INLINE static inline __attribute__((always_inline))

#include "tensor/cpu/attention_few.h"

/* w->q: [k_dim, n_vecs * VEC_N], rows in lanes, zero beyond n_rows. */
static void attention_pack(struct attention_work *w, const struct attention_task *t)
{
    size_t stride = t->n_vecs * VEC_N, k_dim = t->a->k_dim;
    if (attention_is_few(t)) {
        return; /* their queries are read where they are */
    }
    for (size_t v = 0; v < t->n_vecs; v++) {
        for (size_t i = 0; i < k_dim; i += VEC_N) {
            vec r[VEC_N];
            size_t n = attention_least(k_dim - i, VEC_N);
            for (size_t j = 0; j < VEC_N; j++) {
                size_t row = v * VEC_N + j;
                if (row >= t->n_rows) {
                    r[j] = vec_set(0.0f);
                } else if (n == VEC_N) {
                    r[j] = vec_load(attention_query(t, row) + i);
                } else {
                    r[j] = vec_load_n(attention_query(t, row) + i, n);
                }
            }
            vec_transpose(r);
            for (size_t j = 0; j < n; j++) {
                vec_store(w->q + (i + j) * stride + v * VEC_N, r[j]);
            }
        }
    }
}

static void attention_load_row(float *dst, const void *src, enum dtype type, size_t n)
{
    size_t i = vec_convert(dst, src, type, n);
    if (i < n) {
        vec_store(dst + i, vec_convert_n(vec_convert_at(src, type, i), type, n - i));
    }
}

/* w->k: [KEYS, k_pad], zero rows up to whole register tiles; w->v: [KEYS, v_pad] unless shared. */
static void attention_load(struct attention_work *w, const struct attention_task *t,
                           const struct attention_block *b)
{
    const struct attention_args *a = t->a;
    bool shares = attention_shares(t);
    for (size_t j = 0; j < b->n_keys; j++) {
        attention_ahead(t, b->key + j + ATTENTION_AHEAD, false);
        attention_load_row(w->k + j * t->k_pad, attention_key(t, b->key + j), a->kv_dtype,
                           a->k_dim);
        if (!shares) {
            attention_ahead(t, b->key + j + ATTENTION_AHEAD, true);
            attention_load_row(w->v + j * t->v_pad, attention_value(t, b->key + j), a->kv_dtype,
                               a->v_dim);
        }
    }
    size_t whole = attention_round(b->n_keys, ATTENTION_TILE_KEYS);
    memset(w->k + b->n_keys * t->k_pad, 0, (whole - b->n_keys) * t->k_pad * sizeof *w->k);
}

/* Scores of ATTENTION_TILE_KEYS keys and n_vecs (a constant) vectors of rows. */
ATTENTION_INLINE void attention_score_tile(float *score, const float *q, size_t stride,
                                           const float *k, size_t k_pad, size_t k_dim,
                                           const int n_vecs)
{
    vec acc[ATTENTION_TILE_KEYS][2];
#pragma GCC unroll 8
    for (int j = 0; j < ATTENTION_TILE_KEYS; j++) {
        acc[j][0] = acc[j][1] = vec_set(0.0f);
    }
    for (size_t i = 0; i < k_dim; i++) {
        vec q0 = vec_load(q + i * stride);
        vec q1 = n_vecs > 1 ? vec_load(q + i * stride + VEC_N) : q0;
#pragma GCC unroll 8
        for (int j = 0; j < ATTENTION_TILE_KEYS; j++) {
            vec x = vec_set(k[(size_t)j * k_pad + i]);
            acc[j][0] = vec_fma(x, q0, acc[j][0]);
            if (n_vecs > 1) {
                acc[j][1] = vec_fma(x, q1, acc[j][1]);
            }
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < ATTENTION_TILE_KEYS; j++) {
        vec_store(score + (size_t)j * stride, acc[j][0]);
        if (n_vecs > 1) {
            vec_store(score + (size_t)j * stride + VEC_N, acc[j][1]);
        }
    }
}

static void attention_score(struct attention_work *w, const struct attention_task *t,
                            const struct attention_block *b)
{
    size_t stride = t->n_vecs * VEC_N, v = 0;
    for (; v + 2 <= t->n_vecs; v += 2) {
        for (size_t j = 0; j < b->n_visible[v + 1]; j += ATTENTION_TILE_KEYS) {
            attention_score_tile(w->score + j * stride + v * VEC_N, w->q + v * VEC_N, stride,
                                 w->k + j * t->k_pad, t->k_pad, t->a->k_dim, 2);
        }
    }
    for (size_t j = 0; v < t->n_vecs && j < b->n_visible[v]; j += ATTENTION_TILE_KEYS) {
        attention_score_tile(w->score + j * stride + v * VEC_N, w->q + v * VEC_N, stride,
                             w->k + j * t->k_pad, t->k_pad, t->a->k_dim, 1);
    }
}

static inline vec attention_weight(vec p)
{
    return p;
}

struct attention_mixing {
    float *out; /* [rows, v_pad] */
    const float *alpha, *p, *v;
    size_t out_stride, p_stride, v_stride, n_keys;
};

/* n_rows rows (at most TILE_ROWS) by n_vecs (at most 8) vectors of values, both constants. */
ATTENTION_INLINE void attention_mix_tile(const struct attention_mixing *m, size_t row, size_t col,
                                         const int n_rows, const int n_vecs)
{
    vec acc[ATTENTION_TILE_ROWS][8];
    float *out = m->out + row * m->out_stride + col;
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 8
        for (int c = 0; c < n_vecs; c++) {
            acc[r][c] = vec_mul(vec_load(out + (size_t)r * m->out_stride + (size_t)c * VEC_N),
                                vec_set(m->alpha[row + (size_t)r]));
        }
    }
    const float *p = m->p + row, *v = m->v + col;
    for (size_t j = 0; j < m->n_keys; j++) {
#pragma GCC unroll 8
        for (int r = 0; r < n_rows; r++) {
            vec x = vec_set(p[j * m->p_stride + (size_t)r]);
#pragma GCC unroll 8
            for (int c = 0; c < n_vecs; c++) {
                acc[r][c] =
                    vec_fma(x, vec_load(v + j * m->v_stride + (size_t)c * VEC_N), acc[r][c]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 8
        for (int c = 0; c < n_vecs; c++) {
            vec_store(out + (size_t)r * m->out_stride + (size_t)c * VEC_N, acc[r][c]);
        }
    }
}

/* Whole register tiles of rows over all columns, then single rows. */
static void attention_mix_rows(const struct attention_mixing *m, size_t first, size_t last,
                               size_t v_pad)
{
    size_t row = first, col = 0;
    for (; row + ATTENTION_TILE_ROWS <= last; row += ATTENTION_TILE_ROWS) {
        for (col = 0; col + 2 * VEC_N <= v_pad; col += 2 * VEC_N) {
            attention_mix_tile(m, row, col, ATTENTION_TILE_ROWS, 2);
        }
        if (col < v_pad) {
            attention_mix_tile(m, row, col, ATTENTION_TILE_ROWS, 1);
        }
    }
    for (; row + 2 <= last; row += 2) {
        for (col = 0; col + 4 * VEC_N <= v_pad; col += 4 * VEC_N) {
            attention_mix_tile(m, row, col, 2, 4);
        }
        for (; col < v_pad; col += VEC_N) {
            attention_mix_tile(m, row, col, 2, 1);
        }
    }
    if (row < last) {
        for (col = 0; col + 8 * VEC_N <= v_pad; col += 8 * VEC_N) {
            attention_mix_tile(m, row, col, 1, 8);
        }
        for (; col < v_pad; col += VEC_N) {
            attention_mix_tile(m, row, col, 1, 1);
        }
    }
}

static void attention_mix(struct attention_work *w, const struct attention_task *t,
                          const struct attention_block *b)
{
    bool shares = attention_shares(t);
    struct attention_mixing m = {.out = w->part.out,
                                 .alpha = w->alpha,
                                 .p = w->score,
                                 .v = shares ? w->k : w->v,
                                 .out_stride = t->v_pad,
                                 .p_stride = t->n_vecs * VEC_N,
                                 .v_stride = shares ? t->k_pad : t->v_pad};
    for (size_t v = 0; v < t->n_vecs; v++) {
        m.n_keys = b->n_visible[v];
        if (m.n_keys) {
            attention_mix_rows(&m, v * VEC_N, attention_least((v + 1) * VEC_N, t->n_rows),
                               t->v_pad);
        }
    }
}

static void attention_block(struct attention_work *w, const struct attention_task *t,
                            const struct attention_block *b)
{
    if (attention_is_few(t)) {
        attention_few_block(w, t, b);
        return;
    }
    attention_load(w, t, b);
    attention_score(w, t, b);
    attention_softmax(w, t, b);
    attention_mix(w, t, b);
}

static void attention_begin(void)
{
}

static void attention_end(void)
{
}
