/* Documents come out of text and JSONL alike, packed or not, and broken files are named with their line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "text/corpus.h"

static char path[64];

static void write_file(const char *suffix, const void *data, size_t n)
{
    snprintf(path, sizeof path, "/tmp/fathom-corpus-%d%s", (int)getpid(), suffix);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_packed(const char *suffix, const void *data, size_t n, size_t cut)
{
    size_t cap = ZSTD_compressBound(n);
    char *packed = malloc(cap);
    size_t size = ZSTD_compress(packed, cap, data, n, 3);
    assert_false(ZSTD_isError(size));
    write_file(suffix, packed, size - cut);
    free(packed);
}

/* All documents of the file, joined by "[]"; or the error. */
static err read_all(const struct corpus_options *o, struct strbuf *all, struct errinfo *info)
{
    struct corpus *c;
    struct strbuf document = {0};
    bool end = false;
    strbuf_clear(all);
    err e = corpus_open(path, o, &c, info);
    if (e != ERR_OK) {
        return e;
    }
    while (e == ERR_OK && !end) {
        e = corpus_next(c, &document, &end, info);
        if (e == ERR_OK && !end) {
            assert_int_equal(strbuf_append(all, document.data, document.len), ERR_OK);
            assert_int_equal(strbuf_puts(all, "[]"), ERR_OK);
        }
    }
    if (e == ERR_OK) {
        assert_int_equal(corpus_file_done(c), corpus_file_size(c));
    }
    strbuf_deinit(&document);
    corpus_close(c);
    unlink(path);
    return e;
}

static void expect(const char *suffix, const char *text, const char *documents, const struct corpus_options *o)
{
    struct strbuf all = {0};
    struct errinfo info = {0};
    for (int packed = 0; packed < 2; packed++) {
        char name[32];
        snprintf(name, sizeof name, "%s%s", suffix, packed ? ".zst" : "");
        if (packed) {
            write_packed(name, text, strlen(text), 0);
        } else {
            write_file(name, text, strlen(text));
        }
        if (read_all(o, &all, &info) != ERR_OK) {
            fail_msg("%s", info.message);
        }
        assert_string_equal(all.data ? all.data : "", documents);
    }
    strbuf_deinit(&all);
}

static void refuse(const char *suffix, const char *text, const struct corpus_options *o, err code,
                   const char *words)
{
    struct strbuf all = {0};
    struct errinfo info = {0};
    write_file(suffix, text, strlen(text));
    assert_int_equal(read_all(o, &all, &info), code);
    if (!strstr(info.message, words)) {
        fail_msg("no \"%s\" in: %s", words, info.message);
    }
    strbuf_deinit(&all);
}

static const struct corpus_options plain;

static void test_text_is_cut_at_separators_alone(void **state)
{
    (void)state;
    expect(".txt", "one\n\ntwo\n<|endofdoc|>\nthree\n", "one\n\ntwo[]three[]", &plain);
    expect(".txt", "no end of line", "no end of line[]", &plain);
    expect(".txt", "", "", &plain);
    expect(".txt", "<|endofdoc|>\n<|endofdoc|>\na\n<|endofdoc|>", "a[]", &plain);
    expect(".txt", "a <|endofdoc|>\nb", "a <|endofdoc|>\nb[]", &plain);
    const struct corpus_options other = {.separator = "--"};
    expect(".txt", "a\n--\nb\n<|endofdoc|>\n", "a[]b\n<|endofdoc|>[]", &other);
}

static void test_jsonl_gives_its_field(void **state)
{
    (void)state;
    expect(".jsonl", "{\"text\": \"a\\nb\", \"id\": 1}\n\n{\"text\": \"\"}\n{\"text\": \"c\"}", "a\nb[]c[]", &plain);
    const struct corpus_options story = {.format = CORPUS_JSONL, .field = "story"};
    expect(".data", "{\"story\": \"x\"}\n", "x[]", &story);
    refuse(".jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n", &plain, ERR_CORRUPT, "line 2");
    refuse(".jsonl", "{\"text\": \"a\"}\nnot json\n", &plain, ERR_CORRUPT, "line 2");
    refuse(".jsonl", "{\"text\": 3}\n", &plain, ERR_CORRUPT, "\"text\"");
    refuse(".jsonl", "[1]\n", &plain, ERR_CORRUPT, "\"text\"");
}

static void test_documents_larger_than_a_block_come_out_whole(void **state)
{
    (void)state;
    enum { SIZE = 5 << 20 };
    char *text = malloc(SIZE + 1);
    struct strbuf all = {0};
    struct errinfo info = {0};
    struct rng r;
    rng_seed(&r, 4);
    for (size_t i = 0; i < SIZE; i++) {
        uint64_t k = rng_u64(&r) % 900;
        text[i] = k == 0 && i > 3 << 20 ? '\n' : (char)('a' + k % 26);
    }
    text[SIZE - 1] = 'z';
    text[SIZE] = 0;
    for (int packed = 0; packed < 2; packed++) {
        if (packed) {
            write_packed(".txt.zst", text, SIZE, 0);
        } else {
            write_file(".txt", text, SIZE);
        }
        assert_int_equal(read_all(&plain, &all, &info), ERR_OK);
        assert_int_equal(all.len, SIZE + 2);
        assert_memory_equal(all.data, text, SIZE);
    }
    strbuf_deinit(&all);
    free(text);
}

static void test_a_cut_or_broken_frame_is_refused(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    char *text = malloc(SIZE);
    struct strbuf all = {0};
    struct errinfo info = {0};
    struct rng r;
    rng_seed(&r, 5);
    for (size_t i = 0; i < SIZE; i++) {
        text[i] = (char)('a' + rng_u64(&r) % 26);
    }
    for (size_t cut = 1; cut < 100000; cut *= 7) {
        write_packed(".txt.zst", text, SIZE, cut);
        assert_int_equal(read_all(&plain, &all, &info), ERR_CORRUPT);
        assert_non_null(strstr(info.message, "zst"));
    }
    static const char garbage[] = "\x28\xb5\x2f\xfd garbage that is no frame";
    write_file(".txt.zst", garbage, sizeof garbage - 1);
    assert_int_equal(read_all(&plain, &all, &info), ERR_CORRUPT);
    write_file(".txt.zst", "plain text\n", 11); /* only by its name */
    assert_int_equal(read_all(&plain, &all, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "is named .zst"));
    write_file(".txt.zst", "", 0);
    assert_int_equal(read_all(&plain, &all, &info), ERR_CORRUPT);
    strbuf_deinit(&all);
    free(text);
}

static void test_no_file_and_no_memory(void **state)
{
    (void)state;
    struct corpus *c;
    struct errinfo info = {0};
    assert_int_equal(corpus_open("/nonexistent/file.txt", &plain, &c, &info), ERR_NOTFOUND);
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct strbuf all = {0};
        assert_int_equal(strbuf_puts(&all, "room for what follows"), ERR_OK); /* read_all cannot fail there */
        write_packed(".jsonl.zst", "{\"text\": \"a\"}\n", 14, 0);
        mem_fault(k, 0);
        err e = read_all(&plain, &all, &info);
        mem_fault(0, 0);
        strbuf_deinit(&all);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            assert_true(k > 4);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_cut_at_separators_alone),
        cmocka_unit_test(test_jsonl_gives_its_field),
        cmocka_unit_test(test_documents_larger_than_a_block_come_out_whole),
        cmocka_unit_test(test_a_cut_or_broken_frame_is_refused),
        cmocka_unit_test(test_no_file_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
