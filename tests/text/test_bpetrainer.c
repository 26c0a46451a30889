/* Learned merges are those of the `tokenizers` library, and of the definition; no text is without tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "text/bpetrainer.h"
#include "text/corpuswords.h"

#define FOLDER "tests/golden/bpetraining"

static const char *const specials[] = {"<a>", "<b>", "<c>", NULL};

static struct tokenizer *learn(const struct wordcount *words, size_t vocab_size, uint64_t min_times)
{
    struct errinfo info = {0};
    struct tokenizer *t = NULL;
    const struct bpetrainer_options o = {.pre = TOKENIZER_PRE_DEEPSEEK_CODER,
                                         .vocab_size = vocab_size,
                                         .min_times = min_times,
                                         .specials = specials};
    if (bpetrainer_train(words, &o, &t, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return t;
}

static struct corpuswords count_file(const char *path, int n_threads)
{
    struct errinfo info = {0};
    struct corpuswords w = {0};
    const struct corpuswords_options o = {.pre = TOKENIZER_PRE_DEEPSEEK_CODER, .n_threads = n_threads};
    if (corpuswords_read(&w, path, &o, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return w;
}

static void test_merges_are_those_of_the_tokenizers_library(void **state)
{
    (void)state;
    struct corpuswords w = count_file(FOLDER "/text.txt", 2);
    struct tokenizer *t = learn(&w.words, 900, 2);
    char line[256];
    size_t i = 0;
    FILE *f = fopen(FOLDER "/merges.txt", "r");
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); i++) {
        struct tokenizer_piece left, right;
        char ours[256];
        assert_true(i < tokenizer_merge_count(t));
        tokenizer_merge_at(t, i, &left, &right);
        snprintf(ours, sizeof ours, "%.*s %.*s\n", (int)left.len, left.data, (int)right.len, right.data);
        assert_string_equal(ours, line);
    }
    fclose(f);
    assert_int_equal(i, tokenizer_merge_count(t));
    assert_int_equal(tokenizer_size(t), 900);
    tokenizer_free(t);
    corpuswords_deinit(&w);
}

static void test_text_comes_back_and_no_byte_is_lost(void **state)
{
    (void)state;
    struct corpuswords w = count_file(FOLDER "/text.txt", 1);
    struct tokenizer *t = learn(&w.words, 900, 2);
    struct tokenizer_ids ids = {0};
    struct errinfo info = {0};
    char text[256], back[256];
    size_t n = 0;
    for (int b = 0; b < 256; b++) {
        text[b] = (char)b;
    }
    assert_int_equal(tokenizer_encode(t, text, sizeof text, false, &ids, &info), ERR_OK);
    for (size_t i = 0; i < ids.len; i++) {
        struct tokenizer_piece p = tokenizer_bytes(t, ids.data[i]);
        assert_true(n + p.len <= sizeof back);
        memcpy(back + n, p.data, p.len);
        n += p.len;
    }
    assert_int_equal(n, sizeof text);
    assert_memory_equal(back, text, n);
    assert_int_equal(tokenizer_special(t, "<b>"), 1);
    assert_int_equal(tokenizer_eos(t), 1);
    assert_int_equal(tokenizer_bos(t), 0);
    assert_int_equal(tokenizer_pad(t), 2);
    tokenizer_ids_deinit(&ids);
    tokenizer_free(t);
    corpuswords_deinit(&w);
}

/* The definition, by counting everything anew for each merge. Random words of few letters: overlaps, words
 * that are one token, equal counts. A merge that makes a token anew changes the order only later. */
enum { NAIVE_WORDS = 40, NAIVE_LEN = 12, NAIVE_IDS = 3 + 256 + 60 };

struct naive {
    int ids[NAIVE_WORDS][NAIVE_LEN];
    int n[NAIVE_WORDS];
    long times[NAIVE_WORDS];
};

static bool naive_best(const struct naive *v, int *left, int *right)
{
    static long count[NAIVE_IDS][NAIVE_IDS];
    long best = 1;
    memset(count, 0, sizeof count);
    for (int w = 0; w < NAIVE_WORDS; w++) {
        for (int i = 0; i + 1 < v->n[w]; i++) {
            count[v->ids[w][i]][v->ids[w][i + 1]] += v->times[w];
        }
    }
    for (int a = 0; a < NAIVE_IDS; a++) {
        for (int b = 0; b < NAIVE_IDS; b++) {
            if (count[a][b] > best) {
                best = count[a][b];
                *left = a;
                *right = b;
            }
        }
    }
    return best > 1;
}

static void naive_merge(struct naive *v, int left, int right, int id)
{
    for (int w = 0; w < NAIVE_WORDS; w++) {
        int n = 0;
        for (int i = 0; i < v->n[w]; i++) {
            bool both = i + 1 < v->n[w] && v->ids[w][i] == left && v->ids[w][i + 1] == right;
            v->ids[w][n++] = both ? id : v->ids[w][i];
            i += both;
        }
        v->n[w] = n;
    }
}

static void test_merging_equals_the_definition(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 11);
    for (int round = 0; round < 30; round++) {
        struct naive v;
        struct wordcount words = {0};
        for (int w = 0; w < NAIVE_WORDS; w++) {
            char text[NAIVE_LEN];
            v.n[w] = 1 + (int)(rng_u64(&r) % NAIVE_LEN);
            v.times[w] = 1 + (long)(rng_u64(&r) % 3);
            for (int i = 0; i < v.n[w]; i++) {
                text[i] = (char)('a' + rng_u64(&r) % 3);
                v.ids[w][i] = 3 + text[i] - '!';
            }
            assert_int_equal(wordcount_add(&words, text, (size_t)v.n[w], (uint64_t)v.times[w]), ERR_OK);
        }
        struct tokenizer *t = learn(&words, NAIVE_IDS, 2);
        int left = 0, right = 0, made = 3 + 256;
        for (size_t i = 0; i < tokenizer_merge_count(t) && naive_best(&v, &left, &right); i++) {
            struct tokenizer_piece a, b;
            tokenizer_merge_at(t, i, &a, &b);
            struct tokenizer_piece x = tokenizer_piece_at(t, left), y = tokenizer_piece_at(t, right);
            assert_int_equal(a.len, x.len);
            assert_int_equal(b.len, y.len);
            assert_memory_equal(a.data, x.data, x.len);
            assert_memory_equal(b.data, y.data, y.len);
            /* Two ways to the same token: the id of the first. */
            int id = made;
            for (int k = 3; k < made; k++) {
                struct tokenizer_piece p = tokenizer_piece_at(t, k);
                if (p.len == a.len + b.len && memcmp(p.data, a.data, a.len) == 0 &&
                    memcmp(p.data + a.len, b.data, b.len) == 0) {
                    id = k;
                }
            }
            made += id == made;
            naive_merge(&v, left, right, id);
        }
        tokenizer_free(t);
        wordcount_deinit(&words);
    }
}

static void test_threads_and_files_do_not_change_what_is_learned(void **state)
{
    (void)state;
    struct corpuswords a = count_file(FOLDER "/text.txt", 1), b = count_file(FOLDER "/text.txt", 3);
    struct tokenizer *s = learn(&a.words, 700, 2), *t = learn(&b.words, 700, 2);
    assert_int_equal(a.n_bytes, b.n_bytes);
    for (int32_t id = 0; id < 700; id++) {
        struct tokenizer_piece p = tokenizer_piece_at(s, id), q = tokenizer_piece_at(t, id);
        assert_int_equal(p.len, q.len);
        assert_memory_equal(p.data, q.data, p.len);
    }
    tokenizer_free(s);
    tokenizer_free(t);
    corpuswords_deinit(&a);
    corpuswords_deinit(&b);
}

/* Three bytes a character, a word of a million bytes: the words that are learned from stay short and whole. */
static void test_a_word_without_end_is_many(void **state)
{
    (void)state;
    char path[] = "/tmp/fathom-words-XXXXXX";
    enum { N = 333333 };
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    for (int i = 0; i < N; i++) {
        fputs("\xe3\x81\x82", f);
    }
    assert_int_equal(fclose(f), 0);
    struct corpuswords w = count_file(path, 1);
    unlink(path);
    assert_int_equal(w.words.n, 2); /* full ones, and what is left */
    size_t bytes = 0;
    for (size_t i = 0; i < w.words.n_slots; i++) {
        const struct wordcount_word *s = &w.words.slots[i];
        assert_true(s->len <= CORPUSWORDS_LONGEST && s->len % 3 == 0);
        bytes += s->len * s->times;
    }
    assert_int_equal(bytes, 3 * N);
    struct tokenizer *t = learn(&w.words, 900, 1);
    for (int32_t id = 3; id < (int32_t)tokenizer_size(t); id++) {
        assert_true(tokenizer_piece_at(t, id).len <= 2 * CORPUSWORDS_LONGEST); /* as it is spelled */
    }
    tokenizer_free(t);
    corpuswords_deinit(&w);
}

static void test_what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct wordcount words = {0};
    struct errinfo info = {0};
    struct tokenizer *t = NULL;
    struct bpetrainer_options o = {.vocab_size = 258, .min_times = 1, .specials = specials};
    assert_int_equal(bpetrainer_train(&words, &o, &t, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "259"));
    o.vocab_size = 259; /* bytes alone, from no text at all */
    assert_int_equal(bpetrainer_train(&words, &o, &t, &info), ERR_OK);
    assert_int_equal(tokenizer_size(t), 259);
    tokenizer_free(t);
}

static bool never_on(void *user, size_t n)
{
    (void)user;
    (void)n;
    return false;
}

static void test_failing_allocations_and_stopping_leave_nothing_behind(void **state)
{
    (void)state;
    struct corpuswords w = count_file(FOLDER "/text.txt", 1);
    struct errinfo info = {0};
    struct tokenizer *t = NULL;
    struct bpetrainer_options o = {.vocab_size = 600, .min_times = 2, .specials = specials};
    size_t alive = mem_alive(), k = 1;
    for (;; k += 1 + k / 16) {
        mem_fault(k, 0);
        err e = bpetrainer_train(&w.words, &o, &t, &info);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_int_equal(mem_alive(), alive);
    }
    assert_true(k > 100);
    tokenizer_free(t);
    o.go_on = never_on;
    assert_int_equal(bpetrainer_train(&w.words, &o, &t, &info), ERR_CANCELLED);
    assert_int_equal(mem_alive(), alive);
    corpuswords_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_are_those_of_the_tokenizers_library),
        cmocka_unit_test(test_text_comes_back_and_no_byte_is_lost),
        cmocka_unit_test(test_merging_equals_the_definition),
        cmocka_unit_test(test_threads_and_files_do_not_change_what_is_learned),
        cmocka_unit_test(test_a_word_without_end_is_many),
        cmocka_unit_test(test_what_cannot_be_is_refused),
        cmocka_unit_test(test_failing_allocations_and_stopping_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
