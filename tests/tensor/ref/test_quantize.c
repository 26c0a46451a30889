/* Our blocks beside those of ggml's quantizers (tools/golden/quantize.py): equal bytes where the method
 * leaves no freedom, an error no larger where it does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/mem.h"
#include "tensor/ref/dequant.h"
#include "tensor/ref/quantize.h"

enum { VALUES = 2048, TYPES = 11 };

static const enum dtype golden_types[TYPES] = {
    DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q2_K,
    DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_MXFP4,
};

struct golden {
    char *file;
    float x[VALUES];
    float importance[VALUES];
    const uint8_t *blocks[TYPES][2]; /* without and with importance */
    uint32_t bytes[TYPES];
};

static int golden_open(void **state)
{
    static struct golden g;
    size_t size;
    struct errinfo info;
    assert_int_equal(
        file_read("tests/golden/quantize/blocks.bin", 1 << 20, &g.file, &size, &info), ERR_OK);
    struct cursor c = {(const uint8_t *)g.file, size, 0};
    uint32_t n;
    const uint8_t *p;
    assert_int_equal(cursor_u32(&c, &n), ERR_OK);
    assert_int_equal(n, VALUES);
    assert_int_equal(cursor_bytes(&c, sizeof g.x, &p), ERR_OK);
    memcpy(g.x, p, sizeof g.x);
    assert_int_equal(cursor_bytes(&c, sizeof g.importance, &p), ERR_OK);
    memcpy(g.importance, p, sizeof g.importance);
    for (int t = 0; t < TYPES; t++) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(cursor_u32(&c, &g.bytes[t]), ERR_OK);
            assert_int_equal(cursor_bytes(&c, g.bytes[t], &g.blocks[t][i]), ERR_OK);
        }
    }
    assert_int_equal(cursor_left(&c), 0);
    *state = &g;
    return 0;
}

static int golden_close(void **state)
{
    struct golden *g = *state;
    mem_free(g->file);
    return 0;
}

/* Mean over super-blocks of squared error over squared values. */
static double block_error(enum dtype t, const uint8_t *blocks, const float *x,
                          const float *importance)
{
    float y[VALUES];
    double mean = 0;
    dequant_run(t, blocks, y, VALUES);
    for (int b = 0; b < VALUES; b += 256) {
        double rest = 0;
        double all = 0;
        for (int i = b; i < b + 256; i++) {
            double w = importance ? (double)importance[i] : 1.0;
            double r = (double)y[i] - (double)x[i];
            rest += w * r * r;
            all += w * (double)x[i] * (double)x[i];
        }
        mean += rest / all / (VALUES / 256);
    }
    return sqrt(mean);
}

static void blocks_without_freedom_equal_ggml(void **state)
{
    const struct golden *g = *state;
    uint8_t out[VALUES * 4];
    for (int t = 0; t < TYPES; t++) {
        if (golden_types[t] >= DTYPE_Q2_K && golden_types[t] <= DTYPE_Q6_K) {
            continue;
        }
        assert_int_equal(quantize_run(golden_types[t], g->x, out, VALUES, NULL), ERR_OK);
        assert_memory_equal(out, g->blocks[t][0], g->bytes[t]);
    }
}

static void no_type_has_a_larger_error_than_ggml(void **state)
{
    const struct golden *g = *state;
    uint8_t out[VALUES * 4];
    for (int t = 0; t < TYPES; t++) {
        for (int i = 0; i < 2; i++) {
            const float *importance = i ? g->importance : NULL;
            enum dtype type = golden_types[t];
            assert_int_equal(quantize_run(type, g->x, out, VALUES, importance), ERR_OK);
            double ours = block_error(type, out, g->x, importance);
            double theirs = block_error(type, g->blocks[t][i], g->x, importance);
            /* So few blocks need some room where the weights of the two searches differ. */
            if (ours > (i ? 1.03 : 1.01) * theirs) {
                fail_msg("%s: error %g, ggml has %g", dtype_info(type)->name, ours, theirs);
            }
        }
    }
}

static void zeros_and_constants_survive(void **state)
{
    (void)state;
    float x[256];
    float y[256];
    uint8_t out[1024];
    const float values[3] = {0.0f, -0.75f, 0.75f};
    for (int t = 0; t < DTYPE_COMPUTABLE; t++) {
        for (int v = 0; v < 3; v++) {
            for (int i = 0; i < 256; i++) {
                x[i] = values[v];
            }
            assert_int_equal(quantize_run((enum dtype)t, x, out, 256, NULL), ERR_OK);
            dequant_run((enum dtype)t, out, y, 256);
            for (int i = 0; i < 256; i++) {
                assert_float_equal(y[i], x[i], t == DTYPE_MXFP4 ? 0.25f : 0.005f);
            }
        }
    }
}

static void unweighted_inputs_do_not_spoil_a_block(void **state)
{
    const struct golden *g = *state;
    float none[VALUES] = {0};
    uint8_t out[VALUES * 4];
    for (int t = 0; t < TYPES; t++) {
        assert_int_equal(quantize_run(golden_types[t], g->x, out, VALUES, none), ERR_OK);
        double ours = block_error(golden_types[t], out, g->x, NULL);
        double theirs = block_error(golden_types[t], g->blocks[t][0], g->x, NULL);
        assert_true(ours <= 1.3 * theirs);
    }
}

static void values_that_are_not_finite_stay_inside_the_block(void **state)
{
    (void)state;
    float x[256];
    uint8_t out[1024 + 1];
    const float bad[3] = {NAN, INFINITY, -INFINITY};
    for (int t = 0; t < DTYPE_COMPUTABLE; t++) {
        size_t bytes;
        assert_int_equal(dtype_bytes((enum dtype)t, 256, &bytes), ERR_OK);
        for (int v = 0; v < 3; v++) {
            for (int i = 0; i < 256; i++) {
                x[i] = i % 50 == 3 ? bad[v] : 0.01f * (float)i;
            }
            out[bytes] = 0xa5;
            assert_int_equal(quantize_run((enum dtype)t, x, out, 256, NULL), ERR_OK);
            assert_int_equal(out[bytes], 0xa5);
        }
    }
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    float x[256] = {0};
    uint8_t out[1024];
    assert_int_equal(quantize_run(DTYPE_Q4_K, x, out, 128, NULL), ERR_ARGUMENT);
    assert_int_equal(quantize_run(DTYPE_IQ4_NL, x, out, 256, NULL), ERR_UNSUPPORTED);
    assert_false(quantize_has(DTYPE_I32));
    assert_true(quantize_has(DTYPE_Q6_K));
    assert_int_equal(quantize_run(DTYPE_Q4_K, x, out, 0, NULL), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_without_freedom_equal_ggml),
        cmocka_unit_test(no_type_has_a_larger_error_than_ggml),
        cmocka_unit_test(zeros_and_constants_survive),
        cmocka_unit_test(unweighted_inputs_do_not_spoil_a_block),
        cmocka_unit_test(values_that_are_not_finite_stay_inside_the_block),
        cmocka_unit_test(impossible_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, golden_open, golden_close);
}
