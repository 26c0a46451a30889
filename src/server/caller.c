/* server/caller.c: see caller.h. */
#include "server/caller.h"

#include <sodium.h>
#include <string.h>

#include "engine/batcher.h"

const struct caller_scope_name caller_scope_names[CALLER_SCOPES] = {
    {"chat", CALLER_CHAT}, {"admin", CALLER_ADMIN}, {"metrics", CALLER_METRICS}};

static uint64_t caller_hash(const char *what, const char *owner, const char *user,
                            const unsigned char secret[32])
{
    crypto_generichash_state state;
    uint64_t number;
    crypto_generichash_init(&state, secret, 32, crypto_generichash_BYTES_MIN);
    unsigned char out[crypto_generichash_BYTES_MIN];
    crypto_generichash_update(&state, (const unsigned char *)what, strlen(what) + 1);
    crypto_generichash_update(&state, (const unsigned char *)owner, strlen(owner) + 1);
    if (user) {
        crypto_generichash_update(&state, (const unsigned char *)user, strlen(user) + 1);
    }
    crypto_generichash_final(&state, out, sizeof out);
    memcpy(&number, out, sizeof number);
    return number;
}

uint64_t caller_number(const struct caller *c, const unsigned char secret[32])
{
    return caller_hash("turns", c->owner, NULL, secret);
}

uint64_t caller_partition(const struct caller *c, const char *user, const unsigned char secret[32])
{
    return caller_hash("prefixes", c->owner, user, secret);
}

uint64_t caller_drawer(const char *owner, bool page, const unsigned char secret[32])
{
    return caller_hash(page ? "page" : "api", owner, NULL, secret) & ~BATCHER_IN_MEMORY;
}
