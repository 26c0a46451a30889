/* Properties of encoding and decoding, refusal of bad vocabularies and files, and what happens when
 * memory runs out. Ids are compared with the `tokenizers` library in test_tokenizer_golden.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "text/normalizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

static const char *const vocabularies[] = {"deepseek-llm", "deepseek-coder", "deepseek-v3", "llama-bpe",
                                           "smollm",       "gpt-2",          "qwen2"};
enum { N_VOCABULARIES = sizeof vocabularies / sizeof vocabularies[0], N_EXACT = N_VOCABULARIES - 1 };

static struct tokenizer *open_small(const char *name)
{
    char dir[200];
    struct errinfo info = {0};
    struct tokenizer *t = NULL;
    snprintf(dir, sizeof dir, "tests/golden/tokenizer/%s", name);
    if (tokenizer_open(dir, &t, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return t;
}

/* Random bytes, random well-formed text, or a mixture. */
static size_t random_text(struct rng *r, char *text, size_t max)
{
    size_t n = 0, wanted = (size_t)(rng_u64(r) % max);
    unsigned kind = (unsigned)(rng_u64(r) % 3);
    while (n + 4 < wanted) {
        if (kind == 0 || (kind == 2 && rng_u64(r) % 8 == 0)) {
            text[n++] = (char)rng_u64(r);
            continue;
        }
        uint64_t pick = rng_u64(r);
        uint32_t point = (uint32_t)(pick >> 8) % (pick % 4 == 0 ? 0x110000 : pick % 4 == 1 ? 0x3000 : 0x80);
        if (point < 0xd800 || point > 0xdfff) {
            n += utf8_write(point, text + n);
        }
    }
    return n;
}

/* What the standard decoding makes of the bytes: U+FFFD for each ill-formed part. */
static size_t decode_lossy(const char *bytes, size_t n, char *out)
{
    size_t done = 0;
    for (size_t pos = 0; pos < n;) {
        size_t bad = 0;
        size_t step = utf8_length(bytes + pos, n - pos, &bad, NULL);
        memcpy(out + done, step ? bytes + pos : "\xef\xbf\xbd", step ? step : 3);
        done += step ? step : 3;
        pos += step ? step : bad;
    }
    return done;
}

/* Qwen2 composes characters first: what comes back is the composed text. */
static void decoding_a_composing_tokenizer_gives_the_composed_text_back(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 12);
    struct tokenizer *t = open_small("qwen2");
    for (int round = 0; round < 3000; round++) {
        char raw[400], text[1200];
        size_t n = decode_lossy(raw, random_text(&r, raw, sizeof raw), text), pos = 0;
        struct tokenizer_ids ids = {0};
        struct strbuf composed = {0};
        assert_int_equal(normalizer_nfc(text, n, &composed), ERR_OK);
        assert_int_equal(tokenizer_encode(t, text, n, round % 2, &ids, NULL), ERR_OK);
        for (size_t i = 0; i < ids.len; i++) {
            struct tokenizer_piece p = tokenizer_bytes(t, ids.data[i]);
            assert_true(pos + p.len <= composed.len);
            assert_memory_equal(composed.data + pos, p.data, p.len);
            pos += p.len;
        }
        assert_int_equal(pos, composed.len);
        tokenizer_ids_deinit(&ids);
        strbuf_deinit(&composed);
    }
    tokenizer_free(t);
}

static void decoding_what_was_encoded_gives_every_byte_back(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 11);
    for (size_t v = 0; v < N_EXACT; v++) { /* qwen2 composes characters: not the same bytes */
        struct tokenizer *t = open_small(vocabularies[v]);
        for (int round = 0; round < 1500; round++) {
            char text[400];
            size_t n = random_text(&r, text, sizeof text), pos = 0;
            struct tokenizer_ids ids = {0};
            assert_int_equal(tokenizer_encode(t, text, n, round % 2, &ids, NULL), ERR_OK);
            for (size_t i = 0; i < ids.len; i++) {
                struct tokenizer_piece p = tokenizer_bytes(t, ids.data[i]);
                assert_true(pos + p.len <= n);
                assert_memory_equal(text + pos, p.data, p.len);
                pos += p.len;
            }
            assert_int_equal(pos, n);
            tokenizer_ids_deinit(&ids);
        }
        tokenizer_free(t);
    }
}

static void a_stream_of_tokens_equals_the_whole_and_never_ends_inside_a_character(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 13);
    struct tokenizer *t = open_small("deepseek-v3");
    for (int round = 0; round < 4000; round++) {
        char bytes[4096], want[3 * 4096], got[3 * 4096];
        size_t n_bytes = 0, n_got = 0, len;
        struct tokenizer_stream s = {0};
        for (size_t i = 0, n = (size_t)(rng_u64(&r) % 40); i < n; i++) { /* any ids at all */
            int32_t id = (int32_t)(rng_u64(&r) % (round % 2 ? 300 : tokenizer_size(t) + 3));
            struct tokenizer_piece p = tokenizer_bytes(t, id);
            assert_int_equal(
                tokenizer_stream_push(t, &s, id, true, got + n_got, 3 * (p.len + 3), &len), ERR_OK);
            assert_int_equal(utf8_valid_prefix(got + n_got, len), len);
            memcpy(bytes + n_bytes, p.data, p.len);
            n_bytes += p.len;
            n_got += len;
        }
        assert_int_equal(tokenizer_stream_finish(&s, got + n_got, 3, &len), ERR_OK);
        n_got += len;
        size_t n_want = decode_lossy(bytes, n_bytes, want);
        assert_int_equal(n_got, n_want);
        assert_memory_equal(got, want, n_want);
    }
    tokenizer_free(t);
}

static void a_stream_hides_control_tokens_and_refuses_a_small_buffer(void **state)
{
    (void)state;
    struct tokenizer *t = open_small("deepseek-v3");
    struct tokenizer_stream s = {0};
    char out[64];
    size_t len;
    assert_int_equal(tokenizer_stream_push(t, &s, tokenizer_bos(t), false, out, sizeof out, &len), ERR_OK);
    assert_int_equal(len, 0);
    assert_int_equal(tokenizer_stream_push(t, &s, tokenizer_bos(t), true, out, 4, &len), ERR_LIMIT);
    assert_int_equal(tokenizer_stream_push(t, &s, tokenizer_bos(t), true, out, sizeof out, &len), ERR_OK);
    assert_memory_equal(out, "<｜begin▁of▁sentence｜>", len);
    assert_int_equal(tokenizer_stream_push(t, &s, tokenizer_special(t, "<think>"), false, out, 7, &len),
                     ERR_OK);
    assert_memory_equal(out, "<think>", 7);
    tokenizer_free(t);
}

static void added_tokens_are_matched_longest_first_and_only_on_request(void **state)
{
    (void)state;
    struct tokenizer *t = open_small("qwen2");
    const char *text = "<|im_start|>x<|im_start|>y<|im_z";
    struct tokenizer_ids ids = {0};
    assert_int_equal(tokenizer_encode(t, text, strlen(text), true, &ids, NULL), ERR_OK);
    assert_int_equal(ids.data[0], tokenizer_special(t, "<|im_start|>x"));
    assert_int_equal(ids.data[1], tokenizer_special(t, "<|im_start|>"));
    assert_int_equal(ids.data[3], tokenizer_special(t, "<|im_"));
    assert_int_equal(ids.len, 5);
    ids.len = 0;
    assert_int_equal(tokenizer_encode(t, text, strlen(text), false, &ids, NULL), ERR_OK);
    for (size_t i = 0; i < ids.len; i++) {
        assert_int_equal(tokenizer_kind_at(t, ids.data[i]), TOKENIZER_NORMAL);
    }
    tokenizer_ids_deinit(&ids);
    tokenizer_free(t);
}

static void the_folder_tells_bos_eos_and_the_pre_tokenizer(void **state)
{
    (void)state;
    for (size_t v = 0; v < N_VOCABULARIES; v++) {
        struct tokenizer *t = open_small(vocabularies[v]);
        assert_string_equal(tokenizer_pre_name(tokenizer_pre_of(t)), vocabularies[v]);
        assert_int_equal(tokenizer_ignore_merges(t), strcmp(vocabularies[v], "llama-bpe") == 0);
        assert_true(tokenizer_eos(t) >= 0);
        tokenizer_free(t);
    }
    struct tokenizer *t = open_small("deepseek-v3");
    assert_int_equal(tokenizer_bos(t), tokenizer_special(t, "<｜begin▁of▁sentence｜>"));
    assert_int_equal(tokenizer_eos(t), tokenizer_special(t, "<｜end▁of▁sentence｜>"));
    assert_true(tokenizer_add_bos(t));
    assert_int_equal(tokenizer_special(t, "hello"), -1);
    assert_int_equal(tokenizer_bytes(t, -1).len, 0);
    assert_int_equal(tokenizer_bytes(t, INT32_MAX).len, 0);
    struct tokenizer_piece left, right;
    tokenizer_merge_at(t, 0, &left, &right);
    assert_true(tokenizer_merge_count(t) > 1000 && left.len > 0 && right.len > 0);
    tokenizer_free(t);
}

/* A tiny vocabulary: a, b, ab, a control token "ab!" that merges could make, and so on. */
static const struct tokenizer_piece tiny_tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}, {"!", 1}, {"ab!", 3}};
static const uint8_t tiny_kinds[] = {1, 1, 1, 1, 3};
static const struct tokenizer_piece tiny_merges[] = {{"a b", 3}, {"ab !", 4}};
static const struct tokenizer_spec tiny = {.pre = TOKENIZER_PRE_GPT2, .tokens = tiny_tokens,
                                           .kinds = tiny_kinds, .n_tokens = 5, .merges = tiny_merges,
                                           .n_merges = 2, .bos = -1, .eos = 4, .pad = -1};

static void merges_never_make_a_control_token(void **state)
{
    (void)state;
    for (int ignore = 0; ignore < 2; ignore++) {
        struct tokenizer_spec spec = tiny;
        struct tokenizer *t;
        struct tokenizer_ids ids = {0};
        spec.pre = TOKENIZER_PRE_DEEPSEEK_LLM;
        spec.ignore_merges = ignore;
        assert_int_equal(tokenizer_new(&spec, &t, NULL), ERR_OK);
        assert_int_equal(tokenizer_encode(t, "ab!", 3, false, &ids, NULL), ERR_OK);
        assert_int_equal(ids.len, 2);
        assert_int_equal(ids.data[0], 2);
        assert_int_equal(ids.data[1], 3);
        assert_int_equal(tokenizer_encode(t, "ab!z", 4, true, &ids, NULL), ERR_OK);
        assert_int_equal(ids.len, 3); /* z has no token and gives none */
        assert_int_equal(ids.data[2], 4);
        tokenizer_ids_deinit(&ids);
        tokenizer_free(t);
    }
}

static void expect_refused(const struct tokenizer_spec *spec, err code, const char *said)
{
    struct tokenizer *t = NULL;
    struct errinfo info = {0};
    size_t alive = mem_alive();
    assert_int_equal(tokenizer_new(spec, &t, &info), code);
    assert_null(t);
    assert_non_null(strstr(info.message, said));
    assert_int_equal(mem_alive(), alive);
}

static void a_bad_vocabulary_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct tokenizer_spec s = tiny;
    s.n_tokens = 0;
    expect_refused(&s, ERR_CORRUPT, "empty");
    s = tiny;
    s.eos = 5;
    expect_refused(&s, ERR_CORRUPT, "eos token is 5");
    s = tiny;
    s.bos = -2;
    expect_refused(&s, ERR_CORRUPT, "bos token is -2");
    s = tiny;
    s.n_tokens = (size_t)TOKENIZER_TOKENS_MAX + 1;
    expect_refused(&s, ERR_LIMIT, "at most");
    s = tiny;
    s.n_merges = (size_t)TOKENIZER_MERGES_MAX + 1;
    expect_refused(&s, ERR_LIMIT, "merges");
    static const uint8_t bad_kinds[] = {1, 1, 7, 1, 3};
    s = tiny;
    s.kinds = bad_kinds;
    expect_refused(&s, ERR_CORRUPT, "kind 7");
    static const struct {
        struct tokenizer_piece merge;
        const char *said;
    } merges[] = {
        {{"ab", 2}, "two parts"},      {{"", 0}, "two parts"},         {{"x b", 3}, "left part"},
        {{"a x", 3}, "right part"},    {{"b a", 3}, "what it makes"},  {{" a", 2}, "left part"},
        {{"a ", 2}, "right part"},     {{"a  b", 4}, "right part"},
    };
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        s = tiny;
        s.merges = &merges[i].merge;
        s.n_merges = 1;
        expect_refused(&s, ERR_CORRUPT, merges[i].said);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define SPLIT "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"

static void every_bad_file_is_refused_with_its_name_and_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        err code;
        const char *said;
    } bad[] = {
        {"", ERR_CORRUPT, "line"},
        {"[]", ERR_UNSUPPORTED, "pre-tokenizer"},
        {"{" MODEL "}", ERR_UNSUPPORTED, "pre-tokenizer"},
        {"{" SPLIT "}", ERR_NOTFOUND, "model"},
        {"{" SPLIT ",\"model\":3}", ERR_CORRUPT, "model"},
        {"{" SPLIT ",\"model\":{\"type\":\"Unigram\"}}", ERR_UNSUPPORTED, "Unigram"},
        {"{" SPLIT ",\"model\":{\"byte_fallback\":true}}", ERR_UNSUPPORTED, "byte_fallback"},
        {"{" SPLIT ",\"model\":{\"dropout\":0.1}}", ERR_UNSUPPORTED, "dropout"},
        {"{" SPLIT ",\"model\":{\"end_of_word_suffix\":\"</w>\"}}", ERR_UNSUPPORTED, "end_of_word"},
        {"{" SPLIT ",\"model\":{\"vocab\":[],\"merges\":[]}}", ERR_CORRUPT, "vocab"},
        {"{" SPLIT ",\"model\":{\"vocab\":{},\"merges\":{}}}", ERR_CORRUPT, "merges"},
        {"{" SPLIT ",\"model\":{\"vocab\":{},\"merges\":[]}}", ERR_CORRUPT, "empty"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", ERR_CORRUPT, "a string"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", ERR_CORRUPT, "whole number"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}}", ERR_LIMIT, "id 99999999"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":2000000},\"merges\":[]}}", ERR_CORRUPT, "ids reach"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", ERR_CORRUPT, "share id 0"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[1]}}", ERR_CORRUPT, "merges[0]"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", ERR_CORRUPT, "merges[0]"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"b c\"]]}}", ERR_CORRUPT, "pair"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a z\"]}}", ERR_CORRUPT, "right part"},
        {"{" SPLIT ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"a\"}}", ERR_UNSUPPORTED,
         "unk_token"},
        {"{" SPLIT "," MODEL ",\"added_tokens\":{}}", ERR_CORRUPT, "added_tokens"},
        {"{" SPLIT "," MODEL ",\"added_tokens\":[{\"id\":3}]}", ERR_CORRUPT, "no content"},
        {"{" SPLIT "," MODEL ",\"added_tokens\":[{\"content\":\"x\"}]}", ERR_CORRUPT, "nothing"},
        {"{" SPLIT "," MODEL ",\"added_tokens\":[{\"id\":0,\"content\":\"x\"}]}", ERR_CORRUPT, "id 0"},
        {"{" SPLIT "," MODEL ",\"added_tokens\":[{\"id\":3,\"content\":\"ab\"}]}", ERR_CORRUPT, "another"},
        {"{" SPLIT "," MODEL ",\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"lstrip\":true}]}",
         ERR_UNSUPPORTED, "lstrip"},
        {"{\"normalizer\":{\"type\":\"Lowercase\"}}", ERR_UNSUPPORTED, "Lowercase"},
        {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"}]}}", ERR_UNSUPPORTED,
         "NFKC"},
        {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"}}", ERR_UNSUPPORTED, "Whitespace"},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", ERR_UNSUPPORTED, "ByteLevel"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x+\"},\"behavior\":\"Isolated\"}}",
         ERR_UNSUPPORTED, "x+"},
    };
    char dir[] = "/tmp/fathom-tokenizer-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    struct errinfo info;
    struct tokenizer *t = NULL;
    assert_int_equal(tokenizer_open(dir, &t, &info), ERR_NOTFOUND);
    size_t alive = mem_alive();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(path, bad[i].text);
        err e = tokenizer_open(dir, &t, &info);
        if (e != bad[i].code || !strstr(info.message, bad[i].said) || !strstr(info.message, path)) {
            fail_msg("%s: %s, %s", bad[i].text, err_name(e), info.message);
        }
        assert_null(t);
        assert_int_equal(mem_alive(), alive);
    }
    write_file(path, "{" SPLIT "," MODEL "}");
    assert_int_equal(tokenizer_open(dir, &t, &info), ERR_OK);
    assert_int_equal(tokenizer_size(t), 3);
    tokenizer_free(t);
    unlink(path);
    rmdir(dir);
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    static const char text[] = "Plain words 12 你好\xff and aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
                               "e\xcc\x81";
    size_t alive = mem_alive();
    struct tokenizer *t = NULL;
    bool done = false;
    for (size_t k = 1; !done; k++) {
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = tokenizer_new(&tiny, &t, &info);
        mem_fault(0, 0);
        done = e == ERR_OK;
        assert_true(done || (e == ERR_NOMEM && info.message[0]));
        assert_true(done || mem_alive() == alive);
    }
    tokenizer_free(t);
    t = NULL;
    mem_fault(0, 0);
    done = false;
    /* Opening makes thousands of allocations, nearly all in the JSON parser: near the beginning and the
     * end each is failed, in between every 61st. */
    struct tokenizer *qwen = open_small("qwen2");
    size_t attempts = mem_attempts();
    tokenizer_free(qwen);
    for (size_t k = 1; !done; k += k < 40 || k + 60 > attempts ? 1 : 61) {
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = tokenizer_open("tests/golden/tokenizer/qwen2", &t, &info);
        mem_fault(0, 0);
        done = e == ERR_OK;
        if (!done && (e != ERR_NOMEM || mem_alive() != alive)) {
            fail_msg("allocation %zu of %zu: %s: %s, %zu alive", k, attempts, err_name(e), info.message,
                     mem_alive() - alive);
        }
    }
    alive = mem_alive();
    done = false;
    for (size_t k = 1; !done; k++) {
        struct tokenizer_ids ids = {0};
        struct errinfo info = {0};
        mem_fault(k, 1);
        err e = tokenizer_encode(t, text, sizeof text - 1, true, &ids, &info);
        mem_fault(0, 0);
        done = e == ERR_OK;
        assert_true(done || (e == ERR_NOMEM && ids.len == 0 && info.message[0]));
        tokenizer_ids_deinit(&ids);
        assert_int_equal(mem_alive(), alive);
    }
    tokenizer_free(t);
}

static void long_runs_take_time_in_proportion(void **state)
{
    (void)state;
    static const char *const runs[] = {"a", " ", "\n", " \n", "ab", "你", "\xcc\x81\xcc\xa7", "1", "'", "-",
                                       "\xff", "<", "<|im_start", " a", "\xe2\x80\x8b"};
    enum { BYTES = 300000 };
    char *text = mem_alloc(BYTES);
    for (size_t v = 0; v < N_VOCABULARIES; v++) {
        struct tokenizer *t = open_small(vocabularies[v]);
        for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
            size_t n = strlen(runs[i]), len = 0;
            while (len + n + 1 <= BYTES) {
                memcpy(text + len, runs[i], n);
                len += n;
            }
            text[len++] = 'x';
            struct tokenizer_ids ids = {0};
            double started = progress_clock();
            assert_int_equal(tokenizer_encode(t, text, len, true, &ids, NULL), ERR_OK);
            if (progress_clock() - started > 10) {
                fail_msg("%s needs %.1f s for %d bytes of \"%s\"", vocabularies[v],
                         progress_clock() - started, BYTES, runs[i]);
            }
            tokenizer_ids_deinit(&ids);
        }
        tokenizer_free(t);
    }
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_a_composing_tokenizer_gives_the_composed_text_back),
        cmocka_unit_test(decoding_what_was_encoded_gives_every_byte_back),
        cmocka_unit_test(a_stream_of_tokens_equals_the_whole_and_never_ends_inside_a_character),
        cmocka_unit_test(a_stream_hides_control_tokens_and_refuses_a_small_buffer),
        cmocka_unit_test(added_tokens_are_matched_longest_first_and_only_on_request),
        cmocka_unit_test(the_folder_tells_bos_eos_and_the_pre_tokenizer),
        cmocka_unit_test(merges_never_make_a_control_token),
        cmocka_unit_test(a_bad_vocabulary_is_refused_with_the_reason),
        cmocka_unit_test(every_bad_file_is_refused_with_its_name_and_the_reason),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
        cmocka_unit_test(long_runs_take_time_in_proportion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
