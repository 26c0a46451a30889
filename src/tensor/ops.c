/* tensor/ops.c: dispatch. Each level's table is a constant; see ops.h. */
#include "tensor/ops.h"

#include "tensor/cpu/attention.h"
#include "tensor/cpu/elementwise.h"
#include "tensor/cpu/matmul.h"
#include "tensor/ref/ref.h"

/* The rows of a table that come from one file: STEM_rmsnorm … */
#define OPS_ELEMENTWISE(stem)                                                                          \
    .rmsnorm = stem##_rmsnorm, .rope = stem##_rope, .swiglu = stem##_swiglu, .add = stem##_add,        \
    .add_bias = stem##_add_bias, .embed = stem##_embed, .combine = stem##_combine,                     \
    .store = stem##_store, .load = stem##_load

static const struct ops_table ops_ref = {
    .matmul = ref_matmul, .attention = ref_attention, OPS_ELEMENTWISE(ref)};

#if defined(__x86_64__)
static const struct ops_table ops_avx2 = {
    .matmul = matmul_avx2, .attention = attention_avx2, OPS_ELEMENTWISE(elementwise_avx2)};

static const struct ops_table ops_avx512 = {
    .matmul = matmul_avx512, .attention = attention_avx512, OPS_ELEMENTWISE(elementwise_avx512)};

static const struct ops_table ops_amx = {
    .matmul = matmul_amx, .attention = attention_amx, OPS_ELEMENTWISE(elementwise_avx512)};

const struct ops_table *ops_for_level(enum cpuinfo_level level)
{
    switch (level) {
    case CPUINFO_REF: return &ops_ref;
    case CPUINFO_AVX2: return &ops_avx2;
    case CPUINFO_AVX512:
    case CPUINFO_AVX512BF16: return &ops_avx512;
    case CPUINFO_AMX: return &ops_amx;
    default: return NULL;
    }
}
#else
const struct ops_table *ops_for_level(enum cpuinfo_level level)
{
    return level == CPUINFO_REF ? &ops_ref : NULL;
}
#endif

err ops_matmul(struct compute *c, const struct matmul_job *jobs, size_t n_jobs)
{
    return c->ops->matmul(c, jobs, n_jobs);
}

err ops_attention(struct compute *c, const struct attention_args *calls, size_t n_calls)
{
    return c->ops->attention(c, calls, n_calls);
}

void ops_rmsnorm(struct compute *c, float *y, size_t y_stride, const float *x, size_t x_stride,
                 const float *w, size_t n_rows, size_t d, float eps)
{
    c->ops->rmsnorm(c, y, y_stride, x, x_stride, w, n_rows, d, eps);
}

void ops_rope(struct compute *c, const struct rope_args *a)
{
    c->ops->rope(c, a);
}

void ops_swiglu(struct compute *c, float *y, const float *gate, const float *up, size_t n)
{
    c->ops->swiglu(c, y, gate, up, n);
}

void ops_add(struct compute *c, float *y, const float *x, size_t n)
{
    c->ops->add(c, y, x, n);
}

void ops_add_bias(struct compute *c, float *y, const float *bias, size_t n_rows, size_t d)
{
    c->ops->add_bias(c, y, bias, n_rows, d);
}

void ops_embed(struct compute *c, float *y, const struct tensor *table, const int32_t *ids,
               size_t n_rows)
{
    c->ops->embed(c, y, table, ids, n_rows);
}

void ops_combine(struct compute *c, float *y, const float *x, size_t x_stride, const uint32_t *slot,
                 const float *weight, size_t n_rows, size_t k, size_t d)
{
    c->ops->combine(c, y, x, x_stride, slot, weight, n_rows, k, d);
}

void ops_store(struct compute *c, void *dst, enum dtype dtype, size_t dst_stride, const float *src,
               size_t src_stride, size_t n_rows, size_t n)
{
    c->ops->store(c, dst, dtype, dst_stride, src, src_stride, n_rows, n);
}

void ops_load(struct compute *c, float *dst, size_t dst_stride, const void *src, enum dtype dtype,
              size_t src_stride, size_t n_rows, size_t n)
{
    c->ops->load(c, dst, dst_stride, src, dtype, src_stride, n_rows, n);
}
