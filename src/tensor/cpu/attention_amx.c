/* tensor/cpu/attention_amx.c: see attention.h. Scores are made as keys x rows: a tile of 16 keys
 * comes straight from the cache, only the queries are packed (once), and rows lie in lanes for the
 * softmax. Values are read once per block and packed in pairs of keys; probabilities are turned
 * into rows x keys by a register transpose. Tiles 0-3 sum, 6 is a left operand, 7 a right one: more
 * tiles in use, or one tile instruction right after another, cost time while the other hardware thread
 * of the core is busy (matmul_amx.c). */
#include "tensor/cpu/vec_avx512.h"

enum {
    ATTENTION_ROWS = 64,
    ATTENTION_KEYS = 128,
    ATTENTION_WORK = 4000000,
    ATTENTION_STEP = 32, /* BF16 values of one tile row: a step of every product */
};

#include "tensor/cpu/attention_plan.h"
#include "tensor/cpu/tiles.h"

static void attention_begin(void)
{
    tiles_begin();
}

static void attention_end(void)
{
    tiles_end();
}

/* w->q: BF16 pairs, [k_dim / 2, n_vecs * 16 rows, 2]: the right operand. */
static void attention_pack(struct attention_work *w, const struct attention_task *t)
{
    size_t stride = t->n_vecs * VEC_N;
    for (size_t v = 0; v < t->n_vecs; v++) {
        for (size_t i = 0; i < t->a->k_dim; i += ATTENTION_STEP) {
            vec r[VEC_N];
            for (size_t j = 0; j < VEC_N; j++) {
                r[j] = vec_set(0.0f);
                if (v * VEC_N + j < t->n_rows) {
                    const float *q = attention_query(t, v * VEC_N + j) + i;
                    __m512bh pair = _mm512_cvtne2ps_pbh(vec_load(q + VEC_N), vec_load(q));
                    memcpy(&r[j], &pair, sizeof r[j]);
                }
            }
            vec_transpose(r);
            for (size_t j = 0; j < VEC_N; j++) {
                vec_store(w->q + (i / 2 + j) * stride + v * VEC_N, r[j]);
            }
        }
    }
}

/* w->v: BF16 pairs of keys, [KEYS / 2, v_dim, 2], zero up to whole steps; w->k: the keys of the
 * last tile if it reaches past the last key of the call. */
static void attention_load(struct attention_work *w, const struct attention_task *t,
                           const struct attention_block *b)
{
    const struct attention_args *a = t->a;
    __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39,
                                   7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    bool shares = attention_shares(t);
    size_t whole = attention_round(b->n_keys, ATTENTION_STEP);
    for (size_t j = 0; j < whole; j += 2) {
        attention_ahead(t, b->key + j + ATTENTION_AHEAD, false);
        attention_ahead(t, b->key + j + ATTENTION_AHEAD + 1, false);
        if (!shares) {
            attention_ahead(t, b->key + j + ATTENTION_AHEAD, true);
            attention_ahead(t, b->key + j + ATTENTION_AHEAD + 1, true);
        }
        const uint16_t *v0 = j < b->n_keys ? attention_value(t, b->key + j) : NULL;
        const uint16_t *v1 = j + 1 < b->n_keys ? attention_value(t, b->key + j + 1) : NULL;
        float *to = w->v + j / 2 * a->v_dim;
        for (size_t i = 0; i < a->v_dim; i += ATTENTION_STEP) {
            __m512i x = v0 ? _mm512_loadu_si512(v0 + i) : _mm512_setzero_si512();
            __m512i y = v1 ? _mm512_loadu_si512(v1 + i) : _mm512_setzero_si512();
            _mm512_storeu_si512(to + i, _mm512_permutex2var_epi16(x, low, y));
            _mm512_storeu_si512(to + i + VEC_N, _mm512_permutex2var_epi16(x, high, y));
        }
    }
    size_t end = a->pos + a->n_tokens, tile = b->key + (b->n_keys - 1) / VEC_N * VEC_N;
    if (tile + VEC_N > end) {
        memset(w->k, 0, VEC_N * a->k_dim * sizeof(uint16_t));
        for (size_t j = 0; j < end - tile; j++) {
            memcpy((uint16_t *)(void *)w->k + j * a->k_dim, attention_key(t, tile + j),
                   a->k_dim * sizeof(uint16_t));
        }
    }
}

struct attention_keys { /* 16 keys: a left operand */
    const uint16_t *at;
    size_t stride; /* bytes */
};

static struct attention_keys attention_keys_at(const struct attention_work *w,
                                               const struct attention_task *t, size_t key)
{
    if (key + VEC_N > t->a->pos + t->a->n_tokens) {
        return (struct attention_keys){(const uint16_t *)(const void *)w->k,
                                       t->a->k_dim * sizeof(uint16_t)};
    }
    return (struct attention_keys){attention_key(t, key), t->a->k.stride * sizeof(uint16_t)};
}

#define ATTENTION_APART() __asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop")
#define ATTENTION_LOAD(tile, p, stride) \
    TILES_LOAD(tile, p, stride);        \
    ATTENTION_APART()
#define ATTENTION_ADD(sum) \
    TILES_ADD(sum, 6, 7);  \
    ATTENTION_APART()

/* 32 keys x 32 rows. `stride`: floats between rows of q and of score. */
static void attention_score_2x2(float *score, const float *q, size_t stride,
                                const struct attention_keys k[2], size_t k_dim)
{
    TILES_ZERO(0);
    TILES_ZERO(1);
    TILES_ZERO(2);
    TILES_ZERO(3);
    for (size_t i = 0; i < k_dim; i += ATTENTION_STEP) {
        const float *at = q + i / 2 * stride;
        ATTENTION_LOAD(6, k[0].at + i, k[0].stride);
        ATTENTION_LOAD(7, at, stride * sizeof *q);
        ATTENTION_ADD(0);
        ATTENTION_LOAD(6, k[1].at + i, k[1].stride);
        ATTENTION_ADD(2);
        ATTENTION_LOAD(7, at + VEC_N, stride * sizeof *q);
        ATTENTION_ADD(3);
        ATTENTION_LOAD(6, k[0].at + i, k[0].stride);
        ATTENTION_ADD(1);
    }
    TILES_STORE_ROWS(0, score, stride * sizeof *score);
    TILES_STORE_ROWS(1, score + VEC_N, stride * sizeof *score);
    TILES_STORE_ROWS(2, score + VEC_N * stride, stride * sizeof *score);
    TILES_STORE_ROWS(3, score + VEC_N * stride + VEC_N, stride * sizeof *score);
}

/* 64 keys x 16 rows. */
static void attention_score_4x1(float *score, const float *q, size_t stride,
                                const struct attention_keys k[4], size_t k_dim)
{
    TILES_ZERO(0);
    TILES_ZERO(1);
    TILES_ZERO(2);
    TILES_ZERO(3);
    for (size_t i = 0; i < k_dim; i += ATTENTION_STEP) {
        ATTENTION_LOAD(7, q + i / 2 * stride, stride * sizeof *q);
        ATTENTION_LOAD(6, k[0].at + i, k[0].stride);
        ATTENTION_ADD(0);
        ATTENTION_LOAD(6, k[1].at + i, k[1].stride);
        ATTENTION_ADD(1);
        ATTENTION_LOAD(6, k[2].at + i, k[2].stride);
        ATTENTION_ADD(2);
        ATTENTION_LOAD(6, k[3].at + i, k[3].stride);
        ATTENTION_ADD(3);
    }
    TILES_STORE_ROWS(0, score, stride * sizeof *score);
    TILES_STORE_ROWS(1, score + 1 * VEC_N * stride, stride * sizeof *score);
    TILES_STORE_ROWS(2, score + 2 * VEC_N * stride, stride * sizeof *score);
    TILES_STORE_ROWS(3, score + 3 * VEC_N * stride, stride * sizeof *score);
}

static void attention_score_1x1(float *score, const float *q, size_t stride,
                                struct attention_keys k, size_t k_dim)
{
    TILES_ZERO(0);
    for (size_t i = 0; i < k_dim; i += ATTENTION_STEP) {
        ATTENTION_LOAD(6, k.at + i, k.stride);
        ATTENTION_LOAD(7, q + i / 2 * stride, stride * sizeof *q);
        ATTENTION_ADD(0);
    }
    TILES_STORE_ROWS(0, score, stride * sizeof *score);
}

static void attention_score(struct attention_work *w, const struct attention_task *t,
                            const struct attention_block *b)
{
    size_t stride = t->n_vecs * VEC_N, k_dim = t->a->k_dim, v = 0;
    struct attention_keys keys[ATTENTION_KEYS / VEC_N];
    size_t tiles = (b->n_keys + VEC_N - 1) / VEC_N;
    for (size_t i = 0; i < tiles; i++) {
        keys[i] = attention_keys_at(w, t, b->key + i * VEC_N);
    }
    for (; v + 2 <= t->n_vecs; v += 2) {
        size_t i = 0, n = (b->n_visible[v + 1] + VEC_N - 1) / VEC_N;
        float *score = w->score + v * VEC_N, *q = w->q + v * VEC_N;
        for (; i + 2 <= n; i += 2) {
            attention_score_2x2(score + i * VEC_N * stride, q, stride, keys + i, k_dim);
        }
        if (i < n) {
            attention_score_1x1(score + i * VEC_N * stride, q, stride, keys[i], k_dim);
            attention_score_1x1(score + i * VEC_N * stride + VEC_N, q + VEC_N, stride, keys[i],
                                k_dim);
        }
    }
    if (v < t->n_vecs) {
        size_t i = 0, n = (b->n_visible[v] + VEC_N - 1) / VEC_N;
        float *score = w->score + v * VEC_N, *q = w->q + v * VEC_N;
        for (; i + 4 <= n; i += 4) {
            attention_score_4x1(score + i * VEC_N * stride, q, stride, keys + i, k_dim);
        }
        for (; i < n; i++) {
            attention_score_1x1(score + i * VEC_N * stride, q, stride, keys[i], k_dim);
        }
    }
}

/* To BF16, kept as float: nearest, halves up (p is never negative). NaN stays NaN. */
static inline vec attention_weight(vec p)
{
    __m512i u = _mm512_add_epi32(_mm512_castps_si512(p), _mm512_set1_epi32(0x8000));
    return _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32((int)0xffff0000)));
}

/* w->p: BF16, [n_vecs * 16 rows, KEYS], zero for keys a vector of rows does not see. */
static void attention_pack_weights(struct attention_work *w, const struct attention_task *t,
                                   const struct attention_block *b)
{
    size_t stride = t->n_vecs * VEC_N;
    __m512i odd = _mm512_set_epi16(63, 31, 61, 29, 59, 27, 57, 25, 55, 23, 53, 21, 51, 19, 49, 17,
                                   47, 15, 45, 13, 43, 11, 41, 9, 39, 7, 37, 5, 35, 3, 33, 1);
    for (size_t v = 0; v < t->n_vecs; v++) {
        const float *score = w->score + v * VEC_N;
        for (size_t i = 0; i < b->n_keys; i += ATTENTION_STEP) {
            vec r[VEC_N];
            for (size_t j = 0; j < VEC_N; j++) {
                size_t key = i + 2 * j;
                vec x = key < b->n_visible[v] ? vec_load(score + key * stride) : vec_set(0.0f);
                vec y = key + 1 < b->n_visible[v] ? vec_load(score + (key + 1) * stride)
                                                  : vec_set(0.0f);
                r[j] = _mm512_castsi512_ps(_mm512_permutex2var_epi16(
                    _mm512_castps_si512(x), odd, _mm512_castps_si512(y)));
            }
            vec_transpose(r);
            for (size_t j = 0; j < VEC_N; j++) {
                vec_store(w->p + (v * VEC_N + j) * (ATTENTION_KEYS / 2) + i / 2, r[j]);
            }
        }
    }
}

static void attention_rescale(struct attention_work *w, const struct attention_task *t)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        if (w->alpha[i] == 1.0f) {
            continue;
        }
        vec alpha = vec_set(w->alpha[i]);
        float *out = w->part.out + i * t->v_pad;
        for (size_t j = 0; j < t->v_pad; j += VEC_N) {
            vec_store(out + j, vec_mul(vec_load(out + j), alpha));
        }
    }
}

/* 32 rows x 32 values. */
static void attention_mix_2x2(float *out, size_t v_dim, const float *p, const float *v,
                              size_t steps)
{
    size_t stride = v_dim * sizeof *out;
    float *below = out + VEC_N * v_dim;
    TILES_LOAD(0, out, stride);
    TILES_LOAD(1, out + VEC_N, stride);
    TILES_LOAD(2, below, stride);
    TILES_LOAD(3, below + VEC_N, stride);
    for (size_t i = 0; i < steps; i++) {
        const float *left = p + i * VEC_N, *right = v + i * VEC_N * v_dim;
        ATTENTION_LOAD(6, left, ATTENTION_KEYS * 2);
        ATTENTION_LOAD(7, right, stride);
        ATTENTION_ADD(0);
        ATTENTION_LOAD(7, right + VEC_N, stride);
        ATTENTION_ADD(1);
        ATTENTION_LOAD(6, left + VEC_N * (ATTENTION_KEYS / 2), ATTENTION_KEYS * 2);
        ATTENTION_ADD(3);
        ATTENTION_LOAD(7, right, stride);
        ATTENTION_ADD(2);
    }
    TILES_STORE_ROWS(0, out, stride);
    TILES_STORE_ROWS(1, out + VEC_N, stride);
    TILES_STORE_ROWS(2, below, stride);
    TILES_STORE_ROWS(3, below + VEC_N, stride);
}

/* 16 rows x 32 values. */
static void attention_mix_1x2(float *out, size_t v_dim, const float *p, const float *v,
                              size_t steps)
{
    size_t stride = v_dim * sizeof *out;
    TILES_LOAD(0, out, stride);
    TILES_LOAD(1, out + VEC_N, stride);
    for (size_t i = 0; i < steps; i++) {
        const float *right = v + i * VEC_N * v_dim;
        ATTENTION_LOAD(6, p + i * VEC_N, ATTENTION_KEYS * 2);
        ATTENTION_LOAD(7, right, stride);
        ATTENTION_ADD(0);
        ATTENTION_LOAD(7, right + VEC_N, stride);
        ATTENTION_ADD(1);
    }
    TILES_STORE_ROWS(0, out, stride);
    TILES_STORE_ROWS(1, out + VEC_N, stride);
}

static void attention_mix(struct attention_work *w, const struct attention_task *t,
                          const struct attention_block *b)
{
    size_t v_dim = t->a->v_dim, v = 0;
    attention_pack_weights(w, t, b);
    attention_rescale(w, t);
    for (; v < t->n_vecs; v += 2) {
        bool pair = v + 2 <= t->n_vecs;
        size_t seen = b->n_visible[pair ? v + 1 : v];
        size_t steps = (seen + ATTENTION_STEP - 1) / ATTENTION_STEP;
        float *out = w->part.out + v * VEC_N * v_dim;
        const float *p = w->p + v * VEC_N * (ATTENTION_KEYS / 2);
        for (size_t j = 0; steps && j < v_dim; j += ATTENTION_STEP) {
            if (pair) {
                attention_mix_2x2(out + j, v_dim, p, w->v + j, steps);
            } else {
                attention_mix_1x2(out + j, v_dim, p, w->v + j, steps);
            }
        }
    }
}

static void attention_block(struct attention_work *w, const struct attention_task *t,
                            const struct attention_block *b)
{
    attention_load(w, t, b);
    attention_score(w, t, b);
    attention_softmax(w, t, b);
    attention_mix(w, t, b);
}

err attention_amx(struct compute *c, const struct attention_args *calls, size_t n_calls)
{
    const struct attention_args *a = calls;
    if (n_calls && (a->kv_dtype != DTYPE_BF16 || a->k_dim % ATTENTION_STEP || a->v_dim % ATTENTION_STEP)) {
        return attention_avx512(c, calls, n_calls);
    }
    return attention_run(c, calls, n_calls);
}
