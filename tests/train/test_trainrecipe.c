/* Recipes: what is written is what is read, defaults fill the rest, and every mistake is named with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "train/trainrecipe.h"

#define MODEL                                                                                                        \
    "[model]\nmodel_type = llama\nvocab_size = 300\nhidden_size = 32\nnum_hidden_layers = 2\n"                         \
    "intermediate_size = 64\nnum_attention_heads = 2\nnum_key_value_heads = 1\nmax_position_embeddings = 128\n"        \
    "rms_norm_eps = 1e-5\ntie_word_embeddings = true\n"
#define GPT2(width)                                                                                                  \
    "[model]\nmodel_type = gpt2\nvocab_size = 300\nn_embd = " width "\nn_layer = 2\nn_head = 2\nn_positions = 64\n"
#define GOOD MODEL "[schedule]\ntokens = 1e6 ; all\nsequences = 32\n[data]\ncontext = 64\n"

static err read_text(const char *text, const char *const *set, size_t n, struct trainrecipe *r,
                     struct errinfo *info)
{
    char path[] = "/tmp/fathom-recipe-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
    err e = trainrecipe_read(path, set, n, r, info);
    unlink(path);
    return e;
}

static void test_what_is_written_is_what_is_read(void **state)
{
    (void)state;
    const char *const set[] = {"run.keep=7", "optimizer.matrices=adamw", "mix.b = 2"};
    const char *text = "; a comment\n" GOOD "[mix]\na = 0.5\nb = 1\n[optimizer]\nlr = 3e-4\n[run]\nrecompute = yes\n"
                       "prompt = Once upon a time\n";
    struct trainrecipe r;
    struct errinfo info = {0};
    if (read_text(text, set, 2, &r, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    assert_int_equal(r.config.hidden_size, 32);
    assert_true(r.config.tie_word_embeddings && r.config.family == CONFIG_LLAMA);
    assert_true(r.tokens == 1e6 && r.lr == 3e-4 && r.recompute && !r.muon);
    assert_int_equal(r.keep, 7);
    assert_int_equal(r.context, 64);
    assert_int_equal(r.n_mix, 2);
    assert_string_equal(r.mix_names[1], "b");
    assert_true(r.mix_weights[0] == 0.5 && r.beta1 == 0.9);
    assert_string_equal(r.prompt, "Once upon a time");
    assert_int_equal(strncmp(r.name, "fathom-recipe-", 14), 0);
    trainrecipe_deinit(&r);
}

static void test_every_mistake_is_named(void **state)
{
    (void)state;
    const struct {
        const char *text, *says;
    } cases[] = {
        {GOOD "[speed]\nfast = yes\n", "no such section"},
        {GOOD "[run]\nfast = yes\n", ":18: fast = yes in [run]: no such key"},
        {GOOD "[run]\nkeep = 2\nkeep = 3\n", "given twice"},
        {GOOD "[run]\nkeep = 0\n", "a whole number from 1 to 1000"},
        {GOOD "[run]\nkeep = 2.5\n", "a whole number"},
        {GOOD "[run]\nrecompute = maybe\n", "no, yes"},
        {GOOD "[optimizer]\nlr = nan\n", "a number from 0 to 10"},
        {GOOD "[optimizer]\nlr = 1e-3x\n", "a number from 0 to 10"},
        {GOOD "[optimizer]\nlr\n", "neither [section] nor key = value"},
        {GOOD "[mix]\na = 0\n", "a weight above 0"},
        {MODEL "[data]\ncontext = 64\n", "tokens ="},
        {GOOD "[run]\nmicro_sequences = 5\n", "no multiple of micro_sequences = 5"},
        {MODEL "[schedule]\ntokens = 5\nwarmup = 0.7\ndecay = 0.5\n", "more than the whole run"},
        {MODEL "[schedule]\ntokens = 5\n", "max_position_embeddings = 128"},
        {MODEL "n_experts = 5\n[schedule]\ntokens = 5\n", "n_experts in [model]"},
        {MODEL "  hidden_act = silu\n", "may not begin with a blank"},
        {"[model]\nmodel_type = gpt2\nvocab_size = 300\nn_embd = 32\nn_layer = 2\nn_head = 2\nn_positions = 64\n"
         "[data]\ncontext = 64\n[schedule]\ntokens = 5\n", "sample_tokens = 0 in [run]"},
        {"[model]\nmodel_type = gpt2\nvocab_size = 300\nn_embd = 32\nn_layer = 2\nn_head = 3\nn_positions = 64\n"
         "[schedule]\ntokens = 5\n", "n_embd (32) is not a multiple of n_head (3)"},
        {GPT2("30") "[schedule]\ntokens = 5\n", "n_embd / n_head is 15; a head must have an even width"},
        {GPT2("32") "[schedule]\ntokens = 5\n[loss]\nmtp = 0.1\n[data]\ncontext = 64\n",
         "mtp = 0.1 in [loss] has nothing to act on: a GPT-2 class has neither experts nor MTP layers"},
        {GPT2("32") "[schedule]\ntokens = 5\n[loss]\nmtp = 0\nbalance = 1e-4\n[data]\ncontext = 64\n", "balance = 0.0001 in [loss]"},
        {GOOD "[mix]\n\xff\xfe = 1\n", ":18: ?? = 1 in [mix]: it is not UTF-8"},
        {GOOD "[run]\nprompt = a\xff\n", "it is not UTF-8"},
        {MODEL "bigram_vocab_size = 900\n[data]\ncontext = 64\n[schedule]\ntokens = 5\n", "pairs"},
        {MODEL "qk_norm = true\n[data]\ncontext = 64\n[schedule]\ntokens = 5\n", "with qk_norm"},
        {MODEL "x0_skip = true\n[data]\ncontext = 64\n[schedule]\ntokens = 5\n", "with x0_skip"},
        {MODEL "value_residual = true\n[data]\ncontext = 64\n[schedule]\ntokens = 5\n", "with value_residual"},
        {MODEL "qk_norm = 1\n[data]\ncontext = 64\n[schedule]\ntokens = 5\n", "qk_norm"},
        {"[model]\nmodel_type = gpt2\nvocab_size = 300\nn_embd = 32\nn_layer = 2\nn_head = 2\nn_positions = 64\n"
         "x0_skip = true\n[data]\ncontext = 64\n[schedule]\ntokens = 5\n", "x0_skip in [model] is nothing"},
        {"[model]\nmodel_type = bert\n", "[model]"},
        {"", "[model]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainrecipe r;
        struct errinfo info = {0};
        size_t alive = mem_alive();
        assert_int_equal(read_text(cases[i].text, NULL, 0, &r, &info), ERR_ARGUMENT);
        if (!strstr(info.message, cases[i].says)) {
            fail_msg("%s\nsays nothing of: %s", info.message, cases[i].says);
        }
        assert_int_equal(mem_alive(), alive);
    }
}

static void test_long_lines_and_overrides_are_refused(void **state)
{
    (void)state;
    char text[4096] = GOOD "[run]\nprompt = ";
    memset(text + strlen(text), 'x', 300);
    strcat(text, "\n");
    const char *const set[] = {"keep=3", "run.keep", "run.keep=x"};
    struct trainrecipe r;
    struct errinfo info = {0};
    assert_int_equal(read_text(text, NULL, 0, &r, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "too long"));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read_text(GOOD, &set[i], 1, &r, &info), ERR_ARGUMENT);
    }
    assert_non_null(strstr(info.message, "run.keep = x: expected a whole number"));
}

static void test_failing_allocations_leave_nothing_behind(void **state)
{
    (void)state;
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct trainrecipe r;
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = read_text(GOOD "[mix]\na = 1\n", NULL, 0, &r, &info);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            trainrecipe_deinit(&r);
            break;
        }
        assert_int_equal(mem_alive(), alive);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_what_is_read),
        cmocka_unit_test(test_every_mistake_is_named),
        cmocka_unit_test(test_long_lines_and_overrides_are_refused),
        cmocka_unit_test(test_failing_allocations_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
