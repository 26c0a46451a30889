/* tensor/cpu/rowsplit.c: see rowsplit.h. */
#include "tensor/cpu/rowsplit.h"

void rowsplit_run(struct compute *c, size_t n_rows, size_t elems,
                  void (*run)(const void *args, size_t first, size_t last), const void *args)
{
    size_t n = (size_t)c->n_threads < n_rows ? (size_t)c->n_threads : n_rows;
    if (n <= 1 || n_rows < ROWSPLIT_ELEMS_MIN / (elems ? elems : 1)) {
        run(args, 0, n_rows);
        return;
    }
#pragma omp parallel for schedule(static) num_threads((int)n)
    for (size_t i = 0; i < n; i++) {
        run(args, n_rows * i / n, n_rows * (i + 1) / n);
    }
}
