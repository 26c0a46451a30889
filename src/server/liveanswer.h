/* server/liveanswer.h: answers that the server owns: of the page's chats. They go on whether anybody watches
 * or not; who comes late, or again, gets what was said before and then the rest; what was said is stored every
 * second and at the end; an end that cannot be stored (the disk is full) is tried every second until it is.
 *
 * Thread rule: any function from any thread. */
#ifndef SERVER_LIVEANSWER_H
#define SERVER_LIVEANSWER_H

#include "server/answering.h"
#include "server/chattree.h"

struct liveanswers;

/* Both must outlive it. */
ERR_MUST_USE err liveanswer_thread_start(const struct answering_model *m, struct chatstore *store,
                                   struct liveanswers **out, struct errinfo *info);
/* What still runs ends as interrupted, and what waits to be stored is tried once more. After the HTTP server
 * has stopped. NULL is fine. */
void liveanswer_thread_stop(struct liveanswers *l);

struct liveanswer_options {
    const char *owner, *id;      /* of the message; it is in the store, in state "writing" */
    const char *chat;            /* that it is of */
    uint64_t number, drawer;     /* caller.h */
    const char *short_of;        /* claim.h, static: becomes the error of an answer that ends at its limit */
    answering_used used; /* once, when nothing of it runs any more; may be NULL */
    void *user;
};

/* Begins the answer; takes the question. What cannot be asked becomes the message's error in the store. False:
 * its chat was deleted meanwhile; nobody can read the answer, but what the engine keeps of it is to be
 * forgotten. */
bool liveanswer_begin(struct liveanswers *l, struct question *take_q, const struct liveanswer_options *options);

/* Its events from number `from` + 1 on as x's reply (server-sent events, /api/answers/ID/stream). False: no
 * such answer is being made (it may be over: then it is in the store). */
bool liveanswer_stream(struct liveanswers *l, const char *owner, const char *id, uint64_t from,
                       struct exchange *x);
/* False: no such answer is being made. */
bool liveanswer_stop(struct liveanswers *l, const char *owner, const char *id);
/* All of that owner's end as interrupted. */
void liveanswer_cut_all(struct liveanswers *l, const char *owner);
/* That chat of the owner's (NULL: all of them) was deleted: its answers end, and nobody reads them again. */
void liveanswer_forget(struct liveanswers *l, const char *owner, const char *chat);
bool liveanswer_answer_now(struct liveanswers *l, const char *owner, const char *id);

#endif
