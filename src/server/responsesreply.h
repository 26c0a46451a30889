/* server/responsesreply.h: answers as OpenAI's response objects and their events. */
#ifndef SERVER_RESPONSESREPLY_H
#define SERVER_RESPONSESREPLY_H

#include "server/wirereply.h"

extern const struct wirereply_format responsesreply_format;

#endif
