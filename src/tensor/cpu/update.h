/* tensor/cpu/update.h: the ops of updateops.h on float32, per CPU level. Plain loops that the compiler turns
 * into vectors, written once in update_body.h: they wait for memory. */
#ifndef TENSOR_CPU_UPDATE_H
#define TENSOR_CPU_UPDATE_H

#include "tensor/updateops.h"

extern const struct updateops_table update_avx2, update_avx512;

#endif
