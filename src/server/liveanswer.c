/* server/liveanswer.c: see liveanswer.h. One thread reads all answers and stores them; the engine
 * wakes it, it wakes the readers. Two locks: `lock` for the answers and their readers; `bell` only
 * for the wake, since the engine rings it while it holds its own. */
#include "server/liveanswer.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/condition.h"
#include "base/mem.h"
#include "base/progress.h"
#include "server/apierror.h"
#include "server/wirereply.h"

/* What is said is stored this often, and what could not be stored is tried again. */
#define LIVEANSWER_SAVE_S 1.0
/* After its end an answer stays for readers who lost their connection just then. */
#define LIVEANSWER_LINGER_S 30.0

enum liveanswer_kind { LIVEANSWER_REASONING, LIVEANSWER_CONTENT, LIVEANSWER_END };

struct liveanswer_mark { /* an event: its text ends at `to` of the text of its kind */
    enum liveanswer_kind kind;
    size_t to;
};

/* How it ended, for the store. */
struct liveanswer_ending {
    enum chattree_state state;
    char error[sizeof(((struct apierror *)0)->message)]; /* "": none */
    json_t *stats;                                       /* NULL: none */
};

struct liveanswer_reader {
    struct liveanswer_reader *next;
    struct liveanswer *of;
    struct exchange *exchange;
    uint64_t seen;     /* events */
    size_t progressed; /* versions of the progress */
};

struct liveanswer {
    struct liveanswer *next;
    struct liveanswers *all;
    struct liveanswer_options is;
    char owner[VAULT_ID + 1], id[VAULT_ID + 1], chat[VAULT_ID + 1];
    struct answering *answering; /* NULL: it says no more, and `ending` waits for the store until it is over */
    struct liveanswer_ending ending;
    struct strbuf reasoning, content; /* NUL-terminated */
    struct liveanswer_mark *marks;    /* [n_marks] */
    size_t n_marks, cap_marks;
    struct batcher_progress progress;
    size_t progresses; /* versions of it */
    struct liveanswer_reader *readers;
    size_t holders;                       /* readers whose exchange is not closed yet */
    double since, saved, thought_s; /* saved: when that was tried last */
    double over;                    /* when its end was stored, or was found not to be storable; 0: not yet */
    bool stop, cut, dirty; /* stop: a person wants no more; cut: nobody may have more */
    bool forgotten;        /* its chat is gone */
    json_t *message;       /* as stored, once over; NULL: it could not be */
};

struct liveanswers {
    const struct answering_model *model;
    struct chatstore *store;
    struct liveanswer *first;
    pthread_t thread;
    pthread_mutex_t lock, bell;
    pthread_cond_t rung;
    bool ringing, stopping;
};

static int64_t liveanswer_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void liveanswer_ring(void *user)
{
    struct liveanswers *l = user;
    pthread_mutex_lock(&l->bell);
    l->ringing = true;
    pthread_cond_signal(&l->rung);
    pthread_mutex_unlock(&l->bell);
}

/* ---- What an answer says. With the lock. ---- */

static bool liveanswer_mark(struct liveanswer *a, enum liveanswer_kind kind, size_t to)
{
    struct liveanswer_mark *marks = mem_grow(a->marks, a->n_marks, &a->cap_marks, sizeof *marks);
    if (!marks) {
        return false;
    }
    a->marks = marks;
    a->marks[a->n_marks++] = (struct liveanswer_mark){kind, to};
    return true;
}

/* False: out of memory. */
static bool liveanswer_take(struct liveanswer *a, const struct answering_event *e)
{
    bool reasoning = e->kind == ANSWERING_REASONING;
    struct strbuf *text = reasoning ? &a->reasoning : &a->content;
    a->dirty = true;
    if (!reasoning && a->thought_s == 0 && a->reasoning.len > 0) {
        a->thought_s = progress_clock() - a->since;
    }
    return strbuf_append(text, e->text, e->len) == ERR_OK &&
           liveanswer_mark(a, reasoning ? LIVEANSWER_REASONING : LIVEANSWER_CONTENT, text->len);
}

static void liveanswer_wake(struct liveanswer *a)
{
    for (struct liveanswer_reader *r = a->readers; r; r = r->next) {
        exchange_wake(r->exchange);
    }
}

/* ---- The store. Without the lock: only this thread changes the texts. ---- */

static const char *liveanswer_text(const struct strbuf *s)
{
    return s->data ? s->data : "";
}

static json_t *liveanswer_stats(const struct liveanswer *a, const struct answering_usage *u)
{
    double decode = u->decode_s > 0 ? (double)u->completion / u->decode_s : 0;
    double prefill = u->prefill_s > 0 ? (double)(u->prompt - u->cached) / u->prefill_s : 0;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "prompt_tokens",
                     (json_int_t)u->prompt, "cached_tokens", (json_int_t)u->cached,
                     "completion_tokens", (json_int_t)u->completion, "reasoning_tokens",
                     (json_int_t)u->reasoning, "first_token_ms", (json_int_t)(u->first_s * 1000),
                     "reasoning_ms", (json_int_t)(a->thought_s * 1000), "total_ms",
                     (json_int_t)(u->total_s * 1000), "prefill_tps", prefill, "decode_tps", decode);
}

static void liveanswer_save(struct liveanswer *a)
{
    struct errinfo info = {0};
    err e = chattree_write(a->all->store, a->owner, a->id, liveanswer_text(&a->content),
                           liveanswer_text(&a->reasoning), &info);
    if (e == ERR_NOTFOUND) { /* the chat was deleted: nobody wants it. Else a full disk: again in a second */
        pthread_mutex_lock(&a->all->lock);
        a->stop = true;
        pthread_mutex_unlock(&a->all->lock);
    }
    a->saved = progress_clock();
    a->dirty = false;
}

/* Readers get the end once it is stored: until then, on a full disk, it is tried again and again. What no time
 * mends (its chat was deleted, say) ends their streams without one. */
static void liveanswer_store_end(struct liveanswer *a, bool last)
{
    struct errinfo info = {0};
    json_t *message = NULL;
    const struct chattree_ending ending = {.state = a->ending.state,
                                           .content = liveanswer_text(&a->content),
                                           .reasoning = liveanswer_text(&a->reasoning),
                                           .error = *a->ending.error ? a->ending.error : NULL,
                                           .stats = a->ending.stats};
    err e = chattree_end(a->all->store, a->owner, a->id, &ending, liveanswer_now(), &message, &info);
    a->saved = progress_clock();
    if ((e == ERR_IO || e == ERR_NOMEM) && !last) {
        return;
    }
    pthread_mutex_lock(&a->all->lock);
    a->message = message;
    a->over = a->saved;
    if (message) {
        liveanswer_mark(a, LIVEANSWER_END, 0);
    }
    liveanswer_wake(a);
    pthread_mutex_unlock(&a->all->lock);
}

static void liveanswer_say_ending(struct liveanswer *a, enum chattree_state state, const char *error,
                                  const struct answering_usage *usage)
{
    a->ending.state = state;
    snprintf(a->ending.error, sizeof a->ending.error, "%s", error ? error : "");
    a->ending.stats = usage ? liveanswer_stats(a, usage) : NULL;
    a->saved = 0; /* so it is stored at once */
}

static void liveanswer_finish(struct liveanswer *a, enum chattree_state state, const char *error,
                              const struct answering_usage *usage)
{
    liveanswer_say_ending(a, state, error, usage);
    pthread_mutex_lock(&a->all->lock);
    struct answering *answering = a->answering;
    a->answering = NULL;
    pthread_mutex_unlock(&a->all->lock);
    answering_end(answering, a->is.used, a->is.user);
}

/* It could not be begun. */
static void liveanswer_refused(const struct liveanswer_options *o)
{
    static const struct answering_usage none;
    if (o->used) {
        o->used(o->user, &none, false);
    }
}

/* ---- The thread. ---- */

/* Reads what came. *end: the last event. False: it goes on. */
static bool liveanswer_read(struct liveanswer *a, struct answering_event *end,
                            enum chattree_state *state)
{
    struct answering_event e;
    bool over = false, changed = false;
    pthread_mutex_lock(&a->all->lock);
    while (!over && answering_next(a->answering, &e)) {
        changed = true;
        if (e.kind == ANSWERING_PROGRESS) {
            a->progress = e.progress;
            a->progresses++;
        } else if (e.kind == ANSWERING_REASONING || e.kind == ANSWERING_CONTENT) {
            over = !liveanswer_take(a, &e);
        } else if (e.kind == ANSWERING_DONE) {
            *state = e.finish == ANSWERING_LENGTH ? CHATTREE_LENGTH : CHATTREE_DONE;
        } else if (e.kind == ANSWERING_END) {
            *end = e;
            over = true;
        }
    }
    if (changed) {
        liveanswer_wake(a);
    }
    pthread_mutex_unlock(&a->all->lock);
    return over;
}

static void liveanswer_advance(struct liveanswer *a, bool stop, bool cut)
{
    struct answering_event end = {0};
    enum chattree_state state = CHATTREE_FAILED;
    if (liveanswer_read(a, &end, &state)) {
        const char *error = end.error ? end.error->message : NULL;
        const char *why = state == CHATTREE_LENGTH ? a->is.short_of : NULL;
        liveanswer_finish(a, error ? CHATTREE_FAILED : state, error ? error : why, &end.usage);
    } else if (stop || cut) {
        const struct answering_usage sofar = answering_so_far(a->answering);
        liveanswer_finish(a, stop ? CHATTREE_STOPPED : CHATTREE_INTERRUPTED, NULL, &sofar);
    } else if (a->dirty && progress_clock() - a->saved > LIVEANSWER_SAVE_S) {
        liveanswer_save(a);
    }
}

static void liveanswer_serve(struct liveanswer *a)
{
    pthread_mutex_lock(&a->all->lock);
    bool stop = a->stop, stopping = a->all->stopping, cut = a->cut || stopping;
    pthread_mutex_unlock(&a->all->lock);
    if (a->answering) {
        liveanswer_advance(a, stop, cut);
    }
    if (!a->answering && a->over == 0 && (stopping || progress_clock() - a->saved > LIVEANSWER_SAVE_S)) {
        liveanswer_store_end(a, stopping);
    }
}

static void liveanswer_free(struct liveanswer *a)
{
    strbuf_deinit(&a->reasoning);
    strbuf_deinit(&a->content);
    mem_free(a->marks);
    json_decref(a->ending.stats);
    json_decref(a->message);
    mem_free(a);
}

/* Takes those out that nobody needs any more. Returns whether some are left. */
static bool liveanswers_sweep(struct liveanswers *l)
{
    double now = progress_clock();
    pthread_mutex_lock(&l->lock);
    for (struct liveanswer **link = &l->first; *link;) {
        struct liveanswer *a = *link;
        if (a->over > 0 && a->holders == 0 &&
            (l->stopping || a->forgotten || now - a->over > LIVEANSWER_LINGER_S)) {
            *link = a->next;
            liveanswer_free(a);
        } else {
            link = &a->next;
        }
    }
    bool some = l->first;
    pthread_mutex_unlock(&l->lock);
    return some;
}

static bool liveanswers_wait(struct liveanswers *l, bool some)
{
    double until = progress_clock() + 1;
    bool early = true;
    pthread_mutex_lock(&l->bell);
    while (!l->ringing && !l->stopping && early) {
        early = some ? condition_wait(&l->rung, &l->bell, until)
                     : pthread_cond_wait(&l->rung, &l->bell) == 0;
    }
    l->ringing = false;
    bool go_on = !l->stopping;
    pthread_mutex_unlock(&l->bell);
    return go_on;
}

static void *liveanswers_run(void *user)
{
    struct liveanswers *l = user;
    bool some = false, go_on = true;
    while (go_on || some) {
        go_on = liveanswers_wait(l, some);
        pthread_mutex_lock(&l->lock);
        struct liveanswer *first = l->first;
        pthread_mutex_unlock(&l->lock);
        for (struct liveanswer *a = first; a;
             a = a->next) { /* others are only ever put before the first */
            liveanswer_serve(a);
        }
        some = liveanswers_sweep(l);
    }
    return NULL;
}

/* ---- Beginning and end. ---- */

err liveanswer_thread_start(const struct answering_model *m, struct chatstore *store,
                      struct liveanswers **out, struct errinfo *info)
{
    struct liveanswers *l = mem_calloc(1, sizeof *l);
    if (!l) {
        return err_set(info, ERR_NOMEM, "out of memory for answers");
    }
    l->model = m;
    l->store = store;
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->bell, NULL);
    condition_init(&l->rung);
    if (pthread_create(&l->thread, NULL, liveanswers_run, l) != 0) {
        mem_free(l);
        return err_set(info, ERR_IO, "the system refused a thread for answers");
    }
    *out = l;
    return ERR_OK;
}

void liveanswer_thread_stop(struct liveanswers *l)
{
    if (!l) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    pthread_mutex_lock(&l->bell);
    l->stopping = true;
    pthread_cond_signal(&l->rung);
    pthread_mutex_unlock(&l->bell);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->rung);
    pthread_mutex_destroy(&l->bell);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

static struct liveanswer *liveanswer_new(struct liveanswers *l, const struct liveanswer_options *o)
{
    struct liveanswer *a = mem_calloc(1, sizeof *a);
    if (a) {
        a->all = l;
        a->is = *o;
        snprintf(a->owner, sizeof a->owner, "%s", o->owner);
        snprintf(a->id, sizeof a->id, "%s", o->id);
        snprintf(a->chat, sizeof a->chat, "%s", o->chat);
        a->since = a->saved = progress_clock();
    }
    return a;
}

/* Who deletes first deletes, then forgets; who begins first links, then looks: one of both sees the other. */
static bool liveanswer_deleted(struct liveanswers *l, const char *owner, const char *id)
{
    struct errinfo info = {0};
    json_t *chat = NULL;
    err e = chatstore_chat(l->store, owner, id, &chat, &info);
    json_decref(chat);
    return e == ERR_NOTFOUND || e == ERR_CORRUPT; /* corrupt: a large one is half gone */
}

bool liveanswer_begin(struct liveanswers *l, struct question *take_q,
                      const struct liveanswer_options *options)
{
    struct apierror e = {0};
    char chat[VAULT_ID + 1]; /* the other may go with the question */
    snprintf(chat, sizeof chat, "%s", options->chat);
    struct liveanswer *a = liveanswer_new(l, options);
    const struct answering_asker asker = {.owner = options->number,
                                          .partition = options->drawer,
                                          .drawer = options->drawer,
                                          .notify = liveanswer_ring,
                                          .user = l,
                                          .progress = true};
    if (!a) { /* the message stays "writing" until the next start, when it becomes "interrupted" */
        question_free(take_q);
        liveanswer_refused(options);
        return true;
    }
    if (!answering_begin(l->model, take_q, &asker, &a->answering, &e)) {
        liveanswer_refused(options);
        liveanswer_say_ending(a, CHATTREE_FAILED, e.message, NULL);
    }
    pthread_mutex_lock(&l->lock);
    a->next = l->first;
    l->first = a;
    pthread_mutex_unlock(&l->lock);
    bool deleted = liveanswer_deleted(l, options->owner, chat);
    if (deleted) {
        liveanswer_forget(l, options->owner, chat);
    }
    liveanswer_ring(l);
    return !deleted;
}

/* With the lock. */
static struct liveanswer *liveanswer_find(struct liveanswers *l, const char *owner, const char *id)
{
    for (struct liveanswer *a = l->first; a; a = a->next) {
        if (strcmp(a->id, id) == 0 && strcmp(a->owner, owner) == 0 && !a->forgotten) {
            return a;
        }
    }
    return NULL;
}

bool liveanswer_stop(struct liveanswers *l, const char *owner, const char *id)
{
    pthread_mutex_lock(&l->lock);
    struct liveanswer *a = liveanswer_find(l, owner, id);
    if (a) {
        a->stop = true;
    }
    pthread_mutex_unlock(&l->lock);
    liveanswer_ring(l);
    return a;
}

void liveanswer_cut_all(struct liveanswers *l, const char *owner)
{
    pthread_mutex_lock(&l->lock);
    for (struct liveanswer *a = l->first; a; a = a->next) {
        a->cut = a->cut || strcmp(a->owner, owner) == 0;
    }
    pthread_mutex_unlock(&l->lock);
    liveanswer_ring(l);
}

void liveanswer_forget(struct liveanswers *l, const char *owner, const char *chat)
{
    pthread_mutex_lock(&l->lock);
    for (struct liveanswer *a = l->first; a; a = a->next) {
        if (strcmp(a->owner, owner) == 0 && (!chat || strcmp(a->chat, chat) == 0)) {
            a->stop = a->forgotten = true;
        }
    }
    pthread_mutex_unlock(&l->lock);
    liveanswer_ring(l);
}

bool liveanswer_answer_now(struct liveanswers *l, const char *owner, const char *id)
{
    pthread_mutex_lock(&l->lock);
    struct liveanswer *a = liveanswer_find(l, owner, id);
    if (a && a->answering) {
        answering_answer_now(a->answering);
    }
    pthread_mutex_unlock(&l->lock);
    return a;
}

/* ---- Readers. ---- */

/* One event for all marks of one kind that follow each other. */
static err liveanswer_write(struct liveanswer_reader *r, struct strbuf *out)
{
    static const char *const names[] = {"reasoning", "content", "end"};
    const struct liveanswer *a = r->of;
    enum liveanswer_kind kind = a->marks[r->seen].kind;
    size_t last = r->seen, from = 0;
    for (size_t i = r->seen; i-- > 0 && from == 0;) {
        from = a->marks[i].kind == kind ? a->marks[i].to : 0;
    }
    while (last + 1 < a->n_marks && a->marks[last + 1].kind == kind) {
        last++;
    }
    r->seen = last + 1;
    TRY(strbuf_printf(out, "id: %llu\n", (unsigned long long)r->seen));
    if (kind == LIVEANSWER_END) {
        return wirereply_sse(out, names[kind], json_incref(a->message));
    }
    const struct strbuf *text = kind == LIVEANSWER_REASONING ? &a->reasoning : &a->content;
    return wirereply_sse(out, names[kind],
                         json_pack("{s:s%}", "text", text->data + from, a->marks[last].to - from));
}

static err liveanswer_write_progress(struct liveanswer_reader *r, struct strbuf *out)
{
    const struct batcher_progress *p = &r->of->progress;
    if (r->of->n_marks > 0 || r->progressed == r->of->progresses) {
        return ERR_OK;
    }
    r->progressed = r->of->progresses;
    json_t *data =
        p->ahead > 0 && p->done == 0
            ? json_pack("{s:I}", "waiting", (json_int_t)p->ahead)
            : json_pack("{s:I, s:I}", "done", (json_int_t)p->done, "total", (json_int_t)p->total);
    return wirereply_sse(out, "prefill", data);
}

static enum exchange_more liveanswer_pull(void *user, struct exchange *x, struct strbuf *out)
{
    struct liveanswer_reader *r = user;
    struct liveanswer *a = r->of;
    (void)x;
    pthread_mutex_lock(&a->all->lock);
    err e = liveanswer_write_progress(r, out);
    while (e == ERR_OK && r->seen < a->n_marks) {
        e = liveanswer_write(r, out);
    }
    bool over = e != ERR_OK || a->over > 0;
    pthread_mutex_unlock(&a->all->lock);
    return over ? EXCHANGE_END : EXCHANGE_WAIT;
}

static void liveanswer_close(void *user)
{
    struct liveanswer_reader *r = user;
    struct liveanswers *l = r->of->all;
    pthread_mutex_lock(&l->lock);
    for (struct liveanswer_reader **link = &r->of->readers; *link; link = &(*link)->next) {
        if (*link == r) {
            *link = r->next;
            break;
        }
    }
    r->of->holders--;
    pthread_mutex_unlock(&l->lock);
    mem_free(r);
}

bool liveanswer_stream(struct liveanswers *l, const char *owner, const char *id, uint64_t from,
                       struct exchange *x)
{
    struct liveanswer_reader *r = mem_calloc(1, sizeof *r);
    pthread_mutex_lock(&l->lock);
    struct liveanswer *a = r ? liveanswer_find(l, owner, id) : NULL;
    if (a) {
        *r = (struct liveanswer_reader){.next = a->readers, .of = a, .exchange = x};
        r->seen = from < a->n_marks               ? from
                  : a->over > 0 && a->n_marks > 0 ? a->n_marks - 1
                                                  : a->n_marks;
        a->readers = r;
        a->holders++;
    }
    pthread_mutex_unlock(&l->lock);
    if (!a) {
        mem_free(r);
        return false;
    }
    const struct exchange_source source = {.pull = liveanswer_pull,
                                           .close = liveanswer_close,
                                           .user = r,
                                           .type = "text/event-stream",
                                           .keepalive = ": keep-alive\n\n"};
    exchange_add_header(x, "Cache-Control", "no-store");
    exchange_add_header(x, "X-Accel-Buffering", "no");
    exchange_stream(x, &source);
    return true;
}
