/* server/anthropicblocks.h: the messages of Anthropic's format, which are made of blocks, to messages of
 * ours: a user's results of tools stand before what he says, one message each. */
#ifndef SERVER_ANTHROPICBLOCKS_H
#define SERVER_ANTHROPICBLOCKS_H

#include "server/question.h"

/* `system` (NULL: none) and `messages`, a list that is not empty, into q->messages. A result answers a call
 * of the assistant's turn before; one with is_error begins with "Error: ". A last message of the assistant
 * is open. False: *e. */
bool anthropicblocks_read(struct question *q, const json_t *system, const json_t *messages, struct apierror *e);

#endif
