/* server/usagestore.h: what was used: for each key, day (UTC) and model the requests, the tokens and what they
 * cost. The balance of a key falls in the same step. Counts and days lie open in the database; names of models
 * are sealed. Amounts as in money.h. Errors besides those named: ERR_IO, ERR_CORRUPT, ERR_NOMEM.
 *
 * What is added is counted in memory, at no time for who adds it, and stored by usagestore_write; a program
 * that is killed loses what it had not written, a full disk loses nothing.
 *
 * Thread rule: any function from any thread. */
#ifndef SERVER_USAGESTORE_H
#define SERVER_USAGESTORE_H

#include "base/json.h"
#include "server/database.h"
#include "server/pricetable.h"

enum { USAGESTORE_DAY_TEXT = 16 };

struct usagestore;

/* Over a database and prices that must outlive it. The database keeps their currency. Without
 * prices (NULL) it is for reports alone, in the currency that was kept ("": none was). */
ERR_MUST_USE err usagestore_open(struct database *d, const struct pricetable *prices, struct usagestore **out,
                                 struct errinfo *info);
void usagestore_close(struct usagestore *s); /* writes what is left; NULL is fine */

/* One request of `key` (an id, or "local"). *cost (may be NULL) is what it cost. ERR_ARGUMENT:
 * more cached tokens than prompt tokens, or a count over 2^40. */
ERR_MUST_USE err usagestore_add(struct usagestore *s, const char *key, const char *model,
                                const struct pricetable_tokens *tokens, int64_t now, int64_t *cost,
                                struct errinfo *info);
/* Stores what was added since: all or nothing. */
ERR_MUST_USE err usagestore_write(struct usagestore *s, struct errinfo *info);
/* Tokens (prompt and completion) that `key` used on the day of `now`: what its limit counts; and what of its
 * costs is not written yet, so that the balance in its record has still to fall by it (may be NULL). While it
 * is just being written both may count it twice, never not at all. */
ERR_MUST_USE err usagestore_today(struct usagestore *s, const char *key, int64_t now, uint64_t *tokens,
                                  int64_t *owed, struct errinfo *info);

struct usagestore_query {
    const char *key;     /* only this key's; NULL: all */
    int64_t first, last; /* days since 1970, both included */
};
/* With all that was added, whether it is written yet or not; writes nothing, and so needs no room on the disk:
 * {"days":[{"day":"2026-11-23","key","requests","prompt_tokens","cached_tokens","completion_tokens","cost"} …],
 *  "models":[the same with "model", for all days],"totals":{the same counts},"currency"}: by day and key, by
 * model; cost is a decimal string. */
ERR_MUST_USE err usagestore_report(struct usagestore *s, const struct usagestore_query *query, json_t **out,
                                   struct errinfo *info);

/* Days since 1970 of a time, and of a text "2026-11-23" (false: it is none); and back. */
int64_t usagestore_day(int64_t now);
bool usagestore_parse_day(const char *text, int64_t *day);
const char *usagestore_day_text(int64_t day, char out[USAGESTORE_DAY_TEXT]);

#endif
