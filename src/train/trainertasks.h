/* train/trainertasks.h: sets of questions (engine/evaltask.h) put to a model while it learns: the recipe's
 * [tasks], NAME = FILE. Read and checked when a run begins. What cannot be asked all the same (a question
 * longer than the context) is an error of trainertasks_run; a run notes it and goes on. */
#ifndef TRAIN_TRAINERTASKS_H
#define TRAIN_TRAINERTASKS_H

#include "engine/evaltask.h"
#include "train/trainengine.h"

enum { TRAINERTASKS_MAX = 16 };

struct trainertasks;

/* A recipe without tasks: a set of none. Names are borrowed from the recipe. */
ERR_MUST_USE err trainertasks_open(const struct trainrecipe *r, struct trainertasks **out,
                                   struct errinfo *info);
void trainertasks_close(struct trainertasks *t); /* NULL is fine */

size_t trainertasks_count(const struct trainertasks *t);
const char *trainertasks_name(const struct trainertasks *t, size_t i);

/* Task i; answers are greedy, up to 48 tokens. go_on (or NULL) is asked in between; ERR_CANCELLED. */
ERR_MUST_USE err trainertasks_run(const struct trainertasks *t, size_t i, const struct trainengine *e,
                                  bool (*go_on)(void *user), void *user, struct evaltask_result *out,
                                  struct errinfo *info);

#endif
