/* tensor/mat.c: see mat.h. */
#include "tensor/mat.h"

#include <math.h>
#include <string.h>

size_t mat_type_bytes(enum mat_type type)
{
    return type == MAT_F64 ? 8 : type == MAT_F32 ? 4 : 2;
}

struct mat mat_of(void *data, enum mat_type type, size_t rows, size_t cols)
{
    return (struct mat){data, type, rows, cols, cols};
}

struct mat mat_rows(struct mat m, size_t first, size_t n)
{
    m.data = (char *)m.data + first * m.stride * mat_type_bytes(m.type);
    m.rows = n;
    return m;
}

struct mat mat_cols(struct mat m, size_t first, size_t n)
{
    m.data = (char *)m.data + first * mat_type_bytes(m.type);
    m.cols = n;
    return m;
}

static float mat_widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t mat_narrow(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(f)) {
        return (uint16_t)(bits >> 16 | 0x40); /* rounding could make it infinite */
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

double mat_get(const struct mat *m, size_t row, size_t col)
{
    size_t i = row * m->stride + col;
    switch (m->type) {
    case MAT_F64: return ((const double *)m->data)[i];
    case MAT_F32: return ((const float *)m->data)[i];
    default: return mat_widen(((const uint16_t *)m->data)[i]);
    }
}

void mat_set(const struct mat *m, size_t row, size_t col, double value)
{
    size_t i = row * m->stride + col;
    switch (m->type) {
    case MAT_F64: ((double *)m->data)[i] = value; break;
    case MAT_F32: ((float *)m->data)[i] = (float)value; break;
    default: ((uint16_t *)m->data)[i] = mat_narrow((float)value);
    }
}
