/* tensor/cpu/roofloop_amx.c: see roofloop.h. Four accumulator tiles, two of each operand: the
 * shape of a 2x2 tile product, without its loads. */
#include "tensor/cpu/roofloop.h"

#include "tensor/cpu/tiles.h"

enum { ROOFLOOP_TILE_OPS = 16 * 16 * 64 * 2 }; /* int8; bf16 does half as many */

static void roofloop_amx_begin(void)
{
    tiles_begin();
    TILES_ZERO(0);
    TILES_ZERO(1);
    TILES_ZERO(2);
    TILES_ZERO(3);
    TILES_ZERO(4);
    TILES_ZERO(5);
    TILES_ZERO(6);
    TILES_ZERO(7);
}

double roofloop_amx_bf16(size_t rounds)
{
    roofloop_amx_begin();
    for (size_t r = 0; r < rounds; r++) {
        TILES_ADD(0, 4, 6);
        TILES_ADD(1, 4, 7);
        TILES_ADD(2, 5, 6);
        TILES_ADD(3, 5, 7);
    }
    tiles_end();
    return (double)rounds * 4 * ROOFLOOP_TILE_OPS / 2;
}

double roofloop_amx_int8(size_t rounds)
{
    roofloop_amx_begin();
    for (size_t r = 0; r < rounds; r++) {
        TILES_ADD_INT8(0, 4, 6);
        TILES_ADD_INT8(1, 4, 7);
        TILES_ADD_INT8(2, 5, 6);
        TILES_ADD_INT8(3, 5, 7);
    }
    tiles_end();
    return (double)rounds * 4 * ROOFLOOP_TILE_OPS;
}
