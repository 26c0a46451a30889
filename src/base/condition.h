/* base/condition.h: conditions that threads wait for until a time of the clock that only goes forward
 * (progress_clock): whoever sets the machine's clock makes no wait longer or shorter. */
#ifndef BASE_CONDITION_H
#define BASE_CONDITION_H

#include <pthread.h>
#include <stdbool.h>

void condition_init(pthread_cond_t *c); /* its end: pthread_cond_destroy */
/* With the lock, of a condition of condition_init. False: it is `until` in seconds, or later. */
bool condition_wait(pthread_cond_t *c, pthread_mutex_t *lock, double until);

#endif
