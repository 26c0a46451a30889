/* server/pricetable.c: see pricetable.h. */
#include "server/pricetable.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "server/money.h"

/* Made from models/prices.txt at build time. */
extern const unsigned char prices_text[];
extern const size_t prices_text_size;

static const int64_t PRICETABLE_PRICE_MAX = 1000000 * MONEY_UNIT;
static const int64_t PRICETABLE_PER = 1000000; /* tokens */

static err pricetable_wrong(size_t number, const char *what, struct errinfo *info)
{
    return err_set(info, ERR_CORRUPT, "prices, line %zu: %s", number, what);
}

/* The next field of a line, blanks cut on both sides; "" when there is none. */
static char *pricetable_field(char **rest)
{
    char *field = strsep(rest, "|");
    if (!field) {
        return "";
    }
    field += strspn(field, " \t");
    size_t n = strlen(field);
    while (n > 0 && strchr(" \t\r", field[n - 1])) {
        field[--n] = '\0';
    }
    return field;
}

static bool pricetable_price(const char *text, int64_t *out)
{
    return money_parse(text, out) && *out >= 0 && *out <= PRICETABLE_PRICE_MAX;
}

static err pricetable_line(struct pricetable *t, char *line, size_t number, struct errinfo *info)
{
    struct pricetable_row row = {0};
    char *rest = line, *name = pricetable_field(&rest);
    if (*name == '\0' || *name == '#') {
        return ERR_OK;
    }
    if (strncmp(name, "currency ", 9) == 0 && !rest) {
        name += 9 + strspn(name + 9, " ");
        if (strlen(name) == 0 || strlen(name) > PRICETABLE_CURRENCY_MAX || t->currency[0]) {
            return pricetable_wrong(number, "expected one currency, a word of at most 8 bytes", info);
        }
        strcpy(t->currency, name);
        return ERR_OK;
    }
    if (strlen(name) > PRICETABLE_NAME_MAX || t->n == PRICETABLE_ROWS_MAX) {
        return pricetable_wrong(number, "the name is too long, or there are more than 256 of them", info);
    }
    strcpy(row.model, name);
    if (!pricetable_price(pricetable_field(&rest), &row.hit) ||
        !pricetable_price(pricetable_field(&rest), &row.miss) ||
        !pricetable_price(pricetable_field(&rest), &row.output) || rest) {
        return pricetable_wrong(number,
                                "expected name | prompt tokens out of the cache | other prompt tokens | "
                                "completion tokens, with prices from 0 to 1000000",
                                info);
    }
    t->rows[t->n++] = row;
    return ERR_OK;
}

err pricetable_parse(const char *text, size_t n, struct pricetable *out, struct errinfo *info)
{
    char *copy = mem_dup(text, n), *rest = copy;
    err e = copy ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory for the prices");
    memset(out, 0, sizeof *out);
    for (size_t number = 1; rest && e == ERR_OK; number++) {
        e = pricetable_line(out, strsep(&rest, "\n"), number, info);
    }
    mem_free(copy);
    if (e == ERR_OK && !out->currency[0]) {
        e = err_set(info, ERR_CORRUPT, "prices: a line with the currency is missing, like: currency USD");
    }
    return e;
}

err pricetable_builtin(struct pricetable *out, struct errinfo *info)
{
    return pricetable_parse((const char *)prices_text, prices_text_size, out, info);
}

static bool pricetable_fits(const char *pattern, const char *model)
{
    size_t n = strlen(pattern);
    return pattern[n - 1] == '*' ? strncmp(pattern, model, n - 1) == 0 : strcmp(pattern, model) == 0;
}

int64_t pricetable_cost(const struct pricetable *t, const char *model, const struct pricetable_tokens *tokens)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct pricetable_row *row = &t->rows[i];
        if (!pricetable_fits(row->model, model)) {
            continue;
        }
        /* At most 3 * 2^64 tokens of 2^50 billionths: 117 bits. */
        uint64_t cached = tokens->cached < tokens->prompt ? tokens->cached : tokens->prompt;
        __extension__ unsigned __int128 sum = (unsigned __int128)cached * (uint64_t)row->hit;
        sum += (__extension__(unsigned __int128)(tokens->prompt - cached)) * (uint64_t)row->miss;
        sum += (__extension__(unsigned __int128) tokens->completion) * (uint64_t)row->output;
        sum = (sum + (uint64_t)PRICETABLE_PER / 2) / (uint64_t)PRICETABLE_PER;
        return sum < INT64_MAX ? (int64_t)sum : INT64_MAX;
    }
    return 0;
}
