/* The type table, and every scalar conversion over its whole small domain. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tensor/dtype.h"

static void every_type_is_found_by_name_and_ggml_id(void **state)
{
    (void)state;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        const struct dtype_info *d = dtype_info((enum dtype)t);
        enum dtype found;
        assert_non_null(d->name);
        assert_true(d->block_elems > 0 && d->block_bytes > 0);
        assert_true(dtype_from_name(d->name, &found));
        assert_int_equal(found, t);
        if (d->ggml_id >= 0) {
            assert_true(dtype_from_ggml((uint32_t)d->ggml_id, &found));
            assert_int_equal(found, t);
        }
    }
    enum dtype t = DTYPE_F32;
    assert_true(dtype_from_name("Q4_K", &t));
    assert_int_equal(t, DTYPE_Q4_K);
    assert_false(dtype_from_name("q4", &t));
    assert_false(dtype_from_ggml(4, &t));
    assert_false(dtype_from_ggml(UINT32_MAX, &t));
    assert_int_equal(t, DTYPE_Q4_K);
}

static void bytes_need_whole_blocks_and_fit(void **state)
{
    (void)state;
    size_t n = 7;
    assert_int_equal(dtype_bytes(DTYPE_Q4_K, 512, &n), ERR_OK);
    assert_int_equal(n, 288);
    assert_int_equal(dtype_bytes(DTYPE_Q4_K, 1408, &n), ERR_CORRUPT);
    assert_int_equal(dtype_bytes(DTYPE_F64, SIZE_MAX / 4, &n), ERR_LIMIT);
    assert_int_equal(n, 288);
}

/* What the format's definition says, in double arithmetic. */
static double small_float(unsigned bits, int mantissa_bits, int exponent_bits)
{
    unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
    unsigned exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double m = ldexp(mantissa, -mantissa_bits);
    double v = exponent == 0 ? ldexp(m, 1 - bias) : ldexp(1 + m, (int)exponent - bias);
    return bits >> (mantissa_bits + exponent_bits) & 1 ? -v : v;
}

static void f16_values_are_ieee_and_round_trip(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float f = dtype_from_f16((uint16_t)h);
        if ((h & 0x7c00) != 0x7c00) {
            assert_true((double)f == small_float(h, 10, 5));
            assert_int_equal(dtype_to_f16(f), h);
        } else if (h & 0x3ff) {
            assert_true(isnan(f) && isnan(dtype_from_f16(dtype_to_f16(f))));
        } else {
            assert_true(isinf(f) && (signbit(f) != 0) == (h >> 15 != 0));
            assert_int_equal(dtype_to_f16(f), h);
        }
    }
}

static void e4m3_values_are_ocp_and_round_trip(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 256; v++) {
        float f = dtype_from_e4m3((uint8_t)v);
        if ((v & 0x7f) == 0x7f) {
            assert_true(isnan(f));
        } else {
            assert_true((double)f == small_float(v, 3, 4));
        }
        assert_int_equal(dtype_to_e4m3(f), v);
    }
    assert_int_equal(dtype_to_e4m3(1e30f), 0x7e);
    assert_int_equal(dtype_to_e4m3(-INFINITY), 0xfe);
}

/* Between neighbours lo < hi (codes code and code + 1) the midpoint goes to the even code, and the
 * nearest floats around it to their own side. */
static void check_midpoint(double lo, double hi, unsigned code, unsigned (*convert)(float))
{
    float mid = (float)((lo + hi) / 2);
    assert_int_equal(convert(mid), code + (code & 1));
    assert_int_equal(convert(nextafterf(mid, -INFINITY)), code);
    assert_int_equal(convert(nextafterf(mid, INFINITY)), code + 1);
}

static unsigned convert_f16(float f)
{
    return dtype_to_f16(f);
}

static unsigned convert_e4m3(float f)
{
    return dtype_to_e4m3(f);
}

static unsigned convert_bf16(float f)
{
    return dtype_to_bf16(f);
}

static void conversions_round_half_to_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7bff; h++) {
        check_midpoint(small_float(h, 10, 5), small_float(h + 1, 10, 5), h, convert_f16);
    }
    for (unsigned v = 0; v < 0x7e; v++) {
        check_midpoint(small_float(v, 3, 4), small_float(v + 1, 3, 4), v, convert_e4m3);
    }
    for (unsigned b = 0x80; b < 0x7f7f; b++) {
        check_midpoint(dtype_from_bf16((uint16_t)b), dtype_from_bf16((uint16_t)(b + 1)), b,
                       convert_bf16);
    }
    assert_int_equal(dtype_to_f16(65519.996f), 0x7bff);
    assert_int_equal(dtype_to_f16(65520.0f), 0x7c00);
    assert_int_equal(dtype_to_f16(0x1p-25f), 0);
    assert_int_equal(dtype_to_f16(-0x1.000002p-25f), 0x8001);
}

static void nan_stays_nan(void **state)
{
    (void)state;
    union {
        uint32_t u;
        float f;
    } low = {.u = 0xff800001};
    assert_true(isnan(dtype_from_bf16(dtype_to_bf16(low.f))));
    assert_true(isnan(dtype_from_f16(dtype_to_f16(low.f))));
    assert_true(isnan(dtype_from_e4m3(dtype_to_e4m3(low.f))));
    assert_true(isinf(dtype_from_bf16(dtype_to_bf16(INFINITY))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_found_by_name_and_ggml_id),
        cmocka_unit_test(bytes_need_whole_blocks_and_fit),
        cmocka_unit_test(f16_values_are_ieee_and_round_trip),
        cmocka_unit_test(e4m3_values_are_ocp_and_round_trip),
        cmocka_unit_test(conversions_round_half_to_even),
        cmocka_unit_test(nan_stays_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
