/* tensor/cpu/elementwise_body.h: the ops of elementwise.h, written once over vec_*.h and plain
 * loops that the compiler vectorises; included by elementwise_avx2.c and elementwise_avx512.c,
 * which name the functions through ELEMENTWISE(). */
#include "tensor/cpu/elementwise.h"

#include <math.h>

#include "tensor/cpu/angles.h"
#include "tensor/cpu/rowsplit.h"
#include "tensor/cpu/vec_convert.h"
#include "tensor/ref/dequant.h"

struct elementwise_rows {
    float *y;
    const float *x, *w;
    size_t y_stride, x_stride, d;
    float eps;
};

static void elementwise_rmsnorm_rows(const void *args, size_t first, size_t last)
{
    const struct elementwise_rows *a = args;
    for (size_t t = first; t < last; t++) {
        const float *x = a->x + t * a->x_stride;
        float *y = a->y + t * a->y_stride;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < a->d; i++) {
            sum += (double)x[i] * (double)x[i];
        }
        float r = (float)(1.0 / sqrt(sum / (double)a->d + (double)a->eps));
#pragma omp simd
        for (size_t i = 0; i < a->d; i++) {
            y[i] = x[i] * r * a->w[i];
        }
    }
}

void ELEMENTWISE(rmsnorm)(struct compute *c, float *y, size_t y_stride, const float *x,
                          size_t x_stride, const float *w, size_t n_rows, size_t d, float eps)
{
    struct elementwise_rows a = {y, x, w, y_stride, x_stride, d, eps};
    rowsplit_run(c, n_rows, d, elementwise_rmsnorm_rows, &a);
}

/* ---- rope ---- */

enum { ELEMENTWISE_PAIRS = 64 }; /* cosines and sines made at a time, on the stack */

/* n pairs from pair `first` of one head. */
static void elementwise_rotate(float *x, const struct rope_args *a, size_t first, size_t n,
                               const float *cs, const float *sn)
{
    if (a->pairs == ROPE_INTERLEAVED) {
        float *p = x + 2 * first;
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            float x0 = p[2 * i], x1 = p[2 * i + 1];
            p[2 * i] = x0 * cs[i] - x1 * sn[i];
            p[2 * i + 1] = x0 * sn[i] + x1 * cs[i];
        }
    } else {
        float *p0 = x + first, *p1 = x + first + a->dim / 2;
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            float x0 = p0[i], x1 = p1[i];
            p0[i] = x0 * cs[i] - x1 * sn[i];
            p1[i] = x0 * sn[i] + x1 * cs[i];
        }
    }
}

static void elementwise_rope_rows(const void *args, size_t first, size_t last)
{
    const struct rope_args *a = args;
    float cs[ELEMENTWISE_PAIRS], sn[ELEMENTWISE_PAIRS];
    for (size_t t = first; t < last; t++) {
        for (size_t i = 0; i < a->dim / 2; i += ELEMENTWISE_PAIRS) {
            size_t n = a->dim / 2 - i < ELEMENTWISE_PAIRS ? a->dim / 2 - i : ELEMENTWISE_PAIRS;
            angles_sincos((double)(a->pos + t), a->freqs + i, n, cs, sn);
            for (size_t h = 0; h < a->n_heads; h++) {
                elementwise_rotate(a->x + t * a->token_stride + h * a->head_stride, a, i, n, cs,
                                   sn);
            }
        }
    }
}

void ELEMENTWISE(rope)(struct compute *c, const struct rope_args *a)
{
    rowsplit_run(c, a->n_tokens, (a->n_heads + 4) * a->dim, elementwise_rope_rows, a);
}

/* ---- swiglu, add ---- */

enum { ELEMENTWISE_CHUNK = 4096 }; /* "rows" of ops over n values without a row structure */

struct elementwise_flat {
    float *y;
    const float *a, *b;
    size_t n;
};

static inline vec elementwise_swiglu_vec(vec g, vec u)
{
    vec e = vec_exp(vec_sub(vec_set(0.0f), g));
    return vec_mul(vec_div(g, vec_add(vec_set(1.0f), e)), u);
}

static void elementwise_swiglu_chunks(const void *args, size_t first, size_t last)
{
    const struct elementwise_flat *f = args;
    size_t end = last * ELEMENTWISE_CHUNK < f->n ? last * ELEMENTWISE_CHUNK : f->n;
    size_t i = first * ELEMENTWISE_CHUNK;
    for (; i + VEC_N <= end; i += VEC_N) {
        vec_store(f->y + i, elementwise_swiglu_vec(vec_load(f->a + i), vec_load(f->b + i)));
    }
    if (i < end) {
        size_t n = end - i;
        vec_store_n(f->y + i,
                    elementwise_swiglu_vec(vec_load_n(f->a + i, n), vec_load_n(f->b + i, n)), n);
    }
}

void ELEMENTWISE(swiglu)(struct compute *c, float *y, const float *gate, const float *up, size_t n)
{
    struct elementwise_flat f = {y, gate, up, n};
    rowsplit_run(c, (n + ELEMENTWISE_CHUNK - 1) / ELEMENTWISE_CHUNK, ELEMENTWISE_CHUNK,
                 elementwise_swiglu_chunks, &f);
}

static void elementwise_add_run(float *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

static void elementwise_add_chunks(const void *args, size_t first, size_t last)
{
    const struct elementwise_flat *f = args;
    size_t end = last * ELEMENTWISE_CHUNK < f->n ? last * ELEMENTWISE_CHUNK : f->n;
    size_t i = first * ELEMENTWISE_CHUNK;
    elementwise_add_run(f->y + i, f->a + i, end > i ? end - i : 0);
}

void ELEMENTWISE(add)(struct compute *c, float *y, const float *x, size_t n)
{
    struct elementwise_flat f = {.y = y, .a = x, .n = n};
    rowsplit_run(c, (n + ELEMENTWISE_CHUNK - 1) / ELEMENTWISE_CHUNK, ELEMENTWISE_CHUNK,
                 elementwise_add_chunks, &f);
}

static void elementwise_bias_rows(const void *args, size_t first, size_t last)
{
    const struct elementwise_rows *a = args;
    for (size_t t = first; t < last; t++) {
        elementwise_add_run(a->y + t * a->d, a->x, a->d);
    }
}

void ELEMENTWISE(add_bias)(struct compute *c, float *y, const float *bias, size_t n_rows, size_t d)
{
    struct elementwise_rows a = {.y = y, .x = bias, .d = d};
    rowsplit_run(c, n_rows, d, elementwise_bias_rows, &a);
}

/* ---- rows from a table, back to their tokens, to and from the cache ---- */

struct elementwise_table {
    float *y;
    const struct tensor *table;
    const int32_t *ids;
};

static void elementwise_to_float(float *dst, const void *src, enum dtype t, size_t n)
{
    size_t i = vec_convert(dst, src, t, n);
    if (i < n) {
        vec_store_n(dst + i, vec_convert_n(vec_convert_at(src, t, i), t, n - i), n - i);
    }
}

static void elementwise_embed_rows(const void *args, size_t first, size_t last)
{
    const struct elementwise_table *a = args;
    const struct tensor *w = a->table;
    size_t d = tensor_cols(w);
    bool plain = w->dtype == DTYPE_F32 || w->dtype == DTYPE_F16 || w->dtype == DTYPE_BF16;
    for (size_t t = first; t < last; t++) {
        size_t row = (size_t)a->ids[t];
        if (plain) {
            const char *src = (const char *)w->data + row * tensor_row_bytes(w);
            elementwise_to_float(a->y + t * d, src, w->dtype, d);
        } else {
            dequant_row(w, row, a->y + t * d);
        }
    }
}

void ELEMENTWISE(embed)(struct compute *c, float *y, const struct tensor *table, const int32_t *ids,
                        size_t n_rows)
{
    struct elementwise_table a = {y, table, ids};
    rowsplit_run(c, n_rows, tensor_cols(table), elementwise_embed_rows, &a);
}

struct elementwise_scatter {
    float *y;
    const float *x, *weight;
    const uint32_t *slot;
    size_t x_stride, k, d;
};

static void elementwise_combine_rows(const void *args, size_t first, size_t last)
{
    const struct elementwise_scatter *a = args;
    for (size_t t = first; t < last; t++) {
        float *y = a->y + t * a->d;
        for (size_t j = 0; j < a->k; j++) {
            const float *from = a->x + a->slot[t * a->k + j] * a->x_stride;
            float weight = a->weight[t * a->k + j];
#pragma omp simd
            for (size_t i = 0; i < a->d; i++) {
                y[i] += weight * from[i];
            }
        }
    }
}

void ELEMENTWISE(combine)(struct compute *c, float *y, const float *x, size_t x_stride,
                          const uint32_t *slot, const float *weight, size_t n_rows, size_t k,
                          size_t d)
{
    struct elementwise_scatter a = {y, x, weight, slot, x_stride, k, d};
    rowsplit_run(c, n_rows, k * d, elementwise_combine_rows, &a);
}

struct elementwise_cache {
    void *dst;
    const void *src;
    enum dtype dtype;
    size_t dst_stride, src_stride, n;
};

static void elementwise_from_float(void *dst, const float *src, enum dtype t, size_t n)
{
    uint16_t *half = dst;
    float *full = dst;
    size_t i = 0, whole = n - n % VEC_N;
    switch (t) {
    case DTYPE_F16:
        for (; i < whole; i += VEC_N) {
            vec_store_f16(half + i, vec_load(src + i));
        }
        vec_store_f16_n(half + i, vec_load_n(src + i, n - i), n - i);
        break;
    case DTYPE_BF16:
        for (; i < whole; i += VEC_N) {
            vec_store_bf16(half + i, vec_load(src + i));
        }
        vec_store_bf16_n(half + i, vec_load_n(src + i, n - i), n - i);
        break;
    default:
        for (; i < whole; i += VEC_N) {
            vec_store(full + i, vec_load(src + i));
        }
        vec_store_n(full + i, vec_load_n(src + i, n - i), n - i);
        break;
    }
}

static void elementwise_store_rows(const void *args, size_t first, size_t last)
{
    const struct elementwise_cache *a = args;
    size_t elem = a->dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    for (size_t t = first; t < last; t++) {
        elementwise_from_float((char *)a->dst + t * a->dst_stride * elem,
                               (const float *)a->src + t * a->src_stride, a->dtype, a->n);
    }
}

void ELEMENTWISE(store)(struct compute *c, void *dst, enum dtype dtype, size_t dst_stride,
                        const float *src, size_t src_stride, size_t n_rows, size_t n)
{
    struct elementwise_cache a = {dst, src, dtype, dst_stride, src_stride, n};
    rowsplit_run(c, n_rows, n, elementwise_store_rows, &a);
}

static void elementwise_load_rows(const void *args, size_t first, size_t last)
{
    const struct elementwise_cache *a = args;
    for (size_t t = first; t < last; t++) {
        elementwise_to_float((float *)a->dst + t * a->dst_stride,
                             vec_convert_at(a->src, a->dtype, t * a->src_stride), a->dtype, a->n);
    }
}

void ELEMENTWISE(load)(struct compute *c, float *dst, size_t dst_stride, const void *src,
                       enum dtype dtype, size_t src_stride, size_t n_rows, size_t n)
{
    struct elementwise_cache a = {dst, src, dtype, dst_stride, src_stride, n};
    rowsplit_run(c, n_rows, n, elementwise_load_rows, &a);
}
