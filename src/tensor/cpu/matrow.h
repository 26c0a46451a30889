/* tensor/cpu/matrow.h: a row of a float32 or bfloat16 mat, read and written a vec at a time. Include after
 * vec_avx2.h or vec_avx512.h. */
#ifndef TENSOR_CPU_MATROW_H
#define TENSOR_CPU_MATROW_H

#include <stdbool.h>
#include <string.h>

#include "tensor/mat.h"

enum { MATROW_STREAM_BYTES = 4 << 20 };

struct matrow {
    void *data;
    bool wide;   /* float32 */
    bool stream; /* stored past the caches */
};

static inline struct matrow matrow_at(const struct mat *m, size_t row)
{
    bool wide = m->type == MAT_F32;
    return (struct matrow){(char *)m->data + row * m->stride * (wide ? 4 : 2), wide, false};
}

/* Whether an output that nobody reads before all of it is made had better not be read into the caches first: it
 * does not fit there. */
static inline bool matrow_streams(const struct mat *m)
{
    size_t bytes = mat_type_bytes(m->type);
    return m->rows * m->cols * bytes >= MATROW_STREAM_BYTES && (uintptr_t)m->data % 64 == 0 &&
           m->stride * bytes % 64 == 0;
}

/* A row that is written alone; vec_stream_end after the last. */
static inline struct matrow matrow_out(const struct mat *m, size_t row, bool stream)
{
    struct matrow r = matrow_at(m, row);
    r.stream = stream;
    return r;
}

static inline struct matrow matrow_floats(float *data)
{
    return (struct matrow){data, true, false};
}

/* Elements from i on, of which n are left: all of a vec, or its first n and 0. */
static inline vec matrow_load(struct matrow r, size_t i, size_t n)
{
    const float *f = (const float *)r.data + i;
    const uint16_t *h = (const uint16_t *)r.data + i;
    if (n >= VEC_N) {
        return r.wide ? vec_load(f) : vec_load_bf16(h);
    }
    return r.wide ? vec_load_n(f, n) : vec_load_bf16_n(h, n);
}

static inline void matrow_store(struct matrow r, size_t i, size_t n, vec v)
{
    float *f = (float *)r.data + i;
    uint16_t *h = (uint16_t *)r.data + i;
    if (n >= VEC_N && r.stream) {
        if (r.wide) {
            vec_stream(f, v);
        } else {
            vec_stream_bf16(h, v);
        }
    } else if (n >= VEC_N && r.wide) {
        vec_store(f, v);
    } else if (n >= VEC_N) {
        vec_store_bf16(h, v);
    } else if (r.wide) {
        vec_store_n(f, v, n);
    } else {
        vec_store_bf16_n(h, v, n);
    }
}

/* One element. */
static inline float matrow_get(struct matrow r, size_t i)
{
    uint32_t bits = r.wide ? 0 : (uint32_t)((const uint16_t *)r.data)[i] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return r.wide ? ((const float *)r.data)[i] : f;
}

/* The sum of all lanes, in halves. */
static inline float matrow_sum(vec v)
{
    float lanes[VEC_N];
    vec_store(lanes, v);
    for (int half = VEC_N / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            lanes[i] += lanes[half + i];
        }
    }
    return lanes[0];
}

#endif
