/* server/worker.h: a few threads for what would hold a thread of the HTTP server, and with it everybody, for
 * longer than a few milliseconds. Jobs are light or heavy: heavy ones are never at work on more than half of
 * the threads, and of one owner one at a time; light ones two at a time. So nobody fills the pool, and what is
 * light never waits for what is heavy, not even for an owner's own. Among those that may, the oldest goes
 * first.
 *
 * Thread rule: worker_give from any thread, also from within a job. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "base/err.h"

#include <stdbool.h>

enum { WORKER_THREADS = 4, WORKER_HEAVY = 2, WORKER_OWNER_HEAVY = 1, WORKER_OWNER_LIGHT = 2 };
enum { WORKER_OWNER = 64 };

struct worker;

/* Its memory is the giver's, until `work` is called. */
struct worker_job {
    struct worker_job *next; /* the worker's */
    const char *owner;       /* borrowed until `work` is called; tells by its first WORKER_OWNER bytes */
    bool heavy;
    void (*work)(void *user);
    void *user;
};

/* ERR_NOMEM; ERR_IO: no threads. */
ERR_MUST_USE err worker_start(struct worker **out, struct errinfo *info);
/* False: it has stopped, and the job was not taken. */
bool worker_give(struct worker *w, struct worker_job *job);
/* Returns when every job that was given has been done. */
void worker_stop(struct worker *w);
void worker_free(struct worker *w); /* once stopped; NULL is fine */

#endif
