/* server/openaichat.h: OpenAI's chat completions with DeepSeek's additions (thinking, reasoning_effort,
 * reasoning_content, prefix): requests to questions.
 * Formats: OpenAI's API reference, DeepSeek's API documents (docs/api.md lists the fields). */
#ifndef SERVER_OPENAICHAT_H
#define SERVER_OPENAICHAT_H

#include "server/question.h"

/* q->document into the rest of q. `beta`: prefix completion and strict tools are allowed. */
bool openaichat_read(struct question *q, bool beta, struct apierror *e);

/* Parts that the other formats' readers share. */
/* {"name","description","parameters"}; the schema may be called input_schema. */
bool openaichat_tool(struct question *q, const json_t *definition, const char *where, struct chat_tool *out,
                     struct apierror *e);
/* A tool of that type is left out, and listed: agents offer their host's own (web_search …) with every request,
 * and a model that is not told of them cannot call them. */
bool openaichat_leave_tool(struct question *q, const char *where, const char *type, struct apierror *e);
/* tool_choice: auto, none, required, or a function, whose name (NULL: none) each format has in a place of its
 * own; `form` says where, for the message. */
bool openaichat_choose(struct question *q, const json_t *choice, const char *named, const char *form,
                       struct apierror *e);

#endif
