/* tests/model/test_model_truncated.c: model files cut off at every byte, opened as a whole model: every
 * one is refused with the file named, none opens by chance, nothing leaks. The models are the smallest
 * there are: the first inputs of the fuzzers, and a folder put together from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/tempdir.h"
#include "model/model.h"

static const char CONFIG[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":8,\"hidden_size\":8,"
    "\"num_hidden_layers\":1,\"intermediate_size\":8,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":1,\"head_dim\":4,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,"
    "\"rope_theta\":10000.0,\"tie_word_embeddings\":true}";
static const char TOKENIZER[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":7,\"content\":\"<|e|>\",\"special\":true}],"
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
    "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,"
    "\"ab\":2},\"merges\":[\"a b\"]}}";
static const char SPECIALS[] = "{\"eos_token\":\"<|e|>\",\"add_bos_token\":false}";
static const char INDEX[] = "{\"metadata\":{\"total_size\":2152},\"weight_map\":{"
                            "\"model.embed_tokens.weight\":\"m.safetensors\","
                            "\"model.norm.weight\":\"m.safetensors\"}}";

/* Opens `path` after each cut of `name`, which lies at or under it. */
static void cut_everywhere(struct tempdir *t, const char *path, const char *name, const char *data,
                           size_t size)
{
    struct errinfo info = {0};
    struct model *m = NULL;
    tempdir_put(t, name, data, size);
    if (model_open(path, &m, &info) != ERR_OK) {
        fail_msg("%s whole: %s", name, info.message);
    }
    model_close(m);
    size_t alive = mem_alive();
    for (size_t n = size; n-- > 0;) {
        assert_int_equal(truncate(tempdir_file(t, name), (off_t)n), 0);
        info = (struct errinfo){0};
        m = NULL;
        err e = model_open(path, &m, &info);
        if (e == ERR_OK || m || !strstr(info.message, name) || mem_alive() != alive) {
            fail_msg("%s cut to %zu of %zu bytes: %s: %s", name, n, size, err_name(e), info.message);
        }
    }
    tempdir_put(t, name, data, size);
}

static char *contents(const char *path, size_t *size)
{
    char *data = NULL;
    struct errinfo info = {0};
    if (file_read(path, 1 << 20, &data, size, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return data;
}

static void gguf_files(void **state)
{
    (void)state;
    static const char *const paths[] = {"tests/fuzz/seeds/gguf/model-qwen2",
                                        "tests/fuzz/seeds/gguf/model-llama",
                                        "tests/fuzz/seeds/gguf/model-v3"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct tempdir t;
        char path[320];
        size_t size;
        char *data = contents(paths[i], &size);
        tempdir_make(&t);
        snprintf(path, sizeof path, "%s", tempdir_file(&t, "cut.gguf"));
        cut_everywhere(&t, path, "cut.gguf", data, size);
        tempdir_remove(&t);
        mem_free(data);
    }
}

static void every_file_of_a_folder(void **state)
{
    (void)state;
    struct tempdir t;
    size_t size;
    char *data = contents("tests/fuzz/seeds/safetensors/model-llama", &size);
    tempdir_make(&t);
    tempdir_text(&t, "config.json", CONFIG);
    tempdir_text(&t, "tokenizer.json", TOKENIZER);
    tempdir_text(&t, "tokenizer_config.json", SPECIALS);
    cut_everywhere(&t, t.path, "model.safetensors", data, size);
    cut_everywhere(&t, t.path, "config.json", CONFIG, sizeof CONFIG - 1);
    cut_everywhere(&t, t.path, "tokenizer.json", TOKENIZER, sizeof TOKENIZER - 1);
    cut_everywhere(&t, t.path, "tokenizer_config.json", SPECIALS, sizeof SPECIALS - 1);
    unlink(tempdir_file(&t, "model.safetensors"));
    tempdir_put(&t, "m.safetensors", data, size);
    cut_everywhere(&t, t.path, "model.safetensors.index.json", INDEX, sizeof INDEX - 1);
    tempdir_remove(&t);
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_files),
        cmocka_unit_test(every_file_of_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
