/* server/keystore.h: API keys: who may ask, for what, how much. A key is "fathom-" and 43 base64url characters
 * of 32 random bytes; it is shown once, when it is made: only its hash (BLAKE2b) is stored, and its name is
 * sealed, together with that hash and all that says what the key may: who can write in the file, but has not
 * the master key, can give no key more rights, nor another secret (the balance alone, which falls all the time,
 * is not bound). A row that was changed so is damaged: the
 * key opens nothing, and all that can be done to it is to revoke it.
 *
 * Money is counted in billionths of the price table's currency (pricetable.h), never in floats. Times in
 * milliseconds since 1970, `now` always the caller's. Errors besides those named: ERR_IO, ERR_CORRUPT
 * (of a damaged key, too), ERR_NOMEM.
 *
 * Thread rule: any function from any thread; a revoked key is refused from the next check on, also when another
 * program revoked it. */
#ifndef SERVER_KEYSTORE_H
#define SERVER_KEYSTORE_H

#include "base/json.h"
#include "server/caller.h"
#include "server/database.h"

enum {
    KEYSTORE_SECRET = 7 + 43, /* characters of a key */
    KEYSTORE_MARK = 32,
    KEYSTORE_ID_SHORT = 8, /* digits of an id that people may call a key by */
    KEYSTORE_NAME_MAX = 100,
    KEYSTORE_KEYS_MAX = 10000,
};

struct keystore_limits { /* 0: none */
    uint32_t requests_per_minute, concurrent;
    uint64_t tokens_per_day;
};

struct keystore_key {
    char id[VAULT_ID + 1]; /* the owner of what is done with it */
    char name[KEYSTORE_NAME_MAX + 1];
    unsigned scopes; /* of enum caller_scope */
    struct keystore_limits limits;
    bool limited;    /* by a balance */
    int64_t balance; /* in billionths */
    int64_t created;
    int64_t expires, revoked, last_used; /* 0: never; last_used is a minute exact */
    unsigned char mark[KEYSTORE_MARK];   /* the hash of its secret: another one once it was renewed */
    bool damaged;                        /* nothing else than the id is known of it */
};

struct keystore;

/* Over a database that must outlive it. */
ERR_MUST_USE err keystore_open(struct database *d, struct keystore **out, struct errinfo *info);
void keystore_close(struct keystore *s); /* NULL is fine */

/* `fields`: {"name":string,"scopes":["chat","admin","metrics"] (["chat"]),"limits":{"requests_per_minute",
 * "tokens_per_day","concurrent"} (0),"balance":decimal string or null (null),"expires":time or null (null)};
 * all but the name, one line, may be left out; no balance below 0. `secret` is the key itself. ERR_ARGUMENT
 * names the wrong field, in errinfo.field, too ("limits.concurrent"); ERR_LIMIT: too many keys. */
ERR_MUST_USE err keystore_create(struct keystore *s, const json_t *fields, int64_t now,
                                 struct keystore_key *key, char secret[KEYSTORE_SECRET + 1],
                                 struct errinfo *info);
/* Any of the same fields. ERR_NOTFOUND. */
ERR_MUST_USE err keystore_patch(struct keystore *s, const char *id, const json_t *fields,
                                struct keystore_key *key, struct errinfo *info);
/* From now on the key opens nothing; its record stays, for the usage that names it. A damaged one is whole
 * again by that, named "damaged" and without scopes. ERR_NOTFOUND; revoking again is no error. */
ERR_MUST_USE err keystore_revoke(struct keystore *s, const char *id, int64_t now, struct errinfo *info);

/* The same owner with a new secret, with which all is there that was there with the old one; that
 * one opens nothing from now on, here and in sessions that began with it. A revocation goes, and so
 * does an end that has passed. ERR_NOTFOUND. */
ERR_MUST_USE err keystore_renew(struct keystore *s, const char *id, int64_t now,
                                struct keystore_key *key, char secret[KEYSTORE_SECRET + 1],
                                struct errinfo *info);

/* Whose key `presented` is; it counts as used, which keystore_write stores. ERR_NOTFOUND: of nobody, revoked or
 * expired (the message tells, and may be shown to who presented it). Scopes, limits and balance are for the
 * caller to look at. */
ERR_MUST_USE err keystore_check(struct keystore *s, const char *presented, int64_t now,
                                struct keystore_key *key, struct errinfo *info);
ERR_MUST_USE err keystore_get(struct keystore *s, const char *id, struct keystore_key *key,
                              struct errinfo *info);
/* As people call a key: by its id, by its name, or by the first digits of its id (KEYSTORE_ID_SHORT or more);
 * a damaged one by its id. A name is that of a key that is good `now`; one that is not has it only
 * where no good one does. ERR_ARGUMENT lists the keys where several are meant. ERR_NOTFOUND. */
ERR_MUST_USE err keystore_named(struct keystore *s, const char *word, int64_t now,
                                struct keystore_key *key, struct errinfo *info);
/* Stores when keys were used. Neither this nor anything else keeps keystore_check and keystore_get waiting. */
ERR_MUST_USE err keystore_write(struct keystore *s, struct errinfo *info);
/* Neither revoked nor expired. */
bool keystore_good(const struct keystore_key *key, int64_t now);
/* All, damaged ones among them, the oldest first; *keys is the caller's (mem_free). */
ERR_MUST_USE err keystore_list(struct keystore *s, struct keystore_key **keys, size_t *n, struct errinfo *info);

/* {"id","name","scopes":[…],"limits":{…},"balance":string or null,"created","expires","revoked","last_used",
 * "damaged":bool}, times null for never; a new reference, NULL when memory is short. */
json_t *keystore_json(const struct keystore_key *key) __attribute__((warn_unused_result));

#endif
