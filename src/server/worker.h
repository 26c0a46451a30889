/* server/worker.h: a few threads for what would hold a thread of the HTTP server, and with it everybody, for
 * longer than a few milliseconds. Jobs are light or heavy, and limits say how many of each are at work at a
 * time, of all and of one owner. So nobody fills the pool, and what is light never waits for what is heavy,
 * not even for an owner's own. Among those that may, the oldest goes first.
 *
 * Thread rule: worker_give and worker_withdraw from any thread, also from within a job. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { WORKER_THREADS_MAX = 4, WORKER_OWNER = 64 };

struct worker_limits {
    size_t threads;                  /* at most WORKER_THREADS_MAX */
    size_t heavy;                    /* threads at heavy jobs */
    size_t owner_heavy, owner_light; /* of one owner at work */
    size_t owner_waiting;            /* of one owner, not at work yet; 0: any number */
};

struct worker;

/* Its memory is the giver's, until `work` is called or it was withdrawn. */
struct worker_job {
    struct worker_job *next; /* the worker's */
    const char *owner;       /* borrowed as long; tells by its first WORKER_OWNER bytes */
    bool heavy;
    void (*work)(void *user);
    void *user;
};

/* ERR_NOMEM; ERR_IO: no threads. */
ERR_MUST_USE err worker_start(const struct worker_limits *limits, struct worker **out, struct errinfo *info);
/* False: the job was not taken, since the worker has stopped, or too many of its owner's wait. */
bool worker_give(struct worker *w, struct worker_job *job);
/* A job that was given is not wanted any more. False: its work has been begun, or done. */
bool worker_withdraw(struct worker *w, struct worker_job *job);
/* Returns when every job that was given has been done. */
void worker_stop(struct worker *w);
void worker_free(struct worker *w); /* once stopped; NULL is fine */

#endif
