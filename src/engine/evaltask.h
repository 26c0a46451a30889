/* engine/evaltask.h: question sets, one JSON object per line:
 *   {"prompt": "…", "answer": "…"}                     greedy generation; right when the text contains the
 *                                                      answer, exact when nothing else is there
 *   {"prompt": "…", "choices": ["…", …], "answer": 0}  the choice with the largest log-likelihood after
 *                                                      the prompt; `exact` counts the same per byte of the
 *                                                      choice, which does not favour short ones
 * Blank lines are skipped. Thread rule: as engine's. */
#ifndef ENGINE_EVALTASK_H
#define ENGINE_EVALTASK_H

#include "fathom.h"
#include "text/chat.h"

struct evaltask_options {
    size_t context;    /* 0: the engine's default */
    size_t max_tokens; /* of a generated answer */
    bool chat;         /* prompts of the first kind go through the chat format: */
    enum chat_format format;
    bool (*asked)(void *user, size_t done, size_t n); /* before each of n questions, and while one is answered:
                                                         false ends with ERR_CANCELLED; NULL: on and on */
    void *user;
};

struct evaltask_result {
    size_t items, right, exact;
};

struct evaltask;

/* Every line is read and checked. ERR_CORRUPT names the line. */
ERR_MUST_USE err evaltask_open(const char *path, struct evaltask **out, struct errinfo *info);
void evaltask_close(struct evaltask *t); /* NULL is fine */

ERR_MUST_USE err evaltask_run(const struct evaltask *t, struct engine *e,
                              const struct evaltask_options *options, struct evaltask_result *out,
                              struct errinfo *info);

#endif
