/* tensor/cpu/roofloop_avx2.c: see roofloop.h. */
#include "tensor/cpu/roofloop.h"

#include <immintrin.h>

enum { ROOFLOOP_CHAINS = 12 }; /* latency x ports, and few enough to be unrolled whole */

/* Keeps a value alive without storing it. */
#define ROOFLOOP_USE(v) __asm__ volatile("" ::"x"(v))

uint64_t roofloop_avx2_read(const void *p, size_t n)
{
    __m256i acc[8];
    for (int i = 0; i < 8; i++) {
        acc[i] = _mm256_setzero_si256();
    }
    const char *at = p;
    size_t stream = n / 8;
    for (size_t i = 0; i < stream; i += 32) {
        for (size_t j = 0; j < 8; j++) {
            acc[j] = _mm256_xor_si256(acc[j],
                                      _mm256_load_si256((const __m256i *)(at + j * stream + i)));
        }
    }
    for (int i = 1; i < 8; i++) {
        acc[0] = _mm256_xor_si256(acc[0], acc[i]);
    }
    return (uint64_t)_mm256_extract_epi64(acc[0], 0) ^ (uint64_t)_mm256_extract_epi64(acc[0], 1) ^
           (uint64_t)_mm256_extract_epi64(acc[0], 2) ^ (uint64_t)_mm256_extract_epi64(acc[0], 3);
}

double roofloop_avx2_fma(size_t rounds)
{
    __m256 acc[ROOFLOOP_CHAINS];
    __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1.0f);
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        acc[i] = _mm256_set1_ps((float)i);
    }
    for (size_t r = 0; r < rounds; r++) {
        for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
            acc[i] = _mm256_fmadd_ps(acc[i], a, b);
        }
    }
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        ROOFLOOP_USE(acc[i]);
    }
    return (double)rounds * ROOFLOOP_CHAINS * 8 * 2;
}

/* maddubs, madd with ones, add: what an int8 product with 32-bit sums costs without VNNI. */
double roofloop_avx2_int8(size_t rounds)
{
    __m256i acc[ROOFLOOP_CHAINS];
    __m256i a = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        acc[i] = _mm256_set1_epi32(i);
    }
    for (size_t r = 0; r < rounds; r++) {
        for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
            __m256i pairs = _mm256_maddubs_epi16(a, acc[i]);
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, ones));
        }
    }
    for (int i = 0; i < ROOFLOOP_CHAINS; i++) {
        ROOFLOOP_USE(acc[i]);
    }
    return (double)rounds * ROOFLOOP_CHAINS * 32 * 2;
}
