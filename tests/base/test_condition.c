/* tests/base/test_condition.c: a wait ends in its time although the machine's clock is an hour off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/condition.h"
#include "base/progress.h"

/* What a program saw that asked before somebody set the clock back. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, t);
    t->tv_sec += clock == CLOCK_REALTIME ? 3600 : 0;
    return rc;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition;

static void a_wait_ends_in_its_time(void **state)
{
    (void)state;
    double begin = progress_clock();
    pthread_mutex_lock(&lock);
    while (condition_wait(&condition, &lock, begin + 0.05)) {}
    pthread_mutex_unlock(&lock);
    double took = progress_clock() - begin;
    assert_true(took >= 0.05 && took < 30);
}

static void *ring(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void who_is_woken_waits_no_longer(void **state)
{
    (void)state;
    pthread_t thread;
    pthread_mutex_lock(&lock);
    assert_int_equal(pthread_create(&thread, NULL, ring, NULL), 0);
    assert_true(condition_wait(&condition, &lock, progress_clock() + 600));
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    pthread_mutex_lock(&lock);
    assert_false(condition_wait(&condition, &lock, progress_clock() - 1));
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_wait_ends_in_its_time),
                                       cmocka_unit_test(who_is_woken_waits_no_longer)};
    condition_init(&condition);
    return cmocka_run_group_tests_name("condition", tests, NULL, NULL);
}
