/* tensor/cpu/learnrows_avx512.c: see learnrows.h. */
#include "tensor/cpu/vec_avx512.h"

#include "tensor/cpu/learngpt2_body.h"
#include "tensor/cpu/learnloss_body.h"
#include "tensor/cpu/learnmix_body.h"
#include "tensor/cpu/learnmoves_body.h"
#include "tensor/cpu/learnrows_body.h"
#include "tensor/cpu/learnscores_body.h"

const struct learnrows_table learnrows_avx512 = {LEARNROWS_BODY, LEARNMOVES_BODY, LEARNLOSS_BODY,
                                                LEARNSCORES_BODY, LEARNGPT2_BODY, LEARNMIX_BODY};
