/* server/openaitext.h: OpenAI's text completions, with DeepSeek's filling in the middle (suffix, under /beta):
 * requests to questions, answers to text_completion documents and chunks. */
#ifndef SERVER_OPENAITEXT_H
#define SERVER_OPENAITEXT_H

#include "server/wirereply.h"

bool openaitext_read(struct question *q, struct apierror *e);

extern const struct wirereply_format openaitext_format;

#endif
