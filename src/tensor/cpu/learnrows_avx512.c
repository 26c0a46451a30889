/* tensor/cpu/learnrows_avx512.c: see learnrows.h. */
#include "tensor/cpu/vec_avx512.h"

#define LEARNROWS(name) learnrows_avx512_##name
#include "tensor/cpu/learnrows_body.h"
