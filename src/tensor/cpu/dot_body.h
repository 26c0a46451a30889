/* tensor/cpu/dot_body.h: dot tasks, written once for the levels. Four weight rows, a quarter of the task
 * apart, are read side by side: four streams keep more of the memory system busy than one (measured:
 * 28 to 44 GB/s on two cores). Before it, the file that includes it defines
 *   dot_vec, dot_zero(), dot_sums()  a register of float sums; four of them summed up
 *   dot_scales()                     what is quicker made for DOT_STREAMS rows at once
 *   dot_unpack()                     the rest of one run of a weight row
 *   dot_cut()                        the first groups of it alone
 *   dot_run()                        adds that times one activation run
 * and after it dot_plain_rows. At the end stands dot_fns, a function per type. */
enum { DOT_AHEAD = 1024 };

/* Four weight rows, and what is asked of memory while each is read, byte for byte. */
struct dot_rows {
    const uint8_t *row[DOT_STREAMS], *ahead[DOT_STREAMS];
    const float *scale[DOT_STREAMS]; /* F8_E4M3's */
};

/* Weight rows of a plain type times `rows` activation rows. */
UNPACK_INLINE void dot_plain_rows(enum dtype t, size_t rows, const struct dot_rows *w, size_t k,
                                  const void *const *x, float out[][DOT_STREAMS]);

UNPACK_INLINE void dot_prefetch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)p + i, _MM_HINT_T0);
    }
}

/* Weight rows times `rows` activation rows; the weight's bytes end at `end`. */
UNPACK_INLINE void dot_block_rows(enum dtype t, size_t rows, const struct dot_rows *r,
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
        dot_scales(t, r->row, u * run_bytes, w);
#pragma GCC unroll 4
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            const uint8_t *p = r->row[s] + u * run_bytes;
            dot_prefetch(r->ahead[s] + u * run_bytes, run_bytes);
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
            const uint8_t *p = r->row[s] + runs * run_bytes;
            dot_prefetch(r->ahead[s] + runs * run_bytes, bytes);
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
    for (size_t i = 0; i < rows; i++) {
        dot_sums(acc[0][i], acc[1][i], acc[2][i], acc[3][i], out[i]);
    }
}

/* All weight rows of a task, four at a time; a short last stream repeats a row it has had. Where a stream ends,
 * the one that this thread will probably read next is asked for: of small weights most would else come too
 * late. `run_bytes` of block types as a constant: what depends on it is then unrolled. */
UNPACK_INLINE void dot_task(enum dtype type, size_t run_bytes, size_t rows, const struct matmul_task *t)
{
    const struct tensor *w = t->w;
    size_t k = tensor_cols(w), row_bytes = tensor_row_bytes(w);
    const uint8_t *end = (const uint8_t *)w->data + tensor_rows(w) * row_bytes;
    size_t quarter = (t->n + DOT_STREAMS - 1) / DOT_STREAMS;
    size_t far = (DOT_AHEAD + row_bytes - 1) / row_bytes; /* rows */
    size_t scales = (k + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK;
    for (size_t n = 0; n < quarter; n++) {
        struct dot_rows r;
        float out[MATMUL_DOT_ROWS][DOT_STREAMS];
        size_t at[DOT_STREAMS];
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            at[s] = s * quarter + n < t->n ? t->row + s * quarter + n : t->row;
            r.row[s] = (const uint8_t *)w->data + at[s] * row_bytes;
            r.scale[s] = w->scale ? w->scale + at[s] / TENSOR_FP8_BLOCK * scales : NULL;
            r.ahead[s] = n + far < quarter ? r.row[s] + far * row_bytes
                                           : t->next + s * t->next_quarter + (n + far - quarter) * row_bytes;
        }
        if (run_bytes == 0) {
            dot_plain_rows(type, rows, &r, k, t->dot_x, out);
        } else {
            dot_block_rows(type, rows, &r, end, k, run_bytes, t->dot_x, out);
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

/* The functions of a type: 1, 2, 3 and 4 activation rows. `run_bytes` are those of MATMUL_RUN weights, 0 for
 * plain types. */
#define DOT_TYPE(name, type, run_bytes)                                                            \
    static void dot_##name(const struct matmul_task *t)                                            \
    {                                                                                              \
        switch (t->n_rows) {                                                                       \
        case 1: dot_task(type, run_bytes, 1, t); break;                                            \
        case 2: dot_task(type, run_bytes, 2, t); break;                                            \
        case 3: dot_task(type, run_bytes, 3, t); break;                                            \
        default: dot_task(type, run_bytes, 4, t); break;                                           \
        }                                                                                          \
    }

DOT_TYPE(f32, DTYPE_F32, 0)
DOT_TYPE(f16, DTYPE_F16, 0)
DOT_TYPE(bf16, DTYPE_BF16, 0)
DOT_TYPE(e4m3, DTYPE_F8_E4M3, 0)
DOT_TYPE(q8_0, DTYPE_Q8_0, 8 * 34)
DOT_TYPE(q4_0, DTYPE_Q4_0, 8 * 18)
DOT_TYPE(q4_1, DTYPE_Q4_1, 8 * 20)
DOT_TYPE(q5_0, DTYPE_Q5_0, 8 * 22)
DOT_TYPE(q5_1, DTYPE_Q5_1, 8 * 24)
DOT_TYPE(q2_k, DTYPE_Q2_K, 84)
DOT_TYPE(q3_k, DTYPE_Q3_K, 110)
DOT_TYPE(q4_k, DTYPE_Q4_K, 144)
DOT_TYPE(q5_k, DTYPE_Q5_K, 176)
DOT_TYPE(q6_k, DTYPE_Q6_K, 210)
DOT_TYPE(mxfp4, DTYPE_MXFP4, 8 * 17)

static void (*const dot_fns[DTYPE_COMPUTABLE])(const struct matmul_task *) = {
    [DTYPE_F32] = dot_f32,   [DTYPE_F16] = dot_f16,   [DTYPE_BF16] = dot_bf16,
    [DTYPE_F8_E4M3] = dot_e4m3, [DTYPE_Q8_0] = dot_q8_0, [DTYPE_Q4_0] = dot_q4_0,
    [DTYPE_Q4_1] = dot_q4_1, [DTYPE_Q5_0] = dot_q5_0, [DTYPE_Q5_1] = dot_q5_1,
    [DTYPE_Q2_K] = dot_q2_k, [DTYPE_Q3_K] = dot_q3_k, [DTYPE_Q4_K] = dot_q4_k,
    [DTYPE_Q5_K] = dot_q5_k, [DTYPE_Q6_K] = dot_q6_k, [DTYPE_MXFP4] = dot_mxfp4,
};
