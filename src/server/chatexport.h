/* server/chatexport.h: chats as files to take away: JSON with everything (chatimport.h brings it back), or
 * Markdown of the branch that is shown. Owners, errors and threads as in chatstore.h. */
#ifndef SERVER_CHATEXPORT_H
#define SERVER_CHATEXPORT_H

#include "server/chatstore.h"

enum { CHATEXPORT_BYTES = 32 << 20 }; /* of chats, after which a document takes no other */

/* {"format":"fathom-chats","version":1,"chats":[{"chat":CHAT,"messages":[MESSAGE …]} …],"damaged":0}: the chat
 * `id`. *document is a new reference. ERR_NOTFOUND. */
ERR_MUST_USE err chatexport_json(struct chatstore *s, const char *owner, const char *id, json_t **document,
                                 struct errinfo *info);
/* The same of all the owner's but temporary ones, in parts of about `bytes`: those that the list has after the
 * chat `after` (NULL: from its beginning), and, unless they were the last, "next": what the next part comes
 * after. Damaged ones are left out and counted in "damaged". */
ERR_MUST_USE err chatexport_part(struct chatstore *s, const char *owner, const char *after, size_t bytes,
                                 json_t **document, struct errinfo *info);
/* The chat's title, system prompt and the messages up to its leaf; *text is the caller's (mem_free). */
ERR_MUST_USE err chatexport_markdown(struct chatstore *s, const char *owner, const char *id, char **text,
                                     struct errinfo *info);

#endif
