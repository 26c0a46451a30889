/* server/enginethread.c: see enginethread.h. One lock for all: what it guards takes microseconds, a step of
 * the engine milliseconds, and none is held while the engine computes. */
#include "server/enginethread.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"

struct enginethread_item { /* an event that waits to be read */
    struct enginethread_item *next;
    struct enginethread_event event;
    char text[];
};

struct enginethread_stream {
    struct enginethread *thread;
    struct enginethread_request is; /* tokens: its own */
    struct batcher_job *job;        /* NULL: not submitted yet, or over */
    struct enginethread_stream *next; /* among those to be submitted, hurried or cancelled */
    struct enginethread_item *first, **last, *read; /* waiting events; the one given out last */
    struct enginethread_item *end; /* made at the beginning: an end never lacks memory */
    struct enginethread_item *progress; /* among those that wait; NULL: none is */
    struct enginethread_event ended; /* what it says */
    char message[sizeof((struct errinfo *)NULL)->message];
    bool listed, over, closed, hungry, hurried, short_of_memory;
};

/* What somebody waits for, to be done between two steps; on their stack. */
struct enginethread_errand {
    struct enginethread_errand *next;
    err (*run)(struct batcher *b, uint64_t of, struct errinfo *info);
    uint64_t of; /* a drawer, an owner, a time */
    struct errinfo *info;
    err result;
    bool done;
};

struct enginethread {
    struct batcher *batcher;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked, answered;
    struct enginethread_stream *inbox, **inbox_end; /* the oldest first */
    struct enginethread_errand *errands;
    struct batcher_counts counts;
    bool stopping, submitting; /* the latter: a request is neither in the inbox nor in the batch */
};

/* ---- Streams. ---- */

static void enginethread_discard(struct enginethread_stream *s)
{
    for (struct enginethread_item *i = s->first, *next; i; i = next) {
        next = i->next;
        mem_free(i);
    }
    mem_free(s->end); /* NULL once it was put */
    mem_free(s->read);
    mem_free((void *)s->is.tokens);
    if (s->is.release) {
        s->is.release(s->is.owned, &s->ended);
    }
    mem_free(s);
}

/* With the lock. Adds an event and wakes the reader. */
static void enginethread_put(struct enginethread_stream *s, struct enginethread_item *i)
{
    i->next = NULL;
    *s->last = i;
    s->last = &i->next;
    pthread_cond_broadcast(&s->thread->answered);
    if (s->hungry && !s->closed && s->is.notify) {
        s->hungry = false;
        s->is.notify(s->is.user);
    }
}

/* With the lock, from the engine's thread: what others see of the batch. */
static void enginethread_count(struct enginethread *t)
{
    t->counts = batcher_count(t->batcher);
}

/* With the lock. The end; the stream goes if its reader has gone. */
static void enginethread_finish(struct enginethread_stream *s, const struct generate_result *r, size_t cached,
                                err e, const char *message)
{
    struct enginethread_item *i = s->end;
    if (message) {
        strncpy(s->message, message, sizeof s->message - 1);
    }
    s->ended.result = *r;
    s->ended.cached = cached;
    s->ended.e = e;
    s->ended.message = e == ERR_OK ? NULL : s->message;
    i->event = s->ended;
    s->end = NULL;
    s->over = true;
    s->job = NULL;
    enginethread_put(s, i);
    if (s->closed && !s->listed) {
        enginethread_discard(s);
    }
}

static bool enginethread_on_token(void *user, const struct session_token *token)
{
    struct enginethread_stream *s = user;
    struct enginethread_item *i = mem_alloc(sizeof *i + token->text_len + 1);
    if (i) {
        i->event = (struct enginethread_event){.kind = ENGINETHREAD_TOKEN, .token = *token};
        memcpy(i->text, token->text, token->text_len);
        i->text[token->text_len] = '\0';
        i->event.token.text = i->text;
    }
    pthread_mutex_lock(&s->thread->lock);
    if (i) {
        enginethread_put(s, i);
    } else {
        s->short_of_memory = true;
    }
    bool go_on = i && !s->closed;
    pthread_mutex_unlock(&s->thread->lock);
    return go_on;
}

/* Without memory the reader learns of it a step later. */
static void enginethread_on_progress(void *user, const struct batcher_progress *progress)
{
    struct enginethread_stream *s = user;
    pthread_mutex_lock(&s->thread->lock);
    if (!s->progress && (s->progress = mem_calloc(1, sizeof *s->progress))) {
        s->progress->event.kind = ENGINETHREAD_PROGRESS;
        enginethread_put(s, s->progress);
    }
    if (s->progress) {
        s->progress->event.progress = *progress;
    }
    pthread_mutex_unlock(&s->thread->lock);
}

static void enginethread_on_done(void *user, const struct generate_result *r, size_t cached, err e,
                                 const char *message)
{
    struct enginethread_stream *s = user;
    struct enginethread *t = s->thread;
    pthread_mutex_lock(&t->lock);
    enginethread_count(t);
    if (s->short_of_memory) {
        enginethread_finish(s, r, cached, ERR_NOMEM, "out of memory for the text of an answer");
    } else {
        enginethread_finish(s, r, cached, e, message);
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- The thread. ---- */

static void enginethread_submit(struct enginethread *t, struct enginethread_stream *s, bool hurried)
{
    struct errinfo info = {0};
    const struct batcher_request r = {.tokens = s->is.tokens,
                                      .n_tokens = s->is.n_tokens,
                                      .sampling = &s->is.sampling,
                                      .options = &s->is.options,
                                      .owner = s->is.owner,
                                      .partition = s->is.partition,
                                      .drawer = s->is.drawer,
                                      .token = enginethread_on_token,
                                      .progress = s->is.progress ? enginethread_on_progress : NULL,
                                      .done = enginethread_on_done,
                                      .user = s};
    struct batcher_job *job;
    err e = batcher_submit(t->batcher, &r, &job, &info);
    if (e == ERR_OK) {
        s->job = job;
        if (hurried) {
            batcher_answer_now(job);
        }
    } else {
        const struct generate_result none = {0};
        enginethread_on_done(s, &none, 0, e, info.message);
    }
}

/* With the lock, which it gives up where the job is new; then the stream may be gone afterwards. */
static void enginethread_attend(struct enginethread *t, struct enginethread_stream *s)
{
    if (s->closed && !s->job) { /* over, or not yet begun */
        enginethread_discard(s);
    } else if (s->closed) {
        batcher_cancel(s->job);
    } else if (s->job) {
        batcher_answer_now(s->job); /* what else could it want */
    } else if (!s->over) {
        bool hurried = s->hurried;
        t->submitting = true;
        pthread_mutex_unlock(&t->lock);
        enginethread_submit(t, s, hurried);
        pthread_mutex_lock(&t->lock);
        t->submitting = false;
        enginethread_count(t);
    }
}

/* With the lock, which it gives up meanwhile. */
static void enginethread_run_errands(struct enginethread *t)
{
    struct enginethread_errand *o;
    while ((o = t->errands)) {
        t->errands = o->next;
        pthread_mutex_unlock(&t->lock);
        o->result = o->run(t->batcher, o->of, o->info);
        pthread_mutex_lock(&t->lock);
        o->done = true;
        pthread_cond_broadcast(&t->answered);
    }
}

/* With the lock. The first of the inbox; NULL: it is empty. */
static struct enginethread_stream *enginethread_unlist(struct enginethread *t)
{
    struct enginethread_stream *s = t->inbox;
    if (s) {
        s->listed = false;
        t->inbox = s->next;
        t->inbox_end = t->inbox ? t->inbox_end : &t->inbox;
    }
    return s;
}

/* What was asked since: new jobs, those in a hurry, those whose reader has gone. False: it is time to stop. */
static bool enginethread_take(struct enginethread *t)
{
    pthread_mutex_lock(&t->lock);
    enginethread_count(t);
    while (!t->stopping && !t->inbox && !t->errands && t->counts.running + t->counts.waiting == 0) {
        pthread_cond_wait(&t->asked, &t->lock);
    }
    bool go_on = !t->stopping;
    for (struct enginethread_stream *s; (s = enginethread_unlist(t));) {
        enginethread_attend(t, s);
    }
    enginethread_run_errands(t);
    pthread_mutex_unlock(&t->lock);
    batcher_admit(t->batcher);
    pthread_mutex_lock(&t->lock);
    enginethread_count(t);
    pthread_mutex_unlock(&t->lock);
    return go_on;
}

static void *enginethread_run(void *user)
{
    struct enginethread *t = user;
    while (enginethread_take(t)) {
        batcher_step(t->batcher);
    }
    return NULL;
}

/* ---- Other threads. ---- */

/* With the lock: the engine's thread looks at the stream before its next step. */
static void enginethread_list(struct enginethread *t, struct enginethread_stream *s)
{
    if (!s->listed) {
        s->listed = true;
        s->next = NULL;
        *t->inbox_end = s;
        t->inbox_end = &s->next;
        pthread_cond_signal(&t->asked);
    }
}

err enginethread_ask(struct enginethread *t, const struct enginethread_request *request,
                     struct enginethread_stream **out, struct errinfo *info)
{
    struct enginethread_stream *s = mem_calloc(1, sizeof *s);
    struct enginethread_item *end = mem_calloc(1, sizeof *end);
    int32_t *tokens = mem_calloc(request->n_tokens ? request->n_tokens : 1, sizeof *tokens);
    if (!s || !end || !tokens) {
        mem_free(s);
        mem_free(end);
        mem_free(tokens);
        return err_set(info, ERR_NOMEM, "out of memory for a request of %zu tokens", request->n_tokens);
    }
    if (request->n_tokens > 0) {
        memcpy(tokens, request->tokens, request->n_tokens * sizeof *tokens);
    }
    s->thread = t;
    s->is = *request;
    s->is.tokens = tokens;
    s->end = end;
    s->ended.kind = ENGINETHREAD_END;
    s->last = &s->first;
    s->hungry = true;
    pthread_mutex_lock(&t->lock);
    enginethread_list(t, s);
    pthread_mutex_unlock(&t->lock);
    *out = s;
    return ERR_OK;
}

/* With the lock. */
static bool enginethread_pop(struct enginethread_stream *s, struct enginethread_event *out)
{
    struct enginethread_item *i = s->first;
    if (!i) {
        s->hungry = !s->over;
        return false;
    }
    s->first = i->next;
    s->last = s->first ? s->last : &s->first;
    s->progress = i == s->progress ? NULL : s->progress;
    mem_free(s->read);
    s->read = i;
    *out = i->event;
    return true;
}

bool enginethread_next(struct enginethread_stream *s, struct enginethread_event *out)
{
    pthread_mutex_lock(&s->thread->lock);
    bool some = enginethread_pop(s, out);
    pthread_mutex_unlock(&s->thread->lock);
    return some;
}

bool enginethread_wait(struct enginethread_stream *s, struct enginethread_event *out)
{
    pthread_mutex_lock(&s->thread->lock);
    bool some;
    while (!(some = enginethread_pop(s, out)) && !s->over) {
        pthread_cond_wait(&s->thread->answered, &s->thread->lock);
    }
    pthread_mutex_unlock(&s->thread->lock);
    return some;
}

void enginethread_answer_now(struct enginethread_stream *s)
{
    struct enginethread *t = s->thread;
    pthread_mutex_lock(&t->lock);
    s->hurried = true;
    enginethread_list(t, s);
    pthread_mutex_unlock(&t->lock);
}

void enginethread_close(struct enginethread_stream *s)
{
    struct enginethread *t = s->thread;
    pthread_mutex_lock(&t->lock);
    s->closed = true;
    if (s->over && !s->listed) {
        enginethread_discard(s);
    } else {
        enginethread_list(t, s);
    }
    pthread_mutex_unlock(&t->lock);
}

/* Has the engine's thread do it, and waits for that. */
static err enginethread_send(struct enginethread *t, err (*run)(struct batcher *, uint64_t, struct errinfo *),
                             uint64_t of, struct errinfo *info)
{
    struct enginethread_errand o = {.run = run, .of = of, .info = info};
    pthread_mutex_lock(&t->lock);
    o.next = t->errands;
    t->errands = &o;
    pthread_cond_signal(&t->asked);
    while (!o.done) {
        pthread_cond_wait(&t->answered, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return o.result;
}

static err enginethread_run_forget(struct batcher *b, uint64_t drawer, struct errinfo *info)
{
    (void)info;
    batcher_forget(b, drawer);
    return ERR_OK;
}

err enginethread_forget(struct enginethread *t, uint64_t drawer, struct errinfo *info)
{
    TRY(enginethread_send(t, enginethread_run_forget, drawer, info));
    /* Here, as removing files would hold up every answer. */
    return batcher_forget_disk(t->batcher, drawer, info);
}

static err enginethread_run_forget_unused(struct batcher *b, uint64_t before, struct errinfo *info)
{
    (void)info;
    batcher_forget_unused(b, (int64_t)before);
    return ERR_OK;
}

void enginethread_forget_unused(struct enginethread *t, int64_t before)
{
    int64_t ns = before * 1000000;
    err e = enginethread_send(t, enginethread_run_forget_unused, (uint64_t)ns, NULL);
    (void)e; /* it has no errors */
    batcher_forget_unused_disk(t->batcher, ns);
}

static err enginethread_run_room(struct batcher *b, uint64_t owner, struct errinfo *info)
{
    return batcher_room(b, owner, info);
}

err enginethread_room(struct enginethread *t, uint64_t owner, struct errinfo *info)
{
    return enginethread_counts(t).waiting == 0 /* then there is room, and no step is waited for */
               ? ERR_OK
               : enginethread_send(t, enginethread_run_room, owner, info);
}

err enginethread_fits(const struct enginethread *t, size_t n_tokens, struct errinfo *info)
{
    return batcher_fits(t->batcher, n_tokens, info);
}

size_t enginethread_limit(const struct enginethread *t)
{
    return batcher_limit(t->batcher);
}

struct batcher_counts enginethread_counts(struct enginethread *t)
{
    pthread_mutex_lock(&t->lock);
    struct batcher_counts c = t->counts;
    c.waiting += t->submitting;
    for (const struct enginethread_stream *s = t->inbox; s; s = s->next) {
        c.waiting += !s->job && !s->over && !s->closed;
    }
    pthread_mutex_unlock(&t->lock);
    return c;
}

err enginethread_start(struct engine *e, const struct batcher_options *options, struct enginethread **out,
                       struct errinfo *info)
{
    struct enginethread *t = mem_calloc(1, sizeof *t);
    if (!t) {
        return err_set(info, ERR_NOMEM, "out of memory for the engine's thread");
    }
    err result = batcher_new(e, options, &t->batcher, info);
    if (result != ERR_OK) {
        mem_free(t);
        return result;
    }
    t->inbox_end = &t->inbox;
    t->counts = batcher_count(t->batcher);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->asked, NULL);
    pthread_cond_init(&t->answered, NULL);
    if (pthread_create(&t->thread, NULL, enginethread_run, t) != 0) {
        batcher_free(t->batcher);
        mem_free(t);
        return err_set(info, ERR_IO, "the system refused a thread for the engine");
    }
    *out = t;
    return ERR_OK;
}

void enginethread_stop(struct enginethread *t)
{
    if (!t) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->asked);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    batcher_free(t->batcher); /* ends what is left: closed streams, which go with it */
    pthread_cond_destroy(&t->asked);
    pthread_cond_destroy(&t->answered);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}
