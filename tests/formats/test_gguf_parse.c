/* tests/formats/test_gguf_parse.c: hostile GGUF bytes: every handcrafted kind is refused with the
 * right code and a message that names the problem; a valid file cut at any byte is refused; refused
 * memory is an error without a leak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/bytespec.h"
#include "formats/gguf.h"

/* Two keys, two tensors: t1 f32 [2, 4] at 0, t2 q8_0 [32] at 32. */
static const char valid[] = "'GGUF' i3 l2 l2 \"general.architecture\" i8 \"llama\" "
                            "\"general.alignment\" i4 i32 "
                            "\"t1\" i2 l4 l2 i0 l0 \"t2\" i1 l32 i8 l32 p32 z32 z34";

static err parse_spec(const char *spec, struct errinfo *info)
{
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, spec), ERR_OK);
    /* An exact copy, so that a sanitizer sees a read past the end. */
    uint8_t *exact = mem_alloc_aligned(s.len);
    memcpy(exact, s.data ? s.data : "", s.len);
    struct gguf *g = NULL;
    err e = gguf_parse(exact, s.len, "bad.gguf", &g, info);
    strbuf_deinit(&s);
    gguf_close(g);
    mem_free_aligned(exact);
    return e;
}

struct bad {
    const char *spec;
    err code;
    const char *says;
};

static const struct bad bad_files[] = {
    /* header */
    {"", ERR_CORRUPT, "does not begin with \"GGUF\""},
    {"'GGU'", ERR_CORRUPT, "not a GGUF file"},
    {"'GGML' i3 l0 l0", ERR_CORRUPT, "not a GGUF file"},
    {"'PK' z40", ERR_CORRUPT, "not a GGUF file"},
    {"'GGUF' i1 i0 i0 z64", ERR_UNSUPPORTED, "version 1"},
    {"'GGUF' i4 l0 l0", ERR_UNSUPPORTED, "version 4"},
    {"'GGUF' i0 l0 l0", ERR_UNSUPPORTED, "version 0"},
    {"'GGUF' i0x03000000 l0 l0", ERR_UNSUPPORTED, "big-endian"},
    {"'GGUF' i3 l0", ERR_CORRUPT, "inside the key count"},
    {"'GGUF' i3 l0 l1000", ERR_CORRUPT, "do not fit"},
    {"'GGUF' i3 l0 l0xffffffffffffffff", ERR_LIMIT, "keys; at most"},
    {"'GGUF' i3 l0xffffffffffffffff l0", ERR_LIMIT, "tensors; at most"},
    {"'GGUF' i3 l1000 l0 z1000", ERR_CORRUPT, "do not fit"},
    /* keys */
    {"'GGUF' i3 l0 l1 l0xffffffffffffffff 'k' i4 i1", ERR_CORRUPT,
     "a key claims 18446744073709551615"},
    {"'GGUF' i3 l0 l1 l100 'k' i4 i1", ERR_CORRUPT, "a key claims 100 bytes"},
    {"'GGUF' i3 l0 l1 \"\" i4 i1 z10", ERR_CORRUPT, "a key of 0 bytes"},
    {"'GGUF' i3 l0 l1 l70000 z70000 i4 i1", ERR_CORRUPT, "a key of 70000 bytes"},
    {"'GGUF' i3 l0 l1 l3 'a' b0 'b' i4 i1", ERR_CORRUPT, "not printable ASCII"},
    {"'GGUF' i3 l0 l1 l3 'a' b0x1b 'b' i4 i1", ERR_CORRUPT, "not printable ASCII"},
    {"'GGUF' i3 l0 l1 \"k\" i13 i1", ERR_CORRUPT, "key k has value type 13"},
    {"'GGUF' i3 l0 l1 \"k\" i0xffffffff i1", ERR_CORRUPT, "value type 4294967295"},
    {"'GGUF' i3 l0 l1 \"key\" i10 i1", ERR_CORRUPT, "key key claims 1 values"},
    {"'GGUF' i3 l0 l1 \"k\" i7 b2 z9", ERR_CORRUPT, "key k holds the byte 2 as a bool"},
    {"'GGUF' i3 l0 l1 \"k\" i8 l9 'short'", ERR_CORRUPT, "a string claims 9 bytes"},
    {"'GGUF' i3 l0 l1 \"k\" i9 i9 l1 i4 l1 i7", ERR_UNSUPPORTED, "array of arrays"},
    {"'GGUF' i3 l0 l1 \"k\" i9 i99 l1 i4", ERR_CORRUPT, "value type 99"},
    {"'GGUF' i3 l0 l1 \"k\" i9 i4 l5 i1", ERR_CORRUPT, "key k claims 5 values"},
    {"'GGUF' i3 l0 l1 \"k\" i9 i4 l0x4000000000000001 i1", ERR_CORRUPT,
     "claims 4611686018427387905"},
    {"'GGUF' i3 l0 l1 \"k\" i9 i8 l0x2000000000000001 \"a\"", ERR_CORRUPT,
     "claims 2305843009213693953"},
    {"'GGUF' i3 l0 l1 \"k\" i9 i8 l2 \"a\" l0xfffffffffffffff0 z8", ERR_CORRUPT, "a string claims"},
    {"'GGUF' i3 l0 l1 \"k\" i9 i7 l3 b1 b0 b9", ERR_CORRUPT, "holds the byte 9"},
    {"'GGUF' i3 l0 l2 \"k\" i4 i1 \"k\" i4 i2", ERR_CORRUPT, "key k appears twice"},
    {"'GGUF' i3 l0 l1 \"general.alignment\" i4 i0", ERR_CORRUPT, "general.alignment is 0"},
    {"'GGUF' i3 l0 l1 \"general.alignment\" i4 i24", ERR_CORRUPT, "general.alignment is 24"},
    {"'GGUF' i3 l0 l1 \"general.alignment\" i4 i8192", ERR_CORRUPT, "general.alignment is 8192"},
    {"'GGUF' i3 l0 l1 \"general.alignment\" i8 \"32\"", ERR_CORRUPT, "not a whole number"},
    {"'GGUF' i3 l0 l1 \"general.alignment\" i5 i0xffffffff", ERR_CORRUPT, "not a whole number"},
    /* tensors */
    {"'GGUF' i3 l1 l0 l300 z300 i1 l4 i0 l0 p32 z16", ERR_LIMIT, "has 300 bytes"},
    {"'GGUF' i3 l1 l0 l0xffffffffffffffff z40", ERR_CORRUPT, "the name of a tensor claims"},
    {"'GGUF' i3 l1 l0 \"\" i1 l4 i0 l0 p32 z16", ERR_CORRUPT, "empty name"},
    {"'GGUF' i3 l1 l0 l2 'a' b10 i1 l4 i0 l0 p32 z16", ERR_CORRUPT, "byte 0x0a"},
    {"'GGUF' i3 l1 l0 \"t\" i0 i0 l0 p32 z32", ERR_CORRUPT, "tensor t has 0 dimensions"},
    {"'GGUF' i3 l1 l0 \"t\" i5 l1 l1 l1 l1 l1 i0 l0 p32 z16", ERR_CORRUPT, "has 5 dimensions"},
    {"'GGUF' i3 l1 l0 \"t\" i0xffffffff l1 i0 l0 p32 z16", ERR_CORRUPT, "4294967295 dimensions"},
    {"'GGUF' i3 l1 l0 \"t\" i2 l4 l0 i0 l0 p32 z16", ERR_CORRUPT, "a dimension of 0"},
    {"'GGUF' i3 l1 l0 \"t\" i2 l0x100000000 l0x100000000 i0 l0 p32 z16", ERR_CORRUPT, "overflows"},
    {"'GGUF' i3 l1 l0 \"t\" i1 l0x4000000000000000 i0 l0 p32 z16", ERR_CORRUPT, "overflows"},
    {"'GGUF' i3 l1 l0 \"weird.weight\" i1 l4 i99 l0 p32 z16", ERR_UNSUPPORTED,
     "tensor weird.weight has ggml type 99"},
    {"'GGUF' i3 l1 l0 \"t\" i1 l32 i4 l0 p32 z64", ERR_UNSUPPORTED, "ggml type 4"},
    {"'GGUF' i3 l1 l0 \"t\" i1 l33 i8 l0 p32 z64", ERR_CORRUPT,
     "rows of 33 values; expected a multiple of 32"},
    {"'GGUF' i3 l1 l0 \"t\" i2 l128 l2 i12 l0 p32 z144", ERR_CORRUPT, "expected a multiple of 256"},
    {"'GGUF' i3 l1 l0 \"t\" i1 l4 i0 l4 p32 z64", ERR_CORRUPT,
     "offset 4, not a multiple of the alignment"},
    {"'GGUF' i3 l1 l0 \"t\" i1 l4 i0 l32 p32 z16", ERR_CORRUPT, "the file ends at byte"},
    {"'GGUF' i3 l1 l0 \"t\" i1 l4 i0 l0xffffffffffffffe0 p32 z16", ERR_CORRUPT,
     "tensor t needs 16 bytes"},
    {"'GGUF' i3 l1 l0 \"t\" i1 l4 i0 l0", ERR_CORRUPT, "incomplete"},
    {"'GGUF' i3 l2 l0 \"t\" i1 l4 i0 l0 \"t\" i1 l4 i0 l32 p32 z64", ERR_CORRUPT,
     "tensor t appears twice"},
    {"'GGUF' i3 l2 l0 \"t\" i1 l16 i0 l0 \"u\" i1 l4 i0 l32 p32 z64", ERR_CORRUPT,
     "tensors t and u overlap"},
    {"'GGUF' i3 l2 l0 \"t\" i1 l4 i0 l0 \"u\" i1 l4 i0 l0 p32 z64", ERR_CORRUPT, "overlap at byte"},
};

static void every_handcrafted_bad_file_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        const struct bad *b = &bad_files[i];
        struct errinfo info = {0};
        size_t alive = mem_alive();
        err e = parse_spec(b->spec, &info);
        if (e != b->code || !strstr(info.message, b->says) || !strstr(info.message, "bad.gguf")) {
            fail_msg("file %zu (%s): %s: %s; expected %s: %s", i, b->spec, err_name(e),
                     info.message, err_name(b->code), b->says);
        }
        assert_int_equal(info.code, e);
        assert_int_equal(mem_alive(), alive);
        assert_int_equal(parse_spec(b->spec, NULL), b->code);
    }
}

static void valid_files_of_every_shape_are_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {
        valid,
        "'GGUF' i3 l0 l0",
        "'GGUF' i2 l0 l1 \"k\" i8 \"\"",
        "'GGUF' i3 l0 l1 \"k\" i9 i8 l0",
        /* every scalar type */
        "'GGUF' i3 l0 l12 \"a\" i0 b1 \"b\" i1 b1 \"c\" i2 h1 \"d\" i3 h1 \"e\" i4 i1 \"f\" i5 i1 "
        "\"g\" i6 f1 "
        "\"h\" i7 b1 \"i\" i8 \"x\" \"j\" i10 l1 \"k\" i11 l1 \"l\" i12 d1",
        /* alignments 1 and 4096; the data of t is then at an odd address */
        "'GGUF' i3 l1 l1 \"general.alignment\" i4 i1 \"t\" i1 l4 i0 l1 z1 z16",
        "'GGUF' i3 l1 l1 \"general.alignment\" i10 l4096 \"t\" i1 l4 i0 l0 p4096 z16",
        /* types that can be inspected, not computed with: iq2_xxs, f64 */
        "'GGUF' i3 l2 l0 \"t\" i1 l256 i16 l0 \"u\" i1 l2 i28 l96 p32 z96 z16",
        /* data in another order than the infos, and a gap */
        "'GGUF' i3 l2 l0 \"t\" i1 l4 i0 l96 \"u\" i4 l1 l1 l1 l4 i0 l0 p32 z112",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct errinfo info = {0};
        if (parse_spec(good[i], &info) != ERR_OK) {
            fail_msg("file %zu (%s): %s", i, good[i], info.message);
        }
    }
}

static void a_file_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, valid), ERR_OK);
    for (size_t n = 0; n < s.len; n++) {
        uint8_t *exact = mem_alloc_aligned(n);
        memcpy(exact, s.data, n);
        struct errinfo info = {0};
        struct gguf *g = NULL;
        assert_int_equal(gguf_parse(exact, n, "cut.gguf", &g, &info), ERR_CORRUPT);
        assert_null(g);
        assert_non_null(strstr(info.message, "cut.gguf"));
        mem_free_aligned(exact);
    }
    strbuf_deinit(&s);
}

static err parse_and_close(const uint8_t *data, size_t n, struct errinfo *info)
{
    struct gguf *g = NULL;
    err e = gguf_parse(data, n, "changed.gguf", &g, info);
    gguf_close(g);
    return e;
}

static void any_byte_changed_is_harmless(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, valid), ERR_OK);
    assert_int_equal(bytespec_change_each(&s, 1, parse_and_close), ERR_OK);
    strbuf_deinit(&s);
}

static void misaligned_data_is_copied_to_an_aligned_place(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, "'GGUF' i3 l1 l1 \"general.alignment\" i4 i1 \"t\" i1 l2 i0 l0"),
                     ERR_OK);
    size_t offset = s.len;
    assert_int_equal(bytespec(&s, "f1.5 f-2"), ERR_OK);
    uint8_t *memory = mem_alloc_aligned(s.len + 4);
    for (size_t shift = 0; shift < 4; shift++) {
        memcpy(memory + shift, s.data, s.len);
        struct gguf *g = NULL;
        assert_int_equal(gguf_parse(memory + shift, s.len, "odd.gguf", &g, NULL), ERR_OK);
        const struct tensortable_entry *e = tensortable_find(gguf_tensors(g), "t");
        assert_int_equal((uintptr_t)e->tensor.data % 4, 0);
        assert_int_equal(e->offset, offset);
        const float *v = e->tensor.data;
        assert_true(v[0] == 1.5f && v[1] == -2.0f);
        gguf_close(g);
    }
    mem_free_aligned(memory);
    strbuf_deinit(&s);
}

static void a_refused_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, valid), ERR_OK);
    /* At an odd address, so that the copies are part of the sweep. */
    char *memory = mem_alloc(s.len + 1);
    memcpy(memory + 1, s.data, s.len);
    size_t alive = mem_alive();
    for (int later = 0; later < 2; later++) {
        size_t k = 1;
        for (;; k++) {
            struct errinfo info = {0};
            struct gguf *g = NULL;
            mem_fault(k, later);
            err e = gguf_parse((const uint8_t *)memory + 1, s.len, "x.gguf", &g, &info);
            mem_fault(0, 0);
            if (e == ERR_OK) {
                gguf_close(g);
                break;
            }
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(info.code, ERR_NOMEM);
            assert_non_null(strstr(info.message, "out of memory"));
            assert_int_equal(mem_alive(), alive);
        }
        assert_true(k > 8);
        assert_int_equal(mem_alive(), alive);
    }
    mem_free(memory);
    strbuf_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_handcrafted_bad_file_is_refused_by_name),
        cmocka_unit_test(valid_files_of_every_shape_are_accepted),
        cmocka_unit_test(a_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(any_byte_changed_is_harmless),
        cmocka_unit_test(misaligned_data_is_copied_to_an_aligned_place),
        cmocka_unit_test(a_refused_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
