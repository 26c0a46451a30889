/* tests/text/markvocabulary.h: a vocabulary of the 256 bytes and of the control tokens that chat formats know, so that
 * a prompt reads as text again and it can be seen which of it are tokens. Test programs only. */
#ifndef TESTS_MARKVOCABULARY_H
#define TESTS_MARKVOCABULARY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/strbuf.h"
#include "text/bytealphabet.h"
#include "text/tokenizer.h"

enum { MARKVOCABULARY_MAX = 64 };

/* marks [n], at most MARKVOCABULARY_MAX: the first begins a text, the second ends it. */
static inline struct tokenizer *markvocabulary_of(const char *const *marks, size_t n)
{
    static char spelling[256][3];
    struct tokenizer_piece pieces[256 + MARKVOCABULARY_MAX];
    uint8_t kinds[256 + MARKVOCABULARY_MAX];
    for (size_t i = 0; i < 256; i++) {
        uint32_t c = bytealphabet_point((unsigned char)i);
        size_t len = c < 0x80 ? 1 : 2;
        spelling[i][0] = (char)(len == 1 ? c : 0xc0 | (c >> 6));
        spelling[i][1] = (char)(len == 1 ? 0 : 0x80 | (c & 0x3f));
        pieces[i] = (struct tokenizer_piece){spelling[i], len};
        kinds[i] = TOKENIZER_NORMAL;
    }
    assert_true(n <= MARKVOCABULARY_MAX);
    for (size_t i = 0; i < n; i++) {
        pieces[256 + i] = (struct tokenizer_piece){marks[i], strlen(marks[i])};
        kinds[256 + i] = TOKENIZER_CONTROL;
    }
    const struct tokenizer_spec spec = {.pre = TOKENIZER_PRE_DEEPSEEK_V3, .tokens = pieces, .kinds = kinds,
                                        .n_tokens = 256 + n, .bos = 256, .eos = 257, .pad = -1};
    struct tokenizer *t = NULL;
    struct errinfo info = {0};
    if (tokenizer_new(&spec, &t, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return t;
}

static inline struct tokenizer *markvocabulary_new(void)
{
    static const char *const marks[] = {
        "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜latest_reminder｜>",
        "<think>", "</think>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>",
        "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "｜DSML｜", "<｜action｜>", "<｜query｜>", "<|im_start|>",
        "<|im_end|>", "<tool_call>", "</tool_call>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|begin_of_text|>"};
    return markvocabulary_of(marks, sizeof marks / sizeof marks[0]);
}

/* The ids as text again; returns how many were control tokens. */
static inline size_t markvocabulary_read(const struct tokenizer *t, const struct tokenizer_ids *ids,
                                         struct strbuf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->len; i++) {
        struct tokenizer_piece p = tokenizer_bytes(t, ids->data[i]);
        n += tokenizer_kind_at(t, ids->data[i]) == TOKENIZER_CONTROL;
        assert_int_equal(strbuf_append(out, p.data, p.len), ERR_OK);
    }
    return n;
}

#endif
