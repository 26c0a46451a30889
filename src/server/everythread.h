/* server/everythread.h: one call made in every thread of the process: for what Linux keeps for each
 * thread although it is meant for all (Landlock's domains). Each other thread is sent a signal whose
 * handler makes the call. A thread may begin while this goes on: the threads are listed again until the
 * list holds nobody new. Thread rule: one caller at a time. */
#ifndef SERVER_EVERYTHREAD_H
#define SERVER_EVERYTHREAD_H

#include "base/err.h"

enum { EVERYTHREAD_MAX = 4096, EVERYTHREAD_PATIENCE_MS = 1000 };

/* `call` gets `argument`, may only do what a signal handler may, and returns 0 or an errno. ERR_IO as
 * soon as one returns another number than 0, and when a thread does not answer in time (it has every
 * signal blocked): it is named; some threads have made the call then, and some not. ERR_LIMIT beyond
 * EVERYTHREAD_MAX threads. A system call that another thread waits in may return EINTR. */
ERR_MUST_USE err everythread_call(int (*call)(void *argument), void *argument, struct errinfo *info);

#endif
