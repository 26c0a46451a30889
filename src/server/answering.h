/* server/answering.h: a question's answers as they are made: what the model says, taken apart into reasoning,
 * content and calls, for as many choices as were asked for; the same for all wire formats.
 *
 *     answering_begin; { answering_next until false; wait for notify } until ANSWERING_END; answering_end
 *
 * An answer may be ended before its ANSWERING_END; what it cost is then known only when the engine has let go
 * of it, which is soon, and is told from its thread.
 *
 * Thread rule: an answering belongs to one thread at a time; the server's part is shared and immutable. */
#ifndef SERVER_ANSWERING_H
#define SERVER_ANSWERING_H

#include "server/enginethread.h"
#include "server/question.h"
#include "text/answerparser.h"
#include "text/tokentrie.h"

/* What answers are made with; all borrowed. */
struct answering_model {
    struct enginethread *thread;
    const struct engine *engine;
    const struct tokenizer *tokenizer;
    const struct tokentrie *trie;
    enum chat_format format;
    size_t max_tokens; /* of an answer that asks for no number */
};

struct answering_asker {
    uint64_t owner, partition, drawer; /* engine/batcher.h */
    void (*notify)(void *user); /* as in enginethread_request; NULL: nobody waits */
    void *user;
    bool progress; /* ANSWERING_PROGRESS is wanted */
};

enum answering_kind {
    ANSWERING_PROGRESS, /* before the first token */
    ANSWERING_REASONING,
    ANSWERING_CONTENT,
    ANSWERING_CALL,      /* text: the function's name; id */
    ANSWERING_ARGUMENTS, /* JSON, in pieces */
    ANSWERING_CALL_END,
    ANSWERING_CALL_BROKEN, /* it is none after all; its text follows as content, unless a stop string cut it */
    ANSWERING_DONE,        /* this choice is whole: finish */
    ANSWERING_END,         /* all are, or error says what went wrong: the last event */
};

enum answering_finish {
    ANSWERING_STOP,
    ANSWERING_LENGTH,
    ANSWERING_THOUGHTS, /* it ended by itself inside its thoughts: in words of the wire, as for LENGTH */
    ANSWERING_CALLS,
    ANSWERING_CANCELLED, /* the server stops */
};

struct answering_usage {
    size_t prompt, cached; /* tokens of the prompt: read or found; found */
    size_t completion, reasoning;
    size_t begun;            /* choices that came to a token */
    double first_s, total_s; /* from the question to the first token, and to the end */
    double prefill_s, decode_s;
    double between_s; /* from a choice's first token to its end, of all together */
};

/* A token of the model, for log-probabilities. */
struct answering_token {
    struct answering_token *next;
    int32_t id;
    float logprob;
    int n_top;
    int32_t top_ids[FATHOM_TOP_LOGPROBS_MAX];
    float top_logprobs[FATHOM_TOP_LOGPROBS_MAX];
};

struct answering_event {
    enum answering_kind kind;
    size_t choice, call;
    const char *text; /* [len] until the next call */
    size_t len;
    const char *id;   /* of the call; until answering_end */
    struct batcher_progress progress;
    const struct answering_token *tokens; /* with logprobs: those since the last event that had some */
    enum answering_finish finish;
    const char *stopped_by; /* the stop string or NULL; with ANSWERING_DONE */
    struct answering_usage usage; /* of the choice (DONE), of all (END) */
    const struct apierror *error; /* END; NULL: none; until answering_end */
};

struct answering;

/* The prompt's tokens, alone: what count_tokens needs. */
bool answering_encode(const struct answering_model *m, const struct question *q, struct tokenizer_ids *out,
                      struct apierror *e);

/* The same for a question that is to be answered, which keeps them (q->prompt); refused when they do not fit
 * the context or the memory for keys and values. For who wants to know before answering_begin, which does it
 * otherwise. */
bool answering_prepare(const struct answering_model *m, struct question *q, struct apierror *e);

/* Tokens that the prompt has at least: what is known at once, without counting. *bytes: of the text that it is
 * known from. */
size_t answering_least(const struct answering_model *m, const struct question *q, size_t *bytes);

/* Takes the question (on errors too). Errors: what cannot be asked of this model. */
bool answering_begin(const struct answering_model *m, struct question *take_q,
                     const struct answering_asker *asker, struct answering **out, struct apierror *e);
const struct question *answering_question(const struct answering *a);
/* The prompt as it was read [*n]; lives as long as `a`. */
const int32_t *answering_prompt(const struct answering *a, size_t *n);

/* The next event; false: none has come yet, or the end was. */
bool answering_next(struct answering *a, struct answering_event *out);
/* Choices that still think stop thinking and answer. */
void answering_answer_now(struct answering *a);
/* What was used until now; before the first token as far as ANSWERING_PROGRESS told. */
struct answering_usage answering_so_far(const struct answering *a);

/* `usage`: all that the engine did for an answer; `whole`: it came to its end without an error. */
typedef void (*answering_used)(void *user, const struct answering_usage *usage, bool whole);
/* Ends what still runs. `used` (NULL: nobody asks) is called once, when nothing does any more: at once, or
 * later from the engine's thread, and may then call nothing of enginethread.h. NULL is fine. */
void answering_end(struct answering *a, answering_used used, void *user);

#endif
