/* tensor/cpu/learnloss_body.h: the loss of next tokens of learnrows.h, written once over vec_*.h; included by
 * learnrows_avx2.c and learnrows_avx512.c. A row goes through the registers three times (its largest, the sum
 * of exponentials, the gradient) and through memory once: even 130,000 logits stay in the second cache. */
#include "tensor/cpu/learnrows.h"

#include <math.h>

#include "tensor/cpu/matrow.h"
#include "tensor/cpu/rowsplit.h"

enum {
    LEARNLOSS_SUM = 1024, /* logits whose exponentials are summed up in float32 */
    LEARNLOSS_LANES = 4,  /* vecs in flight */
};

struct learnloss {
    struct mat dlogits, logits;
    const int32_t *targets;
    double *losses, z_loss, scale;
};

static float learnloss_most(struct matrow x, size_t n)
{
    vec most[LEARNLOSS_LANES];
    float lanes[VEC_N], best = -INFINITY;
    size_t i = 0;
    for (int k = 0; k < LEARNLOSS_LANES; k++) {
        most[k] = vec_set(-INFINITY);
    }
    for (; i + LEARNLOSS_LANES * VEC_N <= n; i += LEARNLOSS_LANES * VEC_N) {
        for (int k = 0; k < LEARNLOSS_LANES; k++) {
            most[k] = vec_max(matrow_load(x, i + (size_t)k * VEC_N, VEC_N), most[k]);
        }
    }
    for (; i < n; i += VEC_N) {
        most[0] = vec_max(vec_first(n - i, matrow_load(x, i, n - i), vec_set(-INFINITY)), most[0]);
    }
    vec_store(lanes, vec_max(vec_max(most[0], most[1]), vec_max(most[2], most[3])));
    for (int k = 0; k < VEC_N; k++) {
        best = lanes[k] > best ? lanes[k] : best;
    }
    return best;
}

/* The sum of exp(x - most), which are kept in place of x if `keep`. */
static double learnloss_sum(struct matrow x, size_t n, float most, bool keep)
{
    double sum = 0;
    vec from = vec_set(most);
    for (size_t i = 0; i < n;) {
        vec part[2] = {vec_set(0), vec_set(0)};
        size_t end = n - i < LEARNLOSS_SUM ? n : i + LEARNLOSS_SUM;
        for (; i + 2 * VEC_N <= end; i += 2 * VEC_N) {
            vec e = vec_exp(vec_sub(matrow_load(x, i, VEC_N), from));
            vec f = vec_exp(vec_sub(matrow_load(x, i + VEC_N, VEC_N), from));
            part[0] = vec_add(part[0], e);
            part[1] = vec_add(part[1], f);
            if (keep) {
                matrow_store(x, i, VEC_N, e);
                matrow_store(x, i + VEC_N, VEC_N, f);
            }
        }
        for (; i < end; i += VEC_N) {
            vec e = vec_exp(vec_sub(matrow_load(x, i, end - i), from));
            part[0] = vec_add(part[0], vec_first(end - i, e, vec_set(0)));
            if (keep) {
                matrow_store(x, i, end - i, e);
            }
        }
        sum += (double)matrow_sum(vec_add(part[0], part[1]));
    }
    return sum;
}

static void learnloss_row(const struct learnloss *a, size_t t, bool stream)
{
    struct matrow x = matrow_at(&a->logits, t), dx = matrow_out(&a->dlogits, t, stream);
    bool keep = a->dlogits.data && x.wide; /* bfloat16 would round them twice */
    size_t n = a->logits.cols, target = (size_t)a->targets[t];
    float most = learnloss_most(x, n), hit = matrow_get(x, target);
    double lse = (double)most + log(learnloss_sum(x, n, most, keep));
    a->losses[t] = lse - (double)hit + a->z_loss * lse * lse;
    if (!a->dlogits.data) {
        return;
    }
    double each = a->scale * (1 + 2 * a->z_loss * lse);
    vec from = vec_set((float)lse), factor = vec_set((float)(keep ? each * exp((double)most - lse) : each));
    for (size_t i = 0; i < n; i += VEC_N) {
        vec e = matrow_load(x, i, n - i);
        matrow_store(dx, i, n - i, vec_mul(keep ? e : vec_exp(vec_sub(e, from)), factor));
    }
    matrow_store(dx, target, 1, vec_set((float)(each * exp((double)hit - lse) - a->scale)));
}

static void learnloss_rows(const void *args, size_t first, size_t last)
{
    const struct learnloss *a = args;
    bool stream = matrow_streams(&a->dlogits) && a->dlogits.data != a->logits.data;
    for (size_t t = first; t < last; t++) {
        if (a->targets[t] >= 0) {
            learnloss_row(a, t, stream);
            continue;
        }
        a->losses[t] = 0;
        if (a->dlogits.data) {
            memset(matrow_at(&a->dlogits, t).data, 0, a->logits.cols * mat_type_bytes(a->dlogits.type));
        }
    }
    vec_stream_end();
}

static void learnloss_cross_entropy(struct compute *c, struct mat dlogits, struct mat logits,
                                    const int32_t *targets, double *losses, double z_loss, double scale)
{
    const struct learnloss a = {dlogits, logits, targets, losses, z_loss, scale};
    rowsplit_run(c, logits.rows, logits.cols, learnloss_rows, &a);
}

#define LEARNLOSS_BODY .cross_entropy = learnloss_cross_entropy
