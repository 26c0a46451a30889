/* text/answerparser.h: what a model says, as it comes, taken apart into reasoning, content and calls of
 * tools.
 *
 * Feed it the answer's text in pieces of any size, control tokens as their spelling where chat_think_ids
 * and chat_call_ids name them (generate_options.shown_ids). It tells the sink what it finds; text of one
 * kind may come in several events. Only what may still become a mark is held back, and arguments that
 * cannot be shown before they are whole. Wherever the text is cut, the same comes out.
 *
 *     reasoning*  content*  ( call  arguments*  call_end )*  content* …
 *
 * Reasoning ends at </think>; marks of calls inside it are part of it. Newlines at the beginning of
 * reasoning and content are dropped, and those that part content from calls. Calls are written as the
 * format has them (chat.h) and come out as JSON whatever they were written in: arguments, put together,
 * are one JSON object once call_end was said, in which a name may repeat where the model repeated it.
 * Tolerated: blank lines more or fewer, values that hold what only resembles a closing mark, a value said to
 * be JSON that is none (becomes a string), missing closing marks at the answer's very end.
 *
 * What begins as a call and turns out to be none (its arguments are no object, or nested deeper than
 * JSON_DEPTH_MAX) is given back as content, marks and all, with the rest of the answer: nothing is lost. If its
 * `call` was said already, call_broken takes it back.
 *
 * Thread rule: a parser belongs to one thread at a time. */
#ifndef TEXT_ANSWERPARSER_H
#define TEXT_ANSWERPARSER_H

#include "text/chat.h"

enum answerparser_kind {
    ANSWERPARSER_REASONING,
    ANSWERPARSER_CONTENT,
    ANSWERPARSER_CALL,        /* begins; text is the function's name */
    ANSWERPARSER_ARGUMENTS,   /* the next piece of the call's arguments, as JSON */
    ANSWERPARSER_CALL_END,    /* it is whole */
    ANSWERPARSER_CALL_BROKEN, /* it is none after all; its text follows as content */
};

struct answerparser_event {
    enum answerparser_kind kind;
    size_t call;      /* number of the call, from 0; its id is for the caller to make */
    const char *text; /* [len], not NUL-terminated, borrowed for the time of the event; "" for the last
                         two kinds */
    size_t len;
};
typedef void (*answerparser_sink)(void *user, const struct answerparser_event *event);

enum answerparser_ending {
    ANSWERPARSER_COMPLETE,
    ANSWERPARSER_TRUNCATED, /* the answer stops inside reasoning or a call, which stays without end then, or
                               inside the mark that begins calls, which is left out */
    ANSWERPARSER_MALFORMED, /* something that began as a call was given back as content */
};

struct answerparser;

/* `tools`: calls are looked for, in the way of format `f` (none where chat_can_call says no); without,
 * their marks are content. `thinking`: the prompt ended inside a think block (chat_opens_thinking).
 * ERR_NOMEM. */
ERR_MUST_USE err answerparser_new(enum chat_format f, bool tools, bool thinking, answerparser_sink sink,
                                  void *user, struct answerparser **out);
void answerparser_free(struct answerparser *p); /* NULL is fine */

/* The next piece. ERR_NOMEM, after which only answerparser_free is of use. */
ERR_MUST_USE err answerparser_push(struct answerparser *p, const char *text, size_t len);

/* The end. `cut`: the answer was stopped (its length, a person), and did not end by itself. ERR_NOMEM. */
ERR_MUST_USE err answerparser_finish(struct answerparser *p, bool cut, enum answerparser_ending *ending);

#endif
