/* server/guard.h: who may ask what: looked at when a request's headers are there, before its body is read.
 *
 *   Host            one, and an address or a name that is ours: else another site's name was made to point
 * here
 *                   (DNS rebinding)
 *   Origin          absent, or our own page's; Sec-Fetch-Site: none or same-origin (a link from elsewhere
 * may open
 *                   the page itself): no other site's script gets an answer or an effect
 *   Content-Type    of a body: application/json (or what the route takes), which no form of another site can
 * send
 *   key             Authorization: Bearer KEY, x-api-key: KEY, or the page's cookie
 *
 * None of these headers may come twice. No header ever allows another origin (CORS is off). Thread-safe. */
#ifndef SERVER_GUARD_H
#define SERVER_GUARD_H

#include "server/apierror.h"
#include "server/caller.h"

enum { GUARD_KEY_MAX = 128, GUARD_COOKIE = 24 };

struct guard {
    bool key_required; /* else who shows none is "local" and may everything */
    bool open;         /* others than this machine can reach it: any address is a good Host */
    bool tls;
    const char *const *hosts; /* [n_hosts] further names of this server */
    size_t n_hosts;
    /* Whose key is it? False: nobody's, with *e (401, 429 …). NULL: there are no keys. */
    bool (*key)(void *user, const char *key, struct caller *out, struct apierror *e);
    /* The same for the page's cookie. */
    bool (*cookie)(void *user, const char *token, struct caller *out);
    void *user;
};

struct guard_need {
    unsigned scope;   /* of enum caller_scope, one of which is enough; CALLER_NOTHING: anybody */
    bool page;        /* a file of the page: other sites may link to it */
    const char *type; /* of the body, where one is taken; NULL: application/json */
};

/* What the page's cookie is called where the request was sent: with the port, as a browser keeps the cookies of
 * a host for all its ports, and servers beside each other shall not sign each other's people out. */
void guard_cookie(const struct exchange *x, char out[GUARD_COOKIE]);

/* Lets the request in and says on the exchange who asks, or refuses with *e. */
bool guard_admits(const struct guard *g, struct exchange *x, const struct guard_need *need, struct apierror *e);

#endif
