/* Another engine, played by shell scripts: found or not, asked in its own way, its failures told. */
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

#include "base/mem.h"
#include "base/progress.h"
#include "cli/peer.h"

static char folder[] = "/tmp/fathom-test-XXXXXX";

static const char *script(const char *name, const char *body)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s", body);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
    return path;
}

static const char python[] =
    "echo '{\"peer\":\"played\",\"version\":\"1.2\",\"system\":\"CPU : AVX2 = 1 | FMA = 1 |\"}'\n"
    "while read -r line; do case $line in\n"
    "*once*) echo '{\"tokens_per_s\": 12.5}' ;;\n"
    "*'\"batch\":2'*) echo '{\"error\": \"no batches today\"}' ;;\n"
    "*) echo '{\"ready\": true}' ;; esac; done\n";

/* Says in its tokens per second how it was called: 1000 times -b, 100 times -d, 10 times -mmp, prefill or not. */
static const char bench[] =
    "case $* in *--help*) echo '--n-gen --n-depth --mmap'; exit ;; esac\n"
    "case $* in *'-p 64 -n 0'*) n=1 ;; *'-p 0 -n 8'*) n=2 ;; *) exit 1 ;; esac\n"
    "case $* in *'-d 100'*) n=$((n + 100)) ;; esac\n"
    "case $* in *'-ub 4096'*' -b 4096'*) n=$((n + 1000)) ;; *' -b '*) exit 1 ;; esac\n"
    "case $* in *'-mmp 0'*) n=$((n + 10)) ;; esac\n"
    "echo \"[{\\\"build_commit\\\":\\\"abc\\\",\\\"build_number\\\":7,\\\"avg_ts\\\":$n.0}]\"\n";

static void python_is_asked_line_by_line(void **state)
{
    (void)state;
    struct peer *p;
    struct errinfo info = {0};
    double rate = 0;
    size_t alive = mem_alive();
    const struct peer_options o = {script("python3", python), "model.gguf", 2, 512, false};
    assert_int_equal(peer_new(&o, &p, &info), ERR_OK);
    assert_string_equal(peer_title(p), "played 1.2");
    assert_string_equal(peer_system(p), "CPU : AVX2 FMA");
    struct benchmark_test t = {BENCHMARK_DECODE, 8, 100, 4, 1};
    assert_true(peer_can(p, &t));
    assert_int_equal(peer_start(p, &t, &info), ERR_OK);
    assert_int_equal(peer_once(p, &rate, &info), ERR_OK);
    assert_true(rate == 12.5);
    t.batch = 2;
    assert_int_equal(peer_start(p, &t, &info), ERR_IO);
    assert_non_null(strstr(info.message, "no batches today"));
    peer_free(p);
    assert_int_equal(mem_alive(), alive);
}

static void llama_bench_is_called_for_each_run(void **state)
{
    (void)state;
    struct peer *p;
    struct errinfo info = {0};
    double rate = 0;
    script("llama-bench", bench);
    const struct peer_options o = {folder, "model.gguf", 2, 512, true};
    assert_int_equal(peer_new(&o, &p, &info), ERR_OK);
    struct benchmark_test t = {BENCHMARK_PREFILL, 64, 0, 1, 1};
    assert_int_equal(peer_start(p, &t, &info), ERR_OK);
    assert_int_equal(peer_once(p, &rate, &info), ERR_OK);
    assert_true(rate == 11);
    assert_string_equal(peer_title(p), "llama-bench build 7 (abc)");
    t = (struct benchmark_test){BENCHMARK_DECODE, 8, 100, 1, 1};
    assert_true(peer_can(p, &t));
    assert_int_equal(peer_start(p, &t, &info), ERR_OK);
    assert_int_equal(peer_once(p, &rate, &info), ERR_OK);
    assert_true(rate == 112);
    t.batch = 4;
    assert_false(peer_can(p, &t));
    peer_free(p);
}

/* It speaks between the array's brackets, and has -gp in place of -d. */
static void ik_llama_bench_is_understood(void **state)
{
    (void)state;
    struct peer *p;
    struct errinfo info = {0};
    double rate = 0;
    const struct peer_options o = {
        script("llama-bench", "case $* in *--help*) echo '--n-gen -gp <pp,tg> '; exit ;; esac\n"
                              "echo '['; echo 'Computed blk.0.attn_kv_b.weight'\n"
                              "case $* in *'-n 0 -gp 100,8'*) n=112 ;; *) n=11 ;; esac\n"
                              "echo '  {\"avg_ts\":'$n; echo '  }'; echo ']'\n"),
        "model.gguf", 2, 512, true};
    assert_int_equal(peer_new(&o, &p, &info), ERR_OK);
    struct benchmark_test t = {BENCHMARK_DECODE, 8, 100, 1, 1};
    assert_true(peer_can(p, &t));
    assert_int_equal(peer_start(p, &t, &info), ERR_OK);
    assert_int_equal(peer_once(p, &rate, &info), ERR_OK);
    assert_true(rate == 112);
    t.kind = BENCHMARK_PREFILL;
    assert_false(peer_can(p, &t));
    t.depth = 0;
    assert_int_equal(peer_start(p, &t, &info), ERR_OK);
    assert_int_equal(peer_once(p, &rate, &info), ERR_OK);
    assert_true(rate == 11);
    peer_free(p);
}

static void llama_bench_may_take_a_large_chunk_at_once(void **state)
{
    (void)state;
    struct peer *p;
    struct errinfo info = {0};
    double rate = 0;
    const struct peer_options o = {script("llama-bench", bench), "model.gguf", 2, 4096, true};
    assert_int_equal(peer_new(&o, &p, &info), ERR_OK);
    struct benchmark_test t = {BENCHMARK_PREFILL, 64, 0, 1, 1};
    assert_int_equal(peer_start(p, &t, &info), ERR_OK);
    assert_int_equal(peer_once(p, &rate, &info), ERR_OK);
    assert_true(rate == 1011);
    peer_free(p);
}

/* Numbers no table and no ratio can hold. */
static void impossible_speeds_are_the_peers_failure(void **state)
{
    (void)state;
    static const char *const rates[] = {"0", "-1.5", "NaN", "1e400", "1e-320", "\"fast\""};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        char body[256];
        struct peer *p;
        double rate = 7;
        struct errinfo info = {0};
        snprintf(body, sizeof body,
                 "case $* in *--help*) echo '--n-gen'; exit ;; esac\necho '[{\"avg_ts\":%s}]'\n", rates[i]);
        const struct peer_options o = {script("llama-bench", body), "model.gguf", 2, 512, false};
        assert_int_equal(peer_new(&o, &p, &info), ERR_OK);
        struct benchmark_test t = {BENCHMARK_PREFILL, 64, 0, 1, 1};
        assert_int_equal(peer_start(p, &t, &info), ERR_OK);
        assert_int_equal(peer_once(p, &rate, &info), ERR_CORRUPT);
        assert_true(rate == 7);
        peer_free(p);
    }
}

/* What it says first is no answer, and it lives on. */
static void one_that_talks_nonsense_is_refused_and_ended(void **state)
{
    (void)state;
    static const char *const words[] = {"not json", "{\"error\":\"boom\"}"};
    double start = progress_clock();
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char body[128];
        struct peer *p = NULL;
        struct errinfo info = {0};
        snprintf(body, sizeof body, "echo '%s'\nexec sleep 303\n", words[i]);
        const struct peer_options o = {script("python3", body), "m.gguf", 1, 512, false};
        assert_int_equal(peer_new(&o, &p, &info), i == 0 ? ERR_CORRUPT : ERR_IO);
        assert_null(p);
    }
    assert_true(progress_clock() - start < 60);
}

static void names_of_peers_are_whole_characters(void **state)
{
    (void)state;
    struct peer *p;
    struct errinfo info = {0};
    double rate = 0;
    const struct peer_options o = {script("llama-bench",
                                          "case $* in *--help*) echo '--n-gen'; exit ;; esac\n"
                                          "echo '[{\"avg_ts\":1.5,\"build_number\":7,\"build_commit\":"
                                          "\"aäääääääääääääääääääääää\"}]'\n"),
                                   "model.gguf", 2, 512, false};
    assert_int_equal(peer_new(&o, &p, &info), ERR_OK);
    struct benchmark_test t = {BENCHMARK_PREFILL, 64, 0, 1, 1};
    assert_int_equal(peer_start(p, &t, &info), ERR_OK);
    assert_int_equal(peer_once(p, &rate, &info), ERR_OK);
    assert_string_equal(peer_title(p), "llama-bench build 7 (aäääääääääääääää)");
    peer_free(p);
}

static void what_is_no_peer_is_refused(void **state)
{
    (void)state;
    struct peer *p = NULL;
    struct errinfo info = {0};
    size_t alive = mem_alive();
    const struct peer_options none = {"/nowhere/llama-bench", "m.gguf", 1, 512, false};
    assert_int_equal(peer_new(&none, &p, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "--peer"));
    const struct peer_options other = {script("other", "echo hello\n"), "m.gguf", 1, 512, false};
    assert_int_equal(peer_new(&other, &p, &info), ERR_UNSUPPORTED);
    const struct peer_options broken = {script("python3", "echo 'no llama_cpp' >&2\n"), "m.gguf", 1, 512, false};
    assert_int_equal(peer_new(&broken, &p, &info), ERR_IO);
    assert_non_null(strstr(info.message, "no llama_cpp"));
    assert_null(p);
    assert_int_equal(mem_alive(), alive);
}

static void none_on_the_machine_says_what_was_looked_for(void **state)
{
    (void)state;
    struct peer *p = NULL;
    struct errinfo info = {0};
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    const struct peer_options o = {NULL, "m.gguf", 1, 512, false};
    assert_int_equal(peer_new(&o, &p, &info), ERR_NOTFOUND);
    setenv("PATH", path, 1);
    free(path);
    assert_non_null(strstr(info.message, "llama-bench in PATH"));
    assert_non_null(strstr(info.message, "pip install llama-cpp-python"));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    const char *names[] = {"python3", "llama-bench", "other"};
    char path[256];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(python_is_asked_line_by_line),
        cmocka_unit_test(llama_bench_is_called_for_each_run),
        cmocka_unit_test(ik_llama_bench_is_understood),
        cmocka_unit_test(llama_bench_may_take_a_large_chunk_at_once),
        cmocka_unit_test(impossible_speeds_are_the_peers_failure),
        cmocka_unit_test(one_that_talks_nonsense_is_refused_and_ended),
        cmocka_unit_test(names_of_peers_are_whole_characters),
        cmocka_unit_test(what_is_no_peer_is_refused),
        cmocka_unit_test(none_on_the_machine_says_what_was_looked_for),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
