/* tensor/cpu/learnhead.c: see learnhead.h. */
#include "tensor/cpu/learnhead.h"

enum {
    LEARNHEAD_TILE = 512,                /* numbers */
    LEARNHEAD_BLOCK_NUMBERS = 64 << 10,  /* of x in a block: what the second cache keeps beside the rest */
    LEARNHEAD_KEPT = 16 << 20,           /* bytes of e of a chunk */
    LEARNHEAD_CHUNK_LEAST = 512,         /* but this many tokens: dw is read and written once a chunk */
};

static size_t learnhead_ceil(size_t n, size_t d)
{
    return (n + d - 1) / d;
}

static size_t learnhead_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct learnhead_plan learnhead_shape(size_t n_tokens, size_t n_vocab, size_t width)
{
    struct learnhead_plan p = {.k_steps = learnhead_ceil(width, 32),
                               .v_steps = learnhead_ceil(n_vocab, LEARNHEAD_GROUP)};
    size_t block = learnhead_smaller(LEARNHEAD_BLOCK_NUMBERS / (32 * p.k_steps + 1), LEARNHEAD_BLOCK_MOST);
    while (block > LEARNHEAD_GROUP && n_tokens < 8 * block) { /* something for each thread */
        block /= 2;
    }
    p.groups = block < LEARNHEAD_GROUP ? 1 : block / LEARNHEAD_GROUP;
    block = p.groups * LEARNHEAD_GROUP;
    size_t kept = LEARNHEAD_KEPT / (2 * LEARNHEAD_GROUP * p.v_steps + 1);
    size_t chunk = kept < LEARNHEAD_CHUNK_LEAST ? LEARNHEAD_CHUNK_LEAST : kept;
    p.blocks = learnhead_ceil(learnhead_smaller(chunk, n_tokens), block);
    return p;
}

static size_t learnhead_turned(const struct learnhead_plan *p)
{
    return p->v_steps * 2 * p->k_steps * LEARNHEAD_TILE;
}

static size_t learnhead_kept(const struct learnhead_plan *p)
{
    return p->blocks * 2 * p->v_steps * p->groups * LEARNHEAD_TILE;
}

size_t learnhead_bytes(size_t n_tokens, size_t n_vocab, size_t width)
{
    struct learnhead_plan p = learnhead_shape(n_tokens, n_vocab, width);
    size_t x = p.blocks * p.groups * 2 * p.k_steps * LEARNHEAD_TILE;
    return (learnhead_turned(&p) + learnhead_kept(&p) + x) * sizeof(uint16_t);
}

void learnhead_place(struct learnhead_plan *p, void *memory)
{
    p->turned = memory;
    p->e = p->turned + learnhead_turned(p);
    p->x = p->e + learnhead_kept(p);
}

bool learnhead_takes(const struct learnops_head *a)
{
    bool learns = a->dx.data != NULL;
    return a->x.type == MAT_BF16 && a->w.type == MAT_BF16 &&
           (!learns || (a->dx.type == MAT_F32 && a->dw.type == MAT_F32));
}
