/* server/pricetable.h: what tokens cost, by the name of the model: models/prices.txt, carried inside the
 * program, or a text of the same form. Amounts as in money.h. */
#ifndef SERVER_PRICETABLE_H
#define SERVER_PRICETABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PRICETABLE_ROWS_MAX = 256, PRICETABLE_NAME_MAX = 100, PRICETABLE_CURRENCY_MAX = 8 };

struct pricetable_row {
    char model[PRICETABLE_NAME_MAX + 1]; /* may end in * */
    int64_t hit, miss, output;           /* of a million tokens */
};

struct pricetable {
    char currency[PRICETABLE_CURRENCY_MAX + 1];
    struct pricetable_row rows[PRICETABLE_ROWS_MAX];
    size_t n;
};

/* Reads `n` bytes of text. ERR_CORRUPT names the line that is wrong; no currency is one, too. ERR_NOMEM. */
ERR_MUST_USE err pricetable_parse(const char *text, size_t n, struct pricetable *out, struct errinfo *info);
/* The built-in one. */
ERR_MUST_USE err pricetable_builtin(struct pricetable *out, struct errinfo *info);

struct pricetable_tokens {
    uint64_t prompt; /* all of them */
    uint64_t cached; /* of these, out of the cache */
    uint64_t completion;
};
/* Rounded to the nearest billionth; 0 for a model that no row fits. */
int64_t pricetable_cost(const struct pricetable *t, const char *model, const struct pricetable_tokens *tokens);

#endif
