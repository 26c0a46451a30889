/* tests/model/test_ropefreqs.c: frequencies and attention scales of the published models, against values
 * worked out independently from the papers' formulas. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/ropefreqs.h"

static void assert_close(float a, double b)
{
    if (!(fabs((double)a - b) <= 1e-6 * fabs(b))) {
        fail_msg("%.9g is not %.9g", (double)a, b);
    }
}

static struct config deepseek(float mscale)
{
    struct config c = {.kv_lora_rank = 512, .qk_nope_head_dim = 128, .qk_rope_head_dim = 64,
                       .v_head_dim = 128, .rope_dim = 64, .rope_theta = 10000};
    c.rope_scaling.type = CONFIG_ROPE_YARN;
    c.rope_scaling.factor = 40;
    c.rope_scaling.original_max_position_embeddings = 4096;
    c.rope_scaling.beta_fast = 32;
    c.rope_scaling.beta_slow = 1;
    c.rope_scaling.mscale = c.rope_scaling.mscale_all_dim = mscale;
    return c;
}

static void v3_yarn_frequencies_and_scale_are_the_published_ones(void **state)
{
    (void)state;
    struct config c = deepseek(1);
    ropefreqs_fill(&c);
    assert_close(c.rope_freqs[0], 1);
    assert_close(c.rope_freqs[8], 0.1);
    assert_close(c.rope_freqs[12], 0.0268793601);
    assert_close(c.rope_freqs[16], 0.0055);
    assert_close(c.rope_freqs[20], 0.000790569415);
    assert_close(c.rope_freqs[31], 3.33380358e-6);
    assert_close(c.attention_scale, 0.1352337789);
    assert_close(c.rope_gain, 1);
}

static void v2_scale_has_its_own_mscale(void **state)
{
    (void)state;
    struct config c = deepseek(0.707f);
    ropefreqs_fill(&c);
    assert_close(c.attention_scale, 0.1147213868);
    assert_close(c.rope_gain, 1);
}

static void without_scaling_the_scale_is_plain(void **state)
{
    (void)state;
    struct config c = deepseek(1);
    c.rope_scaling.type = CONFIG_ROPE_PLAIN;
    ropefreqs_fill(&c);
    assert_close(c.attention_scale, 0.0721687836);
    assert_close(c.rope_freqs[31], pow(10000, -62.0 / 64));
}

static void yarn_without_mscale_scales_the_rotated_part(void **state)
{
    (void)state;
    struct config c = deepseek(0);
    ropefreqs_fill(&c);
    assert_close(c.attention_scale, 0.0721687836);
    assert_close(c.rope_gain, 1.3688879454 * 1.3688879454);
}

static void llama3_keeps_fast_divides_slow_and_blends_between(void **state)
{
    (void)state;
    assert_true(ropefreqs_llama3_divisor(1, 8, 1, 4, 8192) == 1);
    assert_true(ropefreqs_llama3_divisor(1e-4, 8, 1, 4, 8192) == 8);
    /* wavelength 4096: smooth = (2 - 1) / 3, divisor = 1 / ((2/3) / 8 + 1/3) = 2.4 */
    double freq = 2 * 3.14159265358979323846 / 4096;
    assert_true(fabs(ropefreqs_llama3_divisor(freq, 8, 1, 4, 8192) - 2.4) < 1e-12);
}

static void linear_divides_everything(void **state)
{
    (void)state;
    struct config c = {.head_dim = 8, .rope_dim = 8, .rope_theta = 100};
    c.rope_scaling.type = CONFIG_ROPE_LINEAR;
    c.rope_scaling.factor = 4;
    ropefreqs_fill(&c);
    assert_close(c.rope_freqs[0], 0.25);
    assert_close(c.rope_freqs[2], 0.025);
    assert_close(c.attention_scale, 1 / sqrt(8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v3_yarn_frequencies_and_scale_are_the_published_ones),
        cmocka_unit_test(v2_scale_has_its_own_mscale),
        cmocka_unit_test(without_scaling_the_scale_is_plain),
        cmocka_unit_test(yarn_without_mscale_scales_the_rotated_part),
        cmocka_unit_test(llama3_keeps_fast_divides_slow_and_blends_between),
        cmocka_unit_test(linear_divides_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
