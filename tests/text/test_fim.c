/* Filling in the middle: the layouts that models were trained on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "text/fim.h"
#include "text/markvocabulary.h"

static const char *const deepseek[] = {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜fim▁begin｜>",
                                       "<｜fim▁hole｜>", "<｜fim▁end｜>"};
static const char *const qwen[] = {"<s>", "<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
                                   "<|file_sep|>"};

static void expect(struct tokenizer *t, const char *prefix, const char *suffix, const char *wanted, size_t n_control)
{
    struct tokenizer_ids ids = {0};
    struct strbuf text = {0};
    assert_true(fim_known(t));
    assert_int_equal(fim_encode(t, prefix, suffix, &ids, NULL), ERR_OK);
    assert_int_equal(markvocabulary_read(t, &ids, &text), n_control);
    assert_string_equal(text.data, wanted);
    strbuf_deinit(&text);
    tokenizer_ids_deinit(&ids);
}

static void the_gap_is_marked_as_each_model_knows_it(void **state)
{
    (void)state;
    struct tokenizer *t = markvocabulary_of(deepseek, 5);
    expect(t, "a(", ")\n", "<｜begin▁of▁sentence｜><｜fim▁begin｜>a(<｜fim▁hole｜>)\n<｜fim▁end｜>", 4);
    expect(t, NULL, NULL, "<｜begin▁of▁sentence｜><｜fim▁begin｜><｜fim▁hole｜><｜fim▁end｜>", 4);
    expect(t, "<｜fim▁end｜>", "",
           "<｜begin▁of▁sentence｜><｜fim▁begin｜><｜fim▁end｜><｜fim▁hole｜><｜fim▁end｜>", 4);
    tokenizer_free(t);
    t = markvocabulary_of(qwen, 6);
    expect(t, "a(", ")\n", "<|fim_prefix|>a(<|fim_suffix|>)\n<|fim_middle|>", 3);
    tokenizer_free(t);
}

static void such_answers_end_where_the_next_file_begins(void **state)
{
    (void)state;
    int32_t ids[FIM_STOP_MAX];
    struct tokenizer *t = markvocabulary_of(deepseek, 5);
    assert_int_equal(fim_stop_ids(t, ids), 1);
    assert_int_equal(ids[0], 257);
    tokenizer_free(t);
    t = markvocabulary_of(qwen, 6);
    assert_int_equal(fim_stop_ids(t, ids), 2);
    assert_int_equal(ids[0], 257);
    assert_int_equal(ids[1], tokenizer_special(t, "<|file_sep|>"));
    tokenizer_free(t);
}

static void a_vocabulary_without_the_marks_is_refused(void **state)
{
    (void)state;
    struct tokenizer *t = markvocabulary_of(deepseek, 4);
    struct tokenizer_ids ids = {0};
    struct errinfo info = {0};
    assert_false(fim_known(t));
    assert_int_equal(fim_encode(t, "a", "b", &ids, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "<｜fim▁begin｜>"));
    assert_int_equal(ids.len, 0);
    tokenizer_free(t);
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    struct tokenizer *t = markvocabulary_of(deepseek, 5);
    size_t alive = mem_alive();
    bool done = false;
    for (size_t k = 1; !done; k++) {
        struct tokenizer_ids ids = {0};
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = fim_encode(t, "before the gap", "behind it", &ids, &info);
        mem_fault(0, 0);
        done = e == ERR_OK;
        assert_true(done || (e == ERR_NOMEM && ids.len == 0 && info.message[0]));
        tokenizer_ids_deinit(&ids);
        assert_int_equal(mem_alive(), alive);
        assert_true(k < 100);
    }
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gap_is_marked_as_each_model_knows_it),
        cmocka_unit_test(such_answers_end_where_the_next_file_begins),
        cmocka_unit_test(a_vocabulary_without_the_marks_is_refused),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
