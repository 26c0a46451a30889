/* tests/model/test_vocab.c: the tokenizer and the chat format of GGUF keys and of folders; files
 * without a tokenizer have none; broken ones are refused with the key named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/tempdir.h"
#include "model/vocab.h"

static const struct gguf_string TOKENS[] = {
    {"a", 1}, {"b", 1}, {"ab", 2}, {"<|im_start|>", 12}, {"<|im_end|>", 10}, {"\xc4\xa0", 2},
};
static const struct gguf_string MERGES[] = {{"a b", 3}};
static const int32_t KINDS[] = {1, 1, 1, 3, 3, 1};

struct parts { /* what the written file has */
    const char *model, *pre, *chat_template;
    size_t n_tokens, n_kinds;
    bool tokens_are_numbers, no_tokens;
};

static err write_and_read(const struct parts *p, struct tokenizer **t, struct chat_guess *format,
                          struct errinfo *info)
{
    struct tempdir dir;
    struct gguf_writer *w = NULL;
    tempdir_make(&dir);
    const char *path = tempdir_file(&dir, "vocab.gguf");
    char copy[320];
    snprintf(copy, sizeof copy, "%s", path);
    assert_int_equal(gguf_writer_new(copy, &w, info), ERR_OK);
    assert_int_equal(gguf_writer_string(w, "tokenizer.ggml.model", p->model, strlen(p->model)), 0);
    if (p->pre) {
        assert_int_equal(gguf_writer_string(w, "tokenizer.ggml.pre", p->pre, strlen(p->pre)), 0);
    }
    if (p->tokens_are_numbers) {
        assert_int_equal(gguf_writer_i32s(w, "tokenizer.ggml.tokens", KINDS, 6), ERR_OK);
    } else if (!p->no_tokens) {
        assert_int_equal(gguf_writer_strings(w, "tokenizer.ggml.tokens", TOKENS, p->n_tokens), 0);
    }
    assert_int_equal(gguf_writer_i32s(w, "tokenizer.ggml.token_type", KINDS, p->n_kinds), ERR_OK);
    assert_int_equal(gguf_writer_strings(w, "tokenizer.ggml.merges", MERGES, 1), ERR_OK);
    assert_int_equal(gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", 3), ERR_OK);
    assert_int_equal(gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", 4), ERR_OK);
    assert_int_equal(gguf_writer_u32(w, "tokenizer.ggml.padding_token_id", 400), ERR_OK);
    if (p->chat_template) {
        assert_int_equal(gguf_writer_string(w, "tokenizer.chat_template", p->chat_template,
                                            strlen(p->chat_template)), ERR_OK);
    }
    assert_int_equal(gguf_writer_begin_data(w, info), ERR_OK);
    assert_int_equal(gguf_writer_commit(w, info), ERR_OK);
    gguf_writer_free(w);
    struct gguf *g = NULL;
    assert_int_equal(gguf_open(copy, &g, info), ERR_OK);
    err e = vocab_from_gguf(g, t, format, info);
    gguf_close(g);
    tempdir_remove(&dir);
    return e;
}

static void gguf_keys_make_a_tokenizer_and_name_its_format(void **state)
{
    (void)state;
    struct parts p = {.model = "gpt2", .pre = "qwen2", .n_tokens = 6, .n_kinds = 6,
                      .chat_template = "{{ '<|im_start|>' }}"};
    struct tokenizer *t = NULL;
    struct chat_guess format = {0};
    struct errinfo info = {0};
    struct tokenizer_ids ids = {0};
    if (write_and_read(&p, &t, &format, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    assert_int_equal(format.format, CHAT_CHATML);
    assert_int_equal(tokenizer_size(t), 6);
    assert_int_equal(tokenizer_bos(t), 3);
    assert_int_equal(tokenizer_eos(t), 4);
    assert_int_equal(tokenizer_special(t, "<|im_end|>"), 4);
    assert_false(tokenizer_add_bos(t));
    assert_int_equal(tokenizer_encode(t, "ab ab", 5, false, &ids, &info), ERR_OK);
    assert_int_equal(ids.len, 3);
    assert_int_equal(ids.data[0], 2);
    assert_int_equal(ids.data[2], 2);
    tokenizer_ids_deinit(&ids);
    tokenizer_free(t);
}

static void bos_is_added_where_the_family_expects_it(void **state)
{
    (void)state;
    static const char *const pres[] = {"llama-bpe", "deepseek-v3", "qwen2", "smollm"};
    for (size_t i = 0; i < 4; i++) {
        struct parts p = {.model = "gpt2", .pre = pres[i], .n_tokens = 6, .n_kinds = 6};
        struct tokenizer *t = NULL;
        struct chat_guess format = {0};
        assert_int_equal(write_and_read(&p, &t, &format, NULL), ERR_OK);
        assert_int_equal(tokenizer_add_bos(t), i < 2);
        tokenizer_free(t);
    }
}

static void a_file_without_tokens_has_no_tokenizer(void **state)
{
    (void)state;
    struct parts p = {.model = "gpt2", .no_tokens = true, .n_kinds = 6};
    struct tokenizer *t = NULL;
    struct chat_guess format = {0};
    assert_int_equal(write_and_read(&p, &t, &format, NULL), ERR_OK);
    assert_null(t);
}

static void broken_tokenizers_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct parts parts;
        err code;
        const char *says;
    } bad[] = {
        {{.model = "llama", .n_tokens = 6, .n_kinds = 6}, ERR_UNSUPPORTED, "llama"},
        {{.model = "gpt2", .pre = "klingon", .n_tokens = 6, .n_kinds = 6}, ERR_UNSUPPORTED, "klingon"},
        {{.model = "gpt2", .pre = "qwen2", .n_tokens = 6, .n_kinds = 5}, ERR_CORRUPT, "token_type"},
        {{.model = "gpt2", .pre = "qwen2", .n_kinds = 6, .tokens_are_numbers = true}, ERR_CORRUPT,
         "tokenizer.ggml.tokens"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tokenizer *t = NULL;
        struct chat_guess format = {0};
        struct errinfo info = {0};
        assert_int_equal(write_and_read(&bad[i].parts, &t, &format, &info), bad[i].code);
        assert_non_null(strstr(info.message, bad[i].says));
        assert_null(t);
    }
}

static void folders_are_read_and_empty_ones_have_none(void **state)
{
    (void)state;
    struct tokenizer *t = NULL;
    struct chat_guess format = {0};
    struct errinfo info = {0};
    assert_int_equal(vocab_from_folder("tests/golden/model/v3", &t, &format, &info), ERR_OK);
    assert_null(t);
    assert_int_equal(vocab_from_folder("tests/golden/chatmodel", &t, &format, &info), ERR_OK);
    assert_non_null(t);
    assert_int_not_equal(format.format, CHAT_PLAIN);
    tokenizer_free(t);
}

static err read_folder(struct errinfo *info)
{
    struct tokenizer *t = NULL;
    struct chat_guess format = {0};
    err e = vocab_from_folder("tests/golden/chatmodel", &t, &format, info);
    tokenizer_free(t);
    return e;
}

static void refused_allocations_leak_nothing(void **state)
{
    (void)state;
    err e = ERR_NOMEM;
    size_t alive = mem_alive();
    for (size_t k = 1; e != ERR_OK; k++) {
        struct errinfo info = {0};
        mem_fault(k, 0);
        e = read_folder(&info);
        mem_fault(0, 0);
        assert_int_equal(mem_alive(), alive);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_keys_make_a_tokenizer_and_name_its_format),
        cmocka_unit_test(bos_is_added_where_the_family_expects_it),
        cmocka_unit_test(a_file_without_tokens_has_no_tokenizer),
        cmocka_unit_test(broken_tokenizers_are_refused_by_name),
        cmocka_unit_test(folders_are_read_and_empty_ones_have_none),
        cmocka_unit_test(refused_allocations_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
