/* server/vault.c: see vault.h. The key file:
 *
 *     bytes   what
 *     8       "FATHOMK1"
 *     1       0: the key lies open; 1: sealed under a passphrase
 *     16      Argon2id: operations and bytes of memory, little-endian (0 when open)
 *     16      salt (0 when open)
 *     72      the master key, sealed with the 41 bytes before as `ad`; or open, and zeros
 *     16      BLAKE2b of all before: a broken file is told from a wrong passphrase */
#include "server/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum {
    VAULT_AT_KIND = 8,
    VAULT_AT_OPS = 9,
    VAULT_AT_MEMORY = 17,
    VAULT_AT_SALT = 25,
    VAULT_AT_KEY = VAULT_AT_SALT + crypto_pwhash_SALTBYTES,
    VAULT_AT_SUM = VAULT_AT_KEY + VAULT_WRAPPED,
    VAULT_FILE = VAULT_AT_SUM + 16,
    VAULT_OPS_MAX = 64, /* a hostile file shall not keep the processor busy for hours */
};
static const uint64_t VAULT_MEMORY_MAX = 4ull << 30;
static const char VAULT_MAGIC[8] = "FATHOMK1";

struct vault_key { /* always in memory of sodium_malloc */
    unsigned char bytes[VAULT_KEY];
};

struct vault {
    struct vault_key *master;
    char *path; /* NULL: in no file */
    uint64_t ops, memory;
};

_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == VAULT_KEY, "the cipher's key");
_Static_assert(crypto_kdf_KEYBYTES == VAULT_KEY && crypto_kdf_CONTEXTBYTES == 8, "the derivation's key");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES ==
                   VAULT_EXTRA,
               "nonce and tag");

/* ---- Keys. ---- */

static err vault_ready(struct errinfo *info)
{
    return sodium_init() >= 0 ? ERR_OK
                              : err_set(info, ERR_IO, "libsodium cannot start: no source of randomness");
}

err vault_key_new(struct vault_key **out, struct errinfo *info)
{
    TRY(vault_ready(info));
    struct vault_key *k = sodium_malloc(sizeof *k);
    if (!k) {
        return err_set(info, ERR_NOMEM, "out of memory for a key");
    }
    sodium_memzero(k, sizeof *k);
    *out = k;
    return ERR_OK;
}

void vault_key_free(struct vault_key *k)
{
    sodium_free(k); /* wipes */
}

void vault_key_random(struct vault_key *k)
{
    randombytes_buf(k->bytes, sizeof k->bytes);
}

void vault_derive(const struct vault *v, const char purpose[8], uint64_t number, struct vault_key *out)
{
    crypto_kdf_derive_from_key(out->bytes, sizeof out->bytes, number, purpose, v->master->bytes);
}

void vault_derive_salted(const struct vault_key *from, const void *salt, size_t n, struct vault_key *out)
{
    crypto_generichash(out->bytes, sizeof out->bytes, salt, n, from->bytes, sizeof from->bytes);
}

void vault_wrap(const struct vault *v, const struct vault_key *k, const char *ad,
                unsigned char wrapped[VAULT_WRAPPED])
{
    vault_seal(v->master, ad, k->bytes, sizeof k->bytes, wrapped);
}

err vault_unwrap(const struct vault *v, const unsigned char wrapped[VAULT_WRAPPED], const char *ad,
                 struct vault_key *out, struct errinfo *info)
{
    return vault_unseal(v->master, ad, wrapped, VAULT_WRAPPED, out->bytes, info);
}

/* ---- Bytes. ---- */

static void vault_seal_bound(const struct vault_key *k, const void *ad, size_t n_ad, const void *data, size_t n,
                             unsigned char *sealed)
{
    enum { NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES };
    randombytes_buf(sealed, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE, NULL, data, n, ad, n_ad, NULL, sealed, k->bytes);
}

static bool vault_unseal_bound(const struct vault_key *k, const void *ad, size_t n_ad,
                               const unsigned char *sealed, size_t n, void *data)
{
    enum { NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES };
    return n >= VAULT_EXTRA &&
           crypto_aead_xchacha20poly1305_ietf_decrypt(data, NULL, NULL, sealed + NONCE, n - NONCE, ad, n_ad,
                                                      sealed, k->bytes) == 0;
}

void vault_seal(const struct vault_key *k, const char *ad, const void *data, size_t n, unsigned char *sealed)
{
    vault_seal_bound(k, ad, strlen(ad), data, n, sealed);
}

err vault_unseal(const struct vault_key *k, const char *ad, const unsigned char *sealed, size_t n, void *data,
                 struct errinfo *info)
{
    if (!vault_unseal_bound(k, ad, strlen(ad), sealed, n, data)) {
        return err_set(info, ERR_CORRUPT,
                       "what is stored as \"%.200s\" cannot be opened: its bytes changed, or "
                       "the key file is another one",
                       ad);
    }
    return ERR_OK;
}

void vault_tag(const struct vault_key *k, const void *data, size_t n, unsigned char tag[VAULT_TAG])
{
    crypto_generichash(tag, VAULT_TAG, data, n, k->bytes, sizeof k->bytes);
}

void vault_id_of(const struct vault_key *k, const void *data, size_t n, char out[VAULT_ID + 1])
{
    unsigned char tag[VAULT_TAG];
    vault_tag(k, data, n, tag);
    sodium_bin2hex(out, VAULT_ID + 1, tag, sizeof tag);
}

err vault_id(char out[VAULT_ID + 1], struct errinfo *info)
{
    unsigned char bytes[VAULT_ID / 2];
    TRY(vault_ready(info));
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(out, VAULT_ID + 1, bytes, sizeof bytes);
    return ERR_OK;
}

/* ---- The key file. ---- */

static void vault_put(unsigned char *to, uint64_t n)
{
    for (int i = 0; i < 8; i++) {
        to[i] = (unsigned char)(n >> 8 * i);
    }
}

static uint64_t vault_get(const unsigned char *from)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) {
        n |= (uint64_t)from[i] << 8 * i;
    }
    return n;
}

static void vault_sum(const unsigned char file[VAULT_FILE], unsigned char sum[16])
{
    crypto_generichash(sum, 16, file, VAULT_AT_SUM, NULL, 0);
}

/* Whose the open file is, and who may read it. */
static err vault_guarded(int fd, const char *path, struct errinfo *info)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_set(info, ERR_IO, "cannot stat %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(info, ERR_ARGUMENT, "%s is no regular file; a file of keys was expected", path);
    }
    if (st.st_uid != geteuid()) {
        return err_set(info, ERR_ARGUMENT,
                       "the key file %s belongs to user %lu, this program runs as %lu: run it "
                       "as its owner, or chown the file",
                       path, (unsigned long)st.st_uid, (unsigned long)geteuid());
    }
    if (st.st_mode & 077) {
        return err_set(info, ERR_ARGUMENT,
                       "the key file %s may be used by others (mode %04o): whoever read it can "
                       "read the chats; chmod 600 %s",
                       path, (unsigned)st.st_mode & 07777, path);
    }
    if (st.st_size != VAULT_FILE) {
        return err_set(info, ERR_CORRUPT,
                       "%s has %lld bytes, a key file has %d: put the right file there, or a "
                       "copy of it",
                       path, (long long)st.st_size, VAULT_FILE);
    }
    return ERR_OK;
}

static err vault_read(const char *path, unsigned char file[VAULT_FILE], struct errinfo *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return err_set(info, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "cannot open the key file %s: %s", path,
                       errno == ELOOP ? "it is a link" : strerror(errno));
    }
    err e = vault_guarded(fd, path, info);
    if (e == ERR_OK && read(fd, file, VAULT_FILE) != VAULT_FILE) {
        e = err_set(info, ERR_IO, "cannot read the key file %s", path);
    }
    close(fd);
    unsigned char sum[16];
    if (e == ERR_OK) {
        vault_sum(file, sum);
        if (memcmp(file, VAULT_MAGIC, sizeof VAULT_MAGIC) != 0 || file[VAULT_AT_KIND] > 1 ||
            memcmp(sum, file + VAULT_AT_SUM, sizeof sum) != 0 ||
            vault_get(file + VAULT_AT_OPS) > VAULT_OPS_MAX ||
            vault_get(file + VAULT_AT_MEMORY) > VAULT_MEMORY_MAX) {
            e = err_set(info, ERR_CORRUPT,
                        "%s is not a key file of this program, or was damaged: put a copy of the "
                        "right one there; without it what it sealed cannot be read",
                        path);
        }
    }
    return e;
}

/* The key a passphrase gives, with the salt and the costs in `file`. */
static err vault_stretch(const unsigned char file[VAULT_FILE], const char *passphrase, struct vault_key *out,
                         struct errinfo *info)
{
    size_t n = strlen(passphrase);
    if (n == 0 || n > VAULT_PASSPHRASE_MAX) {
        return err_set(info, ERR_ARGUMENT, "a passphrase of %zu bytes; 1 to %d are accepted", n,
                       VAULT_PASSPHRASE_MAX);
    }
    uint64_t memory = vault_get(file + VAULT_AT_MEMORY);
    if (crypto_pwhash(out->bytes, sizeof out->bytes, passphrase, n, file + VAULT_AT_SALT,
                      vault_get(file + VAULT_AT_OPS), memory, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        return err_set(info, ERR_NOMEM, "out of memory for the passphrase: Argon2id wants %llu MiB",
                       (unsigned long long)memory >> 20);
    }
    return ERR_OK;
}

static err vault_load_sealed(const unsigned char file[VAULT_FILE], const char *path, const char *passphrase,
                             struct vault_key *master, struct errinfo *info)
{
    struct vault_key *k = NULL;
    TRY(vault_key_new(&k, info));
    err e = vault_stretch(file, passphrase, k, info);
    if (e == ERR_OK &&
        !vault_unseal_bound(k, file, VAULT_AT_KEY, file + VAULT_AT_KEY, VAULT_WRAPPED, master->bytes)) {
        e = err_set(info, ERR_ARGUMENT, "wrong passphrase for %s", path);
    }
    vault_key_free(k);
    return e;
}

static err vault_load(struct vault *v, const char *passphrase, struct errinfo *info)
{
    unsigned char file[VAULT_FILE];
    err e = vault_read(v->path, file, info);
    if (e == ERR_OK && file[VAULT_AT_KIND] == 0) {
        if (passphrase) {
            e = err_set(info, ERR_ARGUMENT,
                        "a passphrase was given, but the key file %s has none: leave it out, or "
                        "set one",
                        v->path);
        } else {
            memcpy(v->master->bytes, file + VAULT_AT_KEY, VAULT_KEY);
        }
    } else if (e == ERR_OK) {
        e = passphrase ? vault_load_sealed(file, v->path, passphrase, v->master, info)
                       : err_set(info, ERR_ARGUMENT, "the key file %s wants its passphrase", v->path);
    }
    sodium_memzero(file, sizeof file);
    return e;
}

static err vault_store(const struct vault *v, const char *passphrase, struct errinfo *info)
{
    unsigned char file[VAULT_FILE] = {0};
    struct vault_key *k = NULL;
    TRY(vault_key_new(&k, info));
    memcpy(file, VAULT_MAGIC, sizeof VAULT_MAGIC);
    err e = ERR_OK;
    if (passphrase) {
        file[VAULT_AT_KIND] = 1;
        vault_put(file + VAULT_AT_OPS, v->ops);
        vault_put(file + VAULT_AT_MEMORY, v->memory);
        randombytes_buf(file + VAULT_AT_SALT, crypto_pwhash_SALTBYTES);
        e = vault_stretch(file, passphrase, k, info);
        vault_seal_bound(k, file, VAULT_AT_KEY, v->master->bytes, VAULT_KEY, file + VAULT_AT_KEY);
    } else {
        memcpy(file + VAULT_AT_KEY, v->master->bytes, VAULT_KEY);
    }
    vault_sum(file, file + VAULT_AT_SUM);
    if (e == ERR_OK) {
        e = file_write_private(v->path, file, sizeof file, info);
    }
    sodium_memzero(file, sizeof file);
    vault_key_free(k);
    return e;
}

err vault_new(struct vault **out, struct errinfo *info)
{
    struct vault *v = mem_calloc(1, sizeof *v);
    if (!v) {
        return err_set(info, ERR_NOMEM, "out of memory for the keys");
    }
    err e = vault_key_new(&v->master, info);
    if (e != ERR_OK) {
        vault_close(v);
        return e;
    }
    vault_key_random(v->master);
    *out = v;
    return ERR_OK;
}

err vault_open(const char *path, const struct vault_options *options, struct vault **out, struct errinfo *info)
{
    struct vault *v = NULL;
    TRY(vault_new(&v, info));
    v->ops = options->ops ? options->ops : crypto_pwhash_OPSLIMIT_MODERATE;
    v->memory = options->memory ? options->memory : crypto_pwhash_MEMLIMIT_MODERATE;
    v->path = mem_dup(path, strlen(path));
    err e = v->path ? vault_load(v, options->passphrase, info)
                    : err_set(info, ERR_NOMEM, "out of memory for the keys");
    if (e == ERR_NOTFOUND && options->make) {
        e = vault_store(v, options->passphrase, info);
    }
    if (e != ERR_OK) {
        vault_close(v);
        return e;
    }
    *out = v;
    return ERR_OK;
}

void vault_close(struct vault *v)
{
    if (v) {
        vault_key_free(v->master);
        mem_free(v->path);
        mem_free(v);
    }
}

err vault_locked(const char *path, bool *locked, struct errinfo *info)
{
    unsigned char file[VAULT_FILE];
    TRY(vault_ready(info));
    err e = vault_read(path, file, info);
    if (e == ERR_OK) {
        *locked = file[VAULT_AT_KIND] == 1;
    }
    sodium_memzero(file, sizeof file);
    return e;
}

err vault_change(struct vault *v, const char *passphrase, struct errinfo *info)
{
    if (!v->path) {
        return err_set(info, ERR_ARGUMENT, "keys that are in no file have no passphrase");
    }
    return vault_store(v, passphrase, info);
}
