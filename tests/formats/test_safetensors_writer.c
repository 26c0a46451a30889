/* tests/formats/test_safetensors_writer.c: what is written is read back; a full disk or refused
 * memory leaves the old file as it was and no temporary one; wrong use is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/safetensors.h"
#include "formats/tempdir.h"
#include "formats/writersweep.h"

static const enum dtype types[] = {DTYPE_F8_E4M3, DTYPE_F32, DTYPE_F16, DTYPE_BF16,
                                   DTYPE_F8_E8M0, DTYPE_F64, DTYPE_I64, DTYPE_I32,
                                   DTYPE_I16,     DTYPE_I8,  DTYPE_U8,  DTYPE_BOOL};
enum { TYPES = sizeof types / sizeof *types };

static struct tensor shaped(enum dtype dtype, size_t a, size_t b)
{
    struct tensor t;
    size_t shape[2] = {a, b};
    assert_int_equal(tensor_init(&t, dtype, 2, shape, NULL), ERR_OK);
    return t;
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 31 + 5);
}

/* One tensor [3, i + 1] of each type. */
static err write_file(const char *path, size_t piece, struct errinfo *info)
{
    struct safetensors_writer *w = NULL;
    TRY(safetensors_writer_new(path, &w, info));
    err e = ERR_OK;
    size_t total = 0;
    for (size_t i = 0; i < TYPES && e == ERR_OK; i++) {
        struct tensor t = shaped(types[i], 3, i + 1);
        total += tensor_bytes(&t);
        e = safetensors_writer_tensor(w, dtype_info(types[i])->name, &t, info);
    }
    if (e == ERR_OK) {
        e = safetensors_writer_begin_data(w, info);
    }
    for (size_t at = 0; at < total && e == ERR_OK; at += piece) {
        uint8_t data[512];
        size_t n = total - at < piece ? total - at : piece;
        for (size_t i = 0; i < n; i++) {
            data[i] = pattern(at + i);
        }
        e = safetensors_writer_data(w, data, n, info);
    }
    if (e == ERR_OK) {
        e = safetensors_writer_commit(w, info);
    }
    safetensors_writer_free(w);
    return e;
}

static void check_file(const char *path)
{
    struct file_map m;
    struct tensortable *table = NULL;
    struct errinfo info = {0};
    assert_int_equal(file_map_open(path, &m, &info), ERR_OK);
    assert_int_equal(tensortable_new(&table, NULL), ERR_OK);
    if (safetensors_parse(m.data, m.size, path, 0, table, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    assert_int_equal(m.data[0] % 8, 0);
    assert_int_equal(tensortable_count(table), TYPES);
    size_t at = 0;
    for (size_t i = 0; i < TYPES; i++) {
        const struct tensortable_entry *e = tensortable_at(table, i);
        assert_string_equal(e->name, dtype_info(types[i])->name);
        assert_int_equal(e->tensor.dtype, types[i]);
        assert_int_equal(e->tensor.shape[0], 3);
        assert_int_equal(e->tensor.shape[1], i + 1);
        for (size_t b = 0; b < tensor_bytes(&e->tensor); b++) {
            assert_int_equal(((const uint8_t *)e->tensor.data)[b], pattern(at++));
        }
    }
    tensortable_free(table);
    file_map_close(&m);
}

static void every_type_is_read_back_whatever_the_pieces(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    for (size_t piece = 1; piece < 512; piece = piece * 3 + 1) {
        struct errinfo info = {0};
        assert_int_equal(write_file(tempdir_file(&t, "x.safetensors"), piece, &info), ERR_OK);
        check_file(tempdir_file(&t, "x.safetensors"));
        assert_int_equal(tempdir_count(&t), 1);
    }
    tempdir_remove(&t);
}

static void wrong_use_is_refused_and_leaves_no_file(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    struct errinfo info = {0};
    struct safetensors_writer *w = NULL;
    struct tensor f32 = shaped(DTYPE_F32, 2, 2), q8 = shaped(DTYPE_Q8_0, 1, 32), absent = {0};
    char data[32] = {0};
    assert_int_equal(safetensors_writer_new(tempdir_file(&t, "no/folder"), &w, &info),
                     ERR_NOTFOUND);
    assert_int_equal(safetensors_writer_new(tempdir_file(&t, "x"), &w, &info), ERR_OK);
    assert_int_equal(safetensors_writer_data(w, data, 1, &info), ERR_ARGUMENT);
    assert_int_equal(safetensors_writer_commit(w, &info), ERR_ARGUMENT);
    assert_int_equal(safetensors_writer_tensor(w, "q", &q8, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "q8_0"));
    assert_int_equal(safetensors_writer_tensor(w, "__metadata__", &f32, &info), ERR_ARGUMENT);
    assert_int_equal(safetensors_writer_tensor(w, "a", &absent, &info), ERR_ARGUMENT);
    assert_int_equal(safetensors_writer_tensor(w, "", &f32, &info), ERR_CORRUPT);
    assert_int_equal(safetensors_writer_tensor(w, "a", &f32, &info), ERR_OK);
    assert_int_equal(safetensors_writer_tensor(w, "a", &f32, &info), ERR_CORRUPT);
    assert_int_equal(safetensors_writer_begin_data(w, &info), ERR_OK);
    assert_int_equal(safetensors_writer_begin_data(w, &info), ERR_ARGUMENT);
    assert_int_equal(safetensors_writer_tensor(w, "b", &f32, &info), ERR_ARGUMENT);
    assert_int_equal(safetensors_writer_data(w, data, 15, &info), ERR_OK);
    assert_int_equal(safetensors_writer_commit(w, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "got 15 of the declared 16 bytes"));
    assert_int_equal(safetensors_writer_data(w, data, 2, &info), ERR_ARGUMENT);
    safetensors_writer_free(w);
    safetensors_writer_free(NULL);
    assert_int_equal(tempdir_count(&t), 0);
    tempdir_remove(&t);
}

static err write_types(const char *path, struct errinfo *info)
{
    return write_file(path, 100, info);
}

static const struct writersweep sweep = {"x.safetensors", write_types, check_file, 30};

static void a_full_disk_at_any_call_keeps_the_old_file(void **state)
{
    (void)state;
    writersweep_full_disk(&sweep);
}

static void refused_memory_at_any_call_leaves_nothing_behind(void **state)
{
    (void)state;
    writersweep_refused_memory(&sweep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read_back_whatever_the_pieces),
        cmocka_unit_test(wrong_use_is_refused_and_leaves_no_file),
        cmocka_unit_test(a_full_disk_at_any_call_keeps_the_old_file),
        cmocka_unit_test(refused_memory_at_any_call_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
