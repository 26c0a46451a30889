/* server/pagesession.h: who sits before the page: signing in with a key, and what this server is
 * (docs/page.md). A session is a cookie that names the key, sealed with a secret of the server (caller.h), good
 * for 30 days or until the key is revoked. */
#ifndef SERVER_PAGESESSION_H
#define SERVER_PAGESESSION_H

#include "server/route.h"

extern const struct route_table pagesession_routes;

/* Whose session is it? guard.cookie; `user` is the service. */
bool pagesession_cookie(void *user, const char *token, struct caller *out);

#endif
