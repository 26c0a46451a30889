/* tests/formats/test_gguf.c: typed reads of keys, split models, files on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/bytespec.h"
#include "formats/gguf.h"
#include "formats/tempdir.h"

static void put_spec(struct tempdir *t, const char *name, const char *spec)
{
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, spec), ERR_OK);
    tempdir_put(t, name, s.data ? s.data : "", s.len);
    strbuf_deinit(&s);
}

static const char keys[] =
    "'GGUF' i3 l0 l16 \"u8\" i0 b7 \"i8\" i1 b0xff \"u16\" i2 h65535 \"i16\" i3 h0xfffe \"u32\" i4 "
    "i4000000000 "
    "\"i32\" i5 i5 \"f32\" i6 f2 \"half\" i6 f0.5 \"yes\" i7 b1 \"text\" i8 \"abc\" \"u64\" i10 "
    "l0xffffffffffffffff "
    "\"i64\" i11 l9 \"f64\" i12 d1e6 \"nan\" i12 dnan \"ints\" i9 i5 l3 i1 i0xffffffff i3 "
    "\"texts\" i9 i8 l3 \"a\" \"\" \"long one\"";

static void numbers_of_any_type_are_read_and_wrong_ones_named(void **state)
{
    (void)state;
    struct strbuf s = {0};
    struct gguf *g = NULL;
    struct errinfo info = {0};
    assert_int_equal(bytespec(&s, keys), ERR_OK);
    assert_int_equal(gguf_parse((const uint8_t *)s.data, s.len, "k.gguf", &g, &info), ERR_OK);
    assert_int_equal(gguf_kv_count(g), 16);
    assert_null(gguf_kv_at(g, 16));

    static const struct {
        const char *key;
        uint64_t value;
    } counts[] = {{"u8", 7},  {"u16", 65535}, {"u32", 4000000000u}, {"i32", 5},
                  {"f32", 2}, {"i64", 9},     {"f64", 1000000},     {"u64", UINT64_MAX}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint64_t v = 0;
        assert_int_equal(gguf_get_u64(g, counts[i].key, &v, &info), ERR_OK);
        assert_true(v == counts[i].value);
    }
    static const char *const not_counts[] = {"i8",   "i16",  "half",  "yes",
                                             "text", "ints", "texts", "nan"};
    for (size_t i = 0; i < sizeof not_counts / sizeof *not_counts; i++) {
        uint64_t v = 42;
        assert_int_equal(gguf_get_u64(g, not_counts[i], &v, &info), ERR_CORRUPT);
        assert_true(v == 42);
        assert_non_null(strstr(info.message, not_counts[i]));
    }
    double d = 0;
    assert_int_equal(gguf_get_f64(g, "i8", &d, &info), ERR_OK);
    assert_true(d == -1.0);
    assert_int_equal(gguf_get_f64(g, "i16", &d, &info), ERR_OK);
    assert_true(d == -2.0);
    assert_int_equal(gguf_get_f64(g, "half", &d, &info), ERR_OK);
    assert_true(d == 0.5);
    assert_int_equal(gguf_get_f64(g, "nan", &d, &info), ERR_CORRUPT);
    assert_int_equal(gguf_get_f64(g, "yes", &d, &info), ERR_CORRUPT);
    assert_int_equal(gguf_get_f64(g, "ints", &d, &info), ERR_CORRUPT);
    assert_string_equal(info.message, "k.gguf: key ints is an array of 3 i32; expected a number");
    assert_int_equal(gguf_get_f64(g, "absent", &d, &info), ERR_NOTFOUND);
    assert_string_equal(info.message, "k.gguf: key absent is missing");
    assert_null(gguf_find(g, ""));
    gguf_close(g);
    strbuf_deinit(&s);
}

static void bools_strings_and_arrays_are_read(void **state)
{
    (void)state;
    struct strbuf s = {0};
    struct gguf *g = NULL;
    struct errinfo info = {0};
    assert_int_equal(bytespec(&s, keys), ERR_OK);
    assert_int_equal(gguf_parse((const uint8_t *)s.data, s.len, "k.gguf", &g, &info), ERR_OK);
    bool b = false;
    assert_int_equal(gguf_get_bool(g, "yes", &b, &info), ERR_OK);
    assert_true(b);
    assert_int_equal(gguf_get_bool(g, "u8", &b, &info), ERR_CORRUPT);
    assert_string_equal(info.message, "k.gguf: key u8 is the u8 7; expected true or false");
    struct gguf_string text = {0};
    assert_int_equal(gguf_get_string(g, "text", &text, &info), ERR_OK);
    assert_int_equal(text.len, 3);
    assert_memory_equal(text.data, "abc", 3);
    assert_int_equal(gguf_get_string(g, "ints", &text, &info), ERR_CORRUPT);

    const struct gguf_kv *ints = gguf_find(g, "ints"), *texts = gguf_find(g, "texts");
    double d = 0;
    assert_int_equal(gguf_array_f64(ints, 1, &d), ERR_OK);
    assert_true(d == -1.0);
    assert_int_equal(gguf_array_f64(ints, 3, &d), ERR_CORRUPT);
    assert_int_equal(gguf_array_f64(ints, UINT64_MAX, &d), ERR_CORRUPT);
    assert_int_equal(gguf_array_f64(texts, 0, &d), ERR_CORRUPT);
    size_t pos = 0, lens[] = {1, 0, 8};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(gguf_array_string(texts, &pos, &text), ERR_OK);
        assert_int_equal(text.len, lens[i]);
    }
    assert_int_equal(gguf_array_string(texts, &pos, &text), ERR_CORRUPT);
    assert_int_equal(gguf_array_string(ints, &pos, &text), ERR_CORRUPT);
    pos = SIZE_MAX;
    assert_int_equal(gguf_array_string(texts, &pos, &text), ERR_CORRUPT);
    gguf_close(g);
    strbuf_deinit(&s);
}

/* Three parts of one model, three tensors. */
static const char part1[] =
    "'GGUF' i3 l1 l4 \"general.architecture\" i8 \"llama\" \"split.no\" i2 h0 \"split.count\" i2 "
    "h3 \"split.tensors.count\" i5 i3 \"a\" i1 l4 i0 l0 p32 z16";
static const char part2[] =
    "'GGUF' i3 l1 l2 \"split.no\" i2 h1 \"split.count\" i2 h3 \"b\" i1 l4 i0 l0 p32 z16";
static const char part3[] =
    "'GGUF' i3 l1 l2 \"split.no\" i2 h2 \"split.count\" i2 h3 \"c\" i1 l4 i0 l0 p32 z16";

static void put_parts(struct tempdir *t)
{
    put_spec(t, "m-00001-of-00003.gguf", part1);
    put_spec(t, "m-00002-of-00003.gguf", part2);
    put_spec(t, "m-00003-of-00003.gguf", part3);
}

static void any_part_of_a_split_model_opens_all(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    put_parts(&t);
    static const char *const names[] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                        "m-00003-of-00003.gguf"};
    for (size_t i = 0; i < 3; i++) {
        struct gguf *g = NULL;
        struct errinfo info = {0};
        assert_int_equal(gguf_open(tempdir_file(&t, names[i]), &g, &info), ERR_OK);
        assert_int_equal(gguf_file_count(g), 3);
        assert_int_equal(tensortable_count(gguf_tensors(g)), 3);
        assert_int_equal(tensortable_find(gguf_tensors(g), "c")->file, 2);
        assert_non_null(gguf_find(g, "general.architecture"));
        for (size_t p = 0; p < 3; p++) {
            assert_string_equal(gguf_file_path(g, p), tempdir_file(&t, names[p]));
            assert_true(gguf_file_size(g, p) > 100);
        }
        gguf_close(g);
    }
    tempdir_remove(&t);
}

static void every_kind_of_broken_split_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *replaced, *spec; /* spec NULL: removed */
        const char *opened;
        err code;
        const char *says;
    } cases[] = {
        {"m-00002-of-00003.gguf", NULL, "m-00001-of-00003.gguf", ERR_NOTFOUND,
         "m-00002-of-00003.gguf beside it"},
        {"m-00001-of-00003.gguf", NULL, "m-00003-of-00003.gguf", ERR_NOTFOUND, "part 1 is missing"},
        {"m-00002-of-00003.gguf", part3, "m-00001-of-00003.gguf", ERR_CORRUPT,
         "name says part 2 of 3"},
        {"m-00002-of-00003.gguf", "'GGUF' i3 l0 l1 \"split.count\" i2 h4", "m-00001-of-00003.gguf",
         ERR_CORRUPT, "split.count 4"},
        {"m-00002-of-00003.gguf", "'GGUF' i3 l0 l0", "m-00001-of-00003.gguf", ERR_CORRUPT,
         "split.count 1"},
        {"m-00003-of-00003.gguf", "'GGUF' i3 l0 l2 \"split.no\" i2 h2 \"split.count\" i2 h3",
         "m-00001-of-00003.gguf", ERR_CORRUPT, "split.tensors.count is 3, but the parts hold 2"},
        {"m-00003-of-00003.gguf",
         "'GGUF' i3 l1 l2 \"split.no\" i2 h2 \"split.count\" i2 h3 \"a\" i1 l4 i0 l0 p32 z16",
         "m-00001-of-00003.gguf", ERR_CORRUPT, "tensor a appears twice"},
        {"m-00002-of-00003.gguf", "'GGUF' i3 l0 l1 \"split.count\" i8 \"x\"",
         "m-00001-of-00003.gguf", ERR_CORRUPT, "split.count is not a whole number"},
        {"m-00002-of-00003.gguf", "'GG'", "m-00001-of-00003.gguf", ERR_CORRUPT,
         "m-00002-of-00003.gguf is not a GGUF"},
        {"lone.gguf", part1, "lone.gguf", ERR_ARGUMENT, "part of a model split into 3 files"},
        {"m-00000-of-00003.gguf", part1, "m-00000-of-00003.gguf", ERR_ARGUMENT, "part 0 of 3"},
        {"m-00004-of-00003.gguf", part1, "m-00004-of-00003.gguf", ERR_ARGUMENT, "part 4 of 3"},
        {"m-00001-of-00000.gguf", part1, "m-00001-of-00000.gguf", ERR_ARGUMENT, "part 1 of 0"},
        {"m-00001-of-99999.gguf", part1, "m-00001-of-99999.gguf", ERR_ARGUMENT, "at most 4096"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tempdir t;
        tempdir_make(&t);
        put_parts(&t);
        if (cases[i].spec) {
            put_spec(&t, cases[i].replaced, cases[i].spec);
        } else {
            unlink(tempdir_file(&t, cases[i].replaced));
        }
        struct gguf *g = NULL;
        struct errinfo info = {0};
        size_t alive = mem_alive();
        err e = gguf_open(tempdir_file(&t, cases[i].opened), &g, &info);
        if (e != cases[i].code || !strstr(info.message, cases[i].says)) {
            fail_msg("case %zu: %s: %s; expected %s: %s", i, err_name(e), info.message,
                     err_name(cases[i].code), cases[i].says);
        }
        assert_int_equal(mem_alive(), alive);
        tempdir_remove(&t);
    }
}

static void a_name_that_only_looks_split_is_one_file(void **state)
{
    (void)state;
    static const char *const names[] = {"x-0001-of-00002.gguf", "x-00001-of-00002.ggml",
                                        "x-00001-of-0000a.gguf", "x-00001-of-00001.gguf", ".gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tempdir t;
        tempdir_make(&t);
        put_spec(&t, names[i], "'GGUF' i3 l0 l0");
        struct gguf *g = NULL;
        assert_int_equal(gguf_open(tempdir_file(&t, names[i]), &g, NULL), ERR_OK);
        assert_int_equal(gguf_file_count(g), 1);
        gguf_close(g);
        tempdir_remove(&t);
    }
}

static void absent_files_folders_and_empty_files_are_errors(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    struct gguf *g = NULL;
    struct errinfo info = {0};
    assert_int_equal(gguf_open(tempdir_file(&t, "none.gguf"), &g, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "none.gguf"));
    assert_int_equal(gguf_open(t.path, &g, &info), ERR_ARGUMENT);
    tempdir_text(&t, "empty.gguf", "");
    assert_int_equal(gguf_open(tempdir_file(&t, "empty.gguf"), &g, &info), ERR_CORRUPT);
    gguf_close(NULL);
    tempdir_remove(&t);
}

static void refused_memory_while_opening_a_split_model_leaks_nothing(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    put_parts(&t);
    const char *path = tempdir_file(&t, "m-00002-of-00003.gguf");
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct gguf *g = NULL;
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = gguf_open(path, &g, &info);
        mem_fault(0, 0);
        gguf_close(g);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            assert_true(k > 15);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_null(g);
    }
    tempdir_remove(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_any_type_are_read_and_wrong_ones_named),
        cmocka_unit_test(bools_strings_and_arrays_are_read),
        cmocka_unit_test(any_part_of_a_split_model_opens_all),
        cmocka_unit_test(every_kind_of_broken_split_is_named),
        cmocka_unit_test(a_name_that_only_looks_split_is_one_file),
        cmocka_unit_test(absent_files_folders_and_empty_files_are_errors),
        cmocka_unit_test(refused_memory_while_opening_a_split_model_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
