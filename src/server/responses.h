/* server/responses.h: OpenAI's responses, stateless (nothing is stored, so nothing can be referred to):
 * requests to questions. Format: OpenAI's API reference (docs/api.md lists the fields). */
#ifndef SERVER_RESPONSES_H
#define SERVER_RESPONSES_H

#include "server/question.h"

bool responses_read(struct question *q, struct apierror *e);

#endif
