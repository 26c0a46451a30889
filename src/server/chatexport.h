/* server/chatexport.h: chats as files to take away: JSON with everything (chatimport.h brings it back), or
 * Markdown of the branch that is shown. Owners, errors and threads as in chatstore.h. */
#ifndef SERVER_CHATEXPORT_H
#define SERVER_CHATEXPORT_H

#include "server/chatstore.h"

/* {"format":"fathom-chats","version":1,"chats":[{"chat":CHAT,"messages":[MESSAGE …]} …]}: the chat `id`, or all
 * of the owner's (NULL) but temporary ones; of all, those that are damaged are left out and counted in
 * "damaged". *document is a new reference. ERR_NOTFOUND. */
ERR_MUST_USE err chatexport_json(struct chatstore *s, const char *owner, const char *id, json_t **document,
                                 struct errinfo *info);
/* The chat's title, system prompt and the messages up to its leaf; *text is the caller's (mem_free). */
ERR_MUST_USE err chatexport_markdown(struct chatstore *s, const char *owner, const char *id, char **text,
                                     struct errinfo *info);

#endif
