/* server/anthropic.h: Anthropic's messages: requests to questions. Format: Anthropic's API reference, as its
 * Python client and coding agents speak it (docs/api.md lists the fields). */
#ifndef SERVER_ANTHROPIC_H
#define SERVER_ANTHROPIC_H

#include "server/question.h"

/* `counting`: for count_tokens, where max_tokens is not needed. */
bool anthropic_read(struct question *q, bool counting, struct apierror *e);

#endif
