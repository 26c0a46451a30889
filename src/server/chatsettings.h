/* server/chatsettings.h: the settings of a chat, a preset or a turn: how an answer is drawn, how long it may
 * be, what stops it; by the names and in the ranges of OpenAI's fields. Thread rule: none of its own. */
#ifndef SERVER_CHATSETTINGS_H
#define SERVER_CHATSETTINGS_H

#include "server/question.h"

/* Into the question: the chat's, and over them the turn's; either may be NULL. False: *e names the field
 * ("settings.top_p"). */
bool chatsettings_apply(struct question *q, const json_t *of_chat, const json_t *of_turn, struct apierror *e);

/* Would a turn take them? Asked before they are stored. `where` goes before the field's name in *e. */
bool chatsettings_check(const json_t *settings, const char *where, struct apierror *e);
/* As many of them as a turn takes, a new reference; the others are added to *left_out. NULL: out of memory. */
json_t *chatsettings_taken(const json_t *settings, size_t *left_out) __attribute__((warn_unused_result));

#endif
