/* server/question.h: what a client asks for, in whatever wire format it came. The parsers of requests fill it,
 * server/answering.h answers it. */
#ifndef SERVER_QUESTION_H
#define SERVER_QUESTION_H

#include "base/json.h"
#include "base/strbuf.h"
#include "fathom.h"
#include "server/apierror.h"
#include "text/chat.h"
#include "text/tokenizer.h"

enum {
    QUESTION_MESSAGES_MAX = 65536,
    QUESTION_TOOLS_MAX = 128,
    QUESTION_STOPS_MAX = 16,
    QUESTION_CHOICES_MAX = 8,
    QUESTION_BIAS_MAX = 1024,
};

enum question_kind {
    QUESTION_CHAT,
    QUESTION_TEXT, /* `text` or `tokens` goes on */
    QUESTION_FILL, /* what comes between `text` and `suffix` */
};

enum question_choice { QUESTION_AUTO, QUESTION_NONE, QUESTION_REQUIRED, QUESTION_NAMED };

enum question_form { QUESTION_FREE, QUESTION_JSON, QUESTION_SCHEMA, QUESTION_GRAMMAR };

struct question {
    enum question_kind kind;
    enum chat_format format; /* of the model that is asked */
    const char *model; /* as asked for; as the reply names it */

    struct chat_message *messages; /* [n_messages] */
    size_t n_messages;
    struct chat_tool *tools; /* [n_tools] */
    size_t n_tools;
    enum question_choice choice;
    const char *chosen; /* with QUESTION_NAMED */
    bool one_call;      /* no parallel calls */
    bool strict;        /* what is called must be called by its schema, even with QUESTION_AUTO */
    enum chat_thinking think;
    size_t think_tokens; /* of reasoning, after which it is to answer; 0: as many as it likes */

    const char *text, *suffix;
    int32_t *tokens; /* [n_tokens] instead of text; NULL: text */
    size_t n_tokens;
    bool echo; /* the prompt is repeated before the answer */
    const char *prompt_at;       /* which field of the request it is made of; NULL: none in particular */
    struct tokenizer_ids prompt; /* all that was asked, as the model reads it; empty until answering_prepare */

    struct sampling sampling; /* bias_ids and bias_values are the question's */
    size_t max_tokens;        /* 0: the server's default */
    const char *stop[QUESTION_STOPS_MAX];
    size_t n_stop;
    int32_t stop_ids[QUESTION_STOPS_MAX];
    size_t n_stop_ids;
    size_t min_tokens; /* no token ends it before so many */
    bool ignore_eos;   /* none ever does */
    size_t n;         /* answers */
    bool logprobs;
    int top_logprobs;
    enum question_form form;
    const char *form_at;  /* which field of the request says so */
    const json_t *schema; /* QUESTION_SCHEMA */
    const char *grammar;  /* QUESTION_GRAMMAR, GBNF */

    bool stream, usage; /* usage: wanted in the stream too */
    const char *user;   /* whose prefixes it may share, beside the key; NULL: nobody's in particular */

    json_t *calls; /* whose results may follow: id → where it is, null once it has one; NULL: none yet */
    bool any_call;         /* one without an id is among them */
    double since;          /* progress_clock when it came */
    struct strbuf unknown; /* fields without effect, for a header */
    json_t *document;      /* the request, which the strings above lie in */
    void **owned;          /* and what was made for it */
    size_t n_owned, cap_owned;
};

/* Defaults: chat, one answer, the sampling given with a seed drawn anew, no thinking. NULL: out of memory. */
struct question *question_new(const struct sampling *defaults, enum chat_format format);
void question_free(struct question *q); /* NULL is fine */

/* Memory that goes with the question, zeroed; NULL: out of memory, and *e says so. */
void *question_alloc(struct question *q, size_t n, size_t size, struct apierror *e);
/* A text made elsewhere (mem_alloc's) becomes the question's. NULL or short of memory: frees it, NULL. */
char *question_keep(struct question *q, char *text, struct apierror *e);
char *question_text(struct question *q, struct strbuf *text, struct apierror *e); /* empties it */
/* Appends the text of item `path` of a content to what came before it. False: *e. */
typedef bool question_item(struct question *q, const json_t *item, const char *path, struct strbuf *to,
                           struct apierror *e);
/* The text of a content: a string, or a list whose items (they are called `items`) are read one by one. It
 * lives as long as the question and the request. False: *e. */
bool question_content(struct question *q, const json_t *content, const char *where, const char *items,
                      question_item *read, const char **out, struct apierror *e);
char *question_json(struct question *q, const json_t *value, struct apierror *e); /* compact text */
/* 503, and when to ask again; returns false. */
bool question_no_memory(struct apierror *e);

/* Can a model of that format answer without thinking first? */
bool question_may_skip(enum chat_format f);
/* It is to think so, says `field` of the request, in whatever wire format. To think is a wish: a model that
 * cannot answers without, and the field is listed as one without effect. Not to think is a choice, which one
 * that always thinks refuses: its thoughts would use up what was meant for the answer. False: *e. */
bool question_think(struct question *q, enum chat_thinking think, const char *field, struct apierror *e);
/* The same, a wish either way: what programs ask for that do not know the model. */
bool question_think_if(struct question *q, enum chat_thinking think, const char *field, struct apierror *e);

/* How much it is to say, says `field` of the request: an index of question_verbosities, of which medium, the
 * first, asks for nothing. A wish too, which no model here knows how to follow: the others are listed.
 * False: *e. */
extern const char *const question_verbosities[]; /* NULL-terminated */
bool question_verbosity(struct question *q, int verbosity, const char *field, struct apierror *e);

/* The conversation has a call of that id, which `path` of the request says; NULL, "": of none, so that any
 * result may be its own. False: *e, as where another one of that id has no result yet. */
bool question_call(struct question *q, const char *id, const char *path, struct apierror *e);
/* Is `call_id`, which `path` of the request has, that of such a call without a result, as a tool's result
 * says? Then it has one. False: *e. */
bool question_called(struct question *q, const char *call_id, const char *path, struct apierror *e);
/* Has every call its result? No result that follows belongs to these. Asked where the assistant's next turn
 * begins, and at the end. False: *e. */
bool question_answered(struct question *q, struct apierror *e);

/* The answer goes on from `last`, a message of the assistant's, as `path` of the request says. One that must be
 * a call has no such beginning. False: *e. */
bool question_begun(const struct question *q, struct chat_message *last, const char *path, struct apierror *e);

/* Does what is asked go together, in whatever format it came? Every reader asks at its end. */
bool question_agrees(const struct question *q, struct apierror *e);

/* The body as a JSON object, parsed into q->document. */
bool question_parse(struct question *q, const char *body, size_t len, struct apierror *e);

#endif
