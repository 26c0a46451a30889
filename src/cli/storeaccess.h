/* cli/storeaccess.h: the database of `fathom serve` (its keys, its usage) for the verbs that look into it,
 * while a server runs or not. */
#ifndef CLI_STOREACCESS_H
#define CLI_STOREACCESS_H

#include "server/database.h"

/* Opens it in `folder` (NULL: the default). A passphrase, where one is wanted, is FATHOM_PASSPHRASE, or is
 * asked for on the terminal. database_open's errors. */
ERR_MUST_USE err storeaccess_open(const char *folder, struct database **out, struct errinfo *info);
/* For who only looks: the same, but nothing is made on the disk; where there is no database, an empty
 * one; a `folder` that is missing is noted on stderr. */
ERR_MUST_USE err storeaccess_look(const char *folder, struct database **out, struct errinfo *info);

enum { STOREACCESS_PASSPHRASE = VAULT_PASSPHRASE_MAX + 2 };

/* What opens `folder`: FATHOM_PASSPHRASE, which is taken out of the environment and wiped there, so that no
 * program started later has it; else, where the key file wants one, what is typed on the terminal: a wrong one
 * may be typed anew. In `kept`, which the caller wipes; NULL: there is none. ERR_ARGUMENT: one is wanted, and
 * nobody can be asked or knows it. */
ERR_MUST_USE err storeaccess_passphrase(const char *folder, char kept[STOREACCESS_PASSPHRASE], const char **out,
                                        struct errinfo *info);

/* A line typed on the terminal after `question`, not shown; false when stdin is no terminal. */
bool storeaccess_ask(const char *question, char line[STOREACCESS_PASSPHRASE]);

/* Milliseconds since 1970. */
int64_t storeaccess_now(void);

#endif
