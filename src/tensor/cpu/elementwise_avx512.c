/* tensor/cpu/elementwise_avx512.c: see elementwise.h. */
#include "tensor/cpu/vec_avx512.h"

#define ELEMENTWISE(name) elementwise_avx512_##name
#include "tensor/cpu/elementwise_body.h"
