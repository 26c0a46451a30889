/* server/service.h: what stands behind the HTTP server: one model, its thread, its names, who may use it;
 * and the dispatch of every request to its handler. Thread-safe once made. */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include <pthread.h>

#include "server/answering.h"
#include "server/claim.h"
#include "server/guard.h"
#include "server/liveanswer.h"
#include "server/pdftext.h"
#include "server/signedout.h"
#include "server/httpserver.h"
#include "server/metrics.h"
#include "server/modelnames.h"
#include "server/wirereply.h"
#include "server/worker.h"

#define SERVICE_PREFIXES "prefixes" /* folder in the one of the data: prefixdisk.h */

struct service_options {
    struct engine *engine;         /* belongs to the service's thread from here on; its owner closes it later */
    enum chat_format format;
    const char *name;              /* the model's, for clients */
    const char *aliases, *aliases_name; /* text of the aliases and where it is from; NULL: the built-in ones */
    const char *prices, *prices_name;   /* likewise, what tokens cost */
    struct sampling sampling;      /* of requests that say nothing about it */
    bool seeded;                   /* its seed, too; else each request gets one of its own, as in the page */
    size_t max_tokens;             /* of answers likewise */
    struct batcher_options batcher;
    struct guard guard; /* its functions are the service's own */
    const char *data;       /* folder of chats, keys and usage; NULL: in memory alone */
    const char *passphrase; /* of that folder, only looked at by service_new; NULL: none */
    size_t disk;            /* bytes for prefixes in that folder; 0: none there */
    size_t forget_days;     /* chats and kept prefixes unused for so long are deleted; 0: never */
    struct pdftext *pdf;    /* NULL: no PDF files are read */
};

enum {
    SERVICE_COUNTS = 60,           /* a page asks when typing pauses */
    SERVICE_COUNTED_MAX = 4 << 20, /* bytes whose tokens are counted at once */
};

struct service {
    struct service_options is;
    struct answering_model model;
    struct tokentrie *trie;
    struct modelnames *names;
    struct metrics *metrics;
    struct database *database;
    struct chatstore *chats;
    struct keystore *keys;
    struct usagestore *usage;
    struct pricetable prices;
    struct ratelimit *limits, *counting; /* of answers; of what is counted while it is typed */
    struct claims *claims;
    struct liveanswers *live;
    struct worker *readers; /* of PDF files; NULL: none are read */
    struct signedout *signedout;
    pthread_mutex_t answers_lock;
    struct service_answer *answers; /* of the API, under way */
    struct vault_key *page_key, *page_sealing, *page_opening; /* of cached pages on disk: two threads' */
    char *page_folder;
    pthread_t keeper; /* deletes what is too old, ends what runs for keys that are revoked */
    pthread_mutex_t keeper_lock;
    pthread_cond_t keeper_stop;
    bool keeping, stopping;
    unsigned char secret[32]; /* caller.h; the same as long as the data folder is */
    int64_t started;          /* seconds since 1970 */
    const struct httpserver *http; /* for counting connections; set by whoever starts it */
};

/* ERR_UNSUPPORTED for a model without a tokenizer; ERR_ARGUMENT, ERR_NOMEM, ERR_IO. */
ERR_MUST_USE err service_new(const struct service_options *options, struct service **out, struct errinfo *info);
/* After the HTTP server has stopped. NULL is fine. */
void service_free(struct service *s);

/* httpserver_options.handle; `user` is the service. */
void service_handle(void *user, struct exchange *x, bool whole);

/* ---- for handlers ---- */

int64_t service_now(void); /* milliseconds since 1970 */
/* Who has that key. */
void service_caller(const struct keystore_key *key, struct caller *out);
/* Where keys and values of the page's chats are kept; of temporary chats nothing goes to the disk. */
uint64_t service_page_drawer(const struct service *s, const char *owner, bool temporary);
/* Chats of that owner were deleted: what was kept of them goes, too. */
void service_forget(struct service *s, const char *owner);
/* That key was revoked: what was kept of all that it asked goes. */
void service_forget_key(struct service *s, const char *id);
/* May `who` ask for n answers now, by its limits and balance? If so, service_meter must follow, or claim_end
 * for what is over and cost nothing. */
bool service_admit(struct service *s, const struct caller *who, size_t n, struct claim *out,
                   struct apierror *e);
/* The question's prompt is read, and what its answers may use is claimed: they are made no longer than that. */
bool service_claim(struct service *s, struct question *q, struct claim *claim, struct apierror *e);
/* May `who` have the tokens of what is being typed counted now? No quota of the key falls by it: this has one
 * of its own, SERVICE_COUNTS a minute. */
bool service_may_count(struct service *s, const struct caller *who, struct apierror *e);
/* They are over: counted, and paid for. */
void service_meter(struct service *s, struct claim *claim, const struct answering_usage *usage, bool whole);
/* Stores what was counted since the last time: before balances are shown, by who may wait for the disk. */
void service_settle(struct service *s);
/* The request, on a worker, is about that chat. Is the chat large, so that it waits for a heavy one's turn?
 * Then it is handled again. */
bool service_waits(struct service *s, struct exchange *x, const char *chat);
/* A JSON document as the reply; takes it. */
void service_reply(struct service *s, struct exchange *x, unsigned status, json_t *take_document);
void service_refuse(struct service *s, struct exchange *x, const struct apierror *e, bool anthropic);
/* A question from the request's body, with this server's defaults. It thinks as the name of its model means;
 * where that says nothing and the model has the choice, if `usually` is set. NULL: *e. */
struct question *service_question(const struct service *s, const struct exchange *x, bool usually,
                                  struct apierror *e);
/* Is q->model the model here? */
bool service_names(const struct service *s, struct question *q, struct apierror *e);
/* Answers, metered; takes the question. */
void service_answer(struct service *s, struct exchange *x, struct question *take_q,
                    const struct wirereply_format *format);

#endif
