/* cli/weighttype.h: the names of weight types and mixes (model/quantmix.h) as people type them. */
#ifndef CLI_WEIGHTTYPE_H
#define CLI_WEIGHTTYPE_H

#include "base/err.h"

/* Every name, largest type first: for --help. */
#define WEIGHTTYPE_NAMES \
    "f32 f16 bf16 q8_0 q6_k q5_k_m q5_k_s q5_k q5_1 q5_0 q4_k_m q4_k_s q4_k q4_1 q4_0 mxfp4 q3_k_m " \
    "q3_k q2_k"

/* ERR_ARGUMENT for an unknown name, with the nearest known one and the list. */
ERR_MUST_USE err weighttype_check(const char *name, struct errinfo *info);

#endif
