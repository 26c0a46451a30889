/* tensor/cpu/rowsplit.h: shares the rows of an elementwise op among the threads of a compute, when
 * there is enough work to repay a parallel region (some 10 microseconds). */
#ifndef TENSOR_CPU_ROWSPLIT_H
#define TENSOR_CPU_ROWSPLIT_H

#include "tensor/compute.h"

/* Work below this many elements stays on the calling thread: about 30 microseconds of streaming. */
enum { ROWSPLIT_ELEMS_MIN = 64 << 10 };

/* Calls run(args, first, last) on ranges that cover rows [0, n_rows), each once. `elems`: elements
 * per row. A row's result must not depend on the range it is in. */
void rowsplit_run(struct compute *c, size_t n_rows, size_t elems,
                  void (*run)(const void *args, size_t first, size_t last), const void *args);

#endif
