/* base/rng.h: the one random generator: xoshiro256++ seeded through splitmix64 (Blackman and Vigna,
 * "Scrambled Linear Pseudorandom Number Generators", 2019). Small, fast, and its whole state is four
 * words, so a session or a training run can be saved and resumed exactly. Not for secrets. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed); /* equal seeds give equal streams on every machine */
uint64_t rng_u64(struct rng *r);
double rng_double(struct rng *r); /* uniform in [0, 1), 53 bits */
float rng_normal(struct rng *r);  /* mean 0, variance 1 (Box-Muller, one value per two draws) */

#endif
