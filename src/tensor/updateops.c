/* tensor/updateops.c: dispatch; see updateops.h. */
#include "tensor/updateops.h"

#include "tensor/cpu/update.h"
#include "tensor/ref/updateref.h"

/* Who takes values as `full`, and what products take as `half`. */
static const struct updateops_table *updateops_table(const struct compute *c, struct mat full, struct mat half)
{
#if defined(__x86_64__)
    bool fast = full.type == MAT_F32 && (half.type == MAT_BF16 || half.data == full.data);
    if (fast && c->level != CPUINFO_REF) {
        return c->level == CPUINFO_AVX2 ? &update_avx2 : &update_avx512;
    }
#endif
    (void)c, (void)full, (void)half;
    return &updateref;
}

void updateops_squares(struct compute *c, struct mat x, double *sums)
{
    updateops_table(c, x, x)->squares(c, x, sums);
}

double updateops_total(const double *sums, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        total += sums[i];
    }
    return total;
}

void updateops_adamw(struct compute *c, const struct updateops_adamw *a)
{
    updateops_table(c, a->value, a->work)->adamw(c, a);
}

void updateops_momentum(struct compute *c, const struct updateops_momentum *a)
{
    updateops_table(c, a->momentum, a->momentum)->momentum(c, a);
}

void updateops_direction(struct compute *c, const struct updateops_momentum *a, struct mat x,
                         const double *scales, size_t rows_each)
{
    updateops_table(c, a->momentum, x)->direction(c, a, x, scales, rows_each);
}

void updateops_polynomial(struct compute *c, struct mat y, struct mat x, double one, double first,
                          double second)
{
    struct mat full = {.type = x.type == MAT_BF16 ? MAT_F32 : MAT_F64};
    updateops_table(c, full, x)->polynomial(c, y, x, one, first, second);
}

void updateops_descend(struct compute *c, const struct updateops_descend *a)
{
    updateops_table(c, a->value, a->x)->descend(c, a);
}

void updateops_average(struct compute *c, struct mat average, struct mat value, double share)
{
    updateops_table(c, value, value)->average(c, average, value, share);
}

void updateops_swap(struct compute *c, struct mat value, struct mat work, struct mat other)
{
    updateops_table(c, value, work)->swap(c, value, work, other);
}
