/* tests/formats/test_safetensors.c: hostile safetensors bytes, truncation at every byte, refused
 * memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/bytespec.h"
#include "formats/safetensors.h"

static const char valid[] =
    "J{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[16,22]}}J z22";

static err parse_bytes(const uint8_t *data, size_t n, struct errinfo *info)
{
    struct tensortable *table = NULL;
    /* An exact copy, so that a sanitizer sees a read past the end. */
    uint8_t *exact = mem_alloc_aligned(n);
    assert_non_null(exact);
    memcpy(exact, data, n);
    assert_int_equal(tensortable_new(&table, NULL), ERR_OK);
    err e = safetensors_parse(exact, n, "bad.safetensors", 0, table, info);
    tensortable_free(table);
    mem_free_aligned(exact);
    return e;
}

static err parse_spec(const char *spec, struct errinfo *info)
{
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, spec), ERR_OK);
    err e = parse_bytes((const uint8_t *)(s.data ? s.data : ""), s.len, info);
    strbuf_deinit(&s);
    return e;
}

static const struct {
    const char *spec;
    err code;
    const char *says;
} bad_files[] = {
    {"", ERR_CORRUPT, "has 0 bytes"},
    {"i7", ERR_CORRUPT, "has 4 bytes"},
    {"l100 '{}'", ERR_CORRUPT, "claims a header of 100 bytes"},
    {"l0xffffffffffffffff '{}'", ERR_CORRUPT, "claims a header of 18446744073709551615"},
    {"l0", ERR_CORRUPT, "does not begin with '{'"},
    {"l2 '[]'", ERR_CORRUPT, "does not begin with '{'"},
    {"l3 ' {}'", ERR_CORRUPT, "does not begin with '{'"},
    {"l2 '{x'", ERR_CORRUPT, "not valid JSON"},
    {"J{\"a\":1,}J", ERR_CORRUPT, "not valid JSON"},
    {"J{\"a\":1}J", ERR_CORRUPT, "tensor a: found an integer"},
    {"J{\"__metadata__\":1}J", ERR_CORRUPT, "__metadata__"},
    {"J{\"__metadata__\":{\"a\":1}}J", ERR_CORRUPT, "__metadata__"},
    {"J{\"a\":{}}J", ERR_CORRUPT, "\"dtype\" is missing"},
    {"J{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "\"dtype\" is 1"},
    {"J{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "\"shape\" is missing"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}J z4", ERR_CORRUPT, "\"data_offsets\" is missing"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "\"shape\" is 4"},
    {"J{\"a\":{\"dtype\":\"F8_E5M2\",\"shape\":[1],\"data_offsets\":[0,1]}}J z1", ERR_UNSUPPORTED,
     "dtype F8_E5M2"},
    {"J{\"a\":{\"dtype\":\"q4_0\",\"shape\":[32],\"data_offsets\":[0,18]}}J z18", ERR_UNSUPPORTED,
     "dtype q4_0"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}J", ERR_UNSUPPORTED,
     "tensor a is empty"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}J z4",
     ERR_UNSUPPORTED, "5 dimensions"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "dimension 0"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "dimension 0"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "dimension 0"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}J z4",
     ERR_CORRUPT, "overflows"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807],\"data_offsets\":[0,4]}}J z4",
     ERR_CORRUPT, "overflows"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "F32 [2] needs 8 bytes, data_offsets give 4"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}J z4", ERR_CORRUPT,
     "must be two sizes"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}J z4", ERR_CORRUPT,
     "must be two sizes"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}J z4", ERR_CORRUPT,
     "must be two sizes"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}J z4", ERR_CORRUPT,
     "4 to 0 do not lie"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J z3", ERR_CORRUPT,
     "0 to 4 do not lie in the 3"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J z5", ERR_CORRUPT,
     "1 bytes after the last"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}J z8", ERR_CORRUPT,
     "leaves a gap"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}J z12",
     ERR_CORRUPT, "tensor b starts at byte 8 of the data, which leaves a gap after 4"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}J z8",
     ERR_CORRUPT, "tensor b starts at byte 4 of the data, inside"},
    {"J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}J z8",
     ERR_CORRUPT, "not valid JSON: duplicate object key"},
    {"J{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "empty name"},
    {"J{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "byte 0x0a"},
    {"J{\"\\u00e9\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J z4", ERR_CORRUPT,
     "byte 0xc3"},
    {"z4096", ERR_CORRUPT, "does not begin"},
    {"J{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[}J", ERR_LIMIT,
     "levels deep"},
};

static void every_handcrafted_bad_file_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        struct errinfo info = {0};
        size_t alive = mem_alive();
        err e = parse_spec(bad_files[i].spec, &info);
        if (e != bad_files[i].code || !strstr(info.message, bad_files[i].says) ||
            !strstr(info.message, "bad.safetensors")) {
            fail_msg("file %zu (%s): %s: %s; expected %s: %s", i, bad_files[i].spec, err_name(e),
                     info.message, err_name(bad_files[i].code), bad_files[i].says);
        }
        assert_int_equal(mem_alive(), alive);
        assert_int_equal(parse_spec(bad_files[i].spec, NULL), bad_files[i].code);
    }
}

static void names_beyond_the_cap_are_refused(void **state)
{
    (void)state;
    char spec[600] = "J{\"";
    memset(spec + 3, 'n', 300);
    strcpy(spec + 303, "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J z4");
    struct errinfo info = {0};
    assert_int_equal(parse_spec(spec, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "has 300 bytes"));
}

static void tensors_come_in_the_order_of_their_data_with_scalars_as_one_value(void **state)
{
    (void)state;
    struct strbuf s = {0};
    struct tensortable *table = NULL;
    struct errinfo info = {0};
    assert_int_equal(
        bytespec(&s, "J{\"late\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[3,11]},"
                     "\"first\":{\"dtype\":\"F8_E4M3\",\"shape\":[3,1],\"data_offsets\":[0,3]}}J "
                     "b1 b2 b3 l77"),
        ERR_OK);
    assert_int_equal(tensortable_new(&table, NULL), ERR_OK);
    assert_int_equal(safetensors_parse((const uint8_t *)s.data, s.len, "x", 4, table, &info),
                     ERR_OK);
    assert_int_equal(tensortable_count(table), 2);
    assert_string_equal(tensortable_at(table, 0)->name, "first");
    const struct tensortable_entry *late = tensortable_find(table, "late");
    assert_int_equal(late->tensor.dtype, DTYPE_I64);
    assert_int_equal(late->tensor.rank, 1);
    assert_int_equal(late->tensor.shape[0], 1);
    assert_int_equal(late->file, 4);
    assert_int_equal(late->offset, s.len - 8);
    assert_int_equal((uintptr_t)late->tensor.data % 8, 0);
    int64_t v;
    memcpy(&v, late->tensor.data, sizeof v);
    assert_int_equal(v, 77);
    tensortable_free(table);
    strbuf_deinit(&s);
}

static void a_header_padded_with_spaces_and_one_without_tensors_are_accepted(void **state)
{
    (void)state;
    assert_int_equal(parse_spec("l8 '{}      '", NULL), ERR_OK);
    assert_int_equal(parse_spec("J{\"__metadata__\":{}}J", NULL), ERR_OK);
}

static void a_file_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, valid), ERR_OK);
    assert_int_equal(parse_bytes((const uint8_t *)s.data, s.len, NULL), ERR_OK);
    for (size_t n = 0; n < s.len; n++) {
        struct errinfo info = {0};
        assert_int_equal(parse_bytes((const uint8_t *)s.data, n, &info), ERR_CORRUPT);
        assert_non_null(strstr(info.message, "bad.safetensors"));
    }
    strbuf_deinit(&s);
}

static void any_byte_changed_is_harmless(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, valid), ERR_OK);
    assert_int_equal(bytespec_change_each(&s, 3, parse_bytes), ERR_OK);
    strbuf_deinit(&s);
}

static void refused_memory_is_an_error_without_a_leak(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, valid), ERR_OK);
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct tensortable *table = NULL;
        struct errinfo info = {0};
        assert_int_equal(tensortable_new(&table, NULL), ERR_OK);
        mem_fault(k, 0);
        err e = safetensors_parse((const uint8_t *)s.data, s.len, "x", 0, table, &info);
        mem_fault(0, 0);
        tensortable_free(table);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            assert_true(k > 20);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
    strbuf_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_handcrafted_bad_file_is_refused_by_name),
        cmocka_unit_test(names_beyond_the_cap_are_refused),
        cmocka_unit_test(tensors_come_in_the_order_of_their_data_with_scalars_as_one_value),
        cmocka_unit_test(a_header_padded_with_spaces_and_one_without_tensors_are_accepted),
        cmocka_unit_test(a_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(any_byte_changed_is_harmless),
        cmocka_unit_test(refused_memory_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
