/* A mapped file that loses its bytes ends the process with a message, not with a dumped core. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "cli/mapfault.h"
#include "formats/tempdir.h"
#include "tensor/ops.h"

enum { SIZE = 64 << 10, KEPT = 5000 };

/* Runs `body` in a child that watches; its wait status, and what it said. */
static int in_child(void (*body)(const char *path), const char *path, char said[1024])
{
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        mapfault_watch();
        body(path);
        _exit(77); /* it lived on */
    }
    close(pipes[1]);
    size_t len = 0;
    ssize_t n;
    while (len < 1023 && (n = read(pipes[0], said + len, 1023 - len)) > 0) {
        len += (size_t)n;
    }
    said[len] = '\0';
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void cut_and_read(const char *path)
{
    struct file_map m;
    volatile uint8_t sink;
    if (file_map_open(path, &m, NULL) == ERR_OK && truncate(path, KEPT) == 0) {
        sink = m.data[KEPT / 4096 * 4096]; /* the last page that is left */
        sink = m.data[SIZE - 1];
        (void)sink;
    }
}

static void cut_and_compute(const char *path)
{
    struct file_map m;
    struct compute *c;
    static float x[128], y[128];
    if (file_map_open(path, &m, NULL) == ERR_OK && truncate(path, KEPT) == 0 &&
        compute_new(CPUINFO_REF, 2, false, &c, NULL) == ERR_OK) {
        struct tensor w;
        const size_t shape[] = {128, 128};
        if (tensor_init(&w, DTYPE_F32, 2, shape, m.data) == ERR_OK) {
            const struct matmul_job job = {.w = w, .x = x, .y = y, .n_rows = 1, .x_stride = 128,
                                           .y_stride = 128};
            if (ops_matmul(c, &job, 1) != ERR_OK) {
                _exit(78);
            }
        }
    }
}

static void raise_alone(const char *path)
{
    (void)path;
    raise(SIGBUS);
}

static void the_file_and_what_happened_to_it_are_named(void **state)
{
    (void)state;
    struct tempdir t;
    char said[1024], sizes[64];
    void (*const bodies[])(const char *) = {cut_and_read, cut_and_compute};
    tempdir_make(&t);
    for (size_t i = 0; i < 2; i++) {
        static const char zeros[SIZE];
        tempdir_put(&t, "model.gguf", zeros, SIZE);
        int status = in_child(bodies[i], tempdir_file(&t, "model.gguf"), said);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
        assert_non_null(strstr(said, tempdir_file(&t, "model.gguf")));
        assert_non_null(strstr(said, "was cut short by another program"));
        snprintf(sizes, sizeof sizes, "it has %d bytes now", KEPT);
        assert_non_null(strstr(said, sizes));
        assert_ptr_equal(strstr(said, "fathom: "), strrchr(said, '\n') - strlen(said) + 2); /* once */
    }
    tempdir_remove(&t);
}

static void another_bus_error_ends_the_process_as_usual(void **state)
{
    (void)state;
    char said[1024];
    int status = in_child(raise_alone, NULL, said);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
    assert_string_equal(said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_and_what_happened_to_it_are_named),
        cmocka_unit_test(another_bus_error_ends_the_process_as_usual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
