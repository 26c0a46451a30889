/* tensor/cpu/roofloop.h: the inner loops of roof.c per CPU level. `read` returns a checksum, so
 * that no load can be dropped, and reads eight streams side by side, which one core does a third
 * faster than one stream; the others run `rounds` rounds of independent multiply-adds in
 * registers and return the number of operations done. */
#ifndef TENSOR_CPU_ROOFLOOP_H
#define TENSOR_CPU_ROOFLOOP_H

#include <stddef.h>
#include <stdint.h>

uint64_t roofloop_avx2_read(const void *p, size_t n); /* p 64-byte aligned, n whole 512s */
double roofloop_avx2_fma(size_t rounds);
double roofloop_avx2_int8(size_t rounds);

uint64_t roofloop_avx512_read(const void *p, size_t n);
double roofloop_avx512_fma(size_t rounds);
double roofloop_avx512_int8(size_t rounds);

double roofloop_avx512bf16(size_t rounds); /* products of bfloat16 */

double roofloop_amx_bf16(size_t rounds);
double roofloop_amx_int8(size_t rounds);

#endif
