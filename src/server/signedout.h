/* server/signedout.h: sessions of the page that their people ended: their cookies are no good any more, also
 * after a restart of the server. Thread-safe. */
#ifndef SERVER_SIGNEDOUT_H
#define SERVER_SIGNEDOUT_H

#include "server/database.h"

enum { SIGNEDOUT_NAME = 64 /* characters that tell a session from others: of its keyed hash, in hex */ };

struct signedout;

/* Those not over at `now` (milliseconds since 1970). The database must outlive it. */
ERR_MUST_USE err signedout_open(struct database *d, int64_t now, struct signedout **out, struct errinfo *info);
void signedout_close(struct signedout *s); /* NULL is fine */

/* The session `name`, which would be over at `until`, is. On an error it is so until the server stops only. */
ERR_MUST_USE err signedout_add(struct signedout *s, const char *name, int64_t until, struct errinfo *info);
bool signedout_has(struct signedout *s, const char *name);

#endif
