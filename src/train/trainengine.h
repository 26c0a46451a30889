/* train/trainengine.h: a model while it learns, as something that answers: an engine over the weights where
 * they are, in float32. For samples and questions between steps. */
#ifndef TRAIN_TRAINENGINE_H
#define TRAIN_TRAINENGINE_H

#include "base/strbuf.h"
#include "fathom.h"
#include "train/trainer.h"

struct trainengine;

/* No step may be made before trainengine_close. Where the weights are averaged, the average answers. */
ERR_MUST_USE err trainengine_open(struct trainer *t, struct trainengine **out, struct errinfo *info);
void trainengine_close(struct trainengine *e); /* NULL is fine */
struct engine *trainengine_engine(const struct trainengine *e);

/* What the model writes after `prompt`: up to n tokens at temperature 0.8, the same for equal weights. go_on
 * (or NULL) is asked in between; ERR_CANCELLED. */
ERR_MUST_USE err trainengine_sample(const struct trainengine *e, const char *prompt, size_t n,
                                    bool (*go_on)(void *user), void *user, struct strbuf *out,
                                    struct errinfo *info);

#endif
