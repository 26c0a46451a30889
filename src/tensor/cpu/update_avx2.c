/* tensor/cpu/update_avx2.c: see update.h. */
#define UPDATE_TABLE update_avx2
#include "tensor/cpu/update_body.h"
