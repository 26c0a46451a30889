/* tensor/ref/learnref.c: see learnref.h. Attention, layer norm and routers are in files of their
 * own. */
#include "tensor/ref/learnref.h"

#include <math.h>

static double learnref_x(enum learnops_product p, const struct mat *x, size_t m, size_t k)
{
    return p == LEARNOPS_TN ? mat_get(x, k, m) : mat_get(x, m, k);
}

static double learnref_w(enum learnops_product p, const struct mat *w, size_t k, size_t n)
{
    return p == LEARNOPS_NT ? mat_get(w, n, k) : mat_get(w, k, n);
}

void learnref_matmul(enum learnops_product product, const struct learnops_matmul *job)
{
    size_t n_k = product == LEARNOPS_TN ? job->x.rows : job->x.cols;
    for (size_t m = 0; m < job->y.rows; m++) {
        for (size_t n = 0; n < job->y.cols; n++) {
            double sum = job->add ? mat_get(&job->y, m, n) : 0;
            for (size_t k = 0; k < n_k; k++) {
                sum += learnref_x(product, &job->x, m, k) * learnref_w(product, &job->w, k, n);
            }
            mat_set(&job->y, m, n, sum);
        }
    }
}

/* 1 / sqrt(mean of squares + eps) of a row. */
static double learnref_inverse_rms(const struct mat *x, size_t t, double eps)
{
    double sum = 0;
    for (size_t i = 0; i < x->cols; i++) {
        double v = mat_get(x, t, i);
        sum += v * v;
    }
    return 1 / sqrt(sum / (double)x->cols + eps);
}

static double learnref_weight(const struct mat *weight, size_t i)
{
    return weight->data ? mat_get(weight, 0, i) : 1;
}

void learnref_rmsnorm(struct mat y, struct mat x, struct mat weight, double eps)
{
    for (size_t t = 0; t < x.rows; t++) {
        double r = learnref_inverse_rms(&x, t, eps);
        for (size_t i = 0; i < x.cols; i++) {
            mat_set(&y, t, i, mat_get(&x, t, i) * r * learnref_weight(&weight, i));
        }
    }
}

/* With g = dy * weight:  dx = r (g - x r^2 mean(g x)),  dweight = sum over rows of dy x r. */
void learnref_rmsnorm_backward(struct mat dx, struct mat dweight, struct mat dy, struct mat x,
                               struct mat weight, double eps)
{
    for (size_t t = 0; t < x.rows; t++) {
        double r = learnref_inverse_rms(&x, t, eps), dot = 0;
        for (size_t i = 0; i < x.cols; i++) {
            dot += mat_get(&dy, t, i) * learnref_weight(&weight, i) * mat_get(&x, t, i);
        }
        for (size_t i = 0; i < x.cols; i++) {
            double v = mat_get(&x, t, i), d = mat_get(&dy, t, i);
            double g = d * learnref_weight(&weight, i) - v * r * r * dot / (double)x.cols;
            mat_set(&dx, t, i, mat_get(&dx, t, i) + r * g);
            if (weight.data) {
                mat_set(&dweight, 0, i, mat_get(&dweight, 0, i) + d * v * r);
            }
        }
    }
}

void learnref_rope(const struct learnops_rope *a)
{
    for (size_t t = 0; t < a->x.rows; t++) {
        for (size_t h = 0; h < a->n_heads; h++) {
            for (size_t i = 0; i < a->dim / 2; i++) {
                bool half = a->pairs == ROPE_HALF;
                size_t base = h * a->head_dim + a->first;
                size_t p = base + (half ? i : 2 * i), q = base + (half ? i + a->dim / 2 : 2 * i + 1);
                double angle = (double)a->positions[t] * a->freqs[i] * (a->back ? -1 : 1);
                double u = mat_get(&a->x, t, p), v = mat_get(&a->x, t, q);
                mat_set(&a->x, t, p, u * cos(angle) - v * sin(angle));
                mat_set(&a->x, t, q, u * sin(angle) + v * cos(angle));
            }
        }
    }
}

void learnref_swiglu(struct mat y, struct mat gate, struct mat up)
{
    for (size_t t = 0; t < y.rows; t++) {
        for (size_t i = 0; i < y.cols; i++) {
            double g = mat_get(&gate, t, i);
            mat_set(&y, t, i, g / (1 + exp(-g)) * mat_get(&up, t, i));
        }
    }
}

/* silu'(g) = s (1 + g (1 - s)) with s the logistic function of g. */
void learnref_swiglu_backward(struct mat dgate, struct mat dup, struct mat dy, struct mat gate, struct mat up)
{
    for (size_t t = 0; t < dy.rows; t++) {
        for (size_t i = 0; i < dy.cols; i++) {
            double g = mat_get(&gate, t, i), u = mat_get(&up, t, i), d = mat_get(&dy, t, i);
            double s = 1 / (1 + exp(-g));
            mat_set(&dgate, t, i, d * u * s * (1 + g * (1 - s)));
            mat_set(&dup, t, i, d * g * s);
        }
    }
}

static const double LEARNREF_GELU = 0.7978845608028654; /* sqrt(2 / pi) */

/* (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3). */
static double learnref_gelu_gate(double x)
{
    return 0.5 * (1 + tanh(LEARNREF_GELU * (x + 0.044715 * x * x * x)));
}

void learnref_gelu(struct mat y, struct mat x)
{
    for (size_t t = 0; t < y.rows; t++) {
        for (size_t i = 0; i < y.cols; i++) {
            double v = mat_get(&x, t, i);
            mat_set(&y, t, i, v * learnref_gelu_gate(v));
        }
    }
}

/* With s the gate: s' = 2 s (1 - s) u'. */
void learnref_gelu_backward(struct mat dx, struct mat dy, struct mat x)
{
    for (size_t t = 0; t < dy.rows; t++) {
        for (size_t i = 0; i < dy.cols; i++) {
            double v = mat_get(&x, t, i), s = learnref_gelu_gate(v);
            double slope = LEARNREF_GELU * (1 + 3 * 0.044715 * v * v);
            mat_set(&dx, t, i, mat_get(&dy, t, i) * (s + v * 2 * s * (1 - s) * slope));
        }
    }
}

void learnref_bias(struct mat y, struct mat bias)
{
    for (size_t t = 0; t < y.rows; t++) {
        for (size_t i = 0; i < y.cols; i++) {
            mat_set(&y, t, i, mat_get(&y, t, i) + mat_get(&bias, 0, i));
        }
    }
}

void learnref_bias_backward(struct mat dbias, struct mat dy)
{
    for (size_t i = 0; i < dy.cols; i++) {
        double sum = mat_get(&dbias, 0, i);
        for (size_t t = 0; t < dy.rows; t++) {
            sum += mat_get(&dy, t, i);
        }
        mat_set(&dbias, 0, i, sum);
    }
}

/* One row whose target counts. */
static void learnref_loss(const struct mat *dlogits, const struct mat *logits, size_t t, size_t target,
                          double *loss, double z_loss, double scale)
{
    double most = -INFINITY, sum = 0, hit = mat_get(logits, t, target);
    for (size_t i = 0; i < logits->cols; i++) {
        most = fmax(most, mat_get(logits, t, i));
    }
    for (size_t i = 0; i < logits->cols; i++) {
        sum += exp(mat_get(logits, t, i) - most);
    }
    double lse = most + log(sum);
    *loss = lse - hit + z_loss * lse * lse;
    for (size_t i = 0; dlogits->data && i < logits->cols; i++) {
        double p = exp(mat_get(logits, t, i) - lse);
        mat_set(dlogits, t, i, scale * (1 + 2 * z_loss * lse) * p - (i == target ? scale : 0));
    }
}

void learnref_cross_entropy(struct mat dlogits, struct mat logits, const int32_t *targets, double *losses,
                            double z_loss, double scale)
{
    for (size_t t = 0; t < logits.rows; t++) {
        if (targets[t] >= 0) {
            learnref_loss(&dlogits, &logits, t, (size_t)targets[t], &losses[t], z_loss, scale);
            continue;
        }
        losses[t] = 0;
        if (dlogits.data) {
            learnref_zero(mat_rows(dlogits, t, 1));
        }
    }
}

/* to[a] = from[b], or adds. */
static void learnref_row(const struct mat *to, size_t a, const struct mat *from, size_t b, double factor,
                         bool add)
{
    for (size_t i = 0; i < to->cols; i++) {
        mat_set(to, a, i, (add ? mat_get(to, a, i) : 0) + factor * mat_get(from, b, i));
    }
}

void learnref_embed(struct mat y, struct mat table, const int32_t *ids)
{
    for (size_t t = 0; t < y.rows; t++) {
        learnref_row(&y, t, &table, (size_t)ids[t], 1, false);
    }
}

void learnref_embed_backward(struct mat dtable, struct mat dy, const int32_t *ids)
{
    for (size_t t = 0; t < dy.rows; t++) {
        learnref_row(&dtable, (size_t)ids[t], &dy, t, 1, true);
    }
}

void learnref_combine(struct mat y, struct mat x, struct mat weight, const uint32_t *slot)
{
    for (size_t t = 0; t < y.rows; t++) {
        for (size_t k = 0; k < weight.cols; k++) {
            double factor = weight.data ? mat_get(&weight, t, k) : 1;
            learnref_row(&y, t, &x, slot[t * weight.cols + k], factor, true);
        }
    }
}

void learnref_mix(struct mat y, struct mat a, struct mat b, struct mat weight)
{
    double by_a = mat_get(&weight, 0, 0), by_b = mat_get(&weight, 0, 1);
    for (size_t t = 0; t < y.rows; t++) {
        for (size_t i = 0; i < y.cols; i++) {
            mat_set(&y, t, i, by_a * mat_get(&a, t, i) + by_b * mat_get(&b, t, i));
        }
    }
}

void learnref_mix_backward(const struct learnops_mix *m)
{
    double by_a = mat_get(&m->weight, 0, 0), by_b = mat_get(&m->weight, 0, 1), a = 0, b = 0;
    for (size_t t = 0; t < m->dy.rows; t++) {
        for (size_t i = 0; i < m->dy.cols; i++) {
            double d = mat_get(&m->dy, t, i);
            a += d * mat_get(&m->a, t, i);
            b += d * mat_get(&m->b, t, i);
            mat_set(&m->da, t, i, by_a * d);
            mat_set(&m->db, t, i, mat_get(&m->db, t, i) + by_b * d);
        }
    }
    mat_set(&m->dweight, 0, 0, mat_get(&m->dweight, 0, 0) + a);
    mat_set(&m->dweight, 0, 1, mat_get(&m->dweight, 0, 1) + b);
}

void learnref_add(struct mat y, struct mat x)
{
    for (size_t t = 0; t < y.rows; t++) {
        learnref_row(&y, t, &x, t, 1, true);
    }
}

void learnref_copy(struct mat y, struct mat x)
{
    for (size_t t = 0; t < y.rows; t++) {
        learnref_row(&y, t, &x, t, 1, false);
    }
}

void learnref_zero(struct mat y)
{
    for (size_t t = 0; t < y.rows; t++) {
        for (size_t i = 0; i < y.cols; i++) {
            mat_set(&y, t, i, 0);
        }
    }
}
