/* server/database_schema.c: see database_schema.h. Names of columns say what lies open; `body`, `head`, `name`
 * and `model` are sealed. A `tag` is a keyed hash: it finds equal words without showing them. */
#include "server/database_schema.h"

#include <inttypes.h>
#include <stdio.h>

static const int32_t DATABASE_SCHEMA_ID = 0x4661746d; /* "Fatm" */

/* A chat's number is never used twice: it is the place of its key, too. */
static const char *const database_schema_scripts[DATABASE_SCHEMA] = {
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"

    "CREATE TABLE keyring(page INTEGER PRIMARY KEY, slots BLOB NOT NULL);"
    "INSERT INTO keyring VALUES(0, zeroblob(3600)), (1, zeroblob(3600));"

    "CREATE TABLE chat(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,"
    " folder_tag BLOB, pinned INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,"
    " forget_after_days INTEGER, leaf TEXT, head BLOB NOT NULL);"
    "CREATE INDEX chat_listed ON chat(owner, pinned, updated, number);"
    "CREATE INDEX chat_aged ON chat(updated);"

    "CREATE TABLE message(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
    " chat INTEGER NOT NULL REFERENCES chat(number) ON DELETE CASCADE, parent TEXT,"
    " role INTEGER NOT NULL, state INTEGER NOT NULL, created INTEGER NOT NULL, body BLOB NOT NULL);"
    "CREATE INDEX message_of ON message(chat, number);"
    "CREATE INDEX message_writing ON message(state) WHERE state = 1;"

    "CREATE TABLE preset(owner TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;"

    "CREATE TABLE api_key(id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name BLOB NOT NULL,"
    " scopes INTEGER NOT NULL, requests_per_minute INTEGER NOT NULL, tokens_per_day INTEGER NOT NULL,"
    " concurrent INTEGER NOT NULL, balance INTEGER, created INTEGER NOT NULL, expires INTEGER, revoked INTEGER,"
    " last_used INTEGER) WITHOUT ROWID;"

    "CREATE TABLE usage(key TEXT NOT NULL, day INTEGER NOT NULL, tag BLOB NOT NULL, model BLOB NOT NULL,"
    " requests INTEGER NOT NULL, prompt INTEGER NOT NULL, cached INTEGER NOT NULL, completion INTEGER NOT NULL,"
    " cost INTEGER NOT NULL, PRIMARY KEY(key, day, tag)) WITHOUT ROWID;"
    "CREATE INDEX usage_day ON usage(day);",

    "", /* nothing of the tables: chats and keys are sealed with who they belong to and what they may */
};

/* What came later and changes nothing for a program that does not know it: no new version. Chats that are still
 * coming in, each with the number of its import: nobody else sees them. */
static const char DATABASE_SCHEMA_LATER[] =
    "CREATE TABLE IF NOT EXISTS coming(chat INTEGER PRIMARY KEY REFERENCES chat(number) ON DELETE CASCADE,"
    " import INTEGER NOT NULL);"
    "CREATE VIEW IF NOT EXISTS chat_seen AS SELECT * FROM chat WHERE number NOT IN (SELECT chat FROM coming)";

static err database_schema_number(struct database *d, const char *sql, int64_t *out, struct errinfo *info)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(database_handle(d), sql, -1, &st, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
        rc = SQLITE_OK;
    }
    err e = rc == SQLITE_OK ? ERR_OK : database_error(d, rc, info);
    sqlite3_finalize(st);
    return e;
}

err database_schema_check(struct database *d, const char *path, struct errinfo *info)
{
    int64_t id = 0, version = 0, tables = 0;
    TRY(database_schema_number(d, "PRAGMA application_id", &id, info));
    TRY(database_schema_number(d, "PRAGMA user_version", &version, info));
    TRY(database_schema_number(d, "SELECT count(*) FROM sqlite_schema", &tables, info));
    if (version < 0) {
        return err_set(info, ERR_CORRUPT, "%s is damaged: it has schema %" PRId64 "; put a copy of it back",
                       path, version);
    }
    if (id != DATABASE_SCHEMA_ID && (id != 0 || version != 0 || tables != 0)) {
        return err_set(info, ERR_CORRUPT, "%s is a database of another program; move it away", path);
    }
    if (version == 1) {
        return err_set(info, ERR_UNSUPPORTED,
                       "%s was written by an older fathom (schema 1), which did not seal to whom chats belong "
                       "and what keys may: export the chats with that one, move the database away, make the "
                       "keys again and import the chats; nothing was changed",
                       path);
    }
    if (version > DATABASE_SCHEMA) {
        return err_set(info, ERR_UNSUPPORTED,
                       "%s was written by a newer fathom (schema %" PRId64 ", this one knows "
                       "%d): use that one; nothing was changed",
                       path, version, DATABASE_SCHEMA);
    }
    return ERR_OK;
}

static err database_schema_script(struct database *d, const char *script, struct errinfo *info)
{
    int rc = sqlite3_exec(database_handle(d), script, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : database_error(d, rc, info);
}

err database_schema_apply(struct database *d, const char *path, struct errinfo *info)
{
    int64_t version = 0;
    char stamp[80];
    TRY(database_schema_check(d, path, info)); /* again: another program may have been here since */
    TRY(database_schema_number(d, "PRAGMA user_version", &version, info));
    for (; version < DATABASE_SCHEMA; version++) {
        TRY(database_schema_script(d, database_schema_scripts[version], info));
        snprintf(stamp, sizeof stamp, "PRAGMA user_version=%d; PRAGMA application_id=%d", DATABASE_SCHEMA,
                 DATABASE_SCHEMA_ID);
        TRY(database_schema_script(d, stamp, info));
    }
    return database_schema_script(d, DATABASE_SCHEMA_LATER, info);
}
