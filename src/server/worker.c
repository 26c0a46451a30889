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
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job came, one was done, or it is time to stop */
    struct worker_job *first, **last;
    struct worker_thread threads[WORKER_THREADS];
    size_t n_threads;
    bool stopping;
};

/* With the lock. */
static bool worker_may(const struct worker *w, const struct worker_job *job)
{
    size_t heavy = 0, own = 0;
    for (size_t i = 0; i < w->n_threads; i++) {
        const struct worker_thread *t = &w->threads[i];
        heavy += t->busy && t->heavy;
        own += t->busy && t->heavy == job->heavy && strncmp(t->owner, job->owner, WORKER_OWNER - 1) == 0;
    }
    return job->heavy ? heavy < WORKER_HEAVY && own < WORKER_OWNER_HEAVY : own < WORKER_OWNER_LIGHT;
}

/* With the lock. The oldest job that may begin; NULL: none. */
static struct worker_job *worker_take(struct worker *w)
{
    struct worker_job **at = &w->first;
    while (*at && !worker_may(w, *at)) {
        at = &(*at)->next;
    }
    struct worker_job *job = *at;
    if (job) {
        *at = job->next;
        w->last = job->next ? w->last : at;
    }
    return job;
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

err worker_start(struct worker **out, struct errinfo *info)
{
    struct worker *w = mem_calloc(1, sizeof *w);
    if (!w) {
        return err_set(info, ERR_NOMEM, "out of memory for the server's workers");
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->last = &w->first;
    for (size_t i = 0; i < WORKER_THREADS; i++) {
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

bool worker_give(struct worker *w, struct worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    bool taken = !w->stopping;
    if (taken) {
        job->next = NULL;
        *w->last = job;
        w->last = &job->next;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return taken;
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
