/* tensor/ref/updateref.h: the reference of updateops.h: plain loops in float64 over mats of any type. */
#ifndef TENSOR_REF_UPDATEREF_H
#define TENSOR_REF_UPDATEREF_H

#include "tensor/updateops.h"

extern const struct updateops_table updateref;

#endif
