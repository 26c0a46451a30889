/* `fathom pull` from end to end against a little hub on 127.0.0.1, and hostile listings. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <sodium.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/acquire.h"
#include "cli/loopback.h"
#include "cli/modelref.h"
#include "cli/verbs.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/tempdir.h"

enum { WEIGHTS = 64 * 1024 };

static struct loopback hub;
static char root[64];
static struct errinfo info;

/* The files of the little hub's one repository. */
struct blob {
    const char *name;
    char *data;
    size_t size;
    char sha256[65];
};
static struct blob blobs[] = {
    {.name = "config.json"},
    {.name = "model.safetensors"},
    {.name = "tiny.gguf"},
    {.name = "tokenizer.json"},
    {.name = "notes/secret.txt"},
};
enum { BLOBS = sizeof blobs / sizeof *blobs };
static atomic_int blob_hits;
static atomic_bool logged_in;
static atomic_bool wrong_bytes; /* serve something else than the listing promises */

static void listing(char *out, size_t cap)
{
    int n = snprintf(out, cap, "{\"sha\":\"abc123\",\"cardData\":{\"license\":\"mit\"},\"siblings\":[");
    for (size_t i = 0; i < BLOBS; i++) {
        n += snprintf(out + n, cap - (size_t)n,
                      "%s{\"rfilename\":\"%s\",\"size\":%zu,\"lfs\":{\"sha256\":\"%s\",\"size\":%zu}}",
                      i ? "," : "", blobs[i].name, blobs[i].size, blobs[i].sha256, blobs[i].size);
    }
    snprintf(out + n, cap - (size_t)n, "]}");
}

static void answer(struct loopback *s, const struct loopback_request *q, int fd)
{
    (void)s;
    static const char files[] = "/org/Tiny-Model/resolve/abc123/";
    if (strcmp(q->path, "/api/models/org/Tiny-Model/revision/main?blobs=true") == 0) {
        char text[4096];
        listing(text, sizeof text);
        loopback_reply(fd, "200 OK", "Content-Type: application/json\r\n", text, strlen(text));
        return;
    }
    if (strcmp(q->path, "/login.gguf") == 0) {
        if (atomic_load(&logged_in)) {
            loopback_serve(fd, q, "\"in\"", blobs[2].data, blobs[2].size);
        } else {
            loopback_reply(fd, "200 OK", "", "<html>please log in</html>", 26);
        }
        return;
    }
    for (size_t i = 0; i < BLOBS; i++) {
        bool in_repo = strncmp(q->path, files, strlen(files)) == 0 &&
                       strcmp(q->path + strlen(files), blobs[i].name) == 0;
        if (in_repo || (q->path[0] == '/' && strcmp(q->path + 1, blobs[i].name) == 0)) {
            atomic_fetch_add(&blob_hits, 1);
            char *data = blobs[i].data;
            if (atomic_load(&wrong_bytes)) {
                data = calloc(1, blobs[i].size + 1);
            }
            loopback_serve(fd, q, "\"tag\"", data, blobs[i].size);
            if (data != blobs[i].data) {
                free(data);
            }
            return;
        }
    }
    loopback_reply(fd, "404 Not Found", "", "no", 2);
}

static void read_blob(size_t i, const char *path)
{
    assert_int_equal(file_read(path, 1 << 20, &blobs[i].data, &blobs[i].size, &info), ERR_OK);
}

static void make_blobs(void)
{
    char path[128];
    float *weights = calloc(WEIGHTS, sizeof *weights);
    struct tensor t = {.dtype = DTYPE_F32, .rank = 2, .shape = {WEIGHTS / 64, 64, 1, 1}, .data = weights};
    struct safetensors_writer *w;
    snprintf(path, sizeof path, "%s/blob", root);
    assert_int_equal(safetensors_writer_new(path, &w, &info), ERR_OK);
    assert_int_equal(safetensors_writer_tensor(w, "x.weight", &t, &info), ERR_OK);
    assert_int_equal(safetensors_writer_begin_data(w, &info), ERR_OK);
    assert_int_equal(safetensors_writer_data(w, weights, WEIGHTS * sizeof *weights, &info), ERR_OK);
    assert_int_equal(safetensors_writer_commit(w, &info), ERR_OK);
    safetensors_writer_free(w);
    read_blob(1, path);
    struct gguf_writer *g;
    assert_int_equal(gguf_writer_new(path, &g, &info), ERR_OK);
    assert_int_equal(gguf_writer_string(g, "general.architecture", "llama", 5), ERR_OK);
    assert_int_equal(gguf_writer_tensor(g, "x.weight", &t, &info), ERR_OK);
    assert_int_equal(gguf_writer_begin_data(g, &info), ERR_OK);
    assert_int_equal(gguf_writer_data(g, weights, WEIGHTS * sizeof *weights, &info), ERR_OK);
    assert_int_equal(gguf_writer_commit(g, &info), ERR_OK);
    gguf_writer_free(g);
    read_blob(2, path);
    unlink(path);
    free(weights);
    const char *texts[] = {"{\"model_type\":\"llama\"}", NULL, NULL, "{}", "not for you"};
    for (size_t i = 0; i < BLOBS; i++) {
        if (texts[i]) {
            blobs[i].data = mem_dup(texts[i], strlen(texts[i]));
            blobs[i].size = strlen(texts[i]);
        }
        unsigned char digest[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(digest, (unsigned char *)blobs[i].data, blobs[i].size);
        sodium_bin2hex(blobs[i].sha256, 65, digest, sizeof digest);
    }
}

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/fathom-pull-XXXXXX");
    atomic_store(&blob_hits, 0);
    atomic_store(&wrong_bytes, false);
    atomic_store(&logged_in, false);
    setenv("FATHOM_BUNDLED", "/no/such/folder", 1);
    return mkdtemp(root) && setenv("FATHOM_MODELS", root, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove_all(root);
    return 0;
}

static int set_up_all(void **state)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (set_up(state) != 0) {
        return -1;
    }
    make_blobs();
    tear_down(state);
    if (!loopback_start(&hub, answer)) {
        return -1;
    }
    return setenv("FATHOM_HF_ENDPOINT", hub.base, 1);
}

static int tear_down_all(void **state)
{
    (void)state;
    loopback_stop(&hub);
    curl_global_cleanup();
    for (size_t i = 0; i < BLOBS; i++) {
        mem_free(blobs[i].data);
    }
    return 0;
}

/* Runs `fathom WORDS…`, quiet; stdout comes back in `out` when wanted. */
static int fathom(const char *words, char *out, size_t cap)
{
    char copy[1024];
    char *argv[32] = {(char[]){"fathom"}};
    int argc = 1;
    char *rest = copy;
    char *word;
    snprintf(copy, sizeof copy, "%s", words);
    while ((word = strsep(&rest, " "))) {
        argv[argc++] = word;
    }
    fflush(stdout);
    fflush(stderr);
    FILE *to = tmpfile();
    FILE *err_to = tmpfile();
    assert_non_null(to);
    assert_non_null(err_to);
    int old_out = dup(STDOUT_FILENO);
    int old_err = dup(STDERR_FILENO);
    dup2(fileno(to), STDOUT_FILENO);
    dup2(fileno(err_to), STDERR_FILENO);
    int status = verbs_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_err, STDERR_FILENO);
    close(old_out);
    close(old_err);
    if (out) {
        ssize_t n = pread(fileno(to), out, cap - 1, 0);
        out[n > 0 ? n : 0] = '\0';
        if (n <= 0) {
            n = pread(fileno(err_to), out, cap - 1, 0);
            out[n > 0 ? n : 0] = '\0';
        }
    }
    fclose(to);
    fclose(err_to);
    return status;
}

static bool there(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return file_exists(path);
}

static void a_repository_becomes_a_registered_model(void **state)
{
    (void)state;
    static char out[1 << 14];
    char *path;
    assert_int_equal(fathom("pull hf:org/Tiny-Model --json", out, sizeof out), 0);
    assert_non_null(strstr(out, "\"name\": \"tiny-model\""));
    assert_non_null(strstr(out, "\"licence\": \"mit\""));
    assert_non_null(strstr(out, blobs[1].sha256));
    assert_true(there("tiny-model/config.json"));
    assert_true(there("tiny-model/model.safetensors"));
    assert_true(there("tiny-model/tokenizer.json"));
    assert_false(there("tiny-model/tiny.gguf"));
    assert_false(there("tiny-model/notes"));
    assert_false(there("tiny-model/manifest.part"));
    assert_int_equal(modelref_resolve("tiny-model", &path, &info), ERR_OK);
    mem_free(path);
    assert_int_equal(fathom("list", out, sizeof out), 0);
    assert_non_null(strstr(out, "tiny-model"));
    assert_non_null(strstr(out, "f32"));
    assert_int_equal(fathom("list --json", out, sizeof out), 0);
    assert_non_null(strstr(out, "\"dtype\": \"f32\""));
    int hits = atomic_load(&blob_hits);
    assert_int_equal(fathom("pull hf:org/Tiny-Model", out, sizeof out), 0);
    assert_non_null(strstr(out, "already here"));
    assert_int_equal(atomic_load(&blob_hits), hits);
}

static void one_gguf_of_a_repository_can_be_chosen(void **state)
{
    (void)state;
    static char out[1 << 14];
    assert_int_equal(fathom("pull hf:org/Tiny-Model:tiny.gguf --name t", out, sizeof out), 0);
    assert_true(there("t/tiny.gguf"));
    assert_false(there("t/config.json"));
    assert_int_equal(fathom("pull hf:org/Tiny-Model:other.gguf", out, sizeof out), 1);
    assert_non_null(strstr(out, "it has tiny.gguf"));
    assert_int_equal(fathom("pull hf:org/Tiny-Model --name t", out, sizeof out), 2);
    assert_non_null(strstr(out, "already here"));
}

static void a_dry_run_fetches_nothing(void **state)
{
    (void)state;
    static char out[1 << 14];
    assert_int_equal(fathom("pull hf:org/Tiny-Model --dry-run", out, sizeof out), 0);
    assert_non_null(strstr(out, "model.safetensors"));
    assert_non_null(strstr(out, "bytes in all"));
    assert_int_equal(fathom("pull hf:org/Tiny-Model --dry-run --json", out, sizeof out), 0);
    assert_non_null(strstr(out, "\"complete\": false"));
    assert_int_equal(atomic_load(&blob_hits), 0);
    assert_false(there("tiny-model"));
}

static void plain_addresses_and_local_files_work(void **state)
{
    (void)state;
    static char out[1 << 14];
    char words[512], path[128];
    snprintf(words, sizeof words, "pull %s/tiny.gguf", hub.base);
    assert_int_equal(fathom(words, out, sizeof out), 0);
    assert_true(there("tiny/tiny.gguf"));
    snprintf(path, sizeof path, "%s/tiny/tiny.gguf", root);
    snprintf(words, sizeof words, "pull file:%s --name copy --sha256 %s --source x:y --licence MIT", path,
             blobs[2].sha256);
    assert_int_equal(fathom(words, out, sizeof out), 0);
    assert_true(there("copy/tiny.gguf"));
    snprintf(words, sizeof words, "pull file:%s --name copy2 --sha256 %s", path, blobs[1].sha256);
    assert_int_equal(fathom(words, out, sizeof out), 1);
    assert_non_null(strstr(out, "wrong content"));
    assert_false(there("copy2/tiny.gguf"));
    assert_false(there("copy2/manifest"));
}

static void what_is_no_model_is_not_registered(void **state)
{
    (void)state;
    static char out[1 << 14];
    char words[512];
    snprintf(words, sizeof words, "pull %s/login.gguf", hub.base);
    assert_int_equal(fathom(words, out, sizeof out), 1);
    assert_non_null(strstr(out, "no model"));
    assert_non_null(strstr(out, "removed again"));
    assert_false(there("login"));
    /* Once the server sends the model, the same command gets it. */
    atomic_store(&logged_in, true);
    assert_int_equal(fathom(words, out, sizeof out), 0);
    assert_true(there("login/manifest"));
}

static void wrong_bytes_from_the_hub_are_refused_and_right_ones_taken_later(void **state)
{
    (void)state;
    static char out[1 << 14];
    atomic_store(&wrong_bytes, true);
    assert_int_equal(fathom("pull hf:org/Tiny-Model --retries 0", out, sizeof out), 1);
    assert_non_null(strstr(out, "wrong content"));
    assert_false(there("tiny-model/config.json"));
    atomic_store(&wrong_bytes, false);
    assert_int_equal(fathom("pull hf:org/Tiny-Model", out, sizeof out), 0);
}

static void finished_files_of_an_interrupted_pull_are_not_fetched_again(void **state)
{
    (void)state;
    static char out[1 << 14];
    char path[300];
    assert_int_equal(fathom("pull hf:org/Tiny-Model", out, sizeof out), 0);
    snprintf(path, sizeof path, "%s/tiny-model/manifest", root);
    unlink(path); /* as if it had stopped just before the end: no journal either */
    snprintf(path, sizeof path, "%s/tiny-model/tokenizer.json", root);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs("[]", f); /* same size, other bytes */
    fclose(f);
    atomic_store(&blob_hits, 0);
    assert_int_equal(fathom("pull hf:org/Tiny-Model", out, sizeof out), 0);
    assert_int_equal(atomic_load(&blob_hits), 1);
}

static void wrong_usage_is_explained(void **state)
{
    (void)state;
    static char out[1 << 14];
    const char *const bad[] = {"pull",
                               "pull nonsense",
                               "pull hf:",
                               "pull hf:only-one",
                               "pull hf:a/b/c",
                               "pull hf:../x",
                               "pull hf:a/..",
                               "pull hf:a/b:x.bin",
                               "pull hf:a/b:../x.gguf",
                               "pull hf:org/Tiny-Model --name Bad/Name",
                               "pull hf:org/Tiny-Model --sha256 12",
                               "pull ftp://127.0.0.1/x.gguf",
                               "pull http://example.com/x.gguf",
                               "pull http://127.0.0.1/x.bin",
                               "pull smollm2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = fathom(bad[i], out, sizeof out);
        if (status != 2) {
            fail_msg("%s: exit code %d: %s", bad[i], status, out);
        }
    }
    assert_int_equal(fathom("pull hf:org/absent", out, sizeof out), 1);
    assert_non_null(strstr(out, "404"));
    assert_int_equal(fathom("pull file:/no/such.gguf", out, sizeof out), 1);
}

static void hostile_listings_are_refused(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"sha\":\"abc\"}",
        "{\"sha\":\"../../x\",\"siblings\":[{\"rfilename\":\"model.safetensors\"}]}",
        "{\"sha\":5,\"siblings\":[]}",
        "{\"sha\":\"abc\",\"siblings\":{}}",
        "{\"sha\":\"abc\",\"siblings\":[]}",
        "{\"sha\":\"abc\",\"siblings\":[5]}",
        "{\"sha\":\"abc\",\"siblings\":[{}]}",
        "{\"sha\":\"abc\",\"siblings\":[{\"rfilename\":5}]}",
        "{\"sha\":\"abc\",\"siblings\":[{\"rfilename\":\"model-../../../x.safetensors\"}]}",
        "{\"sha\":\"abc\",\"siblings\":[{\"rfilename\":\"model\\u0001.safetensors\"}]}",
        "{\"sha\":\"abc\",\"siblings\":[{\"rfilename\":\"model.safetensors\",\"size\":-1}]}",
        "{\"sha\":\"abc\",\"siblings\":[{\"rfilename\":\"model.safetensors\",\"size\":\"x\"}]}",
        "{\"sha\":\"abc\",\"siblings\":[{\"rfilename\":\"model.safetensors\",\"lfs\":{\"sha256\":\"zz\"}}]}",
        "{\"sha\":\"abc\",\"siblings\":[{\"rfilename\":\"config.json\",\"size\":1}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pullplan p;
        size_t alive = mem_alive();
        err e = pullplan_from_listing("https://hub", "a/b", NULL, bad[i], strlen(bad[i]), &p, &info);
        if (e == ERR_OK) {
            fail_msg("accepted %s", bad[i]);
        }
        assert_int_equal(mem_alive(), alive);
    }
}

static void split_files_come_with_all_their_parts(void **state)
{
    (void)state;
    const char *json = "{\"sha\":\"abc\",\"siblings\":["
                       "{\"rfilename\":\"q4/m-00002-of-00003.gguf\",\"size\":2},"
                       "{\"rfilename\":\"q4/m-00001-of-00003.gguf\",\"size\":1},"
                       "{\"rfilename\":\"q4/m-00003-of-00003.gguf\",\"size\":3},"
                       "{\"rfilename\":\"q8/m-00001-of-00003.gguf\",\"size\":9},"
                       "{\"rfilename\":\"q4/n-00001-of-00003.gguf\",\"size\":9}]}";
    struct pullplan p;
    assert_int_equal(pullplan_from_listing("https://hub", "a/b", "q4/m-00002-of-00003.gguf", json,
                                           strlen(json), &p, &info),
                     ERR_OK);
    assert_int_equal(p.n_files, 3);
    assert_string_equal(p.open, "q4/m-00001-of-00003.gguf");
    assert_string_equal(p.files[2].url, "https://hub/a/b/resolve/abc/q4/m-00003-of-00003.gguf");
    pullplan_deinit(&p);
}

static err sweep_plan(void)
{
    char text[4096];
    struct pullplan p;
    listing(text, sizeof text);
    err e = pullplan_from_listing("https://hub", "org/Tiny-Model", NULL, text, strlen(text), &p, &info);
    if (e == ERR_OK) {
        pullplan_deinit(&p);
    }
    return e;
}

static err sweep_pull(void)
{
    struct pullplan p;
    struct registry_model m;
    err e = pullplan_make("hf:org/Tiny-Model", &p, &info);
    if (e != ERR_OK) {
        return e;
    }
    const struct acquire a = {.plan = &p, .name = "swept", .quiet = true};
    e = acquire_run(&a, &m, &info);
    if (e == ERR_OK) {
        registry_model_deinit(&m);
    }
    pullplan_deinit(&p);
    return e;
}

static void every_fault_is_an_error_without_a_leak(void **state)
{
    (void)state;
    err (*const all[])(void) = {sweep_plan, sweep_pull};
    for (size_t i = 0; i < 2; i++) {
        size_t alive = mem_alive();
        size_t k = 1;
        for (;; k++) {
            mem_fault(k, 0);
            err e = all[i]();
            mem_fault(0, 0);
            assert_int_equal(mem_alive(), alive);
            if (e == ERR_OK) {
                break;
            }
            if (e != ERR_NOMEM) {
                fail_msg("allocation %zu failing gave error %d: %s", k, e, info.message);
            }
        }
        assert_true(k > 10);
    }
    tear_down(state);
    set_up(state);
    size_t k = 1;
    for (;; k++) {
        size_t alive = mem_alive();
        file_fault(k, 28);
        err e = sweep_pull();
        file_fault(0, 0);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_IO);
    }
    assert_true(k > 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_repository_becomes_a_registered_model),
        TEST(one_gguf_of_a_repository_can_be_chosen),
        TEST(a_dry_run_fetches_nothing),
        TEST(plain_addresses_and_local_files_work),
        TEST(what_is_no_model_is_not_registered),
        TEST(wrong_bytes_from_the_hub_are_refused_and_right_ones_taken_later),
        TEST(finished_files_of_an_interrupted_pull_are_not_fetched_again),
        TEST(wrong_usage_is_explained),
        TEST(hostile_listings_are_refused),
        TEST(split_files_come_with_all_their_parts),
        TEST(every_fault_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
