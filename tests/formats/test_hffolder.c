/* tests/formats/test_hffolder.c: folders with one or many weight files, FP8 scales, and every kind
 * of broken folder. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/bytespec.h"
#include "formats/hffolder.h"
#include "formats/tempdir.h"

static void put_spec(struct tempdir *t, const char *name, const char *spec)
{
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, spec), ERR_OK);
    tempdir_put(t, name, s.data ? s.data : "", s.len);
    strbuf_deinit(&s);
}

static const char shard_a[] =
    "J{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J f1";
static const char shard_b[] =
    "J{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}J f2";
static const char index_ab[] =
    "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"b\":\"m-2.safetensors\","
    "\"a\":\"m-1.safetensors\"}}";
static const char config_fp8[] =
    "{\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\","
    "\"weight_block_size\":[128,128],\"activation_scheme\":\"dynamic\"}}";

static void one_file_and_its_config_are_read(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    tempdir_text(&t, "config.json", "{\"model_type\":\"llama\",\"hidden_size\":64}");
    put_spec(&t, "model.safetensors", shard_a);
    char slashed[80];
    snprintf(slashed, sizeof slashed, "%s//", t.path);
    struct hffolder *h = NULL;
    struct errinfo info = {0};
    assert_int_equal(hffolder_open(slashed, &h, &info), ERR_OK);
    size_t n = 0;
    assert_int_equal(json_get_size(hffolder_config(h), "c", "hidden_size", &n, &info), ERR_OK);
    assert_int_equal(n, 64);
    assert_string_equal(hffolder_path(h), t.path);
    assert_int_equal(hffolder_file_count(h), 1);
    assert_string_equal(hffolder_file_path(h, 0), tempdir_file(&t, "model.safetensors"));
    assert_int_equal(hffolder_file_size(h, 0), sizeof shard_a - 1 - 2 - 3 + 8 + 4);
    assert_int_equal(tensortable_count(hffolder_tensors(h)), 1);
    hffolder_close(h);
    hffolder_close(NULL);
    tempdir_remove(&t);
}

static void shards_are_found_through_the_index(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    tempdir_text(&t, "config.json", "{}");
    tempdir_text(&t, "model.safetensors.index.json", index_ab);
    put_spec(&t, "m-1.safetensors", shard_a);
    put_spec(&t, "m-2.safetensors", shard_b);
    struct hffolder *h = NULL;
    struct errinfo info = {0};
    assert_int_equal(hffolder_open(t.path, &h, &info), ERR_OK);
    assert_int_equal(hffolder_file_count(h), 2);
    const struct tensortable_entry *b = tensortable_find(hffolder_tensors(h), "b");
    assert_int_equal(b->file, 1);
    float v;
    memcpy(&v, b->tensor.data, sizeof v);
    assert_true(v == 2.0f);
    hffolder_close(h);
    tempdir_remove(&t);
}

static const struct {
    const char *config, *index; /* NULL: no such file */
    const char *a, *b;          /* specs of m-1 and m-2.safetensors */
    err code;
    const char *says;
} bad_folders[] = {
    {NULL, index_ab, shard_a, shard_b, ERR_NOTFOUND, "config.json"},
    {"{", index_ab, shard_a, shard_b, ERR_CORRUPT, "config.json, line 1"},
    {"[]", index_ab, shard_a, shard_b, ERR_CORRUPT, "config.json holds an array"},
    {"{\"a\":1,\"a\":2}", index_ab, shard_a, shard_b, ERR_CORRUPT, "duplicate"},
    {"{}", NULL, shard_a, shard_b, ERR_NOTFOUND, "only safetensors"},
    {"{}", "[]", shard_a, shard_b, ERR_CORRUPT, "index.json holds an array"},
    {"{}", "{}", shard_a, shard_b, ERR_CORRUPT, "weight_map is nothing"},
    {"{}", "{\"weight_map\":[]}", shard_a, shard_b, ERR_CORRUPT, "weight_map is an array"},
    {"{}", "{\"weight_map\":{}}", shard_a, shard_b, ERR_CORRUPT, "weight_map is empty"},
    {"{}", "{\"weight_map\":{\"a\":1}}", shard_a, shard_b, ERR_CORRUPT, "tensor a is an integer"},
    {"{}", "{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}", shard_a, shard_b, ERR_CORRUPT,
     "tensor a is ../m-1"},
    {"{}", "{\"weight_map\":{\"a\":\"/etc/m.safetensors\"}}", shard_a, shard_b, ERR_CORRUPT,
     "is /etc/m"},
    {"{}", "{\"weight_map\":{\"a\":\"x/m-1.safetensors\"}}", shard_a, shard_b, ERR_CORRUPT,
     "is x/m-1"},
    {"{}", "{\"weight_map\":{\"a\":\"..\\\\m.safetensors\"}}", shard_a, shard_b, ERR_CORRUPT,
     "expected the name"},
    {"{}", "{\"weight_map\":{\"a\":\"..\"}}", shard_a, shard_b, ERR_CORRUPT, "expected the name"},
    {"{}", "{\"weight_map\":{\"a\":\"\"}}", shard_a, shard_b, ERR_CORRUPT, "expected the name"},
    {"{}", "{\"weight_map\":{\"a\":\".safetensors\"}}", shard_a, shard_b, ERR_CORRUPT,
     "expected the name"},
    {"{}", "{\"weight_map\":{\"a\":\"config.json\"}}", shard_a, shard_b, ERR_CORRUPT,
     "expected the name"},
    {"{}", "{\"weight_map\":{\"a\":\"m\\n.safetensors\"}}", shard_a, shard_b, ERR_CORRUPT,
     "expected the name"},
    {"{}", index_ab, shard_a, NULL, ERR_NOTFOUND, "m-2.safetensors (2 of 2) is missing"},
    {"{}", index_ab, shard_b, shard_a, ERR_CORRUPT,
     "tensor b into m-2.safetensors, but it lies in m-1"},
    {"{}", index_ab, shard_a, shard_a, ERR_CORRUPT, "tensor a appears twice"},
    {"{}", index_ab, shard_a, "J{}J", ERR_CORRUPT,
     "tensor b into m-2.safetensors, but no file has it"},
    {"{}", index_ab, shard_a, "", ERR_CORRUPT, "m-2.safetensors has 0 bytes"},
    {"{\"quantization_config\":1}", index_ab, shard_a, shard_b, ERR_CORRUPT, "quantization_config"},
    {"{\"quantization_config\":{}}", index_ab, shard_a, shard_b, ERR_CORRUPT,
     "\"quant_method\" is missing"},
    {"{\"quantization_config\":{\"quant_method\":\"gptq\"}}", index_ab, shard_a, shard_b,
     ERR_UNSUPPORTED, "quant_method \"gptq\""},
    {"{\"quantization_config\":{\"quant_method\":\"fp8\"}}", index_ab, shard_a, shard_b,
     ERR_UNSUPPORTED, "weight_block_size must be [128, 128]"},
    {"{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[64,128]}}",
     index_ab, shard_a, shard_b, ERR_UNSUPPORTED, "weight_block_size"},
    {"{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128],\"fmt\":"
     "\"e5m2\"}}",
     index_ab, shard_a, shard_b, ERR_UNSUPPORTED, "fmt must be"},
    {config_fp8, index_ab,
     "J{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]}}J z4", shard_b,
     ERR_CORRUPT, "tensor a has no a_scale_inv"},
    {config_fp8, index_ab,
     "J{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
     "\"a_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[4,12]}}J z12",
     shard_b, ERR_CORRUPT, "a is [2, 2] and its scale is [2, 1]"},
    {config_fp8, index_ab,
     "J{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"a_scale_inv\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}J z8",
     shard_b, ERR_CORRUPT, "a is [4] and its scale is [1]"},
    {config_fp8, index_ab,
     "J{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
     "\"a_scale_inv\":{\"dtype\":\"F16\",\"shape\":[1,1],\"data_offsets\":[4,6]}}J z6",
     shard_b, ERR_UNSUPPORTED, "a_scale_inv has type f16"},
    {config_fp8, index_ab,
     "J{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
     "\"a_scale_inv\":{\"dtype\":\"F8_E8M0\",\"shape\":[1,1],\"data_offsets\":[4,5]}}J z4 b255",
     shard_b, ERR_CORRUPT, "value 0 of a_scale_inv is not a number"},
};

static void every_kind_of_broken_folder_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_folders / sizeof *bad_folders; i++) {
        struct tempdir t;
        tempdir_make(&t);
        if (bad_folders[i].config) {
            tempdir_text(&t, "config.json", bad_folders[i].config);
        }
        if (bad_folders[i].index) {
            tempdir_text(&t, "model.safetensors.index.json", bad_folders[i].index);
        }
        if (bad_folders[i].a) {
            put_spec(&t, "m-1.safetensors", bad_folders[i].a);
        }
        if (bad_folders[i].b) {
            put_spec(&t, "m-2.safetensors", bad_folders[i].b);
        }
        struct errinfo info = {0};
        struct hffolder *h = NULL;
        size_t alive = mem_alive();
        err e = hffolder_open(t.path, &h, &info);
        if (e != bad_folders[i].code || !strstr(info.message, bad_folders[i].says) ||
            !strstr(info.message, t.path)) {
            fail_msg("folder %zu: %s: %s; expected %s: %s", i, err_name(e), info.message,
                     err_name(bad_folders[i].code), bad_folders[i].says);
        }
        assert_int_equal(mem_alive(), alive);
        tempdir_remove(&t);
    }
}

static void what_is_no_folder_is_said_so(void **state)
{
    (void)state;
    struct hffolder *h = NULL;
    struct errinfo info = {0};
    assert_int_equal(hffolder_open("no/such/folder", &h, &info), ERR_NOTFOUND);
    assert_int_equal(hffolder_open("LICENSE", &h, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "LICENSE is not a folder"));
}

/* A [129, 257] weight needs 2 x 3 scales; the shard starts with one byte so that floats lie
 * misaligned. */
static void fp8_folder(struct tempdir *t, const char *scale_dtype, size_t scale_size,
                       const char *scales)
{
    char spec[1024];
    snprintf(
        spec, sizeof spec,
        "J{\"pad\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"w.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[129,257],\"data_offsets\":[1,33154]},"
        "\"w.weight_scale_inv\":{\"dtype\":\"%s\",\"shape\":[2,3],\"data_offsets\":[33154,%zu]}}J "
        "z1 z33153 %s",
        scale_dtype, 33154 + 6 * scale_size, scales);
    tempdir_text(t, "config.json", config_fp8);
    put_spec(t, "model.safetensors", spec);
}

static void fp8_scales_of_every_stored_type_are_attached_as_f32(void **state)
{
    (void)state;
    static const struct {
        const char *dtype;
        size_t size;
        const char *spec;
        float first, last;
    } cases[] = {{"F32", 4, "f0.5 f1 f1 f1 f1 f3", 0.5f, 3.0f},
                 {"BF16", 2, "h0x3f00 h0x3f80 h0x3f80 h0x3f80 h0x3f80 h0x4040", 0.5f, 3.0f},
                 {"F8_E8M0", 1, "b126 b127 b127 b127 b127 b129", 0.5f, 4.0f},
                 {"F8_E8M0", 1, "b0 b127 b127 b127 b127 b254", 0x1p-127f, 0x1p127f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tempdir t;
        tempdir_make(&t);
        fp8_folder(&t, cases[i].dtype, cases[i].size, cases[i].spec);
        struct hffolder *h = NULL;
        struct errinfo info = {0};
        if (hffolder_open(t.path, &h, &info) != ERR_OK) {
            fail_msg("%s", info.message);
        }
        const struct tensor *w = &tensortable_find(hffolder_tensors(h), "w.weight")->tensor;
        assert_non_null(w->scale);
        assert_int_equal((uintptr_t)w->scale % 4, 0);
        assert_true(w->scale[0] == cases[i].first);
        assert_true(w->scale[1] == 1.0f);
        assert_true(w->scale[5] == cases[i].last);
        hffolder_close(h);
        assert_int_equal(hffolder_open_listing(t.path, &h, &info), ERR_OK);
        assert_null(tensortable_find(hffolder_tensors(h), "w.weight")->tensor.scale);
        hffolder_close(h);
        tempdir_remove(&t);
    }
}

static void fused_fp8_experts_take_one_scale_plane_each(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    tempdir_text(&t, "config.json", config_fp8);
    put_spec(&t, "model.safetensors",
             "J{\"e\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,1,129],\"data_offsets\":[0,258]},"
             "\"e_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,1,2],\"data_offsets\":[258,274]}}J "
             "z258 f1 f2 f3 f4");
    struct hffolder *h = NULL;
    struct errinfo info = {0};
    assert_int_equal(hffolder_open(t.path, &h, &info), ERR_OK);
    struct tensor second = tensor_slice(&tensortable_find(hffolder_tensors(h), "e")->tensor, 1);
    assert_true(second.scale[0] == 3.0f && second.scale[1] == 4.0f);
    hffolder_close(h);
    tempdir_remove(&t);
}

static void a_listing_opens_what_running_refuses(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    tempdir_text(&t, "config.json", "{\"quantization_config\":{\"quant_method\":\"gptq\"}}");
    put_spec(&t, "model.safetensors",
             "J{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]}}J z4");
    struct hffolder *h = NULL;
    struct errinfo info = {0};
    assert_int_equal(hffolder_open(t.path, &h, &info), ERR_UNSUPPORTED);
    assert_int_equal(hffolder_open_listing(t.path, &h, &info), ERR_OK);
    assert_int_equal(tensortable_count(hffolder_tensors(h)), 1);
    hffolder_close(h);
    tempdir_remove(&t);
}

static void refused_memory_is_an_error_without_a_leak(void **state)
{
    (void)state;
    for (int sharded = 0; sharded < 2; sharded++) {
        struct tempdir t;
        tempdir_make(&t);
        if (sharded) {
            tempdir_text(&t, "config.json", "{}");
            tempdir_text(&t, "model.safetensors.index.json", index_ab);
            put_spec(&t, "m-1.safetensors", shard_a);
            put_spec(&t, "m-2.safetensors", shard_b);
        } else {
            fp8_folder(&t, "BF16", 2, "h1 h1 h1 h1 h1 h1");
        }
        size_t alive = mem_alive();
        for (size_t k = 1;; k++) {
            struct hffolder *h = NULL;
            struct errinfo info = {0};
            mem_fault(k, 0);
            err e = hffolder_open(t.path, &h, &info);
            size_t attempts = mem_attempts();
            mem_fault(0, 0);
            hffolder_close(h);
            assert_int_equal(mem_alive(), alive);
            if (e == ERR_OK) {
                assert_true(attempts == k - 1); /* every failure before was reported */
                break;
            }
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(info.code, ERR_NOMEM);
        }
        tempdir_remove(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file_and_its_config_are_read),
        cmocka_unit_test(shards_are_found_through_the_index),
        cmocka_unit_test(every_kind_of_broken_folder_is_refused_by_name),
        cmocka_unit_test(what_is_no_folder_is_said_so),
        cmocka_unit_test(fp8_scales_of_every_stored_type_are_attached_as_f32),
        cmocka_unit_test(fused_fp8_experts_take_one_scale_plane_each),
        cmocka_unit_test(a_listing_opens_what_running_refuses),
        cmocka_unit_test(refused_memory_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
