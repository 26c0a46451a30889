/* tensor/cpu/learnattention_walk.h: the algorithm of learnattention.h, over vec_*.h and what a level defines
 * before it includes this:
 *
 *     learnattention_number       the type of operands
 *     learnattention_pack         a mat as an operand
 *     learnattention_product      2 x 2 tiles of sums = or += tiles of left rows times tiles of right columns
 *     learnattention_product_beside   the same, calling a function between its instructions, or not
 *     learnattention_put_left, learnattention_put_right   two keys' numbers of 32 queries into operands
 *     learnattention_exp2
 *
 * Everything lies in tiles: a tile of an operand is 16 rows (left) or columns (right) by 32 steps of the sum, a
 * tile of sums [16][16] floats. Scores are held as [keys][queries], so queries lie in lanes: nothing is summed
 * across lanes, and probabilities are an operand without being turned round. A chunk is 32 tokens. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/learnattention.h"

enum {
    LEARNATTENTION_TILE = 16,
    LEARNATTENTION_CHUNK = 32,
    LEARNATTENTION_OPERAND = 16 * 32, /* numbers of a tile */
    LEARNATTENTION_SUMS = 16 * 16,    /* floats of a tile */
    LEARNATTENTION_BLOCK = 4 * LEARNATTENTION_SUMS, /* a chunk of keys by a chunk of queries */
    LEARNATTENTION_LANES = LEARNATTENTION_CHUNK / VEC_N,
    LEARNATTENTION_SEEN = 16, /* chunks of keys at a time, forward */
    LEARNATTENTION_MIX = 2,   /* of them whose products go together */
    LEARNATTENTION_KEYS = 8,  /* chunks of keys at a time, backward */
    LEARNATTENTION_ROWS = 8,  /* chunks of queries at a time, backward */
    LEARNATTENTION_P_ACROSS = LEARNATTENTION_SEEN * LEARNATTENTION_OPERAND,
    LEARNATTENTION_P_DOWN = LEARNATTENTION_ROWS * LEARNATTENTION_OPERAND,
    LEARNATTENTION_DS_ACROSS = LEARNATTENTION_KEYS * LEARNATTENTION_OPERAND,
};

#define LEARNATTENTION_LOG2E 0x1.715476p+0f
#define LEARNATTENTION_LN2 0x1.62e43p-1f

typedef learnattention_number number;

/* A task's scratch. Chunks of queries r see chunks of keys [low[r], r]. */
struct learnattention_room {
    size_t chunks, k_steps, v_steps; /* tokens, k_dim, v_dim in 32s */
    uint32_t *low;   /* [chunks] */
    float *late;     /* [chunks] the largest of `from` */
    float *from;     /* [tokens] the first key a token sees */
    number *k, *v;   /* left: keys by their dims */
    number *turned;  /* left: forward the values' dims by keys, backward the keys' dims by keys */
    number *q;       /* right: queries by dims */
    float *scores;   /* forward [SEEN], backward [2] blocks */
    number *p;       /* forward right [2][SEEN]; backward left [2 KEYS][ROWS] */
    float *out;      /* forward [2][2 v_steps][2] */
    /* Backward only. */
    number *dout;             /* right: queries by dims */
    number *q_down, *dout_down; /* right: dims by queries */
    number *ds, *ds_right;    /* left [2 KEYS][ROWS], right [2 ROWS][KEYS] */
    float *ds_scores;         /* [2] blocks */
    float *dq, *dk, *dv;      /* [2 k_steps][2 chunks], [2 chunks][2 k_steps], [2 chunks][2 v_steps] */
    float *lse, *both;        /* [tokens] -lse in powers of 2; dout . out */
};

/* n things at *at, which moves on. */
static void *learnattention_carve(char *memory, size_t *at, size_t n, size_t each)
{
    void *p = memory ? memory + *at : NULL;
    *at += (n * each + 63) / 64 * 64;
    return p;
}

/* Returns what the room takes. memory NULL: only this. */
static size_t learnattention_lay(const struct learnattention_task *t, char *memory,
                                 struct learnattention_room *w)
{
    enum { N = sizeof(number), OPERAND = LEARNATTENTION_OPERAND, F = sizeof(float) };
    size_t n = (t->n + LEARNATTENTION_CHUNK - 1) / LEARNATTENTION_CHUNK, at = 0;
    size_t k = (t->a->k_dim + LEARNATTENTION_CHUNK - 1) / LEARNATTENTION_CHUNK;
    size_t v = (t->a->v_dim + LEARNATTENTION_CHUNK - 1) / LEARNATTENTION_CHUNK;
    size_t keys = 2 * n * k * OPERAND, values = 2 * n * v * OPERAND;
    size_t block = 2 * LEARNATTENTION_KEYS * LEARNATTENTION_ROWS * OPERAND;
    *w = (struct learnattention_room){.chunks = n, .k_steps = k, .v_steps = v};
    w->low = learnattention_carve(memory, &at, n, sizeof *w->low);
    w->late = learnattention_carve(memory, &at, n, F);
    w->from = learnattention_carve(memory, &at, n * LEARNATTENTION_CHUNK, F);
    w->k = learnattention_carve(memory, &at, keys, N);
    if (!t->d) {
        w->turned = learnattention_carve(memory, &at, values, N);
        w->q = learnattention_carve(memory, &at, keys, N);
        w->scores = learnattention_carve(memory, &at, LEARNATTENTION_SEEN * LEARNATTENTION_BLOCK, F);
        w->p = learnattention_carve(memory, &at, 2 * LEARNATTENTION_SEEN * OPERAND, N);
        w->out = learnattention_carve(memory, &at, 2 * v * LEARNATTENTION_BLOCK, F);
        return at;
    }
    w->v = learnattention_carve(memory, &at, values, N);
    w->turned = learnattention_carve(memory, &at, keys, N);
    w->q = learnattention_carve(memory, &at, keys, N);
    w->dout = learnattention_carve(memory, &at, values, N);
    w->q_down = learnattention_carve(memory, &at, keys, N);
    w->dout_down = learnattention_carve(memory, &at, values, N);
    w->scores = learnattention_carve(memory, &at, 2 * LEARNATTENTION_BLOCK, F);
    w->ds_scores = learnattention_carve(memory, &at, 2 * LEARNATTENTION_BLOCK, F);
    w->p = learnattention_carve(memory, &at, block, N);
    w->ds = learnattention_carve(memory, &at, block, N);
    w->ds_right = learnattention_carve(memory, &at, block, N);
    w->dq = learnattention_carve(memory, &at, n * k * LEARNATTENTION_BLOCK, F);
    w->dk = learnattention_carve(memory, &at, n * k * LEARNATTENTION_BLOCK, F);
    w->dv = learnattention_carve(memory, &at, n * v * LEARNATTENTION_BLOCK, F);
    w->lse = learnattention_carve(memory, &at, n * LEARNATTENTION_CHUNK, F);
    w->both = learnattention_carve(memory, &at, n * LEARNATTENTION_CHUNK, F);
    return at;
}

static size_t learnattention_scratch(const struct learnattention_task *t)
{
    struct learnattention_room w;
    return learnattention_lay(t, NULL, &w);
}

/* Who sees what: keys count from the group's first token; tokens that do not exist see themselves. */
static void learnattention_look(const struct learnattention_task *t, struct learnattention_room *w)
{
    for (size_t r = w->chunks; r-- > 0;) {
        size_t low = r, late = 0;
        for (size_t i = r * LEARNATTENTION_CHUNK; i < (r + 1) * LEARNATTENTION_CHUNK; i++) {
            size_t from = i < t->n ? i - (size_t)t->a->positions[t->first + i] : i;
            w->from[i] = (float)from;
            low = from / LEARNATTENTION_CHUNK < low ? from / LEARNATTENTION_CHUNK : low;
            late = i < t->n && from > late ? from : late;
        }
        bool later = r + 1 < w->chunks && w->low[r + 1] < low; /* rows of blocks have no holes */
        w->low[r] = later ? w->low[r + 1] : (uint32_t)low;
        w->late[r] = (float)late;
    }
}

/* Whether a block of scores holds some that do not count. */
static bool learnattention_masked(const struct learnattention_room *w, size_t g, size_t r)
{
    return g == r || w->late[r] > (float)(g * LEARNATTENTION_CHUNK);
}

/* A head's columns of the group's tokens. */
static struct mat learnattention_head(const struct learnattention_task *t, struct mat m, size_t head,
                                      size_t dim)
{
    return mat_rows(mat_cols(m, head * dim, dim), t->first, t->n);
}

static vec learnattention_rows(size_t r, size_t lanes) /* the queries' own places */
{
    static const float steps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return vec_add(vec_load(steps), vec_set((float)(r * LEARNATTENTION_CHUNK + lanes * VEC_N)));
}

/* Of a block's [4 tiles]: key i, vector l of queries. */
static inline float *learnattention_score(float *block, size_t key, size_t l)
{
    enum { IN_TILE = LEARNATTENTION_TILE / VEC_N };
    size_t tile = key / LEARNATTENTION_TILE * 2 + l / IN_TILE;
    return block + tile * LEARNATTENTION_SUMS + key % LEARNATTENTION_TILE * LEARNATTENTION_TILE +
           l % IN_TILE * VEC_N;
}

/* ---- Results. ---- */

static void learnattention_store(uint16_t *to, vec v, size_t n)
{
    if (n >= VEC_N) {
        learnattention_store_half(to, v);
    } else {
        vec_store_bf16_n(to, v, n);
    }
}

/* Sums [dims][queries of a chunk], tile rows `down` floats apart, times a factor of each query. */
static void learnattention_put_queries(struct mat to, const float *sums, size_t down, const vec *factor)
{
    for (size_t col = 0; col < to.cols; col += VEC_N) {
        for (size_t l = 0; l < LEARNATTENTION_LANES && l * VEC_N < to.rows; l++) {
            size_t in = col % LEARNATTENTION_TILE * LEARNATTENTION_TILE;
            const float *at = sums + col / LEARNATTENTION_TILE * down + in;
            at += l * VEC_N / LEARNATTENTION_TILE * LEARNATTENTION_SUMS + l * VEC_N % LEARNATTENTION_TILE;
            vec v[VEC_N];
            for (size_t i = 0; i < VEC_N; i++) {
                v[i] = vec_mul(vec_load(at + i * LEARNATTENTION_TILE), factor[l]);
            }
            vec_transpose(v);
            uint16_t *out = (uint16_t *)to.data + l * VEC_N * to.stride + col;
            for (size_t i = 0; i < VEC_N && l * VEC_N + i < to.rows; i++) {
                learnattention_store(out + i * to.stride, v[i], to.cols - col);
            }
        }
    }
}

/* Sums [keys][dims], tile rows `down` floats apart. */
static void learnattention_put_keys(struct mat to, const float *sums, size_t down, vec factor)
{
    for (size_t row = 0; row < to.rows; row++) {
        const float *at = sums + row / LEARNATTENTION_TILE * down +
                          row % LEARNATTENTION_TILE * LEARNATTENTION_TILE;
        uint16_t *out = (uint16_t *)to.data + row * to.stride;
        for (size_t col = 0; col < to.cols; col += VEC_N) {
            const float *tile = at + col / LEARNATTENTION_TILE * LEARNATTENTION_SUMS;
            vec v = vec_load(tile + col % LEARNATTENTION_TILE);
            learnattention_store(out + col, vec_mul(v, factor), to.cols - col);
        }
    }
}

/* ---- Forward. ---- */

/* A chunk of queries on its way through its keys. */
struct learnattention_state {
    size_t head, r;
    float *out;                      /* w->out, the one or the other half */
    float scale;                     /* to powers of 2 */
    vec most[LEARNATTENTION_LANES];  /* of the scores, scaled */
    vec sum[LEARNATTENTION_LANES];
};

/* Scores that do not count become -infinity. */
static void learnattention_mask(const struct learnattention_room *w, size_t g, size_t r, float *block)
{
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++) {
        vec own = learnattention_rows(r, l), from = vec_load(w->from + r * LEARNATTENTION_CHUNK + l * VEC_N);
        for (size_t i = 0; i < LEARNATTENTION_CHUNK; i++) {
            float *at = learnattention_score(block, i, l);
            vec key = vec_set((float)(g * LEARNATTENTION_CHUNK + i));
            vec_store(at, vec_if_between(key, from, own, vec_load(at), vec_set(-INFINITY)));
        }
    }
}

/* The largest scores with those of chunk of keys g. */
static void learnattention_most(const struct learnattention_room *w, size_t g, size_t r, float *block,
                                vec most[LEARNATTENTION_LANES])
{
    if (learnattention_masked(w, g, r)) {
        learnattention_mask(w, g, r, block);
    }
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++) {
        vec best[4] = {most[l], most[l], most[l], most[l]}; /* four, as one would wait for itself */
        for (size_t i = 0; i < LEARNATTENTION_CHUNK; i += 4) {
            for (size_t j = 0; j < 4; j++) {
                best[j] = vec_max(best[j], vec_load(learnattention_score(block, i + j, l)));
            }
        }
        most[l] = vec_max(vec_max(best[0], best[1]), vec_max(best[2], best[3]));
    }
}

/* w->scores of keys [g0, g1), and their largest: one block's product beside the search of the one before. */
static void learnattention_scores(struct learnattention_room *w, size_t g0, size_t g1, size_t r,
                                  vec most[LEARNATTENTION_LANES])
{
    size_t down = w->k_steps * LEARNATTENTION_OPERAND;
    for (size_t g = g0; g <= g1; g++) {
        float *block = w->scores + (g - g0) * LEARNATTENTION_BLOCK;
        if (g < g1) {
            learnattention_product(block, 2 * LEARNATTENTION_SUMS, w->k + 2 * g * down, down,
                                   w->q + 2 * r * down, down, w->k_steps, false);
        }
        if (g > g0) {
            learnattention_most(w, g - 1, r, block - LEARNATTENTION_BLOCK, most);
        }
    }
}

/* A block of scores on its way to probabilities. */
struct learnattention_block {
    number *p;    /* w->p of its keys */
    float *scores;
    vec scale, most[LEARNATTENTION_LANES], sum[LEARNATTENTION_LANES];
    size_t key; /* the next */
};

/* Two keys more, if there are. */
static inline __attribute__((always_inline)) void learnattention_probabilities(void *block)
{
    struct learnattention_block *b = block;
    vec p[2][LEARNATTENTION_LANES];
    if (b->key == LEARNATTENTION_CHUNK) {
        return;
    }
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++) {
        for (size_t j = 0; j < 2; j++) {
            vec score = vec_load(learnattention_score(b->scores, b->key + j, l));
            p[j][l] = learnattention_exp2(vec_fma(score, b->scale, vec_sub(vec_set(0), b->most[l])));
            b->sum[l] = vec_add(b->sum[l], p[j][l]);
        }
    }
    learnattention_put_right(b->p, LEARNATTENTION_P_ACROSS, b->key, p);
    b->key += 2;
}

/* s->out = or += values of keys [g, g + n) times the probabilities `at` on. */
static void learnattention_mix(const struct learnattention_room *w, const struct learnattention_state *s,
                               size_t g, size_t n, size_t at, bool add, struct learnattention_block *beside)
{
    size_t down = w->chunks * LEARNATTENTION_OPERAND;
    for (size_t i = 0; i < w->v_steps; i++) {
        learnattention_product_beside(s->out + i * LEARNATTENTION_BLOCK, 2 * LEARNATTENTION_SUMS,
                                      w->turned + 2 * i * down + g * LEARNATTENTION_OPERAND, down,
                                      w->p + at * LEARNATTENTION_OPERAND, LEARNATTENTION_P_ACROSS, n, add,
                                      learnattention_probabilities, beside);
    }
}

/* Probabilities of keys [g0, g1) and their products with the values, a few chunks at a time: the products of
 * some run beside the arithmetic of the next. */
static void learnattention_attend(struct learnattention_room *w, struct learnattention_state *s, size_t g0,
                                  size_t g1, bool add)
{
    struct learnattention_block b = {.scale = vec_set(s->scale)};
    size_t n = g1 - g0, done = 0;
    memcpy(b.most, s->most, sizeof b.most);
    memcpy(b.sum, s->sum, sizeof b.sum);
    for (size_t i = 0; i < n; i++) {
        b.p = w->p + i * LEARNATTENTION_OPERAND;
        b.scores = w->scores + i * LEARNATTENTION_BLOCK;
        b.key = 0;
        if (i - done == LEARNATTENTION_MIX) {
            learnattention_mix(w, s, g0 + done, LEARNATTENTION_MIX, done, add || done, &b);
            done = i;
        }
        while (b.key < LEARNATTENTION_CHUNK) {
            learnattention_probabilities(&b);
        }
    }
    learnattention_mix(w, s, g0 + done, n - done, done, add || done, &b);
    memcpy(s->sum, b.sum, sizeof b.sum);
}

/* What was summed before is brought to a new largest score. */
static void learnattention_rescale(struct learnattention_room *w, struct learnattention_state *s,
                                   const vec most[LEARNATTENTION_LANES], bool out)
{
    enum { IN_TILE = LEARNATTENTION_TILE / VEC_N };
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++) {
        vec scaled = vec_mul(most[l], vec_set(s->scale));
        vec factor = learnattention_exp2(vec_sub(s->most[l], scaled));
        s->most[l] = scaled;
        s->sum[l] = vec_mul(s->sum[l], factor);
        for (size_t i = 0; out && i < w->v_steps * LEARNATTENTION_CHUNK; i++) {
            float *at = learnattention_score(s->out, i, l);
            vec_store(at, vec_mul(vec_load(at), factor));
        }
    }
}

static void learnattention_finish(const struct learnattention_task *t, const struct learnattention_state *s)
{
    float most[LEARNATTENTION_CHUNK], sum[LEARNATTENTION_CHUNK];
    vec factor[LEARNATTENTION_LANES];
    size_t first = s->r * LEARNATTENTION_CHUNK, left = t->n - first;
    size_t n = left < LEARNATTENTION_CHUNK ? left : LEARNATTENTION_CHUNK;
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++) {
        factor[l] = vec_div(vec_set(1), s->sum[l]);
        vec_store(most + l * VEC_N, s->most[l]);
        vec_store(sum + l * VEC_N, s->sum[l]);
    }
    struct mat out = mat_rows(learnattention_head(t, t->a->out, s->head, t->a->v_dim), first, n);
    learnattention_put_queries(out, s->out, 2 * LEARNATTENTION_SUMS, factor);
    float *lse = (float *)t->a->lse.data + (t->first + first) * t->a->lse.stride + s->head;
    for (size_t i = 0; i < n; i++) {
        lse[i * t->a->lse.stride] = most[i] * LEARNATTENTION_LN2 + logf(sum[i]);
    }
}

/* The results of the chunk before, `last` (NULL: none), are stored once they have had time to arrive. */
static void learnattention_forward_chunk(const struct learnattention_task *t, struct learnattention_room *w,
                                         struct learnattention_state *s,
                                         const struct learnattention_state *last)
{
    vec most[LEARNATTENTION_LANES];
    size_t r = s->r;
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++) {
        most[l] = vec_set(-1e30f); /* finite: a query may see none of the first keys */
        s->most[l] = vec_mul(most[l], vec_set(s->scale));
        s->sum[l] = vec_set(0);
    }
    for (size_t g0 = w->low[r]; g0 <= r; g0 += LEARNATTENTION_SEEN) {
        size_t g1 = g0 + LEARNATTENTION_SEEN < r + 1 ? g0 + LEARNATTENTION_SEEN : r + 1;
        bool later = g0 > w->low[r];
        learnattention_scores(w, g0, g1, r, most);
        if (last && !later) {
            learnattention_finish(t, last);
        }
        learnattention_rescale(w, s, most, later);
        learnattention_attend(w, s, g0, g1, later);
    }
}

static void learnattention_forward(const struct learnattention_task *t, struct learnattention_room *w)
{
    size_t group = t->a->n_heads / t->a->n_kv_heads, first = t->kv_head * group, n = 0;
    struct mat k = learnattention_head(t, t->a->k, t->kv_head, t->a->k_dim);
    struct mat v = learnattention_head(t, t->a->v, t->kv_head, t->a->v_dim);
    struct learnattention_state s[2];
    learnattention_pack(w->k, &k, false, false, 2 * w->chunks, w->k_steps);
    learnattention_pack(w->turned, &v, true, false, 2 * w->v_steps, w->chunks);
    for (size_t head = first; head < first + group; head++) {
        struct mat q = learnattention_head(t, t->a->q, head, t->a->k_dim);
        learnattention_pack(w->q, &q, false, true, 2 * w->chunks, w->k_steps);
        for (size_t r = 0; r < w->chunks; r++, n++) {
            s[n % 2] = (struct learnattention_state){.head = head,
                                                     .r = r,
                                                     .out = w->out + n % 2 * w->v_steps * LEARNATTENTION_BLOCK,
                                                     .scale = (float)t->a->scale * LEARNATTENTION_LOG2E};
            learnattention_forward_chunk(t, w, &s[n % 2], n ? &s[(n + 1) % 2] : NULL);
        }
    }
    learnattention_finish(t, &s[(n + 1) % 2]);
}

/* ---- Backward. ---- */

static float learnattention_dot(const uint16_t *a, const uint16_t *b, size_t n)
{
    float parts[VEC_N], all = 0;
    vec sum = vec_set(0);
    for (size_t i = 0; i < n; i += VEC_N) {
        size_t here = n - i;
        sum = here >= VEC_N ? vec_fma(vec_load_bf16(a + i), vec_load_bf16(b + i), sum)
                            : vec_fma(vec_load_bf16_n(a + i, here), vec_load_bf16_n(b + i, here), sum);
    }
    vec_store(parts, sum);
    for (size_t i = 0; i < VEC_N; i++) {
        all += parts[i];
    }
    return all;
}

/* One head's queries and what came to them; 0 for tokens that do not exist. */
static void learnattention_begin_head(const struct learnattention_task *t, struct learnattention_room *w,
                                      size_t head)
{
    const struct learnops_attention *a = t->a;
    struct mat q = learnattention_head(t, a->q, head, a->k_dim);
    struct mat dout = learnattention_head(t, t->d->dout, head, a->v_dim);
    struct mat out = learnattention_head(t, a->out, head, a->v_dim);
    learnattention_pack(w->q, &q, false, true, 2 * w->chunks, w->k_steps);
    learnattention_pack(w->dout, &dout, false, true, 2 * w->chunks, w->v_steps);
    learnattention_pack(w->q_down, &q, true, true, 2 * w->k_steps, w->chunks);
    learnattention_pack(w->dout_down, &dout, true, true, 2 * w->v_steps, w->chunks);
    const float *lse = (const float *)a->lse.data + t->first * a->lse.stride + head;
    for (size_t i = 0; i < w->chunks * LEARNATTENTION_CHUNK; i++) {
        bool here = i < t->n;
        w->lse[i] = here ? -lse[i * a->lse.stride] * LEARNATTENTION_LOG2E : 0;
        w->both[i] = here ? learnattention_dot((const uint16_t *)dout.data + i * dout.stride,
                                               (const uint16_t *)out.data + i * out.stride, a->v_dim)
                          : 0;
    }
}

/* Chunks of keys [g0, g1) and of queries [r0, r1). */
struct learnattention_area {
    size_t g0, g1, r0, r1;
};

/* A block's scores and the gradients by its probabilities, on the way to operands. */
struct learnattention_turning {
    const struct learnattention_room *w;
    float *scores, *grads;
    size_t g, r;
    number *p, *ds, *ds_right; /* where it goes */
    vec scale;
    bool masked;
    size_t key; /* the next */
};

/* Two keys more, if there are. */
static inline __attribute__((always_inline)) void learnattention_turn(void *turning)
{
    struct learnattention_turning *b = turning;
    vec p[2][LEARNATTENTION_LANES], ds[2][LEARNATTENTION_LANES];
    size_t row = b->r * LEARNATTENTION_CHUNK;
    if (b->key == LEARNATTENTION_CHUNK) {
        return;
    }
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++, row += VEC_N) {
        for (size_t j = 0; j < 2; j++) {
            vec score = vec_load(learnattention_score(b->scores, b->key + j, l));
            vec grad = vec_load(learnattention_score(b->grads, b->key + j, l));
            p[j][l] = learnattention_exp2(vec_fma(score, b->scale, vec_load(b->w->lse + row)));
            if (b->masked) {
                vec key = vec_set((float)(b->g * LEARNATTENTION_CHUNK + b->key + j));
                vec own = learnattention_rows(b->r, l);
                p[j][l] = vec_if_between(key, vec_load(b->w->from + row), own, p[j][l], vec_set(0));
            }
            ds[j][l] = vec_mul(p[j][l], vec_sub(grad, vec_load(b->w->both + row)));
        }
    }
    learnattention_put_left(b->p, LEARNATTENTION_P_DOWN, b->key, p);
    learnattention_put_left(b->ds, LEARNATTENTION_P_DOWN, b->key, ds);
    learnattention_put_right(b->ds_right, LEARNATTENTION_DS_ACROSS, b->key, ds);
    b->key += 2;
}

/* The products of block (g, r), beside the arithmetic of the one before. */
static void learnattention_turning_next(struct learnattention_room *w, const struct learnattention_area *a,
                                        struct learnattention_turning *now, struct learnattention_turning *last)
{
    size_t k = w->k_steps * LEARNATTENTION_OPERAND, v = w->v_steps * LEARNATTENTION_OPERAND;
    size_t g = now->g, r = now->r, in_g = g - a->g0, in_r = r - a->r0;
    size_t left = 2 * in_g * LEARNATTENTION_P_DOWN + in_r * LEARNATTENTION_OPERAND;
    now->w = w;
    now->p = w->p + left;
    now->ds = w->ds + left;
    now->ds_right = w->ds_right + 2 * in_r * LEARNATTENTION_DS_ACROSS + in_g * LEARNATTENTION_OPERAND;
    now->masked = learnattention_masked(w, g, r);
    now->key = 0;
    learnattention_product_beside(now->scores, 2 * LEARNATTENTION_SUMS, w->k + 2 * g * k, k, w->q + 2 * r * k,
                                  k, w->k_steps, false, learnattention_turn, last);
    learnattention_product_beside(now->grads, 2 * LEARNATTENTION_SUMS, w->v + 2 * g * v, v, w->dout + 2 * r * v,
                                  v, w->v_steps, false, learnattention_turn, last);
    while (last->key < LEARNATTENTION_CHUNK) {
        learnattention_turn(last);
    }
}

/* Two chunks of keys meet all queries before the next two: they stay in the nearest cache. */
static void learnattention_area_scores(struct learnattention_room *w, const struct learnattention_area *a,
                                       float scale)
{
    struct learnattention_turning b[2];
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        b[i] = (struct learnattention_turning){.scores = w->scores + i * LEARNATTENTION_BLOCK,
                                               .grads = w->ds_scores + i * LEARNATTENTION_BLOCK,
                                               .scale = vec_set(scale),
                                               .key = LEARNATTENTION_CHUNK};
    }
    for (size_t pair = a->g0; pair < a->g1; pair += 2) {
        for (size_t r = a->r0; r < a->r1; r++) {
            for (size_t g = pair; g < pair + 2 && g < a->g1; g++) {
                if (g >= w->low[r] && g <= r) {
                    b[n % 2].g = g;
                    b[n % 2].r = r;
                    learnattention_turning_next(w, a, &b[n % 2], &b[(n + 1) % 2]);
                    n++;
                }
            }
        }
    }
    while (b[(n + 1) % 2].key < LEARNATTENTION_CHUNK) {
        learnattention_turn(&b[(n + 1) % 2]);
    }
}

/* sums of chunks of keys += left (their probabilities, or gradients of scores) times right, [dims by queries].
 * `add`: this is not the first head. */
static void learnattention_area_keys(const struct learnattention_room *w, const struct learnattention_area *a,
                                     float *sums, const number *left, const number *right, size_t steps,
                                     bool add)
{
    size_t across = w->chunks * LEARNATTENTION_OPERAND;
    for (size_t g = a->g0; g < a->g1; g++) {
        size_t r0 = g > a->r0 ? g : a->r0, r1 = r0;
        while (r1 < a->r1 && w->low[r1] <= g) {
            r1++;
        }
        const number *mine = left + 2 * (g - a->g0) * LEARNATTENTION_P_DOWN +
                             (r0 - a->r0) * LEARNATTENTION_OPERAND;
        for (size_t i = 0; r0 < r1 && i < steps; i++) {
            learnattention_product(sums + 2 * (2 * g * steps + i) * LEARNATTENTION_SUMS,
                                   2 * steps * LEARNATTENTION_SUMS, mine, LEARNATTENTION_P_DOWN,
                                   right + 2 * i * across + r0 * LEARNATTENTION_OPERAND, across, r1 - r0,
                                   add || r0 > g);
        }
    }
}

/* dq of a chunk of queries: += keys' dims x gradients of scores. */
static void learnattention_area_queries(struct learnattention_room *w, const struct learnattention_area *a,
                                        size_t r)
{
    size_t g0 = a->g0 > w->low[r] ? a->g0 : w->low[r], g1 = r + 1 < a->g1 ? r + 1 : a->g1;
    size_t down = w->chunks * LEARNATTENTION_OPERAND, sums = 2 * w->chunks * LEARNATTENTION_SUMS;
    for (size_t i = 0; g0 < g1 && i < w->k_steps; i++) {
        learnattention_product(w->dq + 2 * i * sums + 2 * r * LEARNATTENTION_SUMS, sums,
                               w->turned + 2 * i * down + g0 * LEARNATTENTION_OPERAND, down,
                               w->ds_right + 2 * (r - a->r0) * LEARNATTENTION_DS_ACROSS +
                                   (g0 - a->g0) * LEARNATTENTION_OPERAND,
                               LEARNATTENTION_DS_ACROSS, g1 - g0, g0 > w->low[r]);
    }
}

static void learnattention_backward_head(const struct learnattention_task *t, struct learnattention_room *w,
                                         size_t head, bool add)
{
    float scale = (float)t->a->scale * LEARNATTENTION_LOG2E;
    vec factor[LEARNATTENTION_LANES];
    learnattention_begin_head(t, w, head);
    for (size_t g = 0; g < w->chunks; g += LEARNATTENTION_KEYS) {
        size_t g1 = g + LEARNATTENTION_KEYS < w->chunks ? g + LEARNATTENTION_KEYS : w->chunks;
        for (size_t r = g; r < w->chunks && w->low[r] < g1; r += LEARNATTENTION_ROWS) {
            size_t r1 = r + LEARNATTENTION_ROWS < w->chunks ? r + LEARNATTENTION_ROWS : w->chunks;
            struct learnattention_area area = {g, g1, r, r1};
            learnattention_area_scores(w, &area, scale);
            learnattention_area_keys(w, &area, w->dv, w->p, w->dout_down, w->v_steps, add);
            learnattention_area_keys(w, &area, w->dk, w->ds, w->q_down, w->k_steps, add);
            for (size_t i = r; i < r1; i++) {
                learnattention_area_queries(w, &area, i);
            }
        }
    }
    for (size_t l = 0; l < LEARNATTENTION_LANES; l++) {
        factor[l] = vec_set((float)t->a->scale);
    }
    struct mat dq = learnattention_head(t, t->d->dq, head, t->a->k_dim);
    for (size_t r = 0; r < w->chunks; r++) {
        size_t first = r * LEARNATTENTION_CHUNK, left = t->n - first;
        struct mat to = mat_rows(dq, first, left < LEARNATTENTION_CHUNK ? left : LEARNATTENTION_CHUNK);
        learnattention_put_queries(to, w->dq + 2 * r * LEARNATTENTION_SUMS,
                                   2 * w->chunks * LEARNATTENTION_SUMS, factor);
    }
}

static void learnattention_backward(const struct learnattention_task *t, struct learnattention_room *w)
{
    size_t group = t->a->n_heads / t->a->n_kv_heads, first = t->kv_head * group;
    struct mat k = learnattention_head(t, t->a->k, t->kv_head, t->a->k_dim);
    struct mat v = learnattention_head(t, t->a->v, t->kv_head, t->a->v_dim);
    learnattention_pack(w->k, &k, false, false, 2 * w->chunks, w->k_steps);
    learnattention_pack(w->v, &v, false, false, 2 * w->chunks, w->v_steps);
    learnattention_pack(w->turned, &k, true, false, 2 * w->k_steps, w->chunks);
    for (size_t head = first; head < first + group; head++) {
        learnattention_backward_head(t, w, head, head > first);
    }
    learnattention_put_keys(learnattention_head(t, t->d->dk, t->kv_head, t->a->k_dim), w->dk,
                            2 * w->k_steps * LEARNATTENTION_SUMS, vec_set((float)t->a->scale));
    learnattention_put_keys(learnattention_head(t, t->d->dv, t->kv_head, t->a->v_dim), w->dv,
                            2 * w->v_steps * LEARNATTENTION_SUMS, vec_set(1));
}

static void learnattention_task_run(const struct learnattention_task *t)
{
    struct learnattention_room w;
    learnattention_lay(t, t->scratch, &w);
    learnattention_look(t, &w);
    if (t->d) {
        learnattention_backward(t, &w);
    } else {
        learnattention_forward(t, &w);
    }
}
