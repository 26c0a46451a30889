/* server/openaireply.h: answers as OpenAI's chat.completion documents and chunks, with DeepSeek's
 * reasoning_content. */
#ifndef SERVER_OPENAIREPLY_H
#define SERVER_OPENAIREPLY_H

#include "server/wirereply.h"

extern const struct wirereply_format openaireply_chat;

#endif
