/* A training run that saves, prunes and logs is killed at random moments, again and again: what checkpoint_find
 * then finds is whole, loads, and is not older than the last save that was reported complete. The run goes on from
 * there, over what the kill left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "formats/tempdir.h"
#include "train/checkpointfixture.h"

enum { KILLS = 200, KEEP = 2 };

static struct tempdir dir;
static const char *program;

static bool tell(uint64_t step)
{
    return write(STDOUT_FILENO, &step, sizeof step) == sizeof step;
}

/* The run: from the step after the newest, until it is killed. That step and each save that returned are told on
 * stdout; every third is made twice, so that kills also hit the replacing of a folder. */
static int run(const char *path)
{
    struct errinfo info = {0};
    uint64_t step = 0;
    bool found;
    err e = checkpoint_find(path, &step, &found, &(struct errinfo){0}, &info);
    if (e == ERR_OK && found) {
        e = checkpointfixture_load(path, step, &info);
    }
    if (e == ERR_OK && !tell(step)) {
        return 3;
    }
    while (e == ERR_OK) {
        step++;
        for (int i = 0; i < (step % 3 == 0 ? 2 : 1) && e == ERR_OK; i++) {
            e = checkpointfixture_save(path, step, &info);
        }
        if (e == ERR_OK && !tell(step)) {
            return 3;
        }
        e = e == ERR_OK ? checkpoint_prune(path, KEEP, &info) : e;
    }
    fprintf(stderr, "%s\n", info.message);
    return 2;
}

/* Starts a run and kills it `ns` nanoseconds after it found where to go on, not before step `before`; the last
 * step it told. */
static uint64_t run_and_kill(long ns, uint64_t before)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execl(program, program, dir.path, (char *)NULL);
        _exit(4);
    }
    close(pipes[1]);
    uint64_t step = 0;
    assert_int_equal(read(pipes[0], &step, sizeof step), sizeof step);
    assert_true(step >= before);
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* or it stopped by itself: then it could not go on */
    while (read(pipes[0], &step, sizeof step) == sizeof step) {
        continue;
    }
    close(pipes[0]);
    return step;
}

static void test_a_kill_never_costs_a_finished_save(void **state)
{
    (void)state;
    struct rng r;
    struct errinfo info = {0};
    uint64_t told = 0;
    rng_seed(&r, 5);
    for (int i = 0; i < KILLS; i++) {
        uint64_t step = 0;
        bool found = false;
        told = run_and_kill((long)(rng_u64(&r) % 20000000), told);
        assert_int_equal(checkpoint_find(dir.path, &step, &found, &(struct errinfo){0}, &info), ERR_OK);
        assert_true(found || told == 0);
        assert_true(step >= told);
        if (found && checkpointfixture_load(dir.path, step, &info) != ERR_OK) {
            fail_msg("kill %d, step %d: %s", i, (int)step, info.message);
        }
    }
    assert_true(told > 20);
    assert_int_equal(checkpoint_prune(dir.path, KEEP, &info), ERR_OK);
    assert_int_equal(tempdir_count(&dir), KEEP);
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove_all(dir.path);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        return run(argv[1]);
    }
    program = argv[0];
    tempdir_make(&dir);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_kill_never_costs_a_finished_save)};
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
