/* tensor/cpu/elementwise_avx2.c: see elementwise.h. */
#include "tensor/cpu/vec_avx2.h"

#define ELEMENTWISE(name) elementwise_avx2_##name
#include "tensor/cpu/elementwise_body.h"
