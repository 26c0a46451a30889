/* tensor/cpu/learnattention_amx.c: see learnattention.h. */
#include "tensor/cpu/tilepack.h"
#include "tensor/cpu/tiles.h"
#include "tensor/cpu/vec_avx512.h"

typedef uint16_t learnattention_number;

/* Operand tiles [tiles][steps] of m: left or (turned) right, the sum along its columns or (down) its rows. */
static void learnattention_pack(uint16_t *to, const struct mat *m, bool down, bool turned, size_t tiles,
                                size_t steps)
{
    const struct tilepack side = {*m, 0, tiles * 16, down, turned};
    tilepack(&side, 0, down ? m->rows : m->cols, steps, (char *)to);
}

/* Tiles of sums c, below and beside: tiles of the left operand times those of the right one. The second tiles
 * are so many numbers further. At most four sums and two operands are in use (attention_amx.c); `beside` is
 * vector work for between the tile instructions. */
static inline __attribute__((always_inline)) void
learnattention_product_beside(float *c, size_t c_down, const uint16_t *left, size_t left_down,
                              const uint16_t *right, size_t right_across, size_t steps, bool add,
                              void (*beside)(void *), void *what)
{
    if (add) {
        TILES_LOAD(0, c, 64);
        TILES_LOAD(1, c + 256, 64);
        TILES_LOAD(2, c + c_down, 64);
        TILES_LOAD(3, c + c_down + 256, 64);
    } else {
        TILES_ZERO(0);
        TILES_ZERO(1);
        TILES_ZERO(2);
        TILES_ZERO(3);
    }
    for (size_t s = 0; s < steps; s++, left += 512, right += 512) {
        TILES_LOAD(6, left, 64);
        TILES_LOAD(7, right, 64);
        TILES_ADD(0, 6, 7);
        beside(what);
        TILES_LOAD(7, right + right_across, 64);
        TILES_ADD(1, 6, 7);
        beside(what);
        TILES_LOAD(6, left + left_down, 64);
        TILES_ADD(3, 6, 7);
        beside(what);
        TILES_LOAD(7, right, 64);
        TILES_ADD(2, 6, 7);
        beside(what);
    }
    TILES_STORE(0, c);
    TILES_STORE(1, c + 256);
    TILES_STORE(2, c + c_down);
    TILES_STORE(3, c + c_down + 256);
}

static inline void learnattention_nothing(void *what)
{
    (void)what;
}

static void learnattention_product(float *c, size_t c_down, const uint16_t *left, size_t left_down,
                                   const uint16_t *right, size_t right_across, size_t steps, bool add)
{
    learnattention_product_beside(c, c_down, left, left_down, right, right_across, steps, add,
                                  learnattention_nothing, NULL);
}

/* Numbers of keys i and i + 1 of a chunk: rows of left tiles. */
static inline void learnattention_put_left(uint16_t *to, size_t down, size_t i, vec x[2][2])
{
    uint16_t *at = to + i / 16 * down + i % 16 * 32;
    _mm512_store_si512(at, (__m512i)_mm512_cvtne2ps_pbh(x[0][1], x[0][0]));
    _mm512_store_si512(at + 32, (__m512i)_mm512_cvtne2ps_pbh(x[1][1], x[1][0]));
}

/* The same as a row of pairs of right tiles. */
static inline void learnattention_put_right(uint16_t *to, size_t across, size_t i, vec x[2][2])
{
    for (size_t l = 0; l < 2; l++) {
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(x[1][l], x[0][l]);
        _mm512_store_si512(to + l * across + i * 16, tilepack_interleave(both));
    }
}

/* 2^x, relative error below 3e-6, 0 below 2^-126: a bfloat16 keeps 2e-3 of it. */
static inline vec learnattention_exp2(vec x)
{
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
    vec f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* 0 to 1 */
    vec p = _mm512_set1_ps(0.01353417f); /* fitted to the least relative error */
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05201146f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24144276f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69300383f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000259f));
    return _mm512_maskz_scalef_ps(normal, p, x);
}

static inline void learnattention_store_half(uint16_t *to, vec x)
{
    _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh(x));
}

#include "tensor/cpu/learnattention_walk.h"

err learnattention_amx(struct compute *c, const struct learnops_attention *a,
                       const struct learnattention_grads *d)
{
    static const struct learnattention_kernels kernels = {learnattention_task_run, learnattention_scratch,
                                                          tiles_begin, tiles_end};
    return learnattention_run(c, a, d, &kernels);
}
