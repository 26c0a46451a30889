/* server/foreignchats.h: chats as other programs export them, in our own form. Lenient: what has no place here
 * (tools, images, hidden messages) is left out, and its answers hang on what was before. Internal to
 * chatimport. */
#ifndef SERVER_FOREIGNCHATS_H
#define SERVER_FOREIGNCHATS_H

#include "base/json.h"

/* [{"chat":{"id","title","system"?,"created","updated","leaf"},"messages":[{"id","parent","role","content",
 * "reasoning","attachments","created"} …]} …]: ids are those of the file. ERR_ARGUMENT: of no program known
 * here. ERR_NOMEM. */
ERR_MUST_USE err foreignchats_read(const json_t *document, json_t **chats, struct errinfo *info);

#endif
