/* server/modelnames.h: by which names clients may ask for the model that is served: its own, and aliases,
 * which are data (models/aliases.txt, or a file given with --aliases):
 *
 *     # name, or beginning*     what is different
 *     deepseek-chat             think=off
 *     deepseek-reasoner         think=on
 *     claude-*
 */
#ifndef SERVER_MODELNAMES_H
#define SERVER_MODELNAMES_H

#include <stddef.h>

#include "base/err.h"
#include "text/chat.h"

struct modelnames;

/* `text`: a file's, called `name` in messages; `own` the model's own name. ERR_ARGUMENT with the line. */
ERR_MUST_USE err modelnames_new(const char *own, const char *text, const char *name, struct modelnames **out,
                                struct errinfo *info);
void modelnames_free(struct modelnames *m); /* NULL is fine */

const char *modelnames_own(const struct modelnames *m);
/* Alias i without wildcards, for lists; NULL: no more. */
const char *modelnames_alias(const struct modelnames *m, size_t i);

/* Is this a name of it? "" and "default" are. *think: changed where the alias says so. */
bool modelnames_match(const struct modelnames *m, const char *asked, enum chat_thinking *think);

#endif
