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

#include "base/json.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "fault/faultsweep.h"
#include "text/grammarmask.h"
#include "text/grammarstates.h"
#include "text/schemagrammar.h"

static const char object_grammar[] =
    "root ::= object\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? ws \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? ws \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4}))* \"\\\"\"\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?\n"
    "ws ::= (\" \" | \"\\n\" \" \"{0,16})?\n";
static const char object_text[] = "{\"name\": \"caf\xc3\xa9 \\u00e9 \xe6\xbc\xa2\xe5\xad\x97 \\\"x\\\"\", \"n\": [1, -2.5e3, "
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
        struct fixture f = fixture_open(vocabularies[v], object_grammar);
        for (int round = 0; round < 8; round++) {
            uint32_t at = grammarstates_start(f.states);
            grammarmask_begin(f.mask, -1);
            for (size_t done = 0; done < strlen(object_text);) {
                size_t set = check_mask(&f, at);
                assert_true(set > 0);
                int32_t id = random_token(&f, object_text + done, &r);
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
    struct fixture f = fixture_open("deepseek-v3", object_grammar);
    size_t n = strlen(object_text), good = 0;
    for (int round = 0; round < 1500; round++) {
        char text[sizeof object_text];
        memcpy(text, object_text, sizeof text);
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

/* A text that was given is as if its tokens had come; one that does not fit changes nothing. */
static void an_answer_may_have_begun(void **state)
{
    struct errinfo info = {0};
    struct fixture f = fixture_open("smollm", object_grammar);
    (void)state;
    uint32_t at = grammarstates_start(f.states);
    for (size_t n = 0; n <= strlen(object_text); n++) {
        char begun[2] = {n ? object_text[n - 1] : '\0'};
        must(grammarmask_accept_text(f.mask, begun, &info), &info);
        at = walk(&f, at, begun, strlen(begun));
        assert_int_equal(grammarmask_accept_text(f.mask, "\x01", &info), ERR_ARGUMENT);
        assert_int_equal(check_mask(&f, at) == 0, n == strlen(object_text));
    }
    assert_true(grammarmask_may_end(f.mask));
    grammarmask_begin(f.mask, -1);
    assert_int_equal(grammarmask_accept_text(f.mask, "{\"a\":1,]", &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "byte 8 of \"{\"a\":1,]\""));
    must(grammarmask_accept_text(f.mask, object_text, &info), &info);
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

/* n times [nine letters]?, no two alike: every text can be read in as many ways as parts are left. */
static char *loose_grammar(size_t n, const char *begins)
{
    char *text = malloc(strlen(begins) + 16 * n + 16), *at = text;
    struct rng r;
    rng_seed(&r, 3);
    at += sprintf(at, "root ::= %s", begins);
    for (size_t i = 0; i < n; i++) {
        *at++ = ' ';
        *at++ = '[';
        for (int k = 0; k < 9; k++) {
            *at++ = "abcdefghijklmnopqrstuvwxyz "[3 * (uint64_t)k + rng_u64(&r) % 3];
        }
        at += sprintf(at, "]?");
    }
    return text;
}

struct steps {
    size_t n, waits; /* until the work is too much, `most` when it never is; waits for a mask */
    uint64_t digest; /* of all masks */
};

/* Random steps. With a slice above 0 each mask is made in as many parts, of so many seconds, as it takes. */
static struct steps steps_in_slices(struct fixture *f, size_t most, double slice, struct rng *r)
{
    struct errinfo info = {0};
    struct steps s = {0};
    grammarmask_begin(f->mask, -1);
    for (; s.n < most; s.n++) {
        const uint64_t *bits = NULL;
        while (slice > 0 && !grammarmask_ready(f->mask, progress_clock() + slice)) {
            s.waits++;
        }
        err e = grammarmask_next(f->mask, &bits, &info);
        if (e != ERR_OK) {
            assert_int_equal(e, ERR_LIMIT);
            assert_non_null(strstr(info.message, "too much work"));
            return s;
        }
        size_t n = 0, words = (tokenizer_size(f->tokenizer) + 63) / 64, id = 0;
        for (size_t i = 0; i < words; i++) {
            n += (size_t)__builtin_popcountll(bits[i]);
            s.digest = (s.digest ^ bits[i]) * 0x9e3779b97f4a7c15u;
        }
        if (n == 0) {
            assert_true(grammarmask_may_end(f->mask));
            grammarmask_begin(f->mask, -1);
            continue;
        }
        for (size_t left = rng_u64(r) % n + 1; left > 0; id++) {
            left -= bits[id / 64] >> id % 64 & 1;
        }
        must(grammarmask_accept(f->mask, (int32_t)id - 1, &info), &info);
    }
    return s;
}

static size_t steps_allowed(struct fixture *f, size_t most, struct rng *r)
{
    return steps_in_slices(f, most, 0, r).n;
}

/* However often it has to wait, a mask is what it is, and so is the work it takes, up to where that is too much. */
static void a_mask_may_be_made_in_parts(void **state)
{
    static const char *const begins[] = {"\"0123456789\"{4}", ""};
    static const size_t parts[] = {1000, 30};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char *text = loose_grammar(parts[i], begins[i]);
        struct fixture f = fixture_open("smollm", text);
        struct rng r;
        rng_seed(&r, 8);
        struct steps whole = steps_in_slices(&f, 40, 0, &r);
        grammarmask_free(f.mask); /* with all it knows */
        must(grammarmask_new(f.grammar, f.trie, &f.mask, NULL), &(struct errinfo){0});
        assert_false(grammarmask_ready(f.mask, 0));
        rng_seed(&r, 8);
        struct steps sliced = steps_in_slices(&f, 40, 1e-6, &r);
        assert_int_equal(sliced.n, whole.n);
        assert_int_equal(sliced.digest, whole.digest);
        assert_true(whole.waits == 0 && sliced.waits > 5);
        fixture_close(&f);
        free(text);
    }
}

static void a_grammar_that_takes_too_much_work_is_refused(void **state)
{
    static const struct {
        size_t parts;
        const char *begins;
        size_t least, most; /* steps */
    } rows[] = {{1000, "", 0, 0}, {1000, "\"0123456789\"{4}", 1, 40}, {30, "", 100, 100}};
    (void)state;
    struct rng r;
    rng_seed(&r, 8);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = loose_grammar(rows[i].parts, rows[i].begins);
        struct fixture f = fixture_open("smollm", text);
        size_t steps = steps_allowed(&f, 100, &r);
        if (steps < rows[i].least || steps > rows[i].most) {
            fail_msg("%zu parts: %zu steps", rows[i].parts, steps);
        }
        fixture_close(&f);
        free(text);
    }
}

/* The same grammar, however it is asked, comes to as much work; what is known costs nothing again. */
static void work_is_counted_once(void **state)
{
    (void)state;
    char *text = loose_grammar(50, "");
    struct fixture f = fixture_open("smollm", text);
    grammarstates_allow(f.states, 1 << 20);
    walk(&f, grammarstates_start(f.states), "aabc", 4);
    uint64_t left = grammarstates_left(f.states);
    assert_in_range((1 << 20) - left, 1, 4 * 20 * 50); /* 9 letters: 9 places, 8 choices between them */
    walk(&f, grammarstates_start(f.states), "aabc", 4);
    assert_int_equal(grammarstates_left(f.states), left);
    fixture_close(&f);
    free(text);
}

/* An object of n properties, optional or not, of many types; or a list out of n values. */
static char *large_schema(size_t n, bool values, const char *end)
{
    static const char *const types[] = {
        "{\"type\":\"string\"}", "{\"type\":\"integer\"}", "{\"type\":[\"number\",\"null\"]}",
        "{\"type\":\"string\",\"maxLength\":200}", "{\"type\":\"string\",\"format\":\"date-time\"}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "{\"enum\":[\"red\",\"green\",\"blue\"]}"};
    static const char *const words[] = {"name", "customer", "order", "street", "created", "price", "tax", "item"};
    char *text = malloc(120 * n + 200), *at = text;
    at += sprintf(at, values ? "{\"type\":\"array\",\"items\":{\"enum\":[" : "{\"type\":\"object\",\"properties\":{");
    for (size_t i = 0; i < n; i++) {
        at += sprintf(at, "%s\"%s_%s_%zu\"", i ? "," : "", words[i % 8], words[i / 8 % 8], i);
        at += values ? 0 : sprintf(at, ":%s", types[i % 7]);
    }
    sprintf(at, "%s", end);
    return text;
}

static void large_schemas_go_on_working(void **state)
{
    static const struct {
        size_t n;
        bool values;
        const char *end;
    } rows[] = {{400, false, "},\"additionalProperties\":false}"},
                {400, false, "}}"},
                {1000, true, "]}}"},
                {0, false, "\"a\":{\"type\":\"string\",\"minLength\":10,\"maxLength\":5000}},\"required\":[\"a\"]}"}};
    (void)state;
    struct errinfo info = {0};
    struct rng r;
    rng_seed(&r, 9);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *schema = large_schema(rows[i].n, rows[i].values, rows[i].end), *text = NULL;
        json_t *parsed = NULL;
        must(json_parse(schema, strlen(schema), "schema", &parsed, &info), &info);
        must(schemagrammar_text(parsed, &text, &info), &info);
        struct fixture f = fixture_open("deepseek-v3", text);
        assert_int_equal(steps_allowed(&f, 300, &r), 300);
        fixture_close(&f);
        json_decref(parsed);
        mem_free(text);
        free(schema);
    }
}

static struct tokenizer *shared;

static err work(struct errinfo *info)
{
    struct grammar *g = NULL;
    struct tokentrie *v = NULL;
    struct grammarmask *m = NULL;
    const uint64_t *bits;
    err e = grammar_new(object_grammar, strlen(object_grammar), &g, info);
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
        cmocka_unit_test(an_answer_may_have_begun),
        cmocka_unit_test(control_tokens_are_never_text),
        cmocka_unit_test(a_grammar_may_wait_for_a_token),
        cmocka_unit_test(a_mask_may_be_made_in_parts),
        cmocka_unit_test(a_grammar_that_takes_too_much_work_is_refused),
        cmocka_unit_test(work_is_counted_once),
        cmocka_unit_test(large_schemas_go_on_working),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
