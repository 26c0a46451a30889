/* tensor/cpu/update_avx512.c: see update.h. */
#define UPDATE_TABLE update_avx512
#include "tensor/cpu/update_body.h"
