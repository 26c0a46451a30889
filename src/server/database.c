/* server/database.c: see database.h. */
#include "server/database.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "server/database_schema.h"

enum { DATABASE_STATEMENTS = 96, DATABASE_WAIT_MS = 10000 };
enum { DATABASE_SLOTS_BYTES = DATABASE_SCHEMA_SLOTS * VAULT_WRAPPED };
_Static_assert(DATABASE_SLOTS_BYTES == 3600, "as the schema has it");

struct database {
    sqlite3 *handle;
    struct vault *vault;
    char *path; /* of the file; "memory" when there is none: for messages */
    struct database *reader; /* NULL: none of its own */
    bool reads;              /* it is one */
    int spare;               /* the file of the spare room; -1: none */
    bool spent;              /* it was given up */
    pthread_mutex_t lock;
    pthread_cond_t next;
    uint64_t turn, turns; /* whose it is, and how many were given out: a mutex alone lets one pass all others */
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } statements[DATABASE_STATEMENTS];
    size_t n_statements;
};

/* ---- SQLite's memory is ours, as jansson's is (base/json.c): before its first use. ---- */

static void *database_mem_alloc(int n)
{
    return mem_alloc((size_t)n);
}

static void *database_mem_resize(void *p, int n)
{
    return mem_resize(p, (size_t)n, 1);
}

static int database_mem_size(void *p)
{
    return p ? (int)malloc_usable_size(p) : 0;
}

static int database_mem_round(int n)
{
    return (n + 7) & ~7;
}

static int database_mem_start(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void database_mem_stop(void *unused)
{
    (void)unused;
}

__attribute__((constructor)) static void database_route_memory(void)
{
    static const struct sqlite3_mem_methods methods = {
        .xMalloc = database_mem_alloc,
        .xFree = mem_free,
        .xRealloc = database_mem_resize,
        .xSize = database_mem_size,
        .xRoundup = database_mem_round,
        .xInit = database_mem_start,
        .xShutdown = database_mem_stop,
    };
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* ---- Errors. ---- */

static err database_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for the database");
}

err database_error(const struct database *d, int rc, struct errinfo *info)
{
    int why = sqlite3_system_errno(d->handle);
    if (rc == SQLITE_IOERR_NOMEM || (rc & 0xff) == SQLITE_NOMEM) {
        return database_nomem(info);
    }
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return err_set(info, ERR_IO, "cannot write %s: the disk is full; nothing was changed", d->path);
    case SQLITE_IOERR:
        return err_set(info, ERR_IO, "cannot read or write %s: %s; nothing was changed", d->path,
                       why ? strerror(why) : sqlite3_errstr(rc));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(info, ERR_CORRUPT,
                       "%s is damaged, or no database (%s): put a copy of it back, with its "
                       "fathom.key, or move it away to begin anew",
                       d->path, sqlite3_errstr(rc));
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return err_set(info, ERR_IO, "%s is kept busy by another program; try again", d->path);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return err_set(info, ERR_IO, "cannot open %s for writing: %s", d->path,
                       why ? strerror(why) : sqlite3_errstr(rc));
    case SQLITE_TOOBIG: return err_set(info, ERR_LIMIT, "too large for the database %s", d->path);
    default: return err_set(info, ERR_IO, "%s: %s", d->path, sqlite3_errmsg(d->handle));
    }
}

static err database_script(struct database *d, const char *sql, struct errinfo *info)
{
    int rc = sqlite3_exec(d->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : database_error(d, rc, info);
}

/* ---- The folder and its files. ---- */

err database_folder(char **out, struct errinfo *info)
{
    const char *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    struct strbuf s = {0};
    err e;
    if (data && *data == '/') {
        e = strbuf_printf(&s, "%s/fathom/store", data);
    } else if (home && *home == '/') {
        e = strbuf_printf(&s, "%s/.local/share/fathom/store", home);
    } else {
        return err_set(info, ERR_ARGUMENT, "no place for chats and keys: name a folder (HOME is not set)");
    }
    e = e == ERR_OK ? strbuf_take(&s, out) : e;
    strbuf_deinit(&s);
    return e == ERR_OK ? ERR_OK : database_nomem(info);
}

/* The folder, made for this user alone if missing. */
static err database_make_folder(const char *folder, struct errinfo *info)
{
    struct stat st;
    if (mkdir(folder, 0700) != 0 && errno == ENOENT) {
        char *parent = mem_dup(folder, strlen(folder));
        char *slash = parent ? strrchr(parent, '/') : NULL;
        err e = parent ? ERR_OK : database_nomem(info);
        if (slash && slash > parent) {
            *slash = '\0';
            e = file_make_dirs(parent, info);
        }
        mem_free(parent);
        TRY(e);
        (void)!mkdir(folder, 0700);
    }
    if (stat(folder, &st) != 0) {
        return err_set(info, ERR_IO, "cannot make the folder %s: %s", folder, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) {
        return err_set(info, ERR_ARGUMENT, "%s is no folder", folder);
    }
    if (st.st_uid != geteuid() || st.st_mode & 022) {
        return err_set(info, ERR_ARGUMENT,
                       "the folder %s may be written by others (mode %04o, user %lu): chats and "
                       "keys want one of your own; chmod 700 it, or name another",
                       folder, (unsigned)st.st_mode & 07777, (unsigned long)st.st_uid);
    }
    return ERR_OK;
}

/* The file, made for this user alone if missing. An existing one is not opened: closing it would drop the locks
 * of another handle of this process. */
static err database_make_file(const char *path, struct errinfo *info)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return file_sync_parent(path, info);
    }
    struct stat st;
    if (errno != EEXIST || lstat(path, &st) != 0) {
        return err_set(info, ERR_IO, "cannot make %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(info, ERR_ARGUMENT, "%s is no regular file", path);
    }
    if (st.st_mode & 077 && chmod(path, 0600) != 0) {
        return err_set(info, ERR_IO, "cannot keep others from reading %s: %s", path, strerror(errno));
    }
    return ERR_OK;
}

/* The spare room, as far as the disk has it: where it is full already, the next scrub tries again. */
static void database_keep_spare(struct database *d)
{
    if (d->spare >= 0 && d->spent) {
        d->spent = posix_fallocate(d->spare, 0, DATABASE_SPARE) != 0;
    }
    if (d->spare >= 0 && d->spent) {
        (void)!ftruncate(d->spare, 0); /* a part of it would only be in others' way */
    }
}

static err database_open_spare(struct database *d, struct errinfo *info)
{
    struct strbuf path = {0};
    if (strbuf_printf(&path, "%s-spare", d->path) != ERR_OK) {
        strbuf_deinit(&path);
        return database_nomem(info);
    }
    d->spare = open(path.data, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    d->spent = true;
    database_keep_spare(d);
    strbuf_deinit(&path);
    return ERR_OK;
}

/* The keys of `folder`: made with the first database, never beside one that others sealed. */
static err database_open_vault(struct database *d, const char *folder, const char *passphrase,
                               struct errinfo *info)
{
    struct stat st;
    bool fresh = stat(d->path, &st) != 0 || st.st_size == 0;
    char *path = file_join(folder, "fathom.key");
    if (!path) {
        return database_nomem(info);
    }
    int lock = -1;
    err e = file_exists(path) || !fresh ? ERR_OK : file_lock_folder(folder, &lock, info);
    if (e == ERR_OK) {
        struct vault_options options = {.passphrase = passphrase, .make = fresh};
        e = vault_open(path, &options, &d->vault, info);
    }
    if (e == ERR_NOTFOUND) {
        e = err_set(info, ERR_CORRUPT,
                    "%s is gone, and without it %s cannot be read: put the key file back, or move "
                    "the database away to begin anew",
                    path, d->path);
    }
    file_unlock(lock);
    mem_free(path);
    return e;
}

err database_claim(const struct database *d, int *lock, struct errinfo *info)
{
    *lock = -1;
    const char *slash = strrchr(d->path, '/');
    if (!slash) {
        return ERR_OK; /* in memory */
    }
    char *folder = mem_dup(d->path, (size_t)(slash - d->path));
    if (!folder) {
        return database_nomem(info);
    }
    err e = file_lock_folder(folder, lock, info);
    mem_free(folder);
    return e == ERR_IO
               ? err_set(info, e,
                         "the chats of %s are open in another server: stop it, or name another folder with "
                         "--data DIR",
                         d->path)
               : e;
}

/* ---- Opening. ---- */

static const char DATABASE_PROOF[] = "this is the key of this database";

/* The key belongs to the database: shown by a sealed sentence that every database has. */
static err database_prove(struct database *d, struct errinfo *info)
{
    unsigned char sealed[sizeof DATABASE_PROOF + VAULT_EXTRA];
    char opened[sizeof DATABASE_PROOF];
    struct vault_key *k = NULL;
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(d, &st, info, "SELECT value FROM meta WHERE name = 'proof'", ""));
    TRY(database_next(d, st, &row, info));
    TRY(vault_key_new(&k, info));
    vault_derive(d->vault, "database", 0, k);
    err e = ERR_OK;
    if (!row) {
        vault_seal(k, "proof", DATABASE_PROOF, sizeof DATABASE_PROOF, sealed);
        e = database_run(d, info, "INSERT INTO meta VALUES('proof', ?1)", "b", sealed, sizeof sealed);
    } else if (sqlite3_column_bytes(st, 0) != sizeof sealed ||
               vault_unseal(k, "proof", sqlite3_column_blob(st, 0), sizeof sealed, opened, NULL) != ERR_OK) {
        e = err_set(info, ERR_CORRUPT,
                    "the key file beside %s is not the one it was written with: put the right one "
                    "back",
                    d->path);
    }
    vault_key_free(k);
    return e;
}

/* What holds for every handle, on a file or in memory. */
static err database_start(struct database *d, const char *name, struct errinfo *info)
{
    int rc = sqlite3_open_v2(name, &d->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!d->handle) {
        return database_nomem(info);
    }
    if (rc != SQLITE_OK) {
        return database_error(d, rc, info);
    }
    sqlite3_extended_result_codes(d->handle, 1);
    sqlite3_busy_timeout(d->handle, DATABASE_WAIT_MS);
    TRY(database_schema_check(d, d->path, info));
    TRY(database_script(d,
                        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                        "PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
                        "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
                        "ATTACH ':memory:' AS scratch",
                        info));
    TRY(database_begin(d, info));
    err e = database_schema_apply(d, d->path, info);
    e = e == ERR_OK ? database_prove(d, info) : e;
    return database_end(d, e, info);
}

static err database_init(const char *path, struct database **out, struct errinfo *info)
{
    struct database *d = mem_calloc(1, sizeof *d);
    if (!d) {
        return database_nomem(info);
    }
    d->spare = -1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->next, NULL);
    d->path = mem_dup(path, strlen(path));
    if (!d->path) {
        database_close(d);
        return database_nomem(info);
    }
    *out = d;
    return ERR_OK;
}

static err database_open_reader(struct database *d, struct errinfo *info)
{
    struct database *r = NULL;
    TRY(database_init(d->path, &r, info));
    d->reader = r;
    r->reads = true;
    int rc = sqlite3_open_v2(d->path, &r->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!r->handle) {
        return database_nomem(info);
    }
    if (rc != SQLITE_OK) {
        return database_error(r, rc, info);
    }
    sqlite3_extended_result_codes(r->handle, 1);
    sqlite3_busy_timeout(r->handle, DATABASE_WAIT_MS);
    return database_script(r, "PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
                              "PRAGMA cell_size_check=ON; PRAGMA cache_size=-512", info);
}

static err database_finish(struct database *d, err e, struct database **out)
{
    if (e != ERR_OK) {
        database_close(d);
        return e;
    }
    *out = d;
    return ERR_OK;
}

err database_open(const char *folder, const char *passphrase, struct database **out, struct errinfo *info)
{
    char *path = file_join(folder, "fathom.db");
    struct database *d = NULL;
    err e = path ? database_init(path, &d, info) : database_nomem(info);
    mem_free(path);
    TRY(e);
    e = database_make_folder(folder, info);
    e = e == ERR_OK ? database_open_vault(d, folder, passphrase, info) : e;
    e = e == ERR_OK ? database_make_file(d->path, info) : e;
    e = e == ERR_OK ? database_start(d, d->path, info) : e;
    e = e == ERR_OK ? database_open_reader(d, info) : e;
    e = e == ERR_OK ? database_open_spare(d, info) : e;
    return database_finish(d, e, out);
}

err database_new(struct database **out, struct errinfo *info)
{
    struct database *d = NULL;
    TRY(database_init("the database in memory", &d, info));
    err e = vault_new(&d->vault, info);
    e = e == ERR_OK ? database_start(d, ":memory:", info) : e;
    return database_finish(d, e, out);
}

void database_close(struct database *d)
{
    if (!d) {
        return;
    }
    database_close(d->reader);
    for (size_t i = 0; i < d->n_statements; i++) {
        sqlite3_finalize(d->statements[i].statement);
    }
    sqlite3_close(d->handle);
    vault_close(d->vault);
    if (d->spare >= 0) {
        close(d->spare);
    }
    pthread_cond_destroy(&d->next);
    pthread_mutex_destroy(&d->lock);
    mem_free(d->path);
    mem_free(d);
}

struct vault *database_vault(const struct database *d)
{
    return d->vault;
}

struct database *database_reader(struct database *d)
{
    return d->reader ? d->reader : d;
}

sqlite3 *database_handle(const struct database *d)
{
    return d->handle;
}

/* ---- Transactions. ---- */

static void database_enter(struct database *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t mine = d->turns++;
    while (d->turn != mine) {
        pthread_cond_wait(&d->next, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
}

static void database_leave(struct database *d)
{
    pthread_mutex_lock(&d->lock);
    d->turn++;
    pthread_cond_broadcast(&d->next);
    pthread_mutex_unlock(&d->lock);
}

err database_begin(struct database *d, struct errinfo *info)
{
    database_enter(d);
    err e = database_script(d, d->reads ? "BEGIN" : "BEGIN IMMEDIATE", info);
    if (e != ERR_OK) {
        database_leave(d);
    }
    return e;
}

err database_begin_delete(struct database *d, struct errinfo *info)
{
    TRY(database_begin(d, info));
    d->spent = d->spent || (d->spare >= 0 && ftruncate(d->spare, 0) == 0);
    return ERR_OK;
}

err database_end(struct database *d, err e, struct errinfo *info)
{
    for (size_t i = 0; i < d->n_statements; i++) {
        sqlite3_reset(d->statements[i].statement); /* one whose rows were not read to the end */
        sqlite3_clear_bindings(d->statements[i].statement);
    }
    if (e == ERR_OK) {
        e = database_script(d, "COMMIT", info);
    }
    if (!sqlite3_get_autocommit(d->handle)) {
        sqlite3_exec(d->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    if (e != ERR_OK) {
        database_keep_spare(d);
    }
    database_leave(d);
    return e;
}

err database_scrub(struct database *d, struct errinfo *info)
{
    database_enter(d);
    int rc = sqlite3_wal_checkpoint_v2(d->handle, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    err e = rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY ? ERR_OK : database_error(d, rc, info);
    database_keep_spare(d);
    database_leave(d);
    return e;
}

err database_check(struct database *d, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_begin(d, info));
    err e = database_query(d, &st, info, "PRAGMA integrity_check(1)", "");
    e = e == ERR_OK ? database_next(d, st, &row, info) : e;
    if (e == ERR_OK && (!row || strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0)) {
        e = err_set(info, ERR_CORRUPT, "%s is damaged: %.300s; put a copy of it back", d->path,
                    row ? (const char *)sqlite3_column_text(st, 0) : "nothing can be read");
    }
    return database_end(d, e, info);
}

/* ---- Statements. ---- */

static err database_statement(struct database *d, const char *sql, sqlite3_stmt **out, struct errinfo *info)
{
    for (size_t i = 0; i < d->n_statements; i++) {
        if (d->statements[i].sql == sql) {
            *out = d->statements[i].statement;
            sqlite3_reset(*out);
            return ERR_OK;
        }
    }
    if (d->n_statements == DATABASE_STATEMENTS) {
        return err_set(info, ERR_LIMIT, "more than %d statements", DATABASE_STATEMENTS);
    }
    int rc = sqlite3_prepare_v3(d->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    if (rc != SQLITE_OK) {
        return database_error(d, rc, info);
    }
    d->statements[d->n_statements].sql = sql;
    d->statements[d->n_statements++].statement = *out;
    return ERR_OK;
}

static int database_bind_one(sqlite3_stmt *st, int i, char kind, va_list *ap)
{
    if (kind == 'i') {
        return sqlite3_bind_int64(st, i, va_arg(*ap, int64_t));
    }
    if (kind == 't') {
        return sqlite3_bind_text(st, i, va_arg(*ap, const char *), -1, SQLITE_STATIC);
    }
    const void *bytes = va_arg(*ap, const void *);
    return sqlite3_bind_blob64(st, i, bytes, va_arg(*ap, size_t), SQLITE_STATIC);
}

static err database_bind(struct database *d, const char *sql, const char *kinds, va_list *ap,
                         sqlite3_stmt **out, struct errinfo *info)
{
    sqlite3_stmt *st;
    TRY(database_statement(d, sql, &st, info));
    int rc = SQLITE_OK;
    for (int i = 0; kinds[i] && rc == SQLITE_OK; i++) {
        rc = database_bind_one(st, i + 1, kinds[i], ap);
    }
    if (rc != SQLITE_OK) {
        return database_error(d, rc, info);
    }
    *out = st;
    return ERR_OK;
}

err database_query(struct database *d, sqlite3_stmt **out, struct errinfo *info, const char *sql,
                   const char *kinds, ...)
{
    va_list ap;
    va_start(ap, kinds);
    err e = database_bind(d, sql, kinds, &ap, out, info);
    va_end(ap);
    return e;
}

err database_next(struct database *d, sqlite3_stmt *statement, bool *row, struct errinfo *info)
{
    int rc = sqlite3_step(statement);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        err e = database_error(d, rc, info);
        sqlite3_reset(statement);
        return e;
    }
    *row = rc == SQLITE_ROW;
    if (!*row) {
        sqlite3_reset(statement);
    }
    return ERR_OK;
}

err database_run(struct database *d, struct errinfo *info, const char *sql, const char *kinds, ...)
{
    sqlite3_stmt *st;
    bool row = false;
    va_list ap;
    va_start(ap, kinds);
    err e = database_bind(d, sql, kinds, &ap, &st, info);
    va_end(ap);
    return e == ERR_OK ? database_next(d, st, &row, info) : e;
}

int64_t database_last_row(const struct database *d)
{
    return sqlite3_last_insert_rowid(d->handle);
}

size_t database_changes(const struct database *d)
{
    return (size_t)sqlite3_changes64(d->handle);
}

/* ---- Keys of objects. ---- */

static err database_slot(struct database *d, int64_t number, bool write, unsigned char wrapped[VAULT_WRAPPED],
                         struct errinfo *info)
{
    sqlite3_blob *blob;
    int64_t page = number / DATABASE_SCHEMA_SLOTS;
    int at = (int)(number % DATABASE_SCHEMA_SLOTS) * VAULT_WRAPPED;
    int rc = sqlite3_blob_open(d->handle, "main", "keyring", "slots", page, write, &blob);
    if (rc == SQLITE_OK) {
        rc = write ? sqlite3_blob_write(blob, wrapped, VAULT_WRAPPED, at)
                   : sqlite3_blob_read(blob, wrapped, VAULT_WRAPPED, at);
    }
    err e = rc == SQLITE_OK ? ERR_OK : database_error(d, rc, info);
    sqlite3_blob_close(blob);
    return e;
}

err database_key_put(struct database *d, int64_t number, const unsigned char wrapped[VAULT_WRAPPED],
                     struct errinfo *info)
{
    unsigned char copy[VAULT_WRAPPED];
    memcpy(copy, wrapped, sizeof copy);
    TRY(database_run(d, info, "INSERT OR IGNORE INTO keyring VALUES(?1, zeroblob(3600))", "i",
                     number / DATABASE_SCHEMA_SLOTS));
    return database_slot(d, number, true, copy, info);
}

err database_key_get(struct database *d, int64_t number, unsigned char wrapped[VAULT_WRAPPED],
                     struct errinfo *info)
{
    err e = database_slot(d, number, false, wrapped, info);
    return e == ERR_IO
               ? err_set(info, ERR_CORRUPT, "%s has lost the key of an object; put a copy of it back", d->path)
               : e;
}

err database_key_erase(struct database *d, int64_t number, struct errinfo *info)
{
    unsigned char none[VAULT_WRAPPED] = {0};
    return database_slot(d, number, true, none, info);
}
