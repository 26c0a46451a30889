/* Ids of hard strings, byte-exact with the `tokenizers` library (tools/golden/tokenizer_cases.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"

struct golden_case {
    const char *text;
    uint32_t len;
    bool specials;
    uint32_t n_ids;
    const uint8_t *ids;
};

static bool read_case(struct cursor *c, uint32_t width, struct golden_case *g)
{
    const uint8_t *text;
    uint8_t specials;
    if (cursor_u32(c, &g->len) != ERR_OK || cursor_bytes(c, g->len, &text) != ERR_OK ||
        cursor_u8(c, &specials) != ERR_OK || cursor_u32(c, &g->n_ids) != ERR_OK ||
        cursor_bytes(c, (size_t)g->n_ids * width, &g->ids) != ERR_OK) {
        return false;
    }
    g->text = (const char *)text;
    g->specials = specials != 0;
    return true;
}

static int32_t golden_id(const struct golden_case *g, uint32_t i, uint32_t width)
{
    uint32_t id = 0;
    for (uint32_t k = 0; k < width; k++) {
        id |= (uint32_t)g->ids[i * width + k] << (8 * k);
    }
    return (int32_t)id;
}

static bool same_ids(const struct golden_case *g, uint32_t width, const struct tokenizer_ids *ids)
{
    bool same = ids->len == g->n_ids;
    for (uint32_t i = 0; same && i < g->n_ids; i++) {
        same = ids->data[i] == golden_id(g, i, width);
    }
    return same;
}

static void show_difference(const struct golden_case *g, uint32_t width,
                            const struct tokenizer_ids *ids)
{
    print_message("text (%u bytes, specials %d):", g->len, g->specials);
    for (uint32_t i = 0; i < g->len && i < 60; i++) {
        print_message(" %02x", (unsigned char)g->text[i]);
    }
    print_message("\n wanted:");
    for (uint32_t i = 0; i < g->n_ids && i < 40; i++) {
        print_message(" %d", golden_id(g, i, width));
    }
    print_message("\n got:   ");
    for (size_t i = 0; i < ids->len && i < 40; i++) {
        print_message(" %d", ids->data[i]);
    }
    print_message("\n");
}

static void compare_all(const char *dir, const char *cases)
{
    struct errinfo info = {0};
    struct tokenizer *t = NULL;
    struct file_map map;
    if (tokenizer_open(dir, &t, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    assert_int_equal(file_map_open(cases, &map, &info), ERR_OK);
    struct cursor c = {map.data, map.size, 0};
    uint32_t n, width;
    const uint8_t *magic;
    assert_int_equal(cursor_bytes(&c, 4, &magic), ERR_OK);
    assert_memory_equal(magic, "FTC1", 4);
    assert_int_equal(cursor_u32(&c, &n), ERR_OK);
    assert_int_equal(cursor_u32(&c, &width), ERR_OK);
    struct tokenizer_ids ids = {0};
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct golden_case g;
        assert_true(read_case(&c, width, &g));
        ids.len = 0;
        assert_int_equal(tokenizer_encode(t, g.text, g.len, g.specials, &ids, &info), ERR_OK);
        if (!g.specials) {
            assert_true(tokenizer_least(t, g.text, g.len) <= ids.len);
        }
        if (!same_ids(&g, width, &ids) && wrong++ < 10) {
            show_difference(&g, width, &ids);
        }
    }
    print_message("%s: %u strings compared, %u differ\n", dir, n, wrong);
    assert_int_equal(cursor_left(&c), 0);
    assert_int_equal(wrong, 0);
    assert_true(n > 500);
    tokenizer_ids_deinit(&ids);
    file_map_close(&map);
    tokenizer_free(t);
}

static void compare_small(const char *name)
{
    char dir[200], cases[300];
    snprintf(dir, sizeof dir, "tests/golden/tokenizer/%s", name);
    snprintf(cases, sizeof cases, "%s/cases.bin", dir);
    compare_all(dir, cases);
}

static void test_deepseek_llm_ids_equal(void **state)
{
    (void)state;
    compare_small("deepseek-llm");
}

static void test_deepseek_coder_ids_equal(void **state)
{
    (void)state;
    compare_small("deepseek-coder");
}

static void test_deepseek_v3_ids_equal(void **state)
{
    (void)state;
    compare_small("deepseek-v3");
}

static void test_qwen2_ids_equal(void **state)
{
    (void)state;
    compare_small("qwen2");
}

static void test_llama_bpe_ids_equal(void **state)
{
    (void)state;
    compare_small("llama-bpe");
}

static void test_smollm_ids_equal(void **state)
{
    (void)state;
    compare_small("smollm");
}

static void test_gpt2_ids_equal(void **state)
{
    (void)state;
    compare_small("gpt-2");
}

/* The full vocabularies are too large to keep here: tools/get_vocabularies.sh fetches them. */
static void compare_full(const char *name)
{
    char dir[200], cases[200], file[300];
    const char *build = getenv("FATHOM_BUILD");
    snprintf(dir, sizeof dir, "%s/vocabularies/%s", build ? build : "build", name);
    snprintf(file, sizeof file, "%s/tokenizer.json", dir);
    snprintf(cases, sizeof cases, "tests/golden/tokenizer/full/%s.bin", name);
    if (access(file, R_OK) != 0) {
        skip();
    }
    compare_all(dir, cases);
}

static void test_full_deepseek_v3_ids_equal(void **state)
{
    (void)state;
    compare_full("deepseek-v3");
}

static void test_full_deepseek_v4_ids_equal(void **state)
{
    (void)state;
    compare_full("deepseek-v4");
}

/* Any other, by hand: FATHOM_TOKENIZER_DIR and FATHOM_TOKENIZER_CASES name one and its cases. */
static void test_named_vocabulary_ids_equal(void **state)
{
    (void)state;
    compare_all(getenv("FATHOM_TOKENIZER_DIR"), getenv("FATHOM_TOKENIZER_CASES"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deepseek_llm_ids_equal),
        cmocka_unit_test(test_deepseek_coder_ids_equal),
        cmocka_unit_test(test_deepseek_v3_ids_equal),
        cmocka_unit_test(test_qwen2_ids_equal),
        cmocka_unit_test(test_llama_bpe_ids_equal),
        cmocka_unit_test(test_smollm_ids_equal),
        cmocka_unit_test(test_gpt2_ids_equal),
        cmocka_unit_test(test_full_deepseek_v3_ids_equal),
        cmocka_unit_test(test_full_deepseek_v4_ids_equal),
    };
    const struct CMUnitTest named[] = {cmocka_unit_test(test_named_vocabulary_ids_equal)};
    if (getenv("FATHOM_TOKENIZER_DIR") && getenv("FATHOM_TOKENIZER_CASES")) {
        return cmocka_run_group_tests(named, NULL, NULL);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
