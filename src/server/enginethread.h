/* server/enginethread.h: the one thread that computes. Any thread hands it a request and gets a stream of what
 * comes of it: tokens as they are made, then the end. Waiting costs no processor time, on either side; a
 * stream that nobody reads holds up nobody (its tokens wait in it).
 *
 * Thread rule: any function from any thread; a stream belongs to one thread at a time. */
#ifndef SERVER_ENGINETHREAD_H
#define SERVER_ENGINETHREAD_H

#include "engine/batcher.h"

struct enginethread;
struct enginethread_stream;

/* From here on the engine belongs to the thread, until enginethread_stop. ERR_ARGUMENT, ERR_NOMEM, ERR_IO. */
ERR_MUST_USE err enginethread_start(struct engine *e, const struct batcher_options *options,
                                    struct enginethread **out, struct errinfo *info);
/* Ends what runs as cancelled, then the thread. Every stream must have been closed. NULL is fine. */
void enginethread_stop(struct enginethread *t);

/* Would a prompt of so many tokens be answered (batcher_fits)? ERR_CONTEXT. */
ERR_MUST_USE err enginethread_fits(const struct enginethread *t, size_t n_tokens, struct errinfo *info);

/* Tokens of a prompt and its answer together, at most (batcher_limit). */
size_t enginethread_limit(const struct enginethread *t);

struct enginethread_event;

/* Would a request of that owner be taken just now (batcher_room)? Where many wait, it is known a step later.
 * Not from `notify` or `release`. ERR_BUSY. */
ERR_MUST_USE err enginethread_room(struct enginethread *t, uint64_t owner, struct errinfo *info);

struct enginethread_request {
    const int32_t *tokens; /* [n_tokens] the prompt; copied */
    size_t n_tokens;
    struct sampling sampling;
    struct generate_options options; /* neither progress nor speculation */
    uint64_t owner, partition, drawer; /* batcher.h */
    bool progress;                   /* say how far it is before its first token */
    /* What sampling and options point to must live until the job is over and the stream closed. Then `release`
     * is called with `owned` and the end, whether it was read or not (of a job that was never begun: nothing),
     * once, from either thread; it may call nothing of this file. May be NULL. */
    void *owned;
    void (*release)(void *owned, const struct enginethread_event *end);
    /* Called from the engine's thread when something came after the reader had found nothing, to wake it; it
     * may call nothing of this file. May be NULL. */
    void (*notify)(void *user);
    void *user;
};

enum enginethread_kind { ENGINETHREAD_PROGRESS, ENGINETHREAD_TOKEN, ENGINETHREAD_END };

struct enginethread_event {
    enum enginethread_kind kind;
    struct batcher_progress progress; /* the newest only: what nobody has read is replaced */
    struct session_token token; /* its text lives until the next call for this stream */
    /* The end: as batcher_request's `done`; a request that was refused has its error here too. */
    struct generate_result result;
    size_t cached;
    err e;
    const char *message; /* NULL when e is ERR_OK; lives as long as the stream */
};

/* On an error (ERR_NOMEM) `release` is not called. */
ERR_MUST_USE err enginethread_ask(struct enginethread *t, const struct enginethread_request *request,
                                  struct enginethread_stream **out, struct errinfo *info);

/* The next event, in order; false: none has come yet (then `notify` will be called), or the end was read. */
bool enginethread_next(struct enginethread_stream *s, struct enginethread_event *out);
/* The same, but waits. False only after the end. */
bool enginethread_wait(struct enginethread_stream *s, struct enginethread_event *out);
/* The answer's think block ends with its next token (batcher_answer_now). */
void enginethread_answer_now(struct enginethread_stream *s);
/* Ends the job, if it runs still; its memory is free a step later. `notify` is not called any more. */
void enginethread_close(struct enginethread_stream *s);

/* Forgets what was kept of a drawer's texts (batcher_forget): it is done when this returns. Not from `notify`
 * or `release`. ERR_IO. */
ERR_MUST_USE err enginethread_forget(struct enginethread *t, uint64_t drawer, struct errinfo *info);
/* The same for what nobody used since `before`, in milliseconds since 1970. */
void enginethread_forget_unused(struct enginethread *t, int64_t before);

/* As it is now: a request waits as soon as it is asked, and runs or is over as soon as that is so. */
struct batcher_counts enginethread_counts(struct enginethread *t);

#endif
