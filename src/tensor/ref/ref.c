/* tensor/ref/ref.c: see ref.h. Matmul and attention accumulate in double, so that the judge's own
 * rounding is far below what is judged. Rows are shared among threads; no result depends on how. */
#include "tensor/ref/ref.h"

#include <math.h>

#include "tensor/ref/dequant.h"

static void ref_matmul_row(const struct matmul_job *j, size_t n, const float *w)
{
    size_t k_count = tensor_cols(&j->w);
    for (size_t t = 0; t < j->n_rows; t++) {
        const float *x = j->x + (j->rows ? j->rows[t] : t) * j->x_stride;
        double sum = 0;
        for (size_t k = 0; k < k_count; k++) {
            sum += (double)x[k] * (double)w[k];
        }
        j->y[t * j->y_stride + n] = (float)sum;
    }
}

err ref_matmul(struct compute *c, const struct matmul_job *jobs, size_t n_jobs)
{
    size_t k_max = 1;
    for (size_t i = 0; i < n_jobs; i++) {
        size_t k = tensor_cols(&jobs[i].w);
        k_max = k > k_max ? k : k_max;
    }
    float *rows = compute_scratch(c, (size_t)c->n_threads * k_max * sizeof *rows);
    if (!rows) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n_jobs; i++) {
        const struct matmul_job *j = &jobs[i];
        size_t n_out = j->n_rows ? tensor_rows(&j->w) : 0;
#pragma omp parallel for schedule(static) num_threads(c->n_threads)
        for (int thread = 0; thread < c->n_threads; thread++) {
            float *w = rows + (size_t)thread * k_max;
            for (size_t n = (size_t)thread; n < n_out; n += (size_t)c->n_threads) {
                dequant_row(&j->w, n, w);
                ref_matmul_row(j, n, w);
            }
        }
    }
    return ERR_OK;
}

static float ref_element(const void *p, enum dtype t, size_t i)
{
    switch (t) {
    case DTYPE_F16: return dtype_from_f16(((const uint16_t *)p)[i]);
    case DTYPE_BF16: return dtype_from_bf16(((const uint16_t *)p)[i]);
    default: return ((const float *)p)[i];
    }
}

/* Element i of position s and kv head g. */
static double ref_row_element(const struct attention_rows *r, enum dtype t, size_t s, size_t g, size_t i)
{
    size_t in_page = s - (s >> r->shift << r->shift);
    return (double)ref_element(r->pages[s >> r->shift] + r->offset, t,
                               in_page * r->stride + g * r->head_stride + i);
}

/* One query head: p is scratch for the probabilities [keys]. */
static void ref_attention_head(const struct attention_args *a, size_t t, size_t h, double *p)
{
    size_t g = h / (a->n_heads / a->n_kv_heads);
    size_t keys = a->pos + t + 1;
    const float *q = a->q + t * a->q_stride + h * a->k_dim;
    double max = -INFINITY;
    for (size_t s = 0; s < keys; s++) {
        double dot = 0;
        for (size_t i = 0; i < a->k_dim; i++) {
            dot += (double)q[i] * ref_row_element(&a->k, a->kv_dtype, s, g, i);
        }
        p[s] = dot * (double)a->scale;
        max = p[s] > max ? p[s] : max;
    }
    double sum = 0;
    for (size_t s = 0; s < keys; s++) {
        p[s] = exp(p[s] - max);
        sum += p[s];
    }
    float *out = a->out + t * a->out_stride + h * a->v_dim;
    for (size_t i = 0; i < a->v_dim; i++) {
        double o = 0;
        for (size_t s = 0; s < keys; s++) {
            o += p[s] * ref_row_element(&a->v, a->kv_dtype, s, g, i);
        }
        out[i] = (float)(o / sum);
    }
}

static err ref_attention_call(struct compute *c, const struct attention_args *a)
{
    size_t keys = a->pos + a->n_tokens;
    double *p = compute_scratch(c, (size_t)c->n_threads * keys * sizeof *p);
    if (!p) {
        return ERR_NOMEM;
    }
    size_t n = a->n_tokens * a->n_heads;
#pragma omp parallel for schedule(static) num_threads(c->n_threads)
    for (int thread = 0; thread < c->n_threads; thread++) {
        for (size_t i = (size_t)thread; i < n; i += (size_t)c->n_threads) {
            ref_attention_head(a, i / a->n_heads, i % a->n_heads, p + (size_t)thread * keys);
        }
    }
    return ERR_OK;
}

err ref_attention(struct compute *c, const struct attention_args *calls, size_t n_calls)
{
    for (size_t i = 0; i < n_calls; i++) {
        TRY(ref_attention_call(c, &calls[i]));
    }
    return ERR_OK;
}

void ref_rmsnorm(struct compute *c, float *y, size_t y_stride, const float *x, size_t x_stride,
                 const float *w, size_t n_rows, size_t d, float eps)
{
    (void)c;
    for (size_t t = 0; t < n_rows; t++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++) {
            sum += (double)x[t * x_stride + i] * (double)x[t * x_stride + i];
        }
        float r = (float)(1.0 / sqrt(sum / (double)d + (double)eps));
        for (size_t i = 0; i < d; i++) {
            y[t * y_stride + i] = x[t * x_stride + i] * r * w[i];
        }
    }
}

void ref_rope(struct compute *c, const struct rope_args *a)
{
    (void)c;
    size_t half = a->dim / 2;
    for (size_t t = 0; t < a->n_tokens; t++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)(a->pos + t) * (double)a->freqs[i];
            float cs = (float)cos(angle), sn = (float)sin(angle);
            size_t i0 = a->pairs == ROPE_INTERLEAVED ? 2 * i : i;
            size_t i1 = a->pairs == ROPE_INTERLEAVED ? 2 * i + 1 : i + half;
            for (size_t h = 0; h < a->n_heads; h++) {
                float *x = a->x + t * a->token_stride + h * a->head_stride;
                float x0 = x[i0], x1 = x[i1];
                x[i0] = x0 * cs - x1 * sn;
                x[i1] = x0 * sn + x1 * cs;
            }
        }
    }
}

void ref_swiglu(struct compute *c, float *y, const float *gate, const float *up, size_t n)
{
    (void)c;
    for (size_t i = 0; i < n; i++) {
        y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}

void ref_add(struct compute *c, float *y, const float *x, size_t n)
{
    (void)c;
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

void ref_add_bias(struct compute *c, float *y, const float *bias, size_t n_rows, size_t d)
{
    for (size_t t = 0; t < n_rows; t++) {
        ref_add(c, y + t * d, bias, d);
    }
}

void ref_embed(struct compute *c, float *y, const struct tensor *table, const int32_t *ids,
               size_t n_rows)
{
    (void)c;
    for (size_t t = 0; t < n_rows; t++) {
        dequant_row(table, (size_t)ids[t], y + t * tensor_cols(table));
    }
}

void ref_combine(struct compute *c, float *y, const float *x, size_t x_stride, const uint32_t *slot,
                 const float *weight, size_t n_rows, size_t k, size_t d)
{
    (void)c;
    for (size_t t = 0; t < n_rows; t++) {
        for (size_t j = 0; j < k; j++) {
            const float *from = x + slot[t * k + j] * x_stride;
            for (size_t i = 0; i < d; i++) {
                y[t * d + i] += weight[t * k + j] * from[i];
            }
        }
    }
}

void ref_store(struct compute *c, void *dst, enum dtype dtype, size_t dst_stride, const float *src,
               size_t src_stride, size_t n_rows, size_t n)
{
    (void)c;
    for (size_t t = 0; t < n_rows; t++) {
        for (size_t i = 0; i < n; i++) {
            float v = src[t * src_stride + i];
            size_t at = t * dst_stride + i;
            switch (dtype) {
            case DTYPE_F16: ((uint16_t *)dst)[at] = dtype_to_f16(v); break;
            case DTYPE_BF16: ((uint16_t *)dst)[at] = dtype_to_bf16(v); break;
            default: ((float *)dst)[at] = v; break;
            }
        }
    }
}

void ref_load(struct compute *c, float *dst, size_t dst_stride, const void *src, enum dtype dtype,
              size_t src_stride, size_t n_rows, size_t n)
{
    (void)c;
    for (size_t t = 0; t < n_rows; t++) {
        for (size_t i = 0; i < n; i++) {
            dst[t * dst_stride + i] = ref_element(src, dtype, t * src_stride + i);
        }
    }
}
