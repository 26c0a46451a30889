/* server/money.h: amounts of money as whole billionths of a currency's unit, and as the decimals people read.
 * No floats: sums are exact. */
#ifndef SERVER_MONEY_H
#define SERVER_MONEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MONEY_UNIT INT64_C(1000000000)
enum { MONEY_TEXT = 24 };

/* "12", "-0.5", "3.000000001": an optional minus, digits, at most nine of them behind a point. False for
 * anything else, and for amounts over nine billion. */
bool money_parse(const char *text, int64_t *out);
/* The shortest such text; returns out. */
const char *money_text(int64_t amount, char out[MONEY_TEXT]);

#endif
