/* cli/repl.h: the talk itself: reads messages and commands, lets the model answer, keeps the session and
 * the conversation in step. Each turn the session goes back to the longest common beginning of what it
 * holds and what the conversation now says, so only new tokens are read. */
#ifndef CLI_REPL_H
#define CLI_REPL_H

#include "cli/conversation.h"
#include "cli/lineinput.h"
#include "fathom.h"

struct repl {
    struct engine *engine;
    struct session *session;
    struct lineinput *input;
    struct conversation conversation;
    enum chat_format format;
    struct sampling sampling;
    size_t max_tokens; /* per answer; 0: the rest of the context */
    bool allow_loops;
    enum session_speculation speculation;
    size_t draft; /* most tokens guessed at a time; 0: the default */
    const char *model; /* for people and files */
    bool interactive;
    /* over all answers, for /stats */
    size_t answers, read_tokens, made_tokens, reused_tokens, drafted_tokens, accepted_tokens;
    double read_seconds, made_seconds;
};

/* What /load does, for `chat --load` too: the saved conversation takes the place of this one, and a line
 * on stdout says so. */
ERR_MUST_USE err repl_load(struct repl *r, const char *path, struct errinfo *info);

/* Talks until /exit or the end of the input. ERR_OK then; an error only when talking on is impossible. */
ERR_MUST_USE err repl_run(struct repl *r, struct errinfo *info);

#endif
