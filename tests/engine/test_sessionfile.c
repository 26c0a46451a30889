/* Saved sessions: restored = uninterrupted, and whatever is not exactly such a file is refused. */
#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#include "base/file.h"
#include "enginefixture.h"
#include "formats/tempdir.h"
#include "model/model.h"

enum { N = 30, MADE = 10 };

static char path[64];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/fathom-session-%ld", (long)getpid());
    return 0;
}

static int drop_path(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void generate(struct session *s, int32_t *made)
{
    struct errinfo info = {0};
    const struct sampling sampling = {
        .temperature = 0.8f, .seed = 3, .frequency_penalty = 0.5f, .repetition_penalty = 1.2f};
    const struct generate_options options = {.max_tokens = MADE, .ignore_eos = true};
    must(session_generate(s, &sampling, &options, NULL, NULL, NULL, &info), &info);
    memcpy(made, session_tokens(s) + session_length(s) - MADE, MADE * sizeof *made);
}

/* A session in the middle of an answer. */
static struct session *begun(struct engine *e)
{
    int32_t ids[N], made[MADE];
    struct session *s = enginefixture_session(e, 64);
    enginefixture_tokens(e, ids, N);
    enginefixture_append(s, ids, N);
    generate(s, made);
    return s;
}

static void check_restored(void)
{
    struct errinfo info = {0};
    for (int m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        for (int deterministic = 0; deterministic < 2; deterministic++) {
            struct engine *e = enginefixture_open(enginefixture_models[m], 1, deterministic, 0);
            struct engine *f = enginefixture_open(enginefixture_models[m], 2, deterministic, 0);
            struct session *s = begun(e), *back = NULL;
            int32_t a[MADE], b[MADE];
            must(session_save(s, path, &info), &info);
            generate(s, a);
            must(session_prefill(s, NULL, NULL, &info), &info);
            must(session_load(f, path, &back, &info), &info);
            assert_int_equal(session_length(back), N + MADE);
            assert_int_equal(session_capacity(back), 64);
            generate(back, b);
            must(session_prefill(back, NULL, NULL, &info), &info);
            assert_memory_equal(a, b, sizeof a);
            assert_memory_equal(session_logits(s), session_logits(back),
                                engine_vocab_size(e) * sizeof(float));
            session_free(s);
            session_free(back);
            engine_close(e);
            engine_close(f);
        }
    }
}

/* Bit for bit in both modes, even when saved with one thread and restored with two. */
static void test_restored_is_uninterrupted_at_every_level(void **state)
{
    (void)state;
    enginefixture_each_level(check_restored);
}

static void test_empty_and_unread_sessions_survive(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 1, true, 0);
    struct session *s = enginefixture_session(e, 20), *back;
    must(session_save(s, path, &info), &info);
    must(session_load(e, path, &back, &info), &info);
    assert_int_equal(session_length(back), 0);
    session_free(back);
    must(session_append_text(s, "hello", &info), &info);
    must(session_save(s, path, &info), &info);
    must(session_load(e, path, &back, &info), &info);
    assert_int_equal(session_length(back), 5);
    must(session_prefill(s, NULL, NULL, &info), &info);
    must(session_prefill(back, NULL, NULL, &info), &info);
    assert_memory_equal(session_logits(s), session_logits(back), engine_vocab_size(e) * 4);
    session_free(back);
    session_free(s);
    engine_close(e);
}

static void put(const char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static err load(struct engine *e)
{
    struct session *s = NULL;
    struct errinfo info = {0};
    err result = session_load(e, path, &s, &info);
    if (result == ERR_OK) {
        session_free(s);
    } else {
        assert_null(s);
        assert_true(info.message[0] != '\0');
    }
    return result;
}

static void test_damaged_and_truncated_files_are_refused(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(enginefixture_models[1], 1, false, 0);
    struct session *s = begun(e);
    char *data;
    size_t n;
    must(session_save(s, path, &info), &info);
    must(file_read(path, 1 << 24, &data, &n, &info), &info);
    for (size_t i = 0; i < n; i += i < 256 ? 1 : 41) {
        data[i] ^= 0x10;
        put(data, n);
        assert_true(load(e) != ERR_OK);
        data[i] ^= 0x10;
    }
    for (size_t i = 0; i < n; i += i < 256 ? 1 : 97) {
        put(data, i);
        assert_true(load(e) != ERR_OK);
    }
    put(data, n);
    assert_int_equal(load(e), ERR_OK);
    mem_free(data);
    session_free(s);
    engine_close(e);
}

/* Files whose checksum is right but whose numbers are not: made by an enemy, not by a bad disk. */
static void test_forged_headers_are_refused(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(enginefixture_models[1], 1, false, 0);
    struct session *s = begun(e);
    char *data;
    size_t n;
    must(session_save(s, path, &info), &info);
    must(file_read(path, 1 << 24, &data, &n, &info), &info);
    static const uint64_t values[] = {0, 1, 39, 41, 65, 257, 1ull << 32, UINT64_MAX / 8, UINT64_MAX};
    for (size_t field = 0; field < 10; field++) {
        size_t at = field < 8 ? 56 + 8 * field : 120 + 4 * (field - 8);
        size_t width = field < 8 ? 8 : 4;
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            char kept[8];
            memcpy(kept, data + at, width);
            memcpy(data + at, &values[v], width);
            bool same = memcmp(kept, data + at, width) == 0;
            crypto_generichash((unsigned char *)data + n - 32, 32, (unsigned char *)data, n - 32, NULL,
                               0);
            put(data, n);
            err result = load(e);
            /* capacity, the answer's start, has_logits 0/1 and n_held ≤ 4 may be other good values */
            assert_true(result != ERR_OK || same || field == 4 || field == 7 || field == 9);
            memcpy(data + at, kept, width);
        }
    }
    int32_t bad = -5; /* a token outside of the vocabulary */
    memcpy(data + 136, &bad, 4);
    crypto_generichash((unsigned char *)data + n - 32, 32, (unsigned char *)data, n - 32, NULL, 0);
    put(data, n);
    assert_int_equal(load(e), ERR_CORRUPT);
    mem_free(data);
    session_free(s);
    engine_close(e);
}

static void test_another_models_file_is_refused(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open("tests/golden/model/qwen2", 1, false, 0);
    struct engine *same = enginefixture_open("tests/golden/model/qwen2", 2, true, 9);
    struct engine *other = enginefixture_open("tests/golden/model/llama3", 1, false, 0);
    struct session *s = begun(e);
    must(session_save(s, path, &info), &info);
    assert_int_equal(load(same), ERR_OK);
    assert_int_equal(load(other), ERR_ARGUMENT);
    put("something else entirely, not a session at all, but long enough to look at", 70);
    assert_int_equal(load(e), ERR_CORRUPT);
    unlink(path);
    assert_int_equal(load(e), ERR_NOTFOUND);
    session_free(s);
    engine_close(e);
    engine_close(same);
    engine_close(other);
}

/* NAME of the tiny chat model into the copy of it. */
static void copy_part(struct tempdir *copy, const char *name)
{
    struct errinfo info = {0};
    char from[128], *data;
    size_t n;
    snprintf(from, sizeof from, ENGINEFIXTURE_CHAT "/%s", name);
    must(file_read(from, 1 << 24, &data, &n, &info), &info);
    tempdir_put(copy, name, data, n);
    mem_free(data);
}

/* One changed number in any one tensor makes another model, and so does another vocabulary. */
static void test_a_model_with_one_changed_weight_is_another(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct tempdir copy;
    char *weights, *vocabulary;
    size_t n, n_vocabulary;
    tempdir_make(&copy);
    copy_part(&copy, "config.json");
    copy_part(&copy, "tokenizer.json");
    copy_part(&copy, "tokenizer_config.json");
    copy_part(&copy, "model.safetensors");
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 1, false, 0);
    struct session *s = begun(e);
    must(session_save(s, path, &info), &info);
    session_free(s);
    struct engine *same = enginefixture_open(copy.path, 1, false, 0);
    assert_int_equal(load(same), ERR_OK);
    engine_close(same);
    must(file_read(ENGINEFIXTURE_CHAT "/model.safetensors", 1 << 24, &weights, &n, &info), &info);
    const struct tensortable *table = model_tensors(engine_model(e));
    const char *first = tensortable_at(table, 0)->tensor.data;
    for (size_t i = 1; i < tensortable_count(table); i++) {
        const char *data = tensortable_at(table, i)->tensor.data;
        first = data < first ? data : first;
    }
    uint64_t header;
    memcpy(&header, weights, sizeof header);
    for (size_t i = 0; i < tensortable_count(table); i++) {
        const struct tensor *t = &tensortable_at(table, i)->tensor;
        size_t at = 8 + header + (size_t)((const char *)t->data - first) + tensor_bytes(t) * i /
                    tensortable_count(table) / 2 * 2;
        weights[at] ^= 1;
        tempdir_put(&copy, "model.safetensors", weights, n);
        struct engine *other = enginefixture_open(copy.path, 1, false, 0);
        assert_int_equal(load(other), ERR_ARGUMENT);
        engine_close(other);
        weights[at] ^= 1;
    }
    tempdir_put(&copy, "model.safetensors", weights, n);
    must(file_read(ENGINEFIXTURE_CHAT "/tokenizer.json", 1 << 24, &vocabulary, &n_vocabulary, &info),
         &info);
    char *a = strstr(vocabulary, "\"a\":"), *b = strstr(vocabulary, "\"b\":");
    assert_true(a && b);
    a[1] = 'b';
    b[1] = 'a';
    tempdir_put(&copy, "tokenizer.json", vocabulary, n_vocabulary);
    struct engine *other = enginefixture_open(copy.path, 1, false, 0);
    assert_int_equal(load(other), ERR_ARGUMENT);
    engine_close(other);
    mem_free(vocabulary);
    mem_free(weights);
    engine_close(e);
    tempdir_remove(&copy);
}

static void test_a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(enginefixture_models[2], 1, false, 0);
    struct session *s = begun(e);
    put("old", 3);
    for (size_t k = 1; k <= 3; k++) { /* write, fsync, rename */
        file_fault(k, ENOSPC);
        assert_int_equal(session_save(s, path, &info), ERR_IO);
        file_fault(0, 0);
        char *data;
        size_t n;
        must(file_read(path, 100, &data, &n, &info), &info);
        assert_string_equal(data, "old");
        mem_free(data);
    }
    must(session_save(s, path, &info), &info);
    assert_int_equal(load(e), ERR_OK);
    session_free(s);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restored_is_uninterrupted_at_every_level),
        cmocka_unit_test(test_empty_and_unread_sessions_survive),
        cmocka_unit_test(test_damaged_and_truncated_files_are_refused),
        cmocka_unit_test(test_forged_headers_are_refused),
        cmocka_unit_test(test_another_models_file_is_refused),
        cmocka_unit_test(test_a_model_with_one_changed_weight_is_another),
        cmocka_unit_test(test_a_full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, make_path, drop_path);
}
