/* server/responsesitems.h: the input of OpenAI's responses, a list of items, to messages of ours: calls and
 * reasoning that follow each other belong to one message of the assistant. */
#ifndef SERVER_RESPONSESITEMS_H
#define SERVER_RESPONSESITEMS_H

#include "server/question.h"

/* `instructions` (NULL: none) and `input`, a string or a list, into q->messages. Members that replies give to
 * their items, and that say nothing to the model (id, status, annotations …), pass. False: *e. */
bool responsesitems_read(struct question *q, const char *instructions, const json_t *input, struct apierror *e);

#endif
