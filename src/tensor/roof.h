/* tensor/roof.h: what this machine can do at most, measured, so that every speed can be given as a
 * share of it: bytes read per second from memory, and arithmetic per second of the best instruction
 * of a CPU level. Nothing here depends on a model. */
#ifndef TENSOR_ROOF_H
#define TENSOR_ROOF_H

#include "tensor/compute.h"

struct roof {
    double read_gbs;         /* 1e9 bytes/s read from memory, all threads of the compute, but no more than
                                CPUs the process may run on: so everywhere */
    double read_gbs_one;     /* the same, one thread */
    double float_flops;     /* FLOP/s of the level's fastest product with float32 sums, all threads;
                               a multiply-add counts as 2 */
    const char *float_name; /* that instruction: "amx bf16", "avx512 bf16", "avx2 fma", "plain c" */
    double int8_ops;         /* the same for int8 products with int32 sums */
    const char *int8_name;
};

/* Takes about a second. Reads a buffer of 512 MiB (well above any cache; an eighth of free memory
 * on a small machine); ERR_NOMEM when there is no room. The best of several passes counts: a roof
 * is what the machine does when nobody disturbs it. */
ERR_MUST_USE err roof_measure(struct compute *c, struct roof *out);

/* FLOP/s now of the level's fastest product with float32 sums, all threads; takes a tenth of a second. */
double roof_flops(struct compute *c);

/* The same machine asked again and again: on one that others share, speeds and roof drift together, so a
 * share of the roof means something only when both were taken within seconds of each other. The gauge
 * keeps its buffer, and a sample takes a tenth of a second. Borrows the compute; one thread. */
struct roof_gauge;
ERR_MUST_USE err roof_gauge_new(struct compute *c, struct roof_gauge **out); /* ERR_NOMEM alone */
const struct roof *roof_gauge_first(const struct roof_gauge *g); /* what roof_measure gives, at the start */
double roof_gauge_read(struct roof_gauge *g);                    /* GB/s now, all threads */
double roof_gauge_flops(struct roof_gauge *g);                   /* FLOP/s now, the same instruction */
void roof_gauge_free(struct roof_gauge *g);                      /* NULL is fine */

#endif
