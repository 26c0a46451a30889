/* cli/answer.h: one answer of the model as a person reads it: streamed while it is made, reasoning apart
 * from content, terminal control characters defused, Ctrl-C heard. Shared by run and chat. */
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H

#include <stdio.h>

#include "base/strbuf.h"
#include "fathom.h"
#include "text/chat.h"

/* Where the parts go (terminaltext.h). NULL: not shown. `dim` marks reasoning with escape sequences. */
struct answer_view {
    FILE *content, *reasoning;
    bool dim;
    bool keep_tokens; /* fill answer.tokens */
};

/* Content to stdout. Reasoning dimmed to stdout when that is a terminal, else to stderr when that is
 * one, else nowhere: a pipe gets the answer alone. */
struct answer_view answer_view_default(void);

struct answer_token {
    int32_t id;
    float logprob;
    int n_top;
    int32_t top_ids[FATHOM_TOP_LOGPROBS_MAX];
    float top_logprobs[FATHOM_TOP_LOGPROBS_MAX];
};

struct answer {
    struct strbuf content, reasoning;
    struct answer_token *tokens; /* only with view->keep_tokens; owned */
    size_t n_tokens, cap_tokens;
    struct generate_result result;
    bool cancelled_in_prefill; /* nothing was generated */
};

/* Generates from what is in the session. `thinking`: the prompt ended inside a think block. A progress
 * line for the prompt appears on a terminal. Ctrl-C ends the generation, not the program (finish reason
 * "cancelled"). Free with answer_deinit, also after an error: what was made stays readable. */
ERR_MUST_USE err answer_generate(struct session *s, const struct sampling *sampling,
                                 const struct generate_options *options, bool thinking,
                                 const struct answer_view *view, struct answer *out,
                                 struct errinfo *info);
void answer_deinit(struct answer *a);

/* "12 tokens, 34.5/s, 5 of 8 guesses right; read 20, 300/s": what was made and read, and how fast where that
 * was measured. */
enum { ANSWER_SPEED_TEXT = 192 };
const char *answer_speed_text(const struct generate_result *r, char out[ANSWER_SPEED_TEXT]);

/* Why the answer ended when that is worth a line ("[stopped]", "[cut at …]"): NULL when it ended by
 * itself. `max_tokens` as it was asked for, 0 for none. */
enum { ANSWER_ENDING_TEXT = 256 };
const char *answer_ending_text(const struct session *s, const struct engine *e,
                               const struct answer *a, size_t max_tokens,
                               char out[ANSWER_ENDING_TEXT]);

/* Tokens per second of the prompt and of the answer; 0 when there is nothing to measure. */
double answer_prefill_tps(const struct generate_result *r);
double answer_decode_tps(const struct generate_result *r);

#endif
