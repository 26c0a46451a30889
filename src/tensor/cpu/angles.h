/* tensor/cpu/angles.h: cosines and sines of the angles of rotary position embeddings, in plain loops that the
 * compiler vectorises. Include from *_avx2.c and *_avx512.c only. */
#ifndef TENSOR_CPU_ANGLES_H
#define TENSOR_CPU_ANGLES_H

#include <math.h>
#include <stddef.h>

/* Sine and cosine of n angles pos * freqs[i], reduced in double to [-pi/4, pi/4] by multiples of
 * pi/2 (in two parts) and then Taylor; below 2^-50 off for angles up to 2^30. */
static inline void angles_sincos(double pos, const float *freqs, size_t n, float *cs, float *sn)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        double angle = pos * (double)freqs[i];
        double q = rint(angle * 0x1.45f306dc9c883p-1);
        double r = __builtin_fma(-q, 0x1.921fb54442d18p+0, angle);
        r = __builtin_fma(-q, 0x1.1a62633145c07p-54, r);
        double z = r * r;
        double s = __builtin_fma(z, 1.0 / 6227020800, -1.0 / 39916800);
        s = __builtin_fma(z, s, 1.0 / 362880);
        s = __builtin_fma(z, s, -1.0 / 5040);
        s = __builtin_fma(z, s, 1.0 / 120);
        s = __builtin_fma(z, s, -1.0 / 6);
        s = __builtin_fma(z * r, s, r);
        double k = __builtin_fma(z, -1.0 / 87178291200, 1.0 / 479001600);
        k = __builtin_fma(z, k, -1.0 / 3628800);
        k = __builtin_fma(z, k, 1.0 / 40320);
        k = __builtin_fma(z, k, -1.0 / 720);
        k = __builtin_fma(z, k, 1.0 / 24);
        k = __builtin_fma(z, k, -0.5);
        k = __builtin_fma(z, k, 1.0);
        double quadrant = q - 4 * floor(q * 0.25);
        double odd = quadrant - 2 * floor(quadrant * 0.5);
        double sine = odd > 0 ? k : s, cosine = odd > 0 ? s : k;
        sn[i] = (float)(quadrant > 1.5 ? -sine : sine);
        cs[i] = (float)(quadrant > 0.5 && quadrant < 2.5 ? -cosine : cosine);
    }
}

#endif
