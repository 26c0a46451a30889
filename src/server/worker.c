/* server/worker.c: see worker.h. */
#include "server/worker.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"

struct worker_thread {
    struct worker *of;
    pthread_t thread;
    bool busy, heavy;
    char owner[WORKER_OWNER]; /* a copy: the job may be gone before its work has returned */
};

struct worker {
    struct worker_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job came, one was done, or it is time to stop */
    struct worker_job *first, **last;
    struct worker_thread threads[WORKER_THREADS_MAX];
    size_t n_threads;
    bool stopping;
};

static bool worker_is_of(const struct worker_job *job, const char *owner)
{
    return strncmp(job->owner, owner, WORKER_OWNER - 1) == 0;
}

/* With the lock. */
static bool worker_may(const struct worker *w, const struct worker_job *job)
{
    const struct worker_limits *l = &w->limits;
    size_t heavy = 0, own = 0;
    for (size_t i = 0; i < w->n_threads; i++) {
        const struct worker_thread *t = &w->threads[i];
        heavy += t->busy && t->heavy;
        own += t->busy && t->heavy == job->heavy && worker_is_of(job, t->owner);
    }
    return job->heavy ? heavy < l->heavy && own < l->owner_heavy : own < l->owner_light;
}

/* With the lock. The job at `at`, which leads to it, waits no longer; NULL: there is none. */
static struct worker_job *worker_unlink(struct worker *w, struct worker_job **at)
{
    struct worker_job *job = *at;
    if (job) {
        *at = job->next;
        w->last = job->next ? w->last : at;
    }
    return job;
}

/* With the lock. The oldest job that may begin; NULL: none. */
static struct worker_job *worker_take(struct worker *w)
{
    struct worker_job **at = &w->first;
    while (*at && !worker_may(w, *at)) {
        at = &(*at)->next;
    }
    return worker_unlink(w, at);
}

static void *worker_run(void *user)
{
    struct worker_thread *self = user;
    struct worker *w = self->of;
    pthread_mutex_lock(&w->lock);
    while (w->first || !w->stopping) {
        struct worker_job *job = worker_take(w);
        if (!job) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        self->busy = true;
        self->heavy = job->heavy;
        memset(self->owner, 0, sizeof self->owner);
        strncpy(self->owner, job->owner, WORKER_OWNER - 1);
        pthread_mutex_unlock(&w->lock);
        job->work(job->user);
        pthread_mutex_lock(&w->lock);
        self->busy = false;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

err worker_start(const struct worker_limits *limits, struct worker **out, struct errinfo *info)
{
    struct worker *w = mem_calloc(1, sizeof *w);
    if (!w) {
        return err_set(info, ERR_NOMEM, "out of memory for the server's workers");
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->limits = *limits;
    w->last = &w->first;
    for (size_t i = 0; i < limits->threads && i < WORKER_THREADS_MAX; i++) {
        w->threads[i].of = w;
        pthread_mutex_lock(&w->lock);
        bool made = pthread_create(&w->threads[i].thread, NULL, worker_run, &w->threads[i]) == 0;
        w->n_threads += made;
        pthread_mutex_unlock(&w->lock);
        if (!made) {
            worker_stop(w);
            worker_free(w);
            return err_set(info, ERR_IO, "the system refused threads for the server's work");
        }
    }
    *out = w;
    return ERR_OK;
}

/* With the lock. */
static bool worker_has_room(const struct worker *w, const char *owner)
{
    size_t waiting = 0;
    for (const struct worker_job *j = w->first; j; j = j->next) {
        waiting += worker_is_of(j, owner);
    }
    return w->limits.owner_waiting == 0 || waiting < w->limits.owner_waiting;
}

bool worker_give(struct worker *w, struct worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    bool taken = !w->stopping && worker_has_room(w, job->owner);
    if (taken) {
        job->next = NULL;
        *w->last = job;
        w->last = &job->next;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return taken;
}

bool worker_withdraw(struct worker *w, struct worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    struct worker_job **at = &w->first;
    while (*at && *at != job) {
        at = &(*at)->next;
    }
    bool waited = worker_unlink(w, at);
    pthread_mutex_unlock(&w->lock);
    return waited;
}

void worker_stop(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->n_threads; i++) {
        pthread_join(w->threads[i].thread, NULL);
    }
}

void worker_free(struct worker *w)
{
    if (w) {
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        mem_free(w);
    }
}
