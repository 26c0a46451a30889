/* The hand-written splits against the published expressions run by PCRE2. The alphabet below holds
 * characters whose classes have not changed since long before either side's Unicode version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "text/pretokenizer.h"

enum { TEXT_MAX = 2048, PIECES_MAX = 2048, ROUNDS = 6000 };

struct pieces {
    const char *text;
    size_t end[PIECES_MAX]; /* where each piece ends */
    size_t n;
};

static err add_piece(void *user, const char *piece, size_t len)
{
    struct pieces *p = user;
    assert_true(len > 0 && p->n < PIECES_MAX);
    assert_ptr_equal(piece, p->text + (p->n ? p->end[p->n - 1] : 0));
    p->end[p->n++] = (size_t)(piece - p->text) + len;
    return ERR_OK;
}

static pcre2_code *compile(const char *pattern)
{
    int code;
    PCRE2_SIZE offset;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &offset, NULL);
    assert_non_null(re);
    return re;
}

/* Cuts every piece of `in` by one expression. */
static void cut(pcre2_code *re, const char *text, const struct pieces *in, struct pieces *out)
{
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(re, NULL);
    size_t begin = 0;
    out->text = text;
    out->n = 0;
    for (size_t i = 0; i < in->n; i++) {
        size_t len = in->end[i] - begin, pos = 0;
        PCRE2_SPTR piece = (PCRE2_SPTR)(text + begin);
        while (pos < len && pcre2_match(re, piece, len, pos, 0, match, NULL) > 0) {
            const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match);
            if (at[0] > pos) {
                out->end[out->n++] = begin + at[0];
            }
            out->end[out->n++] = begin + at[1];
            pos = at[1];
        }
        if (pos < len) {
            out->end[out->n++] = begin + len;
        }
        begin = in->end[i];
    }
    pcre2_match_data_free(match);
}

static const char *const alphabet[] = {
    " ",  " ",  "  ", "\n", "\r", "\r\n", "\t", "\v", "\f", "a",  "Z",  "s",  "S",  "t",  "re", "LL", "ve",
    "M",  "d",  "0",  "7",  "12", "345",  "'",  "'s", "'S", "'re", ".", ",",  "!",  "-",  "_",  "(",  "$",
    "+",  "<",  "~",  "^",  "`",  "/",    "\\", "[",  "]",  "\"", "é",  "ſ",  "К",  "ß",  "Ω",  "ʔ",  "ƻ",
    "你", "好", "龥", "㐀", "の", "カ",   "ー", "한", "ㄅ", "ا",  "١",  "א",  "नी", "ก",  "\xcc\x81",
    "\xcc\xa7", "½",  "²",  "Ⅷ", "€",  "∑",  "©",  "“",  "’",  "—",  "。", "！", "～", "，", "\xc2\xa0",
    "\xe3\x80\x80", "\xe2\x80\x83", "\xe2\x80\xa8", "\xc2\x85", "\xe2\x80\x8d", "\xe2\x80\x8b",
    "\x01", "\x7f", "😀", "𠀀", "𝟘", "\xee\x80\x80", "\xef\xbf\xbd", "ǅ", "ª", "µ", "\xdf\xbf", "ࠀ",
};

static size_t random_text(struct rng *r, char *text)
{
    size_t n = 0, runs = 1 + (size_t)(rng_u64(r) % 14);
    for (size_t i = 0; i < runs; i++) {
        const char *s = alphabet[rng_u64(r) % (sizeof alphabet / sizeof alphabet[0])];
        size_t repeat = rng_u64(r) % 4 ? 1 : 1 + (size_t)(rng_u64(r) % 5);
        for (size_t k = 0; k < repeat; k++) {
            memcpy(text + n, s, strlen(s));
            n += strlen(s);
        }
    }
    text[n] = '\0';
    return n;
}

static void compare(enum tokenizer_pre pre)
{
    static struct pieces ours, theirs[2];
    const char *const *patterns = pretokenizer_patterns(pre);
    pcre2_code *re[8];
    size_t n_re = 0;
    for (; patterns[n_re]; n_re++) {
        re[n_re] = compile(patterns[n_re]);
    }
    struct rng r;
    rng_seed(&r, 1 + (uint64_t)pre);
    for (int round = 0; round < ROUNDS; round++) {
        char text[TEXT_MAX];
        size_t len = random_text(&r, text);
        ours = (struct pieces){.text = text};
        assert_int_equal(pretokenizer_split(pre, text, len, add_piece, &ours), ERR_OK);
        theirs[0] = (struct pieces){.text = text, .end = {len}, .n = 1};
        for (size_t k = 0; k < n_re; k++) {
            cut(re[k], text, &theirs[k % 2], &theirs[(k + 1) % 2]);
        }
        const struct pieces *want = &theirs[n_re % 2];
        if (ours.n != want->n || memcmp(ours.end, want->end, ours.n * sizeof ours.end[0]) != 0) {
            fail_msg("%s cuts \"%s\" otherwise", tokenizer_pre_name(pre), text);
        }
    }
    for (size_t k = 0; k < n_re; k++) {
        pcre2_code_free(re[k]);
    }
}

static void every_split_equals_its_expressions_run_by_pcre2(void **state)
{
    (void)state;
    for (int pre = 0; pre < TOKENIZER_PRE_COUNT; pre++) {
        compare((enum tokenizer_pre)pre);
    }
}

static void names_lead_back_to_the_pre_tokenizer(void **state)
{
    (void)state;
    enum tokenizer_pre found;
    for (int pre = 0; pre < TOKENIZER_PRE_COUNT; pre++) {
        const char *name = tokenizer_pre_name((enum tokenizer_pre)pre);
        assert_true(tokenizer_pre_from_name(name, strlen(name), &found));
        assert_int_equal(found, pre);
    }
    assert_true(tokenizer_pre_from_name("deepseek-r1-qwen", 16, &found));
    assert_int_equal(found, TOKENIZER_PRE_QWEN2);
    assert_true(tokenizer_pre_from_name("joyai-llm", 9, &found));
    assert_int_equal(found, TOKENIZER_PRE_DEEPSEEK_V3);
    assert_false(tokenizer_pre_from_name("deepseek", 8, &found));
    assert_false(tokenizer_pre_from_name("", 0, &found));
}

static err refuse(void *user, const char *piece, size_t len)
{
    (void)piece;
    (void)len;
    return --*(int *)user > 0 ? ERR_OK : ERR_CANCELLED;
}

static void an_error_of_the_sink_ends_the_split(void **state)
{
    (void)state;
    int left = 3;
    assert_int_equal(pretokenizer_split(TOKENIZER_PRE_GPT2, "a b c d e", 9, refuse, &left),
                     ERR_CANCELLED);
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_equals_its_expressions_run_by_pcre2),
        cmocka_unit_test(names_lead_back_to_the_pre_tokenizer),
        cmocka_unit_test(an_error_of_the_sink_ends_the_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
