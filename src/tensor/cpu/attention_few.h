/* tensor/cpu/attention_few.h: a block of keys for up to ATTENTION_FEW rows, one token of grouped heads
 * for example. Rows would leave most lanes empty, so keys lie in the lanes and values are read where
 * they are. Every sum takes the same numbers in the same order as in attention_float.h, which includes
 * this, so both give the same bits. */

enum {
    ATTENTION_FEW = VEC_N / 2,
    ATTENTION_FEW_KEYS = 2 * VEC_N, /* keys scored together; divides ATTENTION_KEYS */
    ATTENTION_FEW_ROWS = 4,         /* rows worked on together: 8 sums of scores, 16 of values */
};

/* Up to VEC_N keys or values that follow each other: a page holds them all. */
struct attention_stretch {
    const char *first;
    size_t step, n; /* bytes between rows, rows */
    enum dtype type;
};

static bool attention_is_few(const struct attention_task *t)
{
    return t->n_rows <= ATTENTION_FEW;
}

static struct attention_stretch attention_stretch_at(const struct attention_task *t,
                                                     const struct attention_rows *rows, size_t key, size_t end)
{
    struct attention_stretch r = {.type = t->a->kv_dtype};
    r.n = key < end ? attention_least(end - key, VEC_N) : 0;
    r.first = r.n ? attention_row(t, rows, key) : NULL;
    r.step = rows->stride * (r.type == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
    return r;
}

/* The rows from `key` of a block on; asks for those ATTENTION_AHEAD further on. */
static struct attention_stretch attention_few_rows(const struct attention_task *t,
                                                   const struct attention_block *b, size_t key, bool values)
{
    const struct attention_args *a = t->a;
    const struct attention_rows *rows = values ? &a->v : &a->k;
    struct attention_stretch next =
        attention_stretch_at(t, rows, b->key + key + ATTENTION_AHEAD, a->pos + a->n_tokens);
    for (size_t j = 0; j < next.n; j++) {
        attention_ask(next.first + j * next.step,
                      (values ? a->v_dim : a->k_dim) *
                          (next.type == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t)));
    }
    return attention_stretch_at(t, rows, b->key + key, b->key + b->n_keys);
}

/* Elements [i, i + n) of the rows, n at most VEC_N, to k[element][row], zero where no row is. */
static void attention_few_turn(float *k, const struct attention_stretch *rows, size_t i, size_t n)
{
    vec r[VEC_N];
    for (size_t j = 0; j < VEC_N; j++) {
        r[j] = j < rows->n
                   ? vec_convert_n(vec_convert_at(rows->first + j * rows->step, rows->type, i), rows->type, n)
                   : vec_set(0.0f);
    }
    vec_transpose(r);
    for (size_t j = 0; j < n; j++) {
        vec_store(k + (i + j) * ATTENTION_FEW_KEYS, r[j]);
    }
}

/* Elements [i, i + 2 VEC_N) of BF16 rows: pairs are turned, then parted. */
static void attention_few_turn_pairs(float *k, const struct attention_stretch *rows, size_t i)
{
    vec r[VEC_N];
    for (size_t j = 0; j < VEC_N; j++) {
        r[j] =
            j < rows->n ? vec_load(vec_convert_at(rows->first + j * rows->step, DTYPE_BF16, i)) : vec_set(0.0f);
    }
    vec_transpose(r);
    for (size_t j = 0; j < VEC_N; j++) {
        vec_store(k + (i + 2 * j) * ATTENTION_FEW_KEYS, vec_bf16_low(r[j]));
        vec_store(k + (i + 2 * j + 1) * ATTENTION_FEW_KEYS, vec_bf16_high(r[j]));
    }
}

/* w->k: [k_dim, FEW_KEYS] of the block's keys from `key` on, zero past its last one. */
static void attention_few_keys(struct attention_work *w, const struct attention_task *t,
                               const struct attention_block *b, size_t key)
{
    size_t k_dim = t->a->k_dim;
    size_t pairs = t->a->kv_dtype == DTYPE_BF16 ? k_dim / (2 * VEC_N) * (2 * VEC_N) : 0;
    for (size_t lane = 0; lane < ATTENTION_FEW_KEYS; lane += VEC_N) {
        struct attention_stretch rows = attention_few_rows(t, b, key + lane, false);
        for (size_t i = 0; i < pairs; i += 2 * VEC_N) {
            attention_few_turn_pairs(w->k + lane, &rows, i);
        }
        for (size_t i = pairs; i < k_dim; i += VEC_N) {
            attention_few_turn(w->k + lane, &rows, i, attention_least(k_dim - i, VEC_N));
        }
    }
}

/* Scores of FEW_KEYS keys and n_rows (a constant) rows. */
ATTENTION_INLINE void attention_few_score(float *score, const float *const *q, const float *k, size_t k_dim,
                                          const int n_rows)
{
    vec acc[ATTENTION_FEW_ROWS][2];
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
        acc[r][0] = acc[r][1] = vec_set(0.0f);
    }
    for (size_t i = 0; i < k_dim; i++) {
        vec k0 = vec_load(k + i * ATTENTION_FEW_KEYS), k1 = vec_load(k + i * ATTENTION_FEW_KEYS + VEC_N);
#pragma GCC unroll 4
        for (int r = 0; r < n_rows; r++) {
            vec x = vec_set(q[r][i]);
            acc[r][0] = vec_fma(k0, x, acc[r][0]);
            acc[r][1] = vec_fma(k1, x, acc[r][1]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
        vec_store(score + r * ATTENTION_KEYS, acc[r][0]);
        vec_store(score + r * ATTENTION_KEYS + VEC_N, acc[r][1]);
    }
}

/* w->score: [row, KEYS]. */
static void attention_few_scores(struct attention_work *w, const struct attention_task *t,
                                 const struct attention_block *b)
{
    const float *q[ATTENTION_FEW];
    for (size_t i = 0; i < t->n_rows; i++) {
        q[i] = attention_query(t, i);
    }
    for (size_t key = 0; key < b->n_keys; key += ATTENTION_FEW_KEYS) {
        attention_few_keys(w, t, b, key);
        for (size_t i = 0; i < t->n_rows; i += ATTENTION_FEW_ROWS) {
            float *score = w->score + i * ATTENTION_KEYS + key;
            switch (t->n_rows - i) {
            case 1: attention_few_score(score, q + i, w->k, t->a->k_dim, 1); break;
            case 2: attention_few_score(score, q + i, w->k, t->a->k_dim, 2); break;
            case 3: attention_few_score(score, q + i, w->k, t->a->k_dim, 3); break;
            default: attention_few_score(score, q + i, w->k, t->a->k_dim, ATTENTION_FEW_ROWS); break;
            }
        }
    }
}

/* Scales the scores of row i and masks the keys it does not see; returns the largest. */
static float attention_few_mask(float *score, const struct attention_task *t, const struct attention_block *b,
                                size_t i)
{
    vec scale = vec_set(t->a->scale), none = vec_set(-__builtin_inff()), max = none;
    size_t sees = attention_sees(t, i, b->key);
    for (size_t j = 0; j < b->n_keys; j += VEC_N) {
        vec s = vec_mul(vec_load(score + j), scale);
        s = vec_first(sees > j ? sees - j : 0, s, none);
        vec_store(score + j, s);
        max = vec_max(s, max);
    }
    return vec_most(max);
}

/* Scores to probabilities, with the running maxima brought up to date. */
static void attention_few_softmax(struct attention_work *w, const struct attention_task *t,
                                  const struct attention_block *b)
{
    float most[VEC_N], base[VEC_N];
    vec old = vec_load(w->part.max);
    vec_store(most, old);
    for (size_t i = 0; i < t->n_rows; i++) {
        float m = attention_few_mask(w->score + i * ATTENTION_KEYS, t, b, i);
        most[i] = m > most[i] ? m : most[i];
    }
    vec max = vec_load(most), from = vec_if_minus_inf(max, vec_set(0.0f), max);
    vec_store(base, from);
    vec_store(w->part.max, max);
    vec_store(w->alpha, vec_exp(vec_sub(old, from)));
    for (size_t i = 0; i < t->n_rows; i++) {
        float *p = w->score + i * ATTENTION_KEYS;
        for (size_t j = 0; j < b->n_keys; j += VEC_N) {
            vec_store(p + j, attention_weight(vec_exp(vec_sub(vec_load(p + j), vec_set(base[i])))));
        }
    }
}

/* Rows [row, row + n_rows) of part.out and n_vecs vectors of values from `col` on; both numbers are constants.
 * The first columns' call also brings part.weight up to date, whose terms it has at hand. A single vector may
 * reach past the values: its rest is zero. */
ATTENTION_INLINE void attention_few_mix_tile(struct attention_work *w, const struct attention_task *t,
                                             const struct attention_block *b, size_t row, size_t col,
                                             const int n_rows, const int n_vecs, enum dtype type)
{
    vec acc[ATTENTION_FEW_ROWS][4], sum[ATTENTION_FEW_ROWS];
    float *out = w->part.out + row * t->v_pad + col, *p = w->score + row * ATTENTION_KEYS;
    size_t rest = attention_least(t->a->v_dim - col, VEC_N);
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
        sum[r] = vec_set(0.0f);
#pragma GCC unroll 4
        for (int c = 0; c < n_vecs; c++) {
            acc[r][c] = vec_mul(vec_load(out + r * t->v_pad + c * VEC_N), vec_set(w->alpha[row + r]));
        }
    }
    for (size_t key = 0; key < b->n_keys; key += VEC_N) {
        struct attention_stretch rows = attention_few_rows(t, b, key, true);
        for (size_t j = 0; j < rows.n; j++) {
            const char *at = rows.first + j * rows.step;
            vec v[4];
#pragma GCC unroll 4
            for (int c = 0; c < n_vecs; c++) {
                v[c] =
                    vec_convert_n(vec_convert_at(at, type, col + c * VEC_N), type, n_vecs > 1 ? VEC_N : rest);
            }
#pragma GCC unroll 4
            for (int r = 0; r < n_rows; r++) {
                vec x = vec_set(p[r * ATTENTION_KEYS + key + j]);
                sum[r] = vec_add(sum[r], x);
#pragma GCC unroll 4
                for (int c = 0; c < n_vecs; c++) {
                    acc[r][c] = vec_fma(x, v[c], acc[r][c]);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 4
        for (int c = 0; c < n_vecs; c++) {
            vec_store(out + r * t->v_pad + c * VEC_N, acc[r][c]);
        }
        if (col == 0) {
            vec_store_n(w->part.weight + row + r,
                        vec_fma(vec_set(w->part.weight[row + r]), vec_set(w->alpha[row + r]), sum[r]), 1);
        }
    }
}

/* Four vectors of BF16 at a time; of the other types, and of what is left, one. */
ATTENTION_INLINE void attention_few_mix_band(struct attention_work *w, const struct attention_task *t,
                                             const struct attention_block *b, size_t row, const int n_rows)
{
    enum dtype type = t->a->kv_dtype;
    size_t col = 0;
    for (; type == DTYPE_BF16 && col + 4 * VEC_N <= t->a->v_dim; col += 4 * VEC_N) {
        attention_few_mix_tile(w, t, b, row, col, n_rows, 4, DTYPE_BF16);
    }
    for (; col < t->a->v_dim; col += VEC_N) {
        attention_few_mix_tile(w, t, b, row, col, n_rows, 1, type);
    }
}

static void attention_few_mix(struct attention_work *w, const struct attention_task *t,
                              const struct attention_block *b)
{
    for (size_t row = 0; row < t->n_rows; row += ATTENTION_FEW_ROWS) {
        switch (t->n_rows - row) {
        case 1: attention_few_mix_band(w, t, b, row, 1); break;
        case 2: attention_few_mix_band(w, t, b, row, 2); break;
        case 3: attention_few_mix_band(w, t, b, row, 3); break;
        default: attention_few_mix_band(w, t, b, row, ATTENTION_FEW_ROWS); break;
        }
    }
}

static void attention_few_block(struct attention_work *w, const struct attention_task *t,
                                const struct attention_block *b)
{
    attention_few_scores(w, t, b);
    attention_few_softmax(w, t, b);
    attention_few_mix(w, t, b);
}
