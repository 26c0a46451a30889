/* tests/formats/test_gguf_writer.c: what is written is read back; a full disk or refused memory
 * leaves the old file as it was and no temporary one; wrong use is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "formats/gguf.h"
#include "formats/tempdir.h"
#include "formats/writersweep.h"

static struct tensor shaped(enum dtype dtype, uint32_t rank, size_t a, size_t b, size_t c)
{
    struct tensor t;
    size_t shape[3] = {a, b, c};
    assert_int_equal(tensor_init(&t, dtype, rank, shape, NULL), ERR_OK);
    return t;
}

struct sample {
    const char *name;
    struct tensor tensor;
    uint8_t data[1024];
};

enum { SAMPLES = 5 };

static void make_samples(struct sample *s)
{
    struct rng r;
    rng_seed(&r, 7);
    s[0] = (struct sample){.name = "token_embd.weight", .tensor = shaped(DTYPE_F32, 2, 3, 5, 1)};
    s[1] = (struct sample){.name = "blk.0.norm", .tensor = shaped(DTYPE_BF16, 1, 7, 1, 1)};
    s[2] = (struct sample){.name = "blk.0.exps", .tensor = shaped(DTYPE_Q4_K, 3, 2, 3, 256)};
    s[3] = (struct sample){.name = "blk.0.ids", .tensor = shaped(DTYPE_I32, 2, 4, 3, 1)};
    s[4] = (struct sample){.name = "last", .tensor = shaped(DTYPE_Q8_0, 2, 2, 32, 1)};
    for (size_t i = 0; i < SAMPLES; i++) {
        for (size_t b = 0; b < sizeof s[i].data; b++) {
            s[i].data[b] = (uint8_t)rng_u64(&r);
        }
    }
}

static const float floats[] = {0.5f, -1.0f};
static const int32_t ints[] = {-3, 0, 7};
static const struct gguf_string strings[] = {{"a", 1}, {"", 0}, {"\xc4\xa0the", 5}};

static err write_keys(struct gguf_writer *w)
{
    TRY(gguf_writer_string(w, "general.architecture", "llama", 5));
    TRY(gguf_writer_u32(w, "llama.block_count", 1));
    TRY(gguf_writer_f32(w, "llama.eps", 1e-5f));
    TRY(gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true));
    TRY(gguf_writer_strings(w, "tokenizer.ggml.tokens", strings, 3));
    TRY(gguf_writer_i32s(w, "tokenizer.ggml.token_type", ints, 3));
    return gguf_writer_f32s(w, "limits", floats, 2);
}

/* The whole file, data in pieces of `piece` bytes. */
static err write_file(const char *path, const struct sample *s, size_t piece, struct errinfo *info)
{
    struct gguf_writer *w = NULL;
    TRY(gguf_writer_new(path, &w, info));
    err e = write_keys(w);
    for (size_t i = 0; i < SAMPLES && e == ERR_OK; i++) {
        e = gguf_writer_tensor(w, s[i].name, &s[i].tensor, info);
    }
    if (e == ERR_OK) {
        e = gguf_writer_begin_data(w, info);
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t n = tensor_bytes(&s[i].tensor);
        for (size_t at = 0; at < n && e == ERR_OK; at += piece) {
            e = gguf_writer_data(w, s[i].data + at, n - at < piece ? n - at : piece, info);
        }
    }
    if (e == ERR_OK) {
        e = gguf_writer_commit(w, info);
    }
    gguf_writer_free(w);
    return e;
}

static void check_file(const char *path, const struct sample *s)
{
    struct gguf *g = NULL;
    struct errinfo info = {0};
    if (gguf_open(path, &g, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    uint64_t n = 0;
    double d = 0;
    bool b = false;
    struct gguf_string text = {0};
    assert_int_equal(gguf_kv_count(g), 7);
    assert_int_equal(gguf_get_u64(g, "llama.block_count", &n, &info), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(gguf_get_f64(g, "llama.eps", &d, &info), ERR_OK);
    assert_true(d == (double)1e-5f);
    assert_int_equal(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &b, &info), ERR_OK);
    assert_true(b);
    size_t pos = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(gguf_array_string(gguf_find(g, "tokenizer.ggml.tokens"), &pos, &text),
                         ERR_OK);
        assert_int_equal(text.len, strings[i].len);
        assert_memory_equal(text.data, strings[i].data, text.len);
        assert_int_equal(gguf_array_f64(gguf_find(g, "tokenizer.ggml.token_type"), i, &d), ERR_OK);
        assert_true(d == ints[i]);
    }
    assert_int_equal(gguf_array_f64(gguf_find(g, "limits"), 1, &d), ERR_OK);
    assert_true(d == -1.0);
    assert_int_equal(tensortable_count(gguf_tensors(g)), SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        const struct tensortable_entry *e = tensortable_at(gguf_tensors(g), i);
        assert_string_equal(e->name, s[i].name);
        assert_int_equal(e->tensor.dtype, s[i].tensor.dtype);
        assert_int_equal(e->tensor.rank, s[i].tensor.rank);
        assert_memory_equal(e->tensor.shape, s[i].tensor.shape, sizeof e->tensor.shape);
        assert_int_equal(e->offset % 32, 0);
        assert_memory_equal(e->tensor.data, s[i].data, tensor_bytes(&e->tensor));
    }
    gguf_close(g);
}

static void what_is_written_is_read_back_whatever_the_pieces(void **state)
{
    (void)state;
    struct sample s[SAMPLES];
    make_samples(s);
    struct tempdir t;
    tempdir_make(&t);
    for (size_t piece = 1; piece < 2000; piece = piece * 3 + 1) {
        struct errinfo info = {0};
        assert_int_equal(write_file(tempdir_file(&t, "x.gguf"), s, piece, &info), ERR_OK);
        check_file(tempdir_file(&t, "x.gguf"), s);
        assert_int_equal(tempdir_count(&t), 1);
    }
    tempdir_remove(&t);
}

static void copied_keys_are_equal_and_layout_keys_are_left_out(void **state)
{
    (void)state;
    struct sample s[SAMPLES];
    make_samples(s);
    struct tempdir t;
    tempdir_make(&t);
    struct gguf_writer *w = NULL;
    struct gguf *a = NULL, *b = NULL;
    assert_int_equal(gguf_writer_new(tempdir_file(&t, "a.gguf"), &w, NULL), ERR_OK);
    assert_int_equal(write_keys(w), ERR_OK);
    assert_int_equal(gguf_writer_u32(w, "general.alignment", 32), ERR_OK);
    assert_int_equal(gguf_writer_u32(w, "split.count", 1), ERR_OK);
    assert_int_equal(gguf_writer_begin_data(w, NULL), ERR_OK);
    assert_int_equal(gguf_writer_commit(w, NULL), ERR_OK);
    gguf_writer_free(w);
    assert_int_equal(gguf_open(tempdir_file(&t, "a.gguf"), &a, NULL), ERR_OK);
    assert_int_equal(gguf_kv_count(a), 9);
    assert_int_equal(gguf_writer_new(tempdir_file(&t, "b.gguf"), &w, NULL), ERR_OK);
    for (size_t i = 0; i < gguf_kv_count(a); i++) {
        assert_int_equal(gguf_writer_copy_kv(w, gguf_kv_at(a, i)), ERR_OK);
    }
    assert_int_equal(gguf_writer_begin_data(w, NULL), ERR_OK);
    assert_int_equal(gguf_writer_commit(w, NULL), ERR_OK);
    gguf_writer_free(w);
    assert_int_equal(gguf_open(tempdir_file(&t, "b.gguf"), &b, NULL), ERR_OK);
    assert_int_equal(gguf_kv_count(b), 7);
    for (size_t i = 0; i < 7; i++) {
        const struct gguf_kv *x = gguf_kv_at(a, i), *y = gguf_kv_at(b, i);
        assert_int_equal(x->key.len, y->key.len);
        assert_memory_equal(x->key.data, y->key.data, x->key.len);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->elem_type, y->elem_type);
        assert_int_equal(x->count, y->count);
        assert_int_equal(x->size, y->size);
        assert_memory_equal(x->data, y->data, x->size);
    }
    gguf_close(a);
    gguf_close(b);
    tempdir_remove(&t);
}

static void wrong_use_is_refused_and_leaves_no_file(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    struct errinfo info = {0};
    struct gguf_writer *w = NULL;
    struct tensor f32 = shaped(DTYPE_F32, 1, 4, 1, 1), fp8 = shaped(DTYPE_F8_E4M3, 2, 4, 4, 1);
    struct tensor absent = {0};
    char data[32] = {0}, name[65];
    memset(name, 'n', 64);
    name[64] = '\0';
    assert_int_equal(gguf_writer_new(tempdir_file(&t, "no/such/folder.gguf"), &w, &info),
                     ERR_NOTFOUND);
    assert_int_equal(gguf_writer_new(tempdir_file(&t, "x.gguf"), &w, &info), ERR_OK);
    assert_int_equal(gguf_writer_data(w, data, 1, &info), ERR_ARGUMENT);
    assert_int_equal(gguf_writer_commit(w, &info), ERR_ARGUMENT);
    assert_int_equal(gguf_writer_tensor(w, "f", &fp8, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "f8_e4m3"));
    assert_int_equal(gguf_writer_tensor(w, name, &f32, &info), ERR_LIMIT);
    assert_int_equal(gguf_writer_tensor(w, "a", &absent, &info), ERR_ARGUMENT);
    assert_int_equal(gguf_writer_tensor(w, "a", &f32, &info), ERR_OK);
    assert_int_equal(gguf_writer_tensor(w, "a", &f32, &info), ERR_CORRUPT);
    assert_int_equal(gguf_writer_begin_data(w, &info), ERR_OK);
    assert_int_equal(gguf_writer_begin_data(w, &info), ERR_ARGUMENT);
    assert_int_equal(gguf_writer_tensor(w, "b", &f32, &info), ERR_ARGUMENT);
    assert_int_equal(gguf_writer_u32(w, "late", 1), ERR_ARGUMENT);
    assert_int_equal(gguf_writer_data(w, data, 15, &info), ERR_OK);
    assert_int_equal(gguf_writer_commit(w, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "tensor a got 15 of its 16 bytes"));
    assert_int_equal(gguf_writer_data(w, data, 2, &info), ERR_ARGUMENT);
    gguf_writer_free(w);
    gguf_writer_free(NULL);
    assert_int_equal(tempdir_count(&t), 0);
    tempdir_remove(&t);
}

static void doubled_and_malformed_keys_are_named_before_the_file_is_made(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *says;
    } cases[] = {{"k.same", "k.same", "key k.same appears twice"},
                 {"", "b", "a key of 0 bytes"},
                 {"a", "b\n", "not printable ASCII"},
                 {"general.alignment", "b", "general.alignment is 7"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tempdir t;
        tempdir_make(&t);
        struct errinfo info = {0};
        struct gguf_writer *w = NULL;
        assert_int_equal(gguf_writer_new(tempdir_file(&t, "x.gguf"), &w, &info), ERR_OK);
        assert_int_equal(gguf_writer_u32(w, cases[i].first, 7), ERR_OK);
        assert_int_equal(gguf_writer_u32(w, cases[i].second, 7), ERR_OK);
        assert_int_equal(gguf_writer_begin_data(w, &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, cases[i].says));
        gguf_writer_free(w);
        assert_int_equal(tempdir_count(&t), 0);
        tempdir_remove(&t);
    }
}

static err write_samples(const char *path, struct errinfo *info)
{
    struct sample s[SAMPLES];
    make_samples(s);
    return write_file(path, s, 100, info);
}

static void check_samples(const char *path)
{
    struct sample s[SAMPLES];
    make_samples(s);
    check_file(path, s);
}

static const struct writersweep sweep = {"x.gguf", write_samples, check_samples, 15};

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
        cmocka_unit_test(what_is_written_is_read_back_whatever_the_pieces),
        cmocka_unit_test(copied_keys_are_equal_and_layout_keys_are_left_out),
        cmocka_unit_test(wrong_use_is_refused_and_leaves_no_file),
        cmocka_unit_test(doubled_and_malformed_keys_are_named_before_the_file_is_made),
        cmocka_unit_test(a_full_disk_at_any_call_keeps_the_old_file),
        cmocka_unit_test(refused_memory_at_any_call_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
