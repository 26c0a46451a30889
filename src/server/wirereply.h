/* server/wirereply.h: a question's answers as an HTTP reply in one of the wire formats: a stream of events
 * or one document. The formats differ in a table of three functions; the rest is here. */
#ifndef SERVER_WIREREPLY_H
#define SERVER_WIREREPLY_H

#include "server/wiretokens.h"

/* What a choice has said so far. */
struct wirereply_call {
    const char *id;
    char *name;
    struct strbuf arguments;
    bool whole;  /* its arguments are; a call that the answer's end cut off is not */
    bool broken; /* its text is in the content */
};

struct wirereply_choice {
    struct strbuf reasoning, content;
    struct wirereply_call *calls; /* [n_calls] */
    size_t n_calls;
    struct wiretokens content_tokens, reasoning_tokens; /* with logprobs: of what is listed at the end */
    enum answering_finish finish;
    const char *stopped_by; /* a stop string; NULL: none */
    size_t offset;          /* the format's own: how far its tokens have come */
};

struct wirereply;

struct wirereply_format {
    /* Each appends to `out`; ERR_NOMEM. */
    err (*begin)(struct wirereply *r, struct strbuf *out); /* of a stream; NULL: nothing */
    err (*event)(struct wirereply *r, const struct answering_event *e, struct strbuf *out); /* of a stream */
    err (*whole)(struct wirereply *r, struct strbuf *out); /* the document */
    bool anthropic;          /* its errors */
    bool call_logprobs;      /* tokens of calls are listed among the content's */
    bool lists_again;        /* all tokens, at the end of a stream */
    const char *error_event; /* what an error in a stream is called; NULL: nothing */
};

struct wirereply {
    const struct wirereply_format *format;
    const struct answering_model *model;
    const char *model_id; /* what the model is called here */
    char id[40];          /* random: 24 hex digits behind a prefix that `begin` and `whole` write */
    int64_t created;      /* seconds since 1970 */
    const struct question *question;
    struct answering *answering;
    struct answering_usage usage;     /* when all is over */
    struct wirereply_choice *choices; /* [question->n] */
    /* The formats' own: what a stream has begun, how many there were, where in the text it began; items that
     * are whole; events sent; lists of tokens in documents. */
    size_t open_kind, n_open, open_from, open_token;
    json_t *items;
    size_t sequence;
    struct wiretokens_places places;
};

/* The reply is over, or its reader has gone: the exchange is not to be touched any more. `status` is the
 * reply's; 0: its reader went before it began. */
typedef void (*wirereply_over)(void *user, unsigned status);

struct wirereply_options {
    const struct wirereply_format *format;
    const struct answering_model *model;
    const char *model_id;
    uint64_t owner, partition, drawer; /* engine/batcher.h */
    wirereply_over over; /* once */
    answering_used used; /* once, after that: when nothing of the answer runs any more */
    void *user;          /* theirs */
};

/* Begins the answer and gives it as x's reply; takes the question. What cannot be asked is the reply, too (and
 * `over` and `used` are called: nothing came of it). */
void wirereply_give(struct exchange *x, struct question *take_q, const struct wirereply_options *options);

/* ---- for formats ---- */

/* One event: "event: NAME\n" unless it is NULL, "data: " and the document. Takes it; NULL is ERR_NOMEM. */
ERR_MUST_USE err wirereply_sse(struct strbuf *out, const char *name, json_t *take_document);
/* A document; takes it. */
ERR_MUST_USE err wirereply_json(struct strbuf *out, json_t *take_document);
/* The same of documents in which lists of tokens have places (r->places). */
ERR_MUST_USE err wirereply_event(const struct wirereply *r, struct strbuf *out, const char *name,
                                 json_t *take_document);
ERR_MUST_USE err wirereply_document(const struct wirereply *r, struct strbuf *out, json_t *take_document);
/* OpenAI's list of an event's tokens with their log-probabilities. */
json_t *wirereply_logprobs(const struct wirereply *r, const struct answering_token *tokens);
/* prompt_tokens … with DeepSeek's hits and misses. */
json_t *wirereply_usage(const struct answering_usage *u);

#endif
