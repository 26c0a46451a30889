/* tensor/cpu/dot_body.h: dot tasks, written once for the levels. Four weight rows, a quarter of the task
 * apart, are read side by side: four streams keep more of the memory system busy than one (measured:
 * 28 to 44 GB/s on two cores). Before it, the file that includes it defines
 *   dot_vec, dot_zero(), dot_sum()   a register of float sums
 *   dot_scales()                     what is quicker made for DOT_STREAMS rows at once
 *   dot_unpack()                     the rest of one run of a weight row
 *   dot_cut()                        the first groups of it alone
 *   dot_run()                        adds that times one activation run
 * and after it dot_plain_rows. At the end stands dot_fns, a function per type. */
enum { DOT_AHEAD = 1024 };

/* Weight rows row[0..4) of a plain type times `rows` activation rows; scale is F8_E4M3's. */
UNPACK_INLINE void dot_plain_rows(enum dtype t, size_t rows, const uint8_t *const *row, size_t k,
                                  const float *const *scale, const void *const *x,
                                  float out[][DOT_STREAMS]);

UNPACK_INLINE void dot_prefetch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)p + DOT_AHEAD + i, _MM_HINT_T0);
    }
}

/* Weight rows row[0..4) times `rows` activation rows; the weight's bytes end at `end`. */
UNPACK_INLINE void dot_block_rows(enum dtype t, size_t rows, const uint8_t *const *row,
                                  const uint8_t *end, size_t k, size_t run_bytes,
                                  const void *const *x, float out[][DOT_STREAMS])
{
    dot_vec acc[DOT_STREAMS][MATMUL_DOT_ROWS];
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            acc[s][i] = dot_zero();
        }
    }
    size_t runs = k / MATMUL_RUN;
    for (size_t u = 0; u < runs; u++) {
        struct unpack_run w[DOT_STREAMS];
        dot_scales(t, row, u * run_bytes, w);
#pragma GCC unroll 4
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            const uint8_t *p = row[s] + u * run_bytes;
            dot_prefetch(p, run_bytes);
            dot_unpack(t, p, &w[s]);
            for (size_t i = 0; i < rows; i++) {
                acc[s][i] = dot_run(t, &w[s], (const struct matmul_q15 *)x[i] + u, acc[s][i]);
            }
        }
    }
    if (k % MATMUL_RUN && t != DTYPE_Q4_K && t != DTYPE_Q5_K) { /* never of those, which dot_scales serves */
        size_t left = k % MATMUL_RUN / MATMUL_GROUP, bytes = left * run_bytes / (MATMUL_RUN / MATMUL_GROUP);
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            uint8_t copy[MATMUL_RUN / MATMUL_GROUP * 34];
            const uint8_t *p = row[s] + runs * run_bytes;
            dot_prefetch(p, bytes);
            if ((size_t)(end - p) < run_bytes) { /* elsewhere the next row is read and cut off again */
                memcpy(copy, p, bytes);
                memset(copy + bytes, 0, sizeof copy - bytes);
                p = copy;
            }
            struct unpack_run w;
            dot_unpack(t, p, &w);
            dot_cut(&w, 2 * left);
            for (size_t i = 0; i < rows; i++) {
                acc[s][i] = dot_run(t, &w, (const struct matmul_q15 *)x[i] + runs, acc[s][i]);
            }
        }
    }
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            out[i][s] = dot_sum(acc[s][i]);
        }
    }
}

/* All weight rows of a task, four at a time; a short last stream repeats a row it has had. */
UNPACK_INLINE void dot_task(enum dtype type, size_t rows, const struct matmul_task *t)
{
    const struct tensor *w = t->w;
    size_t k = tensor_cols(w), row_bytes = tensor_row_bytes(w);
    const uint8_t *end = (const uint8_t *)w->data + tensor_rows(w) * row_bytes;
    size_t quarter = (t->n + DOT_STREAMS - 1) / DOT_STREAMS;
    size_t scales = (k + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK;
    for (size_t n = 0; n < quarter; n++) {
        const uint8_t *row[DOT_STREAMS];
        const float *scale[DOT_STREAMS];
        float out[MATMUL_DOT_ROWS][DOT_STREAMS];
        size_t at[DOT_STREAMS];
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            at[s] = s * quarter + n < t->n ? t->row + s * quarter + n : t->row;
            row[s] = (const uint8_t *)w->data + at[s] * row_bytes;
            scale[s] = w->scale ? w->scale + at[s] / TENSOR_FP8_BLOCK * scales : NULL;
        }
        if (type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_F8_E4M3) {
            dot_plain_rows(type, rows, row, k, scale, t->dot_x, out);
        } else {
            const struct dtype_info *d = dtype_info(type);
            dot_block_rows(type, rows, row, end, k, MATMUL_RUN / d->block_elems * d->block_bytes,
                           t->dot_x, out);
        }
        for (size_t i = 0; i < rows; i++) {
            for (size_t s = 0; s < DOT_STREAMS; s++) {
                if (s * quarter + n < t->n) {
                    t->y[i * t->y_stride + at[s]] = out[i][s];
                }
            }
        }
    }
}

/* The functions of a type: 1, 2, 3 and 4 activation rows. */
#define DOT_TYPE(name, type)                                                                       \
    static void dot_##name(const struct matmul_task *t)                                            \
    {                                                                                              \
        switch (t->n_rows) {                                                                       \
        case 1: dot_task(type, 1, t); break;                                                       \
        case 2: dot_task(type, 2, t); break;                                                       \
        case 3: dot_task(type, 3, t); break;                                                       \
        default: dot_task(type, 4, t); break;                                                      \
        }                                                                                          \
    }

DOT_TYPE(f32, DTYPE_F32)
DOT_TYPE(f16, DTYPE_F16)
DOT_TYPE(bf16, DTYPE_BF16)
DOT_TYPE(e4m3, DTYPE_F8_E4M3)
DOT_TYPE(q8_0, DTYPE_Q8_0)
DOT_TYPE(q4_0, DTYPE_Q4_0)
DOT_TYPE(q4_1, DTYPE_Q4_1)
DOT_TYPE(q5_0, DTYPE_Q5_0)
DOT_TYPE(q5_1, DTYPE_Q5_1)
DOT_TYPE(q2_k, DTYPE_Q2_K)
DOT_TYPE(q3_k, DTYPE_Q3_K)
DOT_TYPE(q4_k, DTYPE_Q4_K)
DOT_TYPE(q5_k, DTYPE_Q5_K)
DOT_TYPE(q6_k, DTYPE_Q6_K)
DOT_TYPE(mxfp4, DTYPE_MXFP4)

static void (*const dot_fns[DTYPE_COMPUTABLE])(const struct matmul_task *) = {
    [DTYPE_F32] = dot_f32,   [DTYPE_F16] = dot_f16,   [DTYPE_BF16] = dot_bf16,
    [DTYPE_F8_E4M3] = dot_e4m3, [DTYPE_Q8_0] = dot_q8_0, [DTYPE_Q4_0] = dot_q4_0,
    [DTYPE_Q4_1] = dot_q4_1, [DTYPE_Q5_0] = dot_q5_0, [DTYPE_Q5_1] = dot_q5_1,
    [DTYPE_Q2_K] = dot_q2_k, [DTYPE_Q3_K] = dot_q3_k, [DTYPE_Q4_K] = dot_q4_k,
    [DTYPE_Q5_K] = dot_q5_k, [DTYPE_Q6_K] = dot_q6_k, [DTYPE_MXFP4] = dot_mxfp4,
};
