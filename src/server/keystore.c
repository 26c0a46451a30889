/* server/keystore.c: see keystore.h. */
#include "server/keystore.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "server/money.h"

enum { KEYSTORE_BYTES = 32, KEYSTORE_AD = 300, KEYSTORE_USED_EVERY = 60000 };
static const char KEYSTORE_PREFIX[] = "fathom-";

struct keystore_use { /* when a key was last used, which is not written yet */
    char id[VAULT_ID + 1];
    int64_t when;
};

struct keystore {
    struct database *database;
    struct database *reader; /* of the same, for those who wait for nothing */
    struct vault_key *names;
    pthread_mutex_t lock;
    struct keystore_use *uses; /* [n_uses] */
    size_t n_uses;
};

#define KEYSTORE_COLUMNS                                                                                       \
    "id, name, scopes, requests_per_minute, tokens_per_day, concurrent, balance, created, expires, revoked,"   \
    " last_used, hash"

static err keystore_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for keys");
}

err keystore_open(struct database *d, struct keystore **out, struct errinfo *info)
{
    struct keystore *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return keystore_nomem(info);
    }
    s->database = d;
    s->reader = database_reader(d);
    pthread_mutex_init(&s->lock, NULL);
    err e = vault_key_new(&s->names, info);
    if (e != ERR_OK) {
        keystore_close(s);
        return e;
    }
    vault_derive(database_vault(d), "keynames", 0, s->names);
    *out = s;
    return ERR_OK;
}

void keystore_close(struct keystore *s)
{
    if (s) {
        struct errinfo info;
        err e = keystore_write(s, &info);
        (void)e; /* a disk that is full */
        vault_key_free(s->names);
        pthread_mutex_destroy(&s->lock);
        mem_free(s->uses);
        mem_free(s);
    }
}

/* ---- Fields that come from outside. ---- */

static err keystore_wrong(const char *name, const char *expected, struct errinfo *info)
{
    return err_set(info, ERR_ARGUMENT, "\"%.40s\": expected %s", name, expected);
}

/* Nothing that begins a line, or moves the cursor of a terminal. */
static bool keystore_in_a_line(const char *text, size_t n)
{
    utf8proc_int32_t c = 0;
    for (utf8proc_ssize_t len; n > 0; text += len, n -= (size_t)len) {
        len = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &c);
        utf8proc_category_t kind = len > 0 ? utf8proc_category(c) : UTF8PROC_CATEGORY_CC;
        if (kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_ZL || kind == UTF8PROC_CATEGORY_ZP) {
            return false;
        }
    }
    return true;
}

static err keystore_read_name(const json_t *value, struct keystore_key *k, struct errinfo *info)
{
    size_t n = json_string_length(value);
    if (n == 0 || n > KEYSTORE_NAME_MAX) {
        return err_set(info, ERR_ARGUMENT, "\"name\": expected a string of 1 to %d bytes", KEYSTORE_NAME_MAX);
    }
    if (!keystore_in_a_line(json_string_value(value), n)) {
        return keystore_wrong("name", "one line, without control characters", info);
    }
    memset(k->name, 0, sizeof k->name);
    memcpy(k->name, json_string_value(value), n);
    return ERR_OK;
}

static unsigned keystore_scope(const char *name)
{
    for (size_t i = 0; name && i < CALLER_SCOPES; i++) {
        if (strcmp(name, caller_scope_names[i].name) == 0) {
            return caller_scope_names[i].bit;
        }
    }
    return 0;
}

static err keystore_read_scopes(const json_t *value, struct keystore_key *k, struct errinfo *info)
{
    unsigned scopes = 0;
    size_t n = json_array_size(value);
    for (size_t i = 0; i < n; i++) {
        unsigned bit = keystore_scope(json_string_value(json_array_get(value, i)));
        if (bit == 0) {
            return keystore_wrong("scopes", "chat, admin and metrics, or some of them", info);
        }
        scopes |= bit;
    }
    k->scopes = scopes;
    return n > 0 ? ERR_OK : keystore_wrong("scopes", "a list of one scope or more: chat, admin, metrics", info);
}

static err keystore_read_limit(const char *name, const json_t *value, struct keystore_limits *l,
                               struct errinfo *info)
{
    uint64_t n = 0;
    bool day = strcmp(name, "tokens_per_day") == 0;
    if (!json_as_u64(value, &n) || n > (day ? (uint64_t)1 << 53 : UINT32_MAX / 2)) {
        return keystore_wrong(name, "a whole number, 0 for no limit", info);
    }
    if (day) {
        l->tokens_per_day = n;
    } else if (strcmp(name, "requests_per_minute") == 0) {
        l->requests_per_minute = (uint32_t)n;
    } else if (strcmp(name, "concurrent") == 0) {
        l->concurrent = (uint32_t)n;
    } else {
        return err_set(info, ERR_ARGUMENT,
                       "\"%.40s\" is no limit: requests_per_minute, tokens_per_day and concurrent are", name);
    }
    return ERR_OK;
}

static err keystore_read_limits(const json_t *value, struct keystore_key *k, struct errinfo *info)
{
    const char *name;
    json_t *limit;
    if (!json_is_object(value)) {
        return keystore_wrong("limits", "an object", info);
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, limit) {
        err e = keystore_read_limit(name, limit, &k->limits, info);
        if (e != ERR_OK) {
            return err_at(info, e, "limits.%s", name);
        }
    }
    return ERR_OK;
}

static err keystore_read_balance(const json_t *value, struct keystore_key *k, struct errinfo *info)
{
    k->limited = !json_is_null(value);
    k->balance = 0;
    const char *text = json_string_value(value);
    if (k->limited && !(text && money_parse(text, &k->balance))) {
        return keystore_wrong("balance", "a decimal number as a string, like \"12.50\", or null", info);
    }
    return ERR_OK;
}

static err keystore_read_expires(const json_t *value, struct keystore_key *k, struct errinfo *info)
{
    /* The last day that programs know, the page among them: in the year 275760. */
    const json_int_t last = 8640000000000000;
    if (!json_is_null(value) && (json_integer_value(value) <= 0 || json_integer_value(value) > last)) {
        return keystore_wrong("expires", "milliseconds since 1970, up to 8640000000000000, or null", info);
    }
    k->expires = json_integer_value(value);
    return ERR_OK;
}

static err keystore_read_field(const char *name, const json_t *value, struct keystore_key *k,
                               struct errinfo *info)
{
    static const struct {
        const char *name;
        err (*read)(const json_t *value, struct keystore_key *k, struct errinfo *info);
    } fields[] = {
        {"name", keystore_read_name},       {"scopes", keystore_read_scopes},
        {"limits", keystore_read_limits},   {"balance", keystore_read_balance},
        {"expires", keystore_read_expires},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(name, fields[i].name) == 0) {
            return fields[i].read(value, k, info);
        }
    }
    return err_set(info, ERR_ARGUMENT,
                   "\"%.40s\" is no field of a key: name, scopes, limits, balance and expires are", name);
}

static err keystore_read(const json_t *fields, struct keystore_key *k, struct errinfo *info)
{
    const char *name;
    json_t *value;
    if (!json_is_object(fields)) {
        return err_set(info, ERR_ARGUMENT, "a key's fields: expected an object");
    }
    json_object_foreach((json_t *)(uintptr_t)fields, name, value) {
        err e = keystore_read_field(name, value, k, info);
        if (e != ERR_OK) {
            return err_at(info, e, "%s", name);
        }
    }
    return k->name[0] ? ERR_OK : err_at(info, keystore_wrong("name", "a name for the key", info), "name");
}

/* ---- Rows. ---- */

/* What the name is sealed with: all that nobody else may change. */
static void keystore_ad(const struct keystore_key *k, char ad[KEYSTORE_AD])
{
    char hash[2 * KEYSTORE_MARK + 1];
    sodium_bin2hex(hash, sizeof hash, k->mark, sizeof k->mark);
    snprintf(ad, KEYSTORE_AD,
             "name of key %s: secret %s, scopes %u, limits %" PRIu32 " %" PRIu32 " %" PRIu64
             ", created %" PRId64 ", expires %" PRId64 ", revoked %" PRId64,
             k->id, hash, k->scopes, k->limits.requests_per_minute, k->limits.concurrent,
             k->limits.tokens_per_day, k->created, k->expires, k->revoked);
}

/* Of a damaged one the id alone. */
static void keystore_row(const struct keystore *s, sqlite3_stmt *st, struct keystore_key *out)
{
    struct keystore_key k = {
        .scopes = (unsigned)sqlite3_column_int(st, 2),
        .limits = {.requests_per_minute = (uint32_t)sqlite3_column_int64(st, 3),
                   .tokens_per_day = (uint64_t)sqlite3_column_int64(st, 4),
                   .concurrent = (uint32_t)sqlite3_column_int64(st, 5)},
        .limited = sqlite3_column_type(st, 6) != SQLITE_NULL,
        .balance = sqlite3_column_int64(st, 6),
        .created = sqlite3_column_int64(st, 7),
        .expires = sqlite3_column_int64(st, 8),
        .revoked = sqlite3_column_int64(st, 9),
        .last_used = sqlite3_column_int64(st, 10),
    };
    char ad[KEYSTORE_AD];
    size_t n = (size_t)sqlite3_column_bytes(st, 1);
    snprintf(k.id, sizeof k.id, "%s", (const char *)sqlite3_column_text(st, 0));
    bool whole = n <= KEYSTORE_NAME_MAX + VAULT_EXTRA && sqlite3_column_bytes(st, 11) == sizeof k.mark;
    if (whole) {
        memcpy(k.mark, sqlite3_column_blob(st, 11), sizeof k.mark);
        keystore_ad(&k, ad);
        whole = vault_unseal(s->names, ad, sqlite3_column_blob(st, 1), n, k.name, NULL) == ERR_OK;
    }
    if (whole) {
        *out = k;
        return;
    }
    *out = (struct keystore_key){.damaged = true};
    memcpy(out->id, k.id, sizeof k.id);
    err_clean(out->id); /* it is any text, then */
}

static err keystore_whole(const struct keystore_key *k, struct errinfo *info)
{
    return !k->damaged ? ERR_OK
                       : err_set(info, ERR_CORRUPT,
                                 "key %s is damaged: its row was changed by something else than fathom; revoke "
                                 "it, or put a copy of the database back",
                                 k->id);
}

/* Inside a transaction of `d`: the database, or its reader. */
static err keystore_seek(const struct keystore *s, struct database *d, const char *id, struct keystore_key *out,
                         struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(d, &st, info, "SELECT " KEYSTORE_COLUMNS " FROM api_key WHERE id = ?1", "t", id));
    TRY(database_next(d, st, &row, info));
    if (!row) {
        return err_set(info, ERR_NOTFOUND, "there is no key %.40s; see: fathom keys list", id);
    }
    keystore_row(s, st, out);
    return ERR_OK;
}

/* The same; ERR_CORRUPT for a damaged one. */
static err keystore_find(const struct keystore *s, struct database *d, const char *id, struct keystore_key *out,
                         struct errinfo *info)
{
    TRY(keystore_seek(s, d, id, out, info));
    return keystore_whole(out, info);
}

/* A row, of which keystore_update says the rest. */
static err keystore_insert(const struct keystore *s, const struct keystore_key *k, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(s->database, &st, info, "SELECT count(*) FROM api_key", ""));
    TRY(database_next(s->database, st, &row, info));
    if (sqlite3_column_int64(st, 0) >= KEYSTORE_KEYS_MAX) {
        return err_set(info, ERR_LIMIT, "there are %d keys already", KEYSTORE_KEYS_MAX);
    }
    return database_run(s->database, info,
                        "INSERT INTO api_key(id, hash, name, scopes, requests_per_minute, tokens_per_day,"
                        " concurrent, created) VALUES(?1, ?2, x'', 0, 0, 0, 0, ?3)",
                        "tbi", k->id, k->mark, sizeof k->mark, k->created);
}

static err keystore_update(const struct keystore *s, const struct keystore_key *k, struct errinfo *info)
{
    unsigned char name[KEYSTORE_NAME_MAX + VAULT_EXTRA];
    char ad[KEYSTORE_AD];
    size_t n = strlen(k->name);
    keystore_ad(k, ad);
    vault_seal(s->names, ad, k->name, n, name);
    return database_run(s->database, info,
                        "UPDATE api_key SET name = ?2, scopes = ?3, requests_per_minute = ?4,"
                        " tokens_per_day = ?5, concurrent = ?6, balance = CASE WHEN ?7 THEN ?8 END,"
                        " expires = nullif(?9, 0), revoked = nullif(?10, 0), hash = ?11, created = ?12"
                        " WHERE id = ?1",
                        "tbiiiiiiiibi", k->id, name, n + VAULT_EXTRA, (int64_t)k->scopes,
                        (int64_t)k->limits.requests_per_minute, (int64_t)k->limits.tokens_per_day,
                        (int64_t)k->limits.concurrent, (int64_t)k->limited, k->balance, k->expires, k->revoked,
                        k->mark, sizeof k->mark, k->created);
}

/* ---- The calls. ---- */

static void keystore_hash(const char *secret, unsigned char hash[KEYSTORE_MARK])
{
    crypto_generichash(hash, KEYSTORE_MARK, (const unsigned char *)secret, KEYSTORE_SECRET, NULL, 0);
}

/* A new secret and what is kept of it. */
static void keystore_make_secret(char secret[KEYSTORE_SECRET + 1], unsigned char hash[KEYSTORE_MARK])
{
    unsigned char bytes[KEYSTORE_BYTES];
    randombytes_buf(bytes, sizeof bytes);
    memcpy(secret, KEYSTORE_PREFIX, sizeof KEYSTORE_PREFIX);
    sodium_bin2base64(secret + strlen(KEYSTORE_PREFIX), KEYSTORE_SECRET + 1 - strlen(KEYSTORE_PREFIX), bytes,
                      sizeof bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bytes, sizeof bytes);
    keystore_hash(secret, hash);
}

err keystore_create(struct keystore *s, const json_t *fields, int64_t now, struct keystore_key *key,
                    char secret[KEYSTORE_SECRET + 1], struct errinfo *info)
{
    struct keystore_key k = {.scopes = CALLER_CHAT, .created = now};
    char made[KEYSTORE_SECRET + 1];
    TRY(keystore_read(fields, &k, info));
    if (k.balance < 0) { /* what a key has spent may be more than it had; nobody begins so */
        return err_at(info, keystore_wrong("balance", "an amount of 0 or more for a new key", info), "balance");
    }
    TRY(vault_id(k.id, info));
    keystore_make_secret(made, k.mark);
    TRY(database_begin(s->database, info));
    err e = keystore_insert(s, &k, info);
    e = e == ERR_OK ? keystore_update(s, &k, info) : e;
    TRY(database_end(s->database, e, info));
    *key = k;
    memcpy(secret, made, sizeof made);
    sodium_memzero(made, sizeof made);
    return ERR_OK;
}

err keystore_patch(struct keystore *s, const char *id, const json_t *fields, struct keystore_key *key,
                   struct errinfo *info)
{
    struct keystore_key k = {0};
    TRY(database_begin(s->database, info));
    err e = keystore_find(s, s->database, id, &k, info);
    e = e == ERR_OK ? keystore_read(fields, &k, info) : e;
    e = e == ERR_OK ? keystore_update(s, &k, info) : e;
    TRY(database_end(s->database, e, info));
    *key = k;
    return ERR_OK;
}

/* A key without any right in the place of a damaged one, so that nothing of what others wrote there stays. */
static void keystore_empty(struct keystore_key *k, int64_t now)
{
    char nobodys[KEYSTORE_SECRET + 1];
    keystore_make_secret(nobodys, k->mark);
    sodium_memzero(nobodys, sizeof nobodys);
    strcpy(k->name, "damaged");
    k->created = now;
    k->damaged = false;
}

err keystore_revoke(struct keystore *s, const char *id, int64_t now, struct errinfo *info)
{
    struct keystore_key k = {0};
    TRY(database_begin_delete(s->database, info));
    err e = keystore_seek(s, s->database, id, &k, info);
    if (e == ERR_OK && k.damaged) {
        keystore_empty(&k, now);
    }
    if (e == ERR_OK && !k.revoked) {
        k.revoked = now;
        e = keystore_update(s, &k, info);
    }
    TRY(database_end(s->database, e, info));
    return database_scrub(s->database, info);
}

err keystore_renew(struct keystore *s, const char *id, int64_t now, struct keystore_key *key,
                   char secret[KEYSTORE_SECRET + 1], struct errinfo *info)
{
    struct keystore_key k = {0};
    char made[KEYSTORE_SECRET + 1];
    TRY(database_begin_delete(s->database, info)); /* the old secret goes: what is stolen waits for no room */
    err e = keystore_find(s, s->database, id, &k, info);
    if (e == ERR_OK) {
        keystore_make_secret(made, k.mark);
        k.revoked = 0;
        k.expires = k.expires > now ? k.expires : 0;
        e = keystore_update(s, &k, info);
    }
    TRY(database_end(s->database, e, info));
    e = database_scrub(s->database, info);
    (void)e; /* the next one does it: the key is renewed, and nobody else has its secret */
    *key = k;
    memcpy(secret, made, sizeof made);
    sodium_memzero(made, sizeof made);
    return ERR_OK;
}

bool keystore_good(const struct keystore_key *key, int64_t now)
{
    return !key->damaged && !key->revoked && (!key->expires || key->expires > now);
}

static err keystore_refuse(const struct keystore_key *k, int64_t now, struct errinfo *info)
{
    if (k->revoked) {
        return err_set(info, ERR_NOTFOUND, "this API key was revoked");
    }
    return keystore_good(k, now) ? ERR_OK : err_set(info, ERR_NOTFOUND, "this API key has expired");
}

/* Inside a transaction of the reader. The row is found by its hash, of which nobody can choose even one bit
 * knowingly; what then decides is compared in constant time. */
static err keystore_lookup(const struct keystore *s, const char *presented, int64_t now,
                           struct keystore_key *out, struct errinfo *info)
{
    unsigned char hash[KEYSTORE_MARK];
    sqlite3_stmt *st;
    bool row = false;
    keystore_hash(presented, hash);
    TRY(database_query(s->reader, &st, info, "SELECT " KEYSTORE_COLUMNS " FROM api_key WHERE hash = ?1", "b",
                       hash, sizeof hash));
    TRY(database_next(s->reader, st, &row, info));
    if (!row || sqlite3_column_bytes(st, 11) != sizeof hash ||
        sodium_memcmp(sqlite3_column_blob(st, 11), hash, sizeof hash) != 0) {
        return err_set(info, ERR_NOTFOUND, "this API key is not known here");
    }
    keystore_row(s, st, out);
    TRY(keystore_whole(out, info));
    return keystore_refuse(out, now, info);
}

/* Remembers that it was. Short of memory: it is not. */
static void keystore_use(struct keystore *s, struct keystore_key *k, int64_t now)
{
    if (k->last_used != 0 && now >= k->last_used && now - k->last_used < KEYSTORE_USED_EVERY) {
        return;
    }
    k->last_used = now;
    pthread_mutex_lock(&s->lock);
    size_t at = 0;
    while (at < s->n_uses && strcmp(s->uses[at].id, k->id) != 0) {
        at++;
    }
    struct keystore_use *uses = at < s->n_uses ? s->uses : mem_resize(s->uses, at + 1, sizeof *uses);
    if (uses) {
        s->uses = uses;
        s->n_uses += at == s->n_uses;
        memcpy(uses[at].id, k->id, sizeof k->id);
        uses[at].when = now;
    }
    pthread_mutex_unlock(&s->lock);
}

err keystore_write(struct keystore *s, struct errinfo *info)
{
    pthread_mutex_lock(&s->lock);
    struct keystore_use *uses = s->uses;
    size_t n = s->n_uses;
    s->uses = NULL;
    s->n_uses = 0;
    pthread_mutex_unlock(&s->lock);
    err e = n > 0 ? database_begin(s->database, info) : ERR_OK;
    if (n > 0 && e == ERR_OK) {
        for (size_t i = 0; i < n && e == ERR_OK; i++) {
            e = database_run(s->database, info, "UPDATE api_key SET last_used = ?2 WHERE id = ?1", "ti",
                             uses[i].id, uses[i].when);
        }
        e = database_end(s->database, e, info);
    }
    mem_free(uses);
    return e;
}

err keystore_check(struct keystore *s, const char *presented, int64_t now, struct keystore_key *key,
                   struct errinfo *info)
{
    struct keystore_key k = {0};
    if (strnlen(presented, KEYSTORE_SECRET + 1) != KEYSTORE_SECRET ||
        strncmp(presented, KEYSTORE_PREFIX, strlen(KEYSTORE_PREFIX)) != 0) {
        return err_set(info, ERR_NOTFOUND, "this API key is not known here");
    }
    TRY(database_begin(s->reader, info));
    err e = keystore_lookup(s, presented, now, &k, info);
    TRY(database_end(s->reader, e, info));
    keystore_use(s, &k, now);
    *key = k;
    return ERR_OK;
}

err keystore_get(struct keystore *s, const char *id, struct keystore_key *key, struct errinfo *info)
{
    struct keystore_key k = {0};
    TRY(database_begin(s->reader, info));
    err e = keystore_find(s, s->reader, id, &k, info);
    TRY(database_end(s->reader, e, info));
    *key = k;
    return ERR_OK;
}

static err keystore_collect(const struct keystore *s, struct keystore_key **keys, size_t *n,
                            struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = true;
    TRY(database_query(s->database, &st, info, "SELECT " KEYSTORE_COLUMNS " FROM api_key ORDER BY created, id",
                       ""));
    while (true) {
        TRY(database_next(s->database, st, &row, info));
        if (!row) {
            return ERR_OK;
        }
        struct keystore_key *more = mem_resize(*keys, *n + 1, sizeof **keys);
        if (!more) {
            return keystore_nomem(info);
        }
        *keys = more;
        keystore_row(s, st, &more[*n]);
        ++*n;
    }
}

err keystore_list(struct keystore *s, struct keystore_key **keys, size_t *n, struct errinfo *info)
{
    struct keystore_key *list = NULL;
    size_t count = 0;
    TRY(database_begin(s->database, info));
    err e = keystore_collect(s, &list, &count, info);
    e = database_end(s->database, e, info);
    if (e != ERR_OK) {
        mem_free(list);
        return e;
    }
    *keys = list;
    *n = count;
    return ERR_OK;
}

/* How people call a key, the closest first. */
static bool keystore_is_id(const struct keystore_key *k, const char *word, int64_t now)
{
    (void)now;
    return strcmp(k->id, word) == 0;
}

static bool keystore_is_name(const struct keystore_key *k, const char *word, int64_t now)
{
    (void)now;
    return *word && strcmp(k->name, word) == 0;
}

static bool keystore_is_good_name(const struct keystore_key *k, const char *word, int64_t now)
{
    return keystore_is_name(k, word, now) && keystore_good(k, now);
}

static bool keystore_is_short(const struct keystore_key *k, const char *word, int64_t now)
{
    (void)now;
    return strlen(word) >= KEYSTORE_ID_SHORT && strncmp(k->id, word, strlen(word)) == 0;
}

/* The only one of `keys` that is called so; its place, or ERR_ARGUMENT that lists those that are. */
static err keystore_only(const struct keystore_key *keys, size_t n, const char *word, int64_t now,
                         bool (*is)(const struct keystore_key *k, const char *word, int64_t now), size_t *at,
                         struct errinfo *info)
{
    enum { KEYSTORE_SHOWN = 4 };
    char ids[KEYSTORE_SHOWN * (VAULT_ID + 2) + 1] = "";
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (is(&keys[i], word, now) && found++ < KEYSTORE_SHOWN) {
            size_t used = strlen(ids);
            snprintf(ids + used, sizeof ids - used, "%s%s", used ? ", " : "", keys[i].id);
            *at = i;
        }
    }
    if (found > 1) {
        return err_set(info, ERR_ARGUMENT, "%zu keys are named \"%.40s\": say which by its id (%s%s)", found,
                       word, ids, found > KEYSTORE_SHOWN ? " …" : "");
    }
    return found ? ERR_OK : err_set(info, ERR_NOTFOUND, "there is no key %.40s; see: fathom keys list", word);
}

err keystore_named(struct keystore *s, const char *word, int64_t now, struct keystore_key *key,
                   struct errinfo *info)
{
    bool (*const is[])(const struct keystore_key *k, const char *word, int64_t now) = {
        keystore_is_id, keystore_is_good_name, keystore_is_name, keystore_is_short};
    struct keystore_key *keys;
    size_t n, at = 0;
    TRY(keystore_list(s, &keys, &n, info));
    err e = ERR_NOTFOUND;
    for (size_t i = 0; i < sizeof is / sizeof *is && e == ERR_NOTFOUND; i++) {
        e = keystore_only(keys, n, word, now, is[i], &at, info);
    }
    if (e == ERR_OK) {
        *key = keys[at];
    }
    mem_free(keys);
    return e;
}

/* ---- JSON. ---- */

static json_t *keystore_time(int64_t when)
{
    return when ? json_integer(when) : json_null();
}

json_t *keystore_json(const struct keystore_key *key)
{
    char money[MONEY_TEXT];
    json_t *scopes = json_array();
    for (size_t i = 0; scopes && i < CALLER_SCOPES; i++) {
        if (key->scopes & caller_scope_names[i].bit &&
            json_array_append_new(scopes, json_string(caller_scope_names[i].name)) != 0) {
            json_decref(scopes);
            scopes = NULL;
        }
    }
    return json_pack("{s:s, s:s, s:o, s:{s:I, s:I, s:I}, s:o, s:I, s:o, s:o, s:o, s:b}", "id", key->id, "name",
                     key->name, "scopes", scopes, "limits", "requests_per_minute",
                     (json_int_t)key->limits.requests_per_minute, "tokens_per_day",
                     (json_int_t)key->limits.tokens_per_day, "concurrent", (json_int_t)key->limits.concurrent,
                     "balance", key->limited ? json_string(money_text(key->balance, money)) : json_null(),
                     "created", (json_int_t)key->created, "expires", keystore_time(key->expires), "revoked",
                     keystore_time(key->revoked), "last_used", keystore_time(key->last_used), "damaged",
                     key->damaged);
}
