/* tensor/cpu/roofloop_avx512.c: see roofloop.h. */
#include "tensor/cpu/roofloop.h"

#include <immintrin.h>

enum { ROOFLOOP_CHAINS = 12 }; /* latency x ports, and few enough to be unrolled whole */

#define ROOFLOOP_USE(v) __asm__ volatile("" ::"v"(v))

uint64_t roofloop_avx512_read(const void *p, size_t n)
{
    __m512i acc[8];
    for (int i = 0; i < 8; i++) {
        acc[i] = _mm512_setzero_si512();
    }
    const char *at = p;
    size_t stream = n / 8;
    for (size_t i = 0; i < stream; i += 64) {
        for (size_t j = 0; j < 8; j++) {
            acc[j] = _mm512_xor_si512(acc[j], _mm512_load_si512(at + j * stream + i));
        }
    }
    for (int i = 1; i < 8; i++) {
        acc[0] = _mm512_xor_si512(acc[0], acc[i]);
    }
    return (uint64_t)_mm512_reduce_add_epi64(acc[0]);
}

double roofloop_avx512_fma(size_t rounds)
{
    __m512 acc[ROOFLOOP_CHAINS];
    __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1.0f);
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        acc[i] = _mm512_set1_ps((float)i);
    }
    for (size_t r = 0; r < rounds; r++) {
        for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
            acc[i] = _mm512_fmadd_ps(acc[i], a, b);
        }
    }
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        ROOFLOOP_USE(acc[i]);
    }
    return (double)rounds * ROOFLOOP_CHAINS * 16 * 2;
}

double roofloop_avx512_int8(size_t rounds)
{
    __m512i acc[ROOFLOOP_CHAINS];
    __m512i a = _mm512_set1_epi8(3);
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        acc[i] = _mm512_set1_epi32(i);
    }
    for (size_t r = 0; r < rounds; r++) {
        for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
            acc[i] = _mm512_dpbusd_epi32(acc[i], a, a);
        }
    }
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        ROOFLOOP_USE(acc[i]);
    }
    return (double)rounds * ROOFLOOP_CHAINS * 64 * 2;
}
