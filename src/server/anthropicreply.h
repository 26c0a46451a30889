/* server/anthropicreply.h: answers as Anthropic's messages and their events. */
#ifndef SERVER_ANTHROPICREPLY_H
#define SERVER_ANTHROPICREPLY_H

#include "server/wirereply.h"

extern const struct wirereply_format anthropicreply_messages;

#endif
