/* server/caller.h: who asks, as the guard found out. */
#ifndef SERVER_CALLER_H
#define SERVER_CALLER_H

#include <stdbool.h>
#include <stdint.h>

enum caller_scope { /* what a route needs, and what a caller may; bits */
    CALLER_NOTHING = 0,
    CALLER_CHAT = 1,
    CALLER_METRICS = 2,
    CALLER_ADMIN = 4,
    CALLER_ALL = CALLER_CHAT | CALLER_METRICS | CALLER_ADMIN,
};

enum { CALLER_SCOPES = 3 };
/* What each scope but CALLER_NOTHING is called. */
extern const struct caller_scope_name {
    const char *name;
    unsigned bit;
} caller_scope_names[CALLER_SCOPES];

struct caller {
    char owner[33];   /* id of the key; "local": nobody's, on this machine */
    unsigned scopes;
    bool keyed;       /* a key was shown and is good */
};

/* Numbers for the engine, from a secret of this server, so that no caller can choose somebody else's: whose
 * turn it is; whose prefixes may be shared (by key and `user`; NULL: none given); and where those lie, of all
 * users of a key, or those of its page's chats, to be forgotten together. */
uint64_t caller_number(const struct caller *c, const unsigned char secret[32]);
uint64_t caller_partition(const struct caller *c, const char *user, const unsigned char secret[32]);
uint64_t caller_drawer(const char *owner, bool page, const unsigned char secret[32]);

#endif
