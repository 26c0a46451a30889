/* server/vault.h: keys at rest, and bytes sealed with them. One master key of 256 bits lies in a small file of
 * mode 0600, open or sealed under a passphrase; it seals nothing itself: it wraps the random keys of objects
 * (a chat has one: without it the chat is noise) and derives keys for purposes. Changing the passphrase
 * rewrites that one file; the master key, and all that it wraps, stay.
 *
 * Ciphers are libsodium's: XChaCha20-Poly1305 with random nonces, Argon2id, BLAKE2b. What is sealed is bound to
 * `ad`, words that say what and whose it is, so that sealed rows cannot be swapped: opening under other words
 * fails. Keys live in sodium_malloc's guarded, locked memory, and are wiped when freed.
 *
 * A key file that lay open keeps doing so in old blocks of the disk and in copies: who wants a passphrase to
 * protect all chats sets it before the first one.
 *
 * Thread rule: a vault and its keys may be used by many threads, as long as nobody changes them. */
#ifndef SERVER_VAULT_H
#define SERVER_VAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    VAULT_KEY = 32,
    VAULT_EXTRA = 24 + 16, /* sealed bytes are so many more: nonce and tag */
    VAULT_WRAPPED = VAULT_KEY + VAULT_EXTRA,
    VAULT_TAG = 16,
    VAULT_ID = 32, /* hex digits of an id, without the NUL */
    VAULT_PASSPHRASE_MAX = 1024,
};

struct vault;
struct vault_key;

struct vault_options {
    const char *passphrase; /* NULL: the file's mode is the only protection */
    bool make;              /* a missing file is made */
    uint64_t ops, memory;   /* Argon2id's cost for a passphrase that is set; 0: libsodium's "moderate" */
};

/* Opens the key file at `path`. ERR_NOTFOUND: none and not to be made. ERR_ARGUMENT: the file is not this
 * user's, or open to others, no regular file; a wrong passphrase, one that is missing or one too many.
 * ERR_CORRUPT: not a key file. ERR_IO, ERR_NOMEM. */
ERR_MUST_USE err vault_open(const char *path, const struct vault_options *options, struct vault **out,
                            struct errinfo *info);
void vault_close(struct vault *v); /* NULL is fine */
/* A vault of a random master key that is in no file: for what lives in memory alone. */
ERR_MUST_USE err vault_new(struct vault **out, struct errinfo *info);

/* Whether the file at `path` wants a passphrase: a question before asking a person. Errors as vault_open. */
ERR_MUST_USE err vault_locked(const char *path, bool *locked, struct errinfo *info);
/* From now on this passphrase opens the file (NULL: none is needed). All or nothing. */
ERR_MUST_USE err vault_change(struct vault *v, const char *passphrase, struct errinfo *info);

/* ---- Keys. ---- */

/* Guarded memory for one key, zero at first; and its end, wiped. */
ERR_MUST_USE err vault_key_new(struct vault_key **out, struct errinfo *info);
void vault_key_free(struct vault_key *k); /* NULL is fine */

void vault_key_random(struct vault_key *k);
/* The key of a purpose ("chatpage"; exactly 8 characters) and a number: the same from the same master key. */
void vault_derive(const struct vault *v, const char purpose[8], uint64_t number, struct vault_key *out);

/* The key that follows from another one and a salt [n]: without either it cannot be had. */
void vault_derive_salted(const struct vault_key *from, const void *salt, size_t n, struct vault_key *out);

/* A key for rest: sealed under the master key. */
void vault_wrap(const struct vault *v, const struct vault_key *k, const char *ad,
                unsigned char wrapped[VAULT_WRAPPED]);
/* ERR_CORRUPT: another master key, other words, or bytes that changed. */
ERR_MUST_USE err vault_unwrap(const struct vault *v, const unsigned char wrapped[VAULT_WRAPPED], const char *ad,
                              struct vault_key *out, struct errinfo *info);

/* ---- Bytes. ---- */

/* `sealed` has room for n + VAULT_EXTRA; it may not overlap `data`. */
void vault_seal(const struct vault_key *k, const char *ad, const void *data, size_t n, unsigned char *sealed);
/* `n` sealed bytes; `data` has room for n - VAULT_EXTRA. ERR_CORRUPT as vault_unwrap, and for n too small;
 * `data` then holds nothing. */
ERR_MUST_USE err vault_unseal(const struct vault_key *k, const char *ad, const unsigned char *sealed, size_t n,
                              void *data, struct errinfo *info);

/* A keyed hash: equal for equal bytes, and says nothing else about them without the key. */
void vault_tag(const struct vault_key *k, const void *data, size_t n, unsigned char tag[VAULT_TAG]);

/* The id of some bytes under the key: always the same. */
void vault_id_of(const struct vault_key *k, const void *data, size_t n, char out[VAULT_ID + 1]);
/* A new random id: VAULT_ID lower-case hex digits and a NUL. */
ERR_MUST_USE err vault_id(char out[VAULT_ID + 1], struct errinfo *info);

#endif
