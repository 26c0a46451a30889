/* tensor/cpu/tiles.h: AMX tile instructions, for *_amx.c files: eight tiles of 16 rows of 64 bytes. Plain
 * assembly with a memory clobber: GCC 12's intrinsics do not tell it that tiles, and their configuration, are
 * read from memory. */
#ifndef TENSOR_CPU_TILES_H
#define TENSOR_CPU_TILES_H

#include <stddef.h>
#include <stdint.h>

/* `stride`: bytes between rows. */
#define TILES_LOAD(tile, p, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(p), "r"((size_t)(stride)) : "memory")
#define TILES_STORE_ROWS(tile, p, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(p), "r"((size_t)(stride)) : "memory")
#define TILES_STORE(tile, p) TILES_STORE_ROWS(tile, p, 64)
#define TILES_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile ::: "memory")
/* sum[m][n] += over pairs of bfloat16: left [16 m][16 pairs], right [16 pairs][16 n]. */
#define TILES_ADD(sum, left, right) \
    __asm__ volatile("tdpbf16ps %%tmm" #right ", %%tmm" #left ", %%tmm" #sum ::: "memory")
/* The same over fours of bytes, unsigned ones on the left, signed ones on the right. */
#define TILES_ADD_INT8(sum, left, right) \
    __asm__ volatile("tdpbusd %%tmm" #right ", %%tmm" #left ", %%tmm" #sum ::: "memory")

/* A thread's tiles, before and after their use. */
static inline void tiles_begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes_per_row[16];
        uint8_t rows[16];
    } cfg = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        cfg.bytes_per_row[i] = 64;
        cfg.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(cfg) : "memory");
}

static inline void tiles_end(void)
{
    __asm__ volatile("tilerelease" ::: "memory");
}

#endif
