/* cli/keytable.h: API keys as people read them. */
#ifndef CLI_KEYTABLE_H
#define CLI_KEYTABLE_H

#include "server/keystore.h"

enum { KEYTABLE_TEXT = 80 };

/* "chat admin". */
const char *keytable_scopes(unsigned scopes, char out[KEYTABLE_TEXT]);
/* "good", "until 2026-12-24", "expired 2026-11-23", "revoked 2026-11-23". */
const char *keytable_state(const struct keystore_key *k, int64_t now, char out[KEYTABLE_TEXT]);
/* "60/min 1000000 tokens/day", "no limits". */
const char *keytable_limits(const struct keystore_limits *l, char out[KEYTABLE_TEXT]);

/* A line for each, on stdout. */
void keytable_print(const struct keystore_key *keys, size_t n);

#endif
