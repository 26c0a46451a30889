/* tensor/cpu/learnexperts_body.h: the vector code of learnexperts.h, written once over vec_*.h; included by
 * learnexperts_avx2.c, learnexperts_avx512.c and learnexperts_avx512bf16.c, which bring
 *   learnexperts_half       a vec's bfloat16 numbers
 *   learnexperts_narrow(v)  v as such, rounded to nearest; what is not normal may become 0
 *   learnexperts_store(p, n, h)  the first n of them; all, if n is larger
 *   learnexperts_stream(p, h)    all of them, past the caches
 *   learnexperts_logistic(g)  1 / (1 + e^-g) */
#include "tensor/cpu/learnexperts.h"

#include "tensor/cpu/matrow.h"

static inline const float *learnexperts_floats(const struct mat *m, size_t row)
{
    return (const float *)m->data + row * m->stride;
}

static inline uint16_t *learnexperts_halves(const struct mat *m, size_t row)
{
    return (uint16_t *)m->data + row * m->stride;
}

static inline vec learnexperts_load(const float *p, size_t n)
{
    return n >= VEC_N ? vec_load(p) : vec_load_n(p, n);
}

static inline vec learnexperts_load_half(const uint16_t *p, size_t n)
{
    return n >= VEC_N ? vec_load_bf16(p) : vec_load_bf16_n(p, n);
}

/* What is kept of a row. */
static inline void learnexperts_keep(uint16_t *p, size_t n, vec v, bool stream)
{
    if (stream && n >= VEC_N) {
        learnexperts_stream(p, learnexperts_narrow(v));
    } else {
        learnexperts_store(p, n, learnexperts_narrow(v));
    }
}

static inline __attribute__((always_inline)) void learnexperts_forward_any(const struct learnexperts_forward *a,
                                                                           bool stream)
{
    for (size_t t = 0; t < a->inner.rows; t++) {
        const float *gate = learnexperts_floats(&a->gates, t), *up = learnexperts_floats(&a->ups, t);
        uint16_t *kept_gate = learnexperts_halves(&a->kept_gates, t);
        uint16_t *kept_up = learnexperts_halves(&a->kept_ups, t), *inner = learnexperts_halves(&a->inner, t);
        for (size_t i = 0, n; i < a->inner.cols; i += VEC_N) {
            n = a->inner.cols - i;
            vec g = learnexperts_load(gate + i, n), u = learnexperts_load(up + i, n);
            learnexperts_keep(kept_gate + i, n, g, stream);
            learnexperts_keep(kept_up + i, n, u, stream);
            vec y = vec_mul(vec_mul(g, learnexperts_logistic(g)), u);
            learnexperts_store(inner + i, n, learnexperts_narrow(y));
        }
    }
    vec_stream_end();
}

static void learnexperts_forward_rows(const struct learnexperts_forward *a)
{
    if (a->stream) {
        learnexperts_forward_any(a, true);
    } else {
        learnexperts_forward_any(a, false);
    }
}

static void learnexperts_back_rows(const struct learnexperts_back *a)
{
    for (size_t t = 0; t < a->inner.rows; t++) {
        const uint16_t *gate = learnexperts_halves(&a->gates, t), *up = learnexperts_halves(&a->ups, t);
        const float *dinner = learnexperts_floats(&a->dinner, t);
        uint16_t *inner = learnexperts_halves(&a->inner, t), *dgate = learnexperts_halves(&a->dgate, t);
        uint16_t *dup = learnexperts_halves(&a->dup, t);
        vec dot = vec_set(0), weight = vec_set(a->weight[t]);
        for (size_t i = 0, n; i < a->inner.cols; i += VEC_N) {
            n = a->inner.cols - i;
            vec g = learnexperts_load_half(gate + i, n), u = learnexperts_load_half(up + i, n);
            vec s = learnexperts_logistic(g), silu = vec_mul(g, s), y = vec_mul(silu, u);
            vec slope = vec_fma(silu, vec_sub(vec_set(1), s), s), d = learnexperts_load(dinner + i, n);
            dot = vec_fma(d, y, dot);
            d = vec_mul(d, weight);
            learnexperts_store(inner + i, n, learnexperts_narrow(vec_mul(y, weight)));
            learnexperts_store(dgate + i, n, learnexperts_narrow(vec_mul(vec_mul(d, u), slope)));
            learnexperts_store(dup + i, n, learnexperts_narrow(vec_mul(d, silu)));
        }
        a->dweight[t] = matrow_sum(dot);
    }
}
