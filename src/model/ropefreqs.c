/* model/ropefreqs.c: see ropefreqs.h. Computed in double once, stored as float. */
#include "model/ropefreqs.h"

#include <math.h>

static const double ROPEFREQS_PI = 3.14159265358979323846;

/* The dimension whose wave turns `rotations` times over the original context. */
static double ropefreqs_correction(const struct config *c, double rotations)
{
    double original = (double)c->rope_scaling.original_max_position_embeddings;
    return (double)c->rope_dim * log(original / (rotations * 2 * ROPEFREQS_PI)) /
           (2 * log((double)c->rope_theta));
}

/* YaRN: fast dimensions keep their frequency, slow ones are divided by the factor, a linear ramp
 * lies between. */
static double ropefreqs_yarn(const struct config *c, size_t i, double freq)
{
    double low = fmax(floor(ropefreqs_correction(c, (double)c->rope_scaling.beta_fast)), 0);
    double high = fmin(ceil(ropefreqs_correction(c, (double)c->rope_scaling.beta_slow)),
                       (double)c->rope_dim - 1);
    if (low == high) {
        high += 0.001;
    }
    double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
    return freq / (double)c->rope_scaling.factor * ramp + freq * (1 - ramp);
}

double ropefreqs_llama3_divisor(double freq, double factor, double low, double high, double original)
{
    double wavelength = 2 * ROPEFREQS_PI / freq;
    if (wavelength < original / high) {
        return 1;
    }
    if (wavelength > original / low) {
        return factor;
    }
    double smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
}

static double ropefreqs_one(const struct config *c, size_t i)
{
    double freq = pow((double)c->rope_theta, -2.0 * (double)i / (double)c->rope_dim);
    if (c->has_rope_divisors) {
        return freq / (double)c->rope_divisors[i];
    }
    switch (c->rope_scaling.type) {
    case CONFIG_ROPE_PLAIN: return freq;
    case CONFIG_ROPE_LINEAR: return freq / (double)c->rope_scaling.factor;
    case CONFIG_ROPE_YARN: return ropefreqs_yarn(c, i, freq);
    case CONFIG_ROPE_LLAMA3:
        return freq / ropefreqs_llama3_divisor(
                          freq, (double)c->rope_scaling.factor,
                          (double)c->rope_scaling.low_freq_factor,
                          (double)c->rope_scaling.high_freq_factor,
                          (double)c->rope_scaling.original_max_position_embeddings);
    }
    return freq;
}

/* m(s, k) = 0.1 k ln(s) + 1. */
static double ropefreqs_mscale(double s, double k)
{
    return s <= 1 ? 1.0 : 0.1 * k * log(s) + 1.0;
}

/* What YaRN multiplies cos and sin by. */
static double ropefreqs_amplitude(const struct config *c)
{
    double s = (double)c->rope_scaling.factor;
    double k = (double)c->rope_scaling.mscale, all = (double)c->rope_scaling.mscale_all_dim;
    if (c->rope_scaling.attention_factor > 0) {
        return (double)c->rope_scaling.attention_factor;
    }
    if (k != 0 && all != 0) {
        return ropefreqs_mscale(s, k) / ropefreqs_mscale(s, all);
    }
    return ropefreqs_mscale(s, 1);
}

void ropefreqs_fill(struct config *c)
{
    for (size_t i = 0; i < c->rope_dim / 2; i++) {
        c->rope_freqs[i] = (float)ropefreqs_one(c, i);
    }
    double scale = 1 / sqrt((double)config_qk_dim(c));
    double gain = 1;
    if (c->rope_scaling.type == CONFIG_ROPE_YARN) {
        gain = ropefreqs_amplitude(c) * ropefreqs_amplitude(c);
        if (config_is_mla(c)) {
            double m = ropefreqs_mscale((double)c->rope_scaling.factor,
                                        (double)c->rope_scaling.mscale_all_dim);
            scale *= m * m;
        } else {
            scale *= gain; /* every dimension of q and k is rotated */
            gain = 1;
        }
    }
    c->attention_scale = (float)scale;
    c->rope_gain = (float)gain;
}
