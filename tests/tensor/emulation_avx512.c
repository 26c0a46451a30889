/* tests/tensor/emulation_avx512.c: see emulation.h. The operations as Intel's manual has them (Software
 * Developer's Manual, volume 2): denormals are zeros, on the way in and out; results round to nearest even; MXCSR
 * is neither asked nor changed. */
#include "tensor/emulation.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EMULATION_ROWS = 16, EMULATION_LANES = 16 };

struct emulation_tile {
    uint32_t row[EMULATION_ROWS][EMULATION_LANES];
};

static _Thread_local bool emulation_ready;
static _Thread_local struct emulation_tile emulation_tiles[8];

static struct emulation_tile *emulation_of(int tile)
{
    if (!emulation_ready) { /* the processor raises #UD */
        fprintf(stderr, "tile %d is used outside of tiles_begin and tiles_end\n", tile);
        abort();
    }
    return &emulation_tiles[tile];
}

/* Three different tiles, or #UD again. */
static void emulation_differ(int sum, int left, int right)
{
    if (sum == left || sum == right || left == right) {
        fprintf(stderr, "a product of tiles %d and %d into %d\n", left, right, sum);
        abort();
    }
}

void emulation_begin(void)
{
    emulation_ready = true;
    memset(emulation_tiles, 0, sizeof emulation_tiles);
}

void emulation_end(void)
{
    emulation_ready = false;
}

void emulation_load(int tile, const void *p, size_t stride)
{
    struct emulation_tile *t = emulation_of(tile);
    for (size_t i = 0; i < EMULATION_ROWS; i++) {
        memcpy(t->row[i], (const char *)p + i * stride, sizeof t->row[i]);
    }
}

void emulation_store(int tile, void *p, size_t stride)
{
    const struct emulation_tile *t = emulation_of(tile);
    for (size_t i = 0; i < EMULATION_ROWS; i++) {
        memcpy((char *)p + i * stride, t->row[i], sizeof t->row[i]);
    }
}

void emulation_zero(int tile)
{
    memset(emulation_of(tile), 0, sizeof(struct emulation_tile));
}

/* From here on denormals are zeros; returns what _mm_setcsr takes to have them back. */
static unsigned emulation_flush(void)
{
    unsigned mode = _mm_getcsr();
    _mm_setcsr(0x1f80 | _MM_FLUSH_ZERO_ON | 0x40 /* denormals read as zero */);
    return mode;
}

/* What makes v stays before, what uses it stays after. */
#define EMULATION_HERE(v) __asm__ volatile("" : "+v"(v))

/* The elements of pairs of bfloat16 as floats. */
static inline __m512 emulation_first(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

static inline __m512 emulation_second(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000)));
}

/* The sum over k of first elements and that of second ones are made apart, then added up, then to the tile. */
void emulation_add(int sum, int left, int right)
{
    struct emulation_tile *s = emulation_of(sum);
    const struct emulation_tile *l = emulation_of(left), *r = emulation_of(right);
    emulation_differ(sum, left, right);
    unsigned mode = emulation_flush();
    for (size_t m = 0; m < EMULATION_ROWS; m++) {
        __m512 first = _mm512_setzero_ps(), second = first, total = _mm512_loadu_ps(s->row[m]);
        EMULATION_HERE(first);
        EMULATION_HERE(second);
        for (size_t k = 0; k < EMULATION_LANES; k++) {
            __m512i x = _mm512_set1_epi32((int)l->row[m][k]), w = _mm512_loadu_si512(r->row[k]);
            first = _mm512_fmadd_ps(emulation_first(x), emulation_first(w), first);
            second = _mm512_fmadd_ps(emulation_second(x), emulation_second(w), second);
        }
        total = _mm512_add_ps(total, _mm512_add_ps(first, second));
        EMULATION_HERE(total);
        _mm512_storeu_ps(s->row[m], total);
    }
    _mm_setcsr(mode);
}

/* Unsigned bytes on the left, signed ones on the right; sums wrap around. */
void emulation_add_int8(int sum, int left, int right)
{
    struct emulation_tile *s = emulation_of(sum);
    const struct emulation_tile *l = emulation_of(left), *r = emulation_of(right);
    emulation_differ(sum, left, right);
    for (size_t m = 0; m < EMULATION_ROWS; m++) {
        __m512i total = _mm512_loadu_si512(s->row[m]);
        for (size_t k = 0; k < EMULATION_LANES; k++) {
            __m512i x = _mm512_set1_epi32((int)l->row[m][k]);
            total = _mm512_dpbusd_epi32(total, x, _mm512_loadu_si512(r->row[k]));
        }
        _mm512_storeu_si512(s->row[m], total);
    }
}

/* NaN stays NaN and becomes a quiet one; a denormal becomes a zero of its sign. */
static inline __m512i emulation_rounded(__m512 x)
{
    __m512i u = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), one);
    __m512i near = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __mmask16 tiny = _mm512_testn_epi32_mask(u, _mm512_set1_epi32(0x7f800000));
    near = _mm512_mask_or_epi32(near, nan, u, _mm512_set1_epi32(0x400000));
    near = _mm512_mask_and_epi32(near, tiny, u, _mm512_set1_epi32((int)0x80000000));
    return _mm512_srli_epi32(near, 16);
}

__m256bh emulation_narrow(__m512 x)
{
    return (__m256bh)_mm512_cvtepi32_epi16(emulation_rounded(x));
}

__m512bh emulation_narrow_two(__m512 high, __m512 low)
{
    __m256i l = _mm512_cvtepi32_epi16(emulation_rounded(low));
    __m256i h = _mm512_cvtepi32_epi16(emulation_rounded(high));
    return (__m512bh)_mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
}

/* The second elements of the pairs are added first. */
__m512 emulation_dot(__m512 sum, __m512bh x, __m512bh y)
{
    __m512i a = (__m512i)x, b = (__m512i)y;
    unsigned mode = emulation_flush();
    EMULATION_HERE(sum);
    sum = _mm512_fmadd_ps(emulation_second(a), emulation_second(b), sum);
    sum = _mm512_fmadd_ps(emulation_first(a), emulation_first(b), sum);
    EMULATION_HERE(sum);
    _mm_setcsr(mode);
    return sum;
}
