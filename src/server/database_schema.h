/* server/database_schema.h: the tables, and how a database of an older program becomes one of today. Each
 * version is a script that is added at the end and never changed again. Internal to database. */
#ifndef SERVER_DATABASE_SCHEMA_H
#define SERVER_DATABASE_SCHEMA_H

#include "server/database.h"

/* Keys of objects lie in blobs of one page each, which SQLite never moves. */
enum { DATABASE_SCHEMA_SLOTS = 50 };

/* Looks, changes nothing: ERR_UNSUPPORTED and ERR_CORRUPT as database_open. */
ERR_MUST_USE err database_schema_check(struct database *d, const char *path, struct errinfo *info);
/* Inside a transaction: checks again, and brings the tables up to date. */
ERR_MUST_USE err database_schema_apply(struct database *d, const char *path, struct errinfo *info);

#endif
