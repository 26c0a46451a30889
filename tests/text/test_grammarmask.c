/* Masks: a token may come exactly when its bytes may, and however a text is cut into tokens it is
 * accepted or refused alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "fault/faultsweep.h"
#include "text/grammarmask.h"
#include "text/grammarstates.h"

static const char json_grammar[] =
    "root ::= object\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? ws \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? ws \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4}))* \"\\\"\"\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?\n"
    "ws ::= (\" \" | \"\\n\" \" \"{0,16})?\n";
static const char json_text[] = "{\"name\": \"caf\xc3\xa9 \\u00e9 \xe6\xbc\xa2\xe5\xad\x97 \\\"x\\\"\", \"n\": [1, -2.5e3, "
                                "{\n  \"deep\": null\n}], \"ok\":true}";

static const char *const vocabularies[] = {"deepseek-v3", "smollm", "qwen2"};

static void must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s", info->message);
    }
}

struct fixture {
    struct tokenizer *tokenizer;
    struct grammar *grammar;
    struct tokentrie *trie;
    struct grammarstates *states;
    struct grammarmask *mask;
};

static struct fixture fixture_open(const char *vocabulary, const char *grammar)
{
    struct fixture f = {0};
    struct errinfo info = {0};
    char dir[200];
    snprintf(dir, sizeof dir, "tests/golden/tokenizer/%s", vocabulary);
    must(tokenizer_open(dir, &f.tokenizer, &info), &info);
    must(grammar_new(grammar, strlen(grammar), &f.grammar, &info), &info);
    must(tokentrie_new(f.tokenizer, &f.trie, &info), &info);
    must(grammarstates_new(f.grammar, &f.states, &info), &info);
    must(grammarmask_new(f.grammar, f.trie, &f.mask, &info), &info);
    return f;
}

static void fixture_close(struct fixture *f)
{
    grammarmask_free(f->mask);
    grammarstates_free(f->states);
    tokentrie_free(f->trie);
    grammar_free(f->grammar);
    tokenizer_free(f->tokenizer);
}

static uint32_t walk(struct fixture *f, uint32_t at, const char *bytes, size_t n)
{
    struct errinfo info = {0};
    for (size_t i = 0; i < n; i++) {
        must(grammarstates_next(f->states, at, (uint8_t)bytes[i], &at, &info), &info);
    }
    return at;
}

static bool is_text(const struct tokenizer *t, int32_t id)
{
    enum tokenizer_kind kind = tokenizer_kind_at(t, id);
    return tokenizer_bytes(t, id).len > 0 && (kind == TOKENIZER_NORMAL || kind == TOKENIZER_BYTE);
}

/* Every bit against the token's own bytes; returns how many are set. */
static size_t check_mask(struct fixture *f, uint32_t at)
{
    const uint64_t *bits = NULL;
    struct errinfo info = {0};
    size_t set = 0;
    must(grammarmask_next(f->mask, &bits, &info), &info);
    assert_int_equal(grammarmask_may_end(f->mask), grammarstates_may_end(f->states, at));
    for (size_t i = 0; i < tokenizer_size(f->tokenizer); i++) {
        struct tokenizer_piece p = tokenizer_bytes(f->tokenizer, (int32_t)i);
        bool wanted = is_text(f->tokenizer, (int32_t)i) && walk(f, at, p.data, p.len) != GRAMMARSTATES_DEAD;
        if ((bits[i / 64] >> i % 64 & 1) != wanted) {
            fail_msg("token %zu \"%.*s\": %s", i, (int)p.len, p.data, wanted ? "not allowed" : "allowed");
        }
        set += wanted;
    }
    return set;
}

/* A random token that begins what is left, single bytes among them. */
static int32_t random_token(const struct fixture *f, const char *left, struct rng *r)
{
    int32_t fits[512];
    size_t n = 0;
    for (size_t i = 0; i < tokenizer_size(f->tokenizer) && n < 512; i++) {
        struct tokenizer_piece p = tokenizer_bytes(f->tokenizer, (int32_t)i);
        if (is_text(f->tokenizer, (int32_t)i) && strncmp(left, p.data, p.len) == 0) {
            fits[n++] = (int32_t)i;
        }
    }
    return n ? fits[rng_u64(r) % n] : -1;
}

static void a_mask_holds_the_tokens_whose_bytes_go_on(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct rng r;
    rng_seed(&r, 4);
    for (size_t v = 0; v < sizeof vocabularies / sizeof *vocabularies; v++) {
        struct fixture f = fixture_open(vocabularies[v], json_grammar);
        for (int round = 0; round < 8; round++) {
            uint32_t at = grammarstates_start(f.states);
            grammarmask_begin(f.mask, -1);
            for (size_t done = 0; done < strlen(json_text);) {
                size_t set = check_mask(&f, at);
                assert_true(set > 0);
                int32_t id = random_token(&f, json_text + done, &r);
                assert_true(id >= 0);
                struct tokenizer_piece p = tokenizer_bytes(f.tokenizer, id);
                must(grammarmask_accept(f.mask, id, &info), &info);
                at = walk(&f, at, p.data, p.len);
                done += p.len;
            }
            assert_true(grammarmask_may_end(f.mask));
            assert_int_equal(check_mask(&f, at), 0); /* nothing but the end */
        }
        fixture_close(&f);
    }
}

/* Near its end, too, a counted string takes the tokens that still fit. */
static void counted_strings_take_what_fits(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct rng r;
    rng_seed(&r, 6);
    struct fixture f = fixture_open("deepseek-v3", "root ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\n\"){3,24} \"\\\"\"");
    static const char text[] = "\"a few words, \xe6\xbc\xa2\xe5\xad\x97 and\\nxy\"";
    for (int round = 0; round < 4; round++) {
        uint32_t at = grammarstates_start(f.states);
        grammarmask_begin(f.mask, -1);
        for (size_t done = 0; done < strlen(text);) {
            assert_true(check_mask(&f, at) > 0);
            int32_t id = random_token(&f, text + done, &r);
            struct tokenizer_piece p = tokenizer_bytes(f.tokenizer, id);
            must(grammarmask_accept(f.mask, id, &info), &info);
            at = walk(&f, at, p.data, p.len);
            done += p.len;
        }
        assert_true(grammarmask_may_end(f.mask));
    }
    fixture_close(&f);
}

/* Texts with a byte changed: whole, byte by byte and in tokens they fare alike. */
static void however_it_is_cut_a_text_fares_alike(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct rng r;
    rng_seed(&r, 5);
    struct fixture f = fixture_open("deepseek-v3", json_grammar);
    size_t n = strlen(json_text), good = 0;
    for (int round = 0; round < 1500; round++) {
        char text[sizeof json_text];
        memcpy(text, json_text, sizeof text);
        text[rng_u64(&r) % n] = (char)(1 + rng_u64(&r) % 255);
        uint32_t at = walk(&f, grammarstates_start(f.states), text, n);
        bool whole = grammarstates_may_end(f.states, at), pieces = true;
        grammarmask_begin(f.mask, -1);
        for (size_t done = 0; done < n && pieces;) {
            int32_t id = random_token(&f, text + done, &r);
            if (id < 0) {
                pieces = whole; /* a byte that no token has */
                break;
            }
            pieces = grammarmask_accept(f.mask, id, &info) == ERR_OK;
            done += tokenizer_bytes(f.tokenizer, id).len;
            if (pieces && done == n) {
                pieces = grammarmask_may_end(f.mask);
            }
        }
        if (whole != pieces) {
            fail_msg("%s: %d whole, %d in tokens", text, whole, pieces);
        }
        good += whole;
    }
    assert_true(good > 50 && good < 1400);
    fixture_close(&f);
}

static void control_tokens_are_never_text(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct fixture f = fixture_open("deepseek-v3", "root ::= .*");
    const uint64_t *bits = NULL;
    size_t added = 0;
    must(grammarmask_next(f.mask, &bits, &info), &info);
    for (size_t i = 0; i < tokenizer_size(f.tokenizer); i++) {
        if (!is_text(f.tokenizer, (int32_t)i)) {
            added++;
            assert_false(bits[i / 64] >> i % 64 & 1);
            assert_int_equal(grammarmask_accept(f.mask, (int32_t)i, &info), ERR_ARGUMENT);
        }
    }
    assert_true(added > 3);
    assert_int_equal(grammarmask_accept(f.mask, -1, &info), ERR_ARGUMENT);
    assert_int_equal(grammarmask_accept(f.mask, 1 << 24, &info), ERR_ARGUMENT);
    fixture_close(&f);
}

static void a_grammar_may_wait_for_a_token(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct fixture f = fixture_open("deepseek-v3", "root ::= \"a\"");
    const uint64_t *bits = NULL;
    int32_t end = tokenizer_eos(f.tokenizer), a = random_token(&f, "a", &(struct rng){{1, 2, 3, 4}});
    grammarmask_begin(f.mask, end);
    for (int32_t id = 0; id < 50; id++) {
        must(grammarmask_next(f.mask, &bits, &info), &info);
        assert_null(bits);
        if (id != end) {
            must(grammarmask_accept(f.mask, id, &info), &info);
        }
    }
    must(grammarmask_accept(f.mask, end, &info), &info);
    must(grammarmask_next(f.mask, &bits, &info), &info);
    assert_non_null(bits);
    assert_false(grammarmask_may_end(f.mask));
    must(grammarmask_accept(f.mask, a, &info), &info);
    assert_true(grammarmask_may_end(f.mask));
    assert_int_equal(grammarmask_accept(f.mask, a, &info), ERR_ARGUMENT);
    fixture_close(&f);
}

static struct tokenizer *shared;

static err work(struct errinfo *info)
{
    struct grammar *g = NULL;
    struct tokentrie *v = NULL;
    struct grammarmask *m = NULL;
    const uint64_t *bits;
    err e = grammar_new(json_grammar, strlen(json_grammar), &g, info);
    e = e == ERR_OK ? tokentrie_new(shared, &v, info) : e;
    e = e == ERR_OK ? grammarmask_new(g, v, &m, info) : e;
    e = e == ERR_OK ? grammarmask_next(m, &bits, info) : e;
    grammarmask_free(m);
    tokentrie_free(v);
    grammar_free(g);
    return e;
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    struct errinfo info = {0};
    must(tokenizer_open("tests/golden/tokenizer/smollm", &shared, &info), &info);
    faultsweep_run(&(struct faultsweep){"grammarmask", work, 10, 0});
    tokenizer_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_holds_the_tokens_whose_bytes_go_on),
        cmocka_unit_test(counted_strings_take_what_fits),
        cmocka_unit_test(however_it_is_cut_a_text_fares_alike),
        cmocka_unit_test(control_tokens_are_never_text),
        cmocka_unit_test(a_grammar_may_wait_for_a_token),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
