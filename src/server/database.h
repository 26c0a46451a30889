/* server/database.h: one SQLite handle over the folder of the server's data, with its schema, its transactions
 * and its keys (vault.h). What people wrote goes into it sealed; ids, times, counts and states lie open.
 *
 *     ${XDG_DATA_HOME:-~/.local/share}/fathom/store/      mode 0700
 *         fathom.key     the master key; who copies the chats without it copies noise
 *         fathom.db      the database, with fathom.db-wal and -shm beside it while it is open; all mode 0600
 *         fathom.db-spare  nothing: room on the disk that deleting may use when there is no other
 *
 * A commit is on the disk before it returns (WAL, synchronous=FULL). Nothing goes to temporary files. Two
 * programs may have it open at once: one waits for the other's commit.
 *
 * Thread rule: a transaction belongs to the thread that began it, and others wait in database_begin, whose
 * turns come in the order of their calls. Everything between database_begin and database_end is called by that
 * thread alone. */
#ifndef SERVER_DATABASE_H
#define SERVER_DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "server/vault.h"

enum {
    DATABASE_SCHEMA = 2, /* the version this program writes */
    DATABASE_DELETED = 1 << 20,
    DATABASE_ROW = 17 << 20,   /* bytes of a row at most: what one request brings, sealed */
    DATABASE_SPARE = 20 << 20, /* more than the log of deleting both: 24 bytes a page, and indexes */
};

struct database;

/* The default folder, owned by the caller. ERR_ARGUMENT when neither XDG_DATA_HOME nor HOME is set. */
ERR_MUST_USE err database_folder(char **out, struct errinfo *info);

/* Opens the database in `folder`, which is made if missing; vault.h says what `passphrase` (NULL: none) is.
 * ERR_UNSUPPORTED: written by a newer program, or one of before schema 2; nothing was changed. ERR_CORRUPT: no
 * database of ours, damaged, or of another key. ERR_ARGUMENT: vault_open's, or a folder that others may write.
 * ERR_IO: the disk is full, no permission … ERR_NOMEM. */
ERR_MUST_USE err database_open(const char *folder, const char *passphrase, struct database **out,
                               struct errinfo *info);
/* The same schema in memory alone, with a key of its own. */
ERR_MUST_USE err database_new(struct database **out, struct errinfo *info);
void database_close(struct database *d); /* nobody may use it any more; NULL is fine */

struct vault *database_vault(const struct database *d);

/* The same database for short looks that wait for no writer, however long it takes: transactions of it see what
 * was committed before they began, and write nothing. Goes with `d`. A database in memory has only the one
 * handle: it gives itself. */
struct database *database_reader(struct database *d);

/* This handle is the only one, of all programs, that claims the folder, until file_unlock(*lock) or the
 * process's end: for what keeps in memory what it read (the chats, their index). ERR_IO while another has it.
 */
ERR_MUST_USE err database_claim(const struct database *d, int *lock, struct errinfo *info);

/* Whether the file is whole: every page, index and reference is looked at. ERR_CORRUPT with the first
 * complaint. */
ERR_MUST_USE err database_check(struct database *d, struct errinfo *info);

/* ---- Transactions. ---- */

/* Waits for its turn, then begins. On an error there is nothing to end. */
ERR_MUST_USE err database_begin(struct database *d, struct errinfo *info);
/* The same, for what a full disk must not keep anybody from: deleting, revoking, signing out. Its log may fill
 * the spare room, which database_scrub takes back. What is deleted is overwritten, so the log holds all of it:
 * no more than DATABASE_DELETED bytes belong in one transaction, and one row of at most DATABASE_ROW. */
ERR_MUST_USE err database_begin_delete(struct database *d, struct errinfo *info);
/* Commits when `e` is ERR_OK, else undoes everything and returns e (info stays as it is). */
ERR_MUST_USE err database_end(struct database *d, err e, struct errinfo *info);
/* Outside of any transaction, after deleting: nothing of what is gone stays in the log beside the file. While
 * another program reads the log it is left to the next call: ERR_OK, too. */
ERR_MUST_USE err database_scrub(struct database *d, struct errinfo *info);

/* ---- Statements, inside a transaction. `sql` is a string constant: it is prepared once and found again by its
 * address. Behind `kinds` come the values of ?1, ?2 …, a letter for each:
 *     t  const char * (NULL: null)   i  int64_t   b  const void *, size_t (NULL: null)
 * Borrowed until the statement is run again. ---- */

/* Runs a statement that gives no rows. */
ERR_MUST_USE err database_run(struct database *d, struct errinfo *info, const char *sql, const char *kinds,
                              ...);
/* The statement, ready for database_next; its columns are read with sqlite3_column_…. The same statement may
 * not be asked for again before its rows are read. */
ERR_MUST_USE err database_query(struct database *d, sqlite3_stmt **out, struct errinfo *info, const char *sql,
                                const char *kinds, ...);
/* *row says whether there is another row. */
ERR_MUST_USE err database_next(struct database *d, sqlite3_stmt *statement, bool *row, struct errinfo *info);

int64_t database_last_row(const struct database *d); /* the number of the row inserted last */
size_t database_changes(const struct database *d);   /* rows that the last statement changed */

/* ---- What the key of an object lies in: overwritten in place when the object goes, so that no copy of it
 * stays anywhere in the file (rows move when neighbours change, and leave bytes behind; these do not). ---- */

ERR_MUST_USE err database_key_put(struct database *d, int64_t number,
                                  const unsigned char wrapped[VAULT_WRAPPED], struct errinfo *info);
/* ERR_CORRUPT when there is none. */
ERR_MUST_USE err database_key_get(struct database *d, int64_t number, unsigned char wrapped[VAULT_WRAPPED],
                                  struct errinfo *info);
ERR_MUST_USE err database_key_erase(struct database *d, int64_t number, struct errinfo *info);

/* The handle itself. Besides the file ("main") it has a schema "scratch" in memory, for what can be made anew.
 */
sqlite3 *database_handle(const struct database *d);
/* The error `rc` of a call on the handle, with a message that says what to do. */
err database_error(const struct database *d, int rc, struct errinfo *info);

#endif
