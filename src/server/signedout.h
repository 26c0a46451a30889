/* server/signedout.h: sessions of the page that their people ended: their cookies are no good any more, also
 * after a restart of the server. Of each owner SIGNEDOUT_EACH are remembered; with one more all sessions end
 * that he began before: so nobody fills the store by signing in and out. Thread-safe. */
#ifndef SERVER_SIGNEDOUT_H
#define SERVER_SIGNEDOUT_H

#include "server/database.h"

enum {
    SIGNEDOUT_NAME = 64, /* characters that tell a session from others: of its keyed hash, in hex */
    SIGNEDOUT_EACH = 256,
};

struct signedout;

/* A session: whose (VAULT_ID characters), which, and when it would be over (milliseconds since 1970). */
struct signedout_session {
    char owner[VAULT_ID + 1], name[SIGNEDOUT_NAME + 1];
    int64_t until;
};

/* Those not over at `now`. The database must outlive it. */
ERR_MUST_USE err signedout_open(struct database *d, int64_t now, struct signedout **out, struct errinfo *info);
void signedout_close(struct signedout *s); /* NULL is fine */

/* On an error the session is ended until the server stops only. */
ERR_MUST_USE err signedout_add(struct signedout *s, const struct signedout_session *session, int64_t now,
                               struct errinfo *info);
bool signedout_has(struct signedout *s, const struct signedout_session *session);

#endif
