/* tests/cli/test_inspection.c: what `fathom inspect` finds: known, recognised, foreign and hostile
 * files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/inspection.h"
#include "formats/bytespec.h"
#include "formats/tempdir.h"

static void put_spec(struct tempdir *t, const char *name, const char *spec)
{
    struct strbuf s = {0};
    assert_int_equal(bytespec(&s, spec), ERR_OK);
    tempdir_put(t, name, s.data ? s.data : "", s.len);
    strbuf_deinit(&s);
}

static void put_gguf(struct tempdir *t, const char *architecture)
{
    char spec[512];
    snprintf(spec, sizeof spec,
             "'GGUF' i3 l2 l4 \"general.architecture\" i8 \"%s\" \"x.list\" i9 i5 l3 i1 i2 i3 "
             "\"x.odd\" i8 \"a\x1b[2J\xff\" \"x.inf\" i6 finf "
             "\"a\" i2 l32 l2 i8 l0 \"b\" i1 l4 i0 l96 p32 z68 p32 z16",
             architecture);
    put_spec(t, "m.gguf", spec);
}

static struct inspection *open_gguf(struct tempdir *t, const char *architecture)
{
    struct inspection *i = NULL;
    struct errinfo info = {0};
    put_gguf(t, architecture);
    if (inspection_open(tempdir_file(t, "m.gguf"), &i, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return i;
}

static void classes_to_come_are_named_and_listed(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"deepseek32", "DeepSeek-V3.2"},
                                           {"deepseek4", "DeepSeek-V4"},
                                           {"mamba", "\"mamba\" is not one"}};
    for (size_t c = 0; c < 3; c++) {
        struct tempdir t;
        tempdir_make(&t);
        struct inspection *i = open_gguf(&t, cases[c][0]);
        assert_string_equal(i->architecture, cases[c][0]);
        assert_false(i->has_config);
        assert_non_null(strstr(i->refusal.message, cases[c][1]));
        assert_int_equal(i->total.tensors, 2);
        assert_int_equal(i->total.parameters, 68);
        assert_int_equal(i->total.bytes, 68 + 16);
        assert_int_equal(i->types[DTYPE_Q8_0].bytes, 68);
        assert_int_equal(i->types[DTYPE_F32].parameters, 4);
        assert_null(i->tokenizer);
        inspection_close(i);
        tempdir_remove(&t);
    }
}

static void folders_of_classes_to_come_are_named_whatever_their_quantisation(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"architectures\":[\"DeepseekV32ForCausalLM\"]}", "DeepSeek-V3.2"},
        {"{\"model_type\":\"deepseek_v4\",\"quantization_config\":{\"quant_method\":\"new\"}}",
         "DeepSeek-V4"}};
    for (size_t c = 0; c < 2; c++) {
        struct tempdir t;
        struct inspection *i = NULL;
        struct errinfo info = {0};
        tempdir_make(&t);
        tempdir_text(&t, "config.json", cases[c][0]);
        put_spec(
            &t, "model.safetensors",
            "J{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
            "\"w_scale_inv\":{\"dtype\":\"F8_E8M0\",\"shape\":[1,1],\"data_offsets\":[4,5]}}J z5");
        assert_int_equal(inspection_open(t.path, &i, &info), ERR_OK);
        assert_non_null(strstr(i->refusal.message, cases[c][1]));
        assert_int_equal(i->total.tensors, 2);
        assert_int_equal(i->total.parameters, 4);
        assert_int_equal(i->n_files, 2);
        inspection_close(i);
        tempdir_remove(&t);
    }
}

static void the_json_document_says_everything(void **state)
{
    (void)state;
    struct tempdir t;
    struct errinfo info = {0};
    tempdir_make(&t);
    struct inspection *i = open_gguf(&t, "mamba");
    assert_int_equal(inspection_hash(i, &info), ERR_OK);
    assert_int_equal(strlen(i->files[0].sha256), 64);
    json_t *o = inspection_json(i, true);
    char *text = NULL;
    json_t *again = NULL;
    assert_int_equal(json_text(o, 0, &text), ERR_OK);
    assert_int_equal(json_parse(text, strlen(text), "output", &again, &info), ERR_OK);
    mem_free(text);
    json_decref(o);
    const json_t *config = json_object_get(again, "config"),
                 *tensors = json_object_get(again, "tensors");
    assert_string_equal(json_string_value(json_object_get(config, "x.odd")), "a\x1b[2J?");
    assert_int_equal(json_array_size(json_object_get(config, "x.list")), 3);
    assert_true(json_is_null(json_object_get(config, "x.inf")));
    assert_int_equal(json_array_size(tensors), 2);
    const json_t *a = json_array_get(tensors, 0);
    assert_string_equal(json_string_value(json_object_get(a, "dtype")), "q8_0");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(a, "shape"), 0)), 2);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(a, "shape"), 1)), 32);
    assert_true(json_is_false(json_object_get(again, "runnable")));
    assert_true(json_is_null(json_object_get(again, "class")));
    assert_int_equal(json_array_size(json_object_get(again, "dtypes")), 2);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(again, "files"), 0), "sha256")),
                        i->files[0].sha256);
    json_decref(again);
    inspection_close(i);
    tempdir_remove(&t);
}

static void layers_are_told_apart_from_those_that_guess(void **state)
{
    (void)state;
    char text[INSPECTION_LAYERS_TEXT];
    struct config c = {.num_hidden_layers = 8, .num_nextn_predict_layers = 1};
    assert_string_equal(inspection_layers_text(&c, text), "8 layers and 1 that guesses ahead (MTP)");
    c = (struct config){.num_hidden_layers = 1};
    assert_string_equal(inspection_layers_text(&c, text), "1 layer");
}

static void hashes_are_those_of_the_bytes(void **state)
{
    (void)state;
    struct tempdir t;
    struct inspection *i = NULL;
    tempdir_make(&t);
    put_spec(&t, "x.safetensors", "J{}J");
    assert_int_equal(inspection_open(tempdir_file(&t, "x.safetensors"), &i, NULL), ERR_OK);
    assert_int_equal(inspection_hash(i, NULL), ERR_OK);
    /* printf '\2\0\0\0\0\0\0\0{}' | sha256sum */
    assert_string_equal(i->files[0].sha256,
                        "411a485216e432ece6b9af94fa32154cf79a2a56d4f81266baa50063f45092bd");
    inspection_close(i);
    inspection_close(NULL);
    tempdir_remove(&t);
}

static void refused_memory_is_an_error_without_a_leak(void **state)
{
    (void)state;
    struct tempdir t;
    tempdir_make(&t);
    put_gguf(&t, "mamba");
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct inspection *i = NULL;
        struct errinfo info = {0};
        json_t *o = NULL;
        mem_fault(k, 0);
        err e = inspection_open(tempdir_file(&t, "m.gguf"), &i, &info);
        if (e == ERR_OK) {
            o = inspection_json(i, true);
        }
        size_t attempts = mem_attempts();
        mem_fault(0, 0);
        json_decref(o);
        if (o) {
            if (attempts >= k) {
                fail_msg("allocation %zu of %zu failed unnoticed: %s", k, attempts,
                         i->refusal.message);
            }
            inspection_close(i);
            assert_int_equal(mem_alive(), alive);
            break;
        }
        inspection_close(i);
        assert_int_equal(mem_alive(), alive);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
    }
    tempdir_remove(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_to_come_are_named_and_listed),
        cmocka_unit_test(folders_of_classes_to_come_are_named_whatever_their_quantisation),
        cmocka_unit_test(the_json_document_says_everything),
        cmocka_unit_test(layers_are_told_apart_from_those_that_guess),
        cmocka_unit_test(hashes_are_those_of_the_bytes),
        cmocka_unit_test(refused_memory_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
