/* tests/tensor/emulation.h: the instructions of AVX512_BF16 and AMX as functions that any machine with AVX-512
 * can run. `make emulated` includes this before the files that use them (they are then compiled for AVX-512
 * alone, so that what is missing here does not compile) and before base/cpuinfo.c, which finds them all. */
#ifndef TESTS_TENSOR_EMULATION_H
#define TESTS_TENSOR_EMULATION_H

#ifdef __AVX512F__
#include <immintrin.h>
#include <stddef.h>

#define TENSOR_CPU_TILES_H /* in place of tensor/cpu/tiles.h */
#define TILES_LOAD(tile, p, stride) emulation_load(tile, p, stride)
#define TILES_STORE_ROWS(tile, p, stride) emulation_store(tile, (void *)(size_t)(p), stride)
#define TILES_STORE(tile, p) TILES_STORE_ROWS(tile, p, 64)
#define TILES_ZERO(tile) emulation_zero(tile)
#define TILES_ADD(sum, left, right) emulation_add(sum, left, right)
#define TILES_ADD_INT8(sum, left, right) emulation_add_int8(sum, left, right)
#define tiles_begin emulation_begin
#define tiles_end emulation_end
#define _mm512_cvtneps_pbh emulation_narrow
#define _mm512_cvtne2ps_pbh emulation_narrow_two
#define _mm512_dpbf16_ps emulation_dot

/* The tiles of this thread, as in tensor/cpu/tiles.h. Any use outside of begin … end ends the program. */
void emulation_begin(void);
void emulation_end(void);
void emulation_load(int tile, const void *p, size_t stride);
void emulation_store(int tile, void *p, size_t stride);
void emulation_zero(int tile);
void emulation_add(int sum, int left, int right);      /* TDPBF16PS */
void emulation_add_int8(int sum, int left, int right); /* TDPBUSD */

__m256bh emulation_narrow(__m512 x);                      /* VCVTNEPS2BF16 */
__m512bh emulation_narrow_two(__m512 high, __m512 low);   /* VCVTNE2PS2BF16 */
__m512 emulation_dot(__m512 sum, __m512bh x, __m512bh y); /* VDPBF16PS */

#else
#include <cpuid.h>
#include <unistd.h>

/* Every bit of the leaf is set, and the kernel grants the tiles. */
#define __get_cpuid_count(leaf, subleaf, a, b, c, d) ((void)(subleaf), *(a) = *(b) = *(c) = *(d) = ~0u, 1)
#define syscall(...) 0
#endif

#endif
