/* Block types against ggml's own reference (tools/golden/dequant.py), FP8 scales against the formula. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "tensor/ref/dequant.h"

static void check_golden(enum dtype t)
{
    struct strbuf path = {0};
    assert_int_equal(
        strbuf_printf(&path, "tests/golden/dequant/%s.bin", dtype_info(t)->name), ERR_OK);
    char *data;
    size_t size;
    struct errinfo info;
    assert_int_equal(file_read(path.data, 1 << 20, &data, &size, &info), ERR_OK);
    uint32_t n, bytes;
    memcpy(&n, data, 4);
    memcpy(&bytes, data + 4, 4);
    size_t expected_bytes;
    assert_int_equal(dtype_bytes(t, n, &expected_bytes), ERR_OK);
    assert_int_equal(bytes, expected_bytes);
    assert_int_equal(size, 8 + bytes + 4 * n);
    float *got = mem_calloc(n, sizeof *got);
    assert_non_null(got);
    dequant_run(t, data + 8, got, n);
    for (size_t i = 0; i < n; i++) {
        float want;
        memcpy(&want, data + 8 + bytes + 4 * i, 4);
        if (got[i] != want) {
            fail_msg("%s value %zu: got %a, ggml has %a", dtype_info(t)->name, i, got[i], want);
        }
    }
    mem_free(got);
    mem_free(data);
    strbuf_deinit(&path);
}

static void every_block_type_equals_ggml(void **state)
{
    (void)state;
    for (int t = DTYPE_Q8_0; t < DTYPE_COMPUTABLE; t++) {
        check_golden((enum dtype)t);
    }
}

static void plain_types_convert_each_value(void **state)
{
    (void)state;
    const float f32[3] = {1.5f, -2.0f, 0.1f};
    uint16_t half[3], brain[3];
    uint8_t e4m3[3];
    for (int i = 0; i < 3; i++) {
        half[i] = dtype_to_f16(f32[i]);
        brain[i] = dtype_to_bf16(f32[i]);
        e4m3[i] = dtype_to_e4m3(f32[i]);
    }
    float out[3];
    dequant_run(DTYPE_F32, f32, out, 3);
    assert_memory_equal(out, f32, sizeof out);
    dequant_run(DTYPE_F16, half, out, 3);
    assert_float_equal(out[2], 0.1f, 5e-5);
    assert_true(out[0] == 1.5f && out[1] == -2.0f);
    dequant_run(DTYPE_BF16, brain, out, 3);
    assert_float_equal(out[2], 0.1f, 4e-4);
    dequant_run(DTYPE_F8_E4M3, e4m3, out, 3);
    assert_true(out[0] == 1.5f && out[1] == -2.0f && out[2] == 0.1015625f);
}

enum { FP8_OUT = 200, FP8_IN = 300, FP8_TILES = 2 * 3, FP8_EXPERTS = 2 };

/* 200 x 300 has a ragged tile at both edges; two of them make a rank-3 tensor of experts. */
static void fp8_rows_use_the_scale_of_their_tile(void **state)
{
    (void)state;
    size_t elems = (size_t)FP8_EXPERTS * FP8_OUT * FP8_IN;
    uint8_t *data = mem_alloc(elems);
    assert_non_null(data);
    for (size_t i = 0; i < elems; i++) {
        data[i] = (uint8_t)(i * 37 % 127); /* every positive value but NaN */
    }
    float scale[FP8_EXPERTS * FP8_TILES];
    for (int i = 0; i < FP8_EXPERTS * FP8_TILES; i++) {
        scale[i] = 0.25f + (float)i;
    }
    struct tensor w;
    const size_t shape[3] = {FP8_EXPERTS, FP8_OUT, FP8_IN};
    assert_int_equal(tensor_init(&w, DTYPE_F8_E4M3, 3, shape, data), ERR_OK);
    w.scale = scale;
    float row[FP8_IN], slice_row[FP8_IN];
    for (size_t r = 0; r < (size_t)FP8_EXPERTS * FP8_OUT; r++) {
        size_t expert = r / FP8_OUT;
        struct tensor slice = tensor_slice(&w, expert);
        dequant_row(&w, r, row);
        dequant_row(&slice, r % FP8_OUT, slice_row);
        assert_memory_equal(row, slice_row, sizeof row);
        for (size_t c = 0; c < FP8_IN; c++) {
            size_t tile = expert * FP8_TILES + r % FP8_OUT / 128 * 3 + c / 128;
            float want = dtype_from_e4m3(data[r * FP8_IN + c]) * scale[tile];
            assert_true(row[c] == want);
        }
    }
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_type_equals_ggml),
        cmocka_unit_test(plain_types_convert_each_value),
        cmocka_unit_test(fp8_rows_use_the_scale_of_their_tile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
