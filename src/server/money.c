/* server/money.c: see money.h. */
#include "server/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MONEY_PLACES = 9, MONEY_WHOLE_MAX = 10 /* digits */ };

static bool money_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool money_parse(const char *text, int64_t *out)
{
    int64_t amount = 0;
    bool negative = *text == '-';
    const char *p = text + negative;
    size_t digits = 0;
    for (; money_digit(*p) && digits <= MONEY_WHOLE_MAX; p++, digits++) {
        amount = amount * 10 + (*p - '0');
    }
    if (digits == 0 || digits > MONEY_WHOLE_MAX || amount > 9 * MONEY_UNIT) {
        return false;
    }
    size_t places = 0;
    if (*p == '.') {
        for (p++; money_digit(*p) && places < MONEY_PLACES; p++, places++) {
            amount = amount * 10 + (*p - '0');
        }
        if (places == 0) {
            return false;
        }
    }
    for (; places < MONEY_PLACES; places++) {
        amount *= 10;
    }
    *out = negative ? -amount : amount;
    return *p == '\0';
}

const char *money_text(int64_t amount, char out[MONEY_TEXT])
{
    uint64_t n = amount < 0 ? 0 - (uint64_t)amount : (uint64_t)amount;
    snprintf(out, MONEY_TEXT, "%s%" PRIu64 ".%09" PRIu64, amount < 0 ? "-" : "", n / (uint64_t)MONEY_UNIT,
             n % (uint64_t)MONEY_UNIT);
    size_t length = strlen(out);
    while (out[length - 1] == '0') {
        out[--length] = '\0';
    }
    if (out[length - 1] == '.') {
        out[length - 1] = '\0';
    }
    return out;
}
