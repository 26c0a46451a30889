/* server/otherfields.h: fields that other servers know. What would change the answer and cannot be had here is
 * refused by its name, for silence would look like consent; values that ask for nothing pass, since clients
 * send them. */
#ifndef SERVER_OTHERFIELDS_H
#define SERVER_OTHERFIELDS_H

#include "server/fields.h"

/* To be read beside a format's own table (fields.also): of no format here; and those as well that chat
 * completions take and the format does not. */
extern const struct fields otherfields, otherfields_of_chat;

#endif
