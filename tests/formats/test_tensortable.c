/* tests/formats/test_tensortable.c: order, search, refusals, ownership. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "formats/tensortable.h"

static struct tensor vector(enum dtype dtype, size_t n, const void *data)
{
    struct tensor t;
    assert_int_equal(tensor_init(&t, dtype, 1, &n, data), ERR_OK);
    return t;
}

static void entries_keep_their_order_and_are_found_by_name(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct tensortable *t = NULL;
    assert_int_equal(tensortable_new(&t, NULL), ERR_OK);
    assert_null(tensortable_find(t, "anything"));
    assert_null(tensortable_find_mutable(t, "anything"));
    for (size_t i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%zu.weight", i);
        struct tensor v = vector(DTYPE_F32, i + 1, NULL);
        assert_int_equal(tensortable_add(t, name, strlen(name), &v, i % 7, 10 * i, NULL), ERR_OK);
    }
    assert_int_equal(tensortable_count(t), N);
    for (size_t i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%zu.weight", i);
        const struct tensortable_entry *e = tensortable_find(t, name);
        assert_ptr_equal(e, tensortable_at(t, i));
        assert_string_equal(e->name, name);
        assert_int_equal(e->tensor.shape[0], i + 1);
        assert_int_equal(e->file, i % 7);
        assert_int_equal(e->offset, 10 * i);
        assert_ptr_equal(tensortable_find_mutable(t, name), e);
    }
    assert_null(tensortable_find(t, "blk.5000.weight"));
    assert_null(tensortable_at(t, N));
    tensortable_free(t);
    tensortable_free(NULL);
}

static void doubled_empty_long_and_unprintable_names_are_refused(void **state)
{
    (void)state;
    struct tensortable *t = NULL;
    struct errinfo info = {0};
    struct tensor v = vector(DTYPE_F32, 1, NULL);
    char longest[TENSORTABLE_NAME_MAX + 2];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(tensortable_new(&t, NULL), ERR_OK);
    assert_int_equal(tensortable_add(t, "a", 1, &v, 0, 0, &info), ERR_OK);
    assert_int_equal(tensortable_add(t, "a", 1, &v, 0, 0, &info), ERR_CORRUPT);
    assert_string_equal(info.message, "tensor a appears twice");
    assert_int_equal(tensortable_add(t, "", 0, &v, 0, 0, &info), ERR_CORRUPT);
    assert_int_equal(tensortable_add(t, longest, TENSORTABLE_NAME_MAX, &v, 0, 0, &info), ERR_OK);
    assert_int_equal(tensortable_add(t, longest, TENSORTABLE_NAME_MAX + 1, &v, 0, 0, &info),
                     ERR_LIMIT);
    static const char *const odd[] = {"a\nb", "a\x1b[2J", "\x7f", "caf\xc3\xa9"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tensortable_add(t, odd[i], strlen(odd[i]), &v, 0, 0, &info), ERR_CORRUPT);
        assert_null(strchr(info.message, '\x1b'));
    }
    assert_int_equal(tensortable_add(t, "a\0b", 3, &v, 0, 0, &info), ERR_CORRUPT);
    assert_int_equal(tensortable_count(t), 2);
    tensortable_free(t);
}

static void misaligned_data_of_every_type_is_copied_and_aligned_data_is_not(void **state)
{
    (void)state;
    uint8_t *memory = mem_alloc_aligned(1024);
    for (size_t i = 0; i < 1024; i++) {
        memory[i] = (uint8_t)(i * 7);
    }
    for (int d = 0; d < DTYPE_COUNT; d++) {
        struct tensortable *t = NULL;
        assert_int_equal(tensortable_new(&t, NULL), ERR_OK);
        size_t align = tensortable_alignment((enum dtype)d);
        for (size_t shift = 0; shift < 9; shift++) {
            char name[8];
            snprintf(name, sizeof name, "t%zu", shift);
            struct tensor v =
                vector((enum dtype)d, dtype_info((enum dtype)d)->block_elems, memory + shift);
            assert_int_equal(tensortable_add(t, name, strlen(name), &v, 0, 0, NULL), ERR_OK);
            const void *data = tensortable_find(t, name)->tensor.data;
            assert_int_equal((uintptr_t)data % align, 0);
            assert_int_equal(data == memory + shift, shift % align == 0);
            assert_memory_equal(data, memory + shift, tensor_bytes(&v));
        }
        tensortable_free(t);
    }
    mem_free_aligned(memory);
}

static void copies_of_misaligned_data_are_bounded(void **state)
{
    (void)state;
    struct tensortable *t = NULL;
    struct errinfo info = {0};
    assert_int_equal(tensortable_new(&t, NULL), ERR_OK);
    /* Never read: the refusal comes before the copy. */
    struct tensor v =
        vector(DTYPE_F32, (size_t)TENSORTABLE_COPY_MAX / 4 + 1, (const void *)(uintptr_t)1);
    assert_int_equal(tensortable_add(t, "huge", 4, &v, 0, 0, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "huge"));
    assert_int_equal(tensortable_count(t), 0);
    tensortable_free(t);
}

static void owned_memory_lives_with_the_table(void **state)
{
    (void)state;
    size_t alive = mem_alive();
    struct tensortable *t = NULL;
    assert_int_equal(tensortable_new(&t, NULL), ERR_OK);
    for (size_t i = 0; i < 100; i++) {
        void *p = NULL;
        assert_int_equal(tensortable_own(t, i, &p, NULL), ERR_OK);
        assert_int_equal((uintptr_t)p % 64, 0);
    }
    tensortable_free(t);
    assert_int_equal(mem_alive(), alive);
}

static void a_refused_allocation_leaves_the_table_as_it_was(void **state)
{
    (void)state;
    char data[8] = {0};
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct tensortable *t = NULL;
        err e = ERR_OK;
        size_t added = 0;
        mem_fault(k, 0);
        e = tensortable_new(&t, NULL);
        for (size_t i = 0; i < 200 && e == ERR_OK; i++) {
            char name[8];
            snprintf(name, sizeof name, "%zu", i);
            struct tensor v = vector(DTYPE_BF16, 1, data + 1);
            e = tensortable_add(t, name, strlen(name), &v, 0, 0, NULL);
            added += e == ERR_OK;
        }
        mem_fault(0, 0);
        if (t) {
            assert_int_equal(tensortable_count(t), added);
            assert_true(added == 0 || tensortable_find(t, "0") != NULL);
            assert_null(tensortable_find(t, "200"));
        }
        tensortable_free(t);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
}

static void shapes_are_written_as_people_write_them(void **state)
{
    (void)state;
    char text[TENSORTABLE_SHAPE_TEXT];
    size_t shape[4] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    struct tensor t = {.rank = 2, .shape = {4096, 512, 1, 1}};
    tensortable_shape_text(&t, text);
    assert_string_equal(text, "[4096, 512]");
    memcpy(t.shape, shape, sizeof shape);
    t.rank = 4;
    tensortable_shape_text(&t, text);
    assert_int_equal(strlen(text), 4 * 20 + 3 * 2 + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_keep_their_order_and_are_found_by_name),
        cmocka_unit_test(doubled_empty_long_and_unprintable_names_are_refused),
        cmocka_unit_test(misaligned_data_of_every_type_is_copied_and_aligned_data_is_not),
        cmocka_unit_test(copies_of_misaligned_data_are_bounded),
        cmocka_unit_test(owned_memory_lives_with_the_table),
        cmocka_unit_test(a_refused_allocation_leaves_the_table_as_it_was),
        cmocka_unit_test(shapes_are_written_as_people_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
