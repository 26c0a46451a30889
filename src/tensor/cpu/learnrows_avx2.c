/* tensor/cpu/learnrows_avx2.c: see learnrows.h. */
#include "tensor/cpu/vec_avx2.h"

#define LEARNROWS(name) learnrows_avx2_##name
#include "tensor/cpu/learnrows_body.h"
