/* tensor/cpu/roofloop_amx.c: see roofloop.h. Four accumulator tiles, two of each operand: the
 * shape of a 2x2 tile product, without its loads. */
#include "tensor/cpu/roofloop.h"

#include <immintrin.h>

#include "tensor/cpu/tiles.h"

enum { ROOFLOOP_TILE_OPS = 16 * 16 * 64 * 2 }; /* int8; bf16 does half as many */

static void roofloop_amx_begin(void)
{
    tiles_begin();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

double roofloop_amx_bf16(size_t rounds)
{
    roofloop_amx_begin();
    for (size_t r = 0; r < rounds; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    tiles_end();
    return (double)rounds * 4 * ROOFLOOP_TILE_OPS / 2;
}

double roofloop_amx_int8(size_t rounds)
{
    roofloop_amx_begin();
    for (size_t r = 0; r < rounds; r++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    tiles_end();
    return (double)rounds * 4 * ROOFLOOP_TILE_OPS;
}
