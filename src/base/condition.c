/* base/condition.c: see condition.h. */
#include "base/condition.h"

#include <errno.h>
#include <time.h>

void condition_init(pthread_cond_t *c)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(c, &clock);
    pthread_condattr_destroy(&clock);
}

bool condition_wait(pthread_cond_t *c, pthread_mutex_t *lock, double until)
{
    struct timespec t = {.tv_sec = (time_t)until};
    t.tv_nsec = (long)((until - (double)t.tv_sec) * 1e9);
    return pthread_cond_timedwait(c, lock, &t) != ETIMEDOUT;
}
