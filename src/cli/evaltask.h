/* cli/evaltask.h: question sets, one JSON object per line:
 *   {"prompt": "…", "answer": "…"}                     greedy generation; right when the text contains the
 *                                                      answer, exact when nothing else is there
 *   {"prompt": "…", "choices": ["…", …], "answer": 0}  the choice with the largest log-likelihood after
 *                                                      the prompt; `exact` counts the same per byte of the
 *                                                      choice, which does not favour short ones
 * Blank lines are skipped. */
#ifndef CLI_EVALTASK_H
#define CLI_EVALTASK_H

#include "fathom.h"
#include "text/chat.h"

struct evaltask_options {
    size_t context;    /* 0: the engine's default */
    size_t max_tokens; /* of a generated answer */
    bool chat;         /* prompts of the first kind go through the chat format: */
    enum chat_format format;
};

struct evaltask_result {
    size_t items, right, exact;
};

/* Every line is read and checked before the first is asked. ERR_CORRUPT names the line. */
ERR_MUST_USE err evaltask_run(struct engine *e, const char *path,
                              const struct evaltask_options *options, struct evaltask_result *out,
                              struct errinfo *info);

#endif
