/* tensor/cpu/roofloop_avx512bf16.c: see roofloop.h. */
#include "tensor/cpu/roofloop.h"

#include <immintrin.h>

enum { ROOFLOOP_CHAINS = 12 }; /* latency x ports, and few enough to be unrolled whole */

#define ROOFLOOP_USE(v) __asm__ volatile("" ::"v"(v))

double roofloop_avx512bf16(size_t rounds)
{
    __m512 acc[ROOFLOOP_CHAINS];
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        acc[i] = _mm512_set1_ps((float)i);
    }
    for (size_t r = 0; r < rounds; r++) {
        for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
            acc[i] = _mm512_dpbf16_ps(acc[i], a, a);
        }
    }
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        ROOFLOOP_USE(acc[i]);
    }
    return (double)rounds * ROOFLOOP_CHAINS * 32 * 2;
}
