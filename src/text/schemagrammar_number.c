/* text/schemagrammar_number.c: numbers between bounds, digit by digit. A number is a sign and a
 * magnitude: what is below zero is the mirror image of what is above. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/schemagrammar_data.h"

enum { SCHEMAGRAMMAR_NUMBER_DIGITS = 16 };

static const int64_t SCHEMAGRAMMAR_NUMBER_MOST = 9999999999999999; /* 16 digits */
static const int64_t SCHEMAGRAMMAR_NUMBER_OPEN = 1000000000; /* exclusive bounds of fractions */

/* Magnitudes or whole numbers between low and high; open: without the bound itself. */
struct schemagrammar_number {
    int64_t low, high;
    bool low_open, high_open;
};

/* ---- digits ---- */

/* Digit strings of length n from a to b. */
static err schemagrammar_number_digits(const char *a, const char *b, size_t n, struct strbuf *out)
{
    static const char zeros[] = "0000000000000000", nines[] = "9999999999999999";
    if (n == 0) {
        return strbuf_puts(out, "\"\"");
    }
    if (strncmp(a, zeros, n) == 0 && strncmp(b, nines, n) == 0) {
        return strbuf_printf(out, "[0-9]{%zu}", n);
    }
    if (n == 1) {
        return strbuf_printf(out, "[%c-%c]", a[0], b[0]);
    }
    if (a[0] == b[0]) {
        TRY(strbuf_printf(out, "\"%c\" ", a[0]));
        return schemagrammar_number_digits(a + 1, b + 1, n - 1, out);
    }
    bool low = strncmp(a + 1, zeros, n - 1) == 0, high = strncmp(b + 1, nines, n - 1) == 0;
    char first = (char)(a[0] + !low), last = (char)(b[0] - !high);
    const char *bar = "";
    TRY(strbuf_puts(out, "("));
    if (!low) {
        TRY(strbuf_printf(out, "\"%c\" ", a[0]));
        TRY(schemagrammar_number_digits(a + 1, nines, n - 1, out));
        bar = " | ";
    }
    if (first <= last) {
        TRY(strbuf_printf(out, "%s[%c-%c] [0-9]{%zu}", bar, first, last, n - 1));
        bar = " | ";
    }
    if (!high) {
        TRY(strbuf_printf(out, "%s\"%c\" ", bar, b[0]));
        TRY(schemagrammar_number_digits(zeros, b + 1, n - 1, out));
    }
    return strbuf_puts(out, ")");
}

/* Whole numbers from low to high, 0 <= low <= high. */
static err schemagrammar_number_range(int64_t low, int64_t high, struct strbuf *out)
{
    int64_t first = 0, last = 9; /* of a length */
    const char *bar = "";
    TRY(strbuf_puts(out, "("));
    for (int n = 1; n <= SCHEMAGRAMMAR_NUMBER_DIGITS; n++) {
        int64_t a = low > first ? low : first, b = high < last ? high : last;
        if (a <= b) {
            char from[24], to[24];
            snprintf(from, sizeof from, "%lld", (long long)a);
            snprintf(to, sizeof to, "%lld", (long long)b);
            TRY(strbuf_puts(out, bar));
            TRY(schemagrammar_number_digits(from, to, (size_t)n, out));
            bar = " | ";
        }
        first = last + 1;
        last = 10 * last + 9;
    }
    return strbuf_puts(out, ")");
}

/* ---- bounds ---- */

/* One bound, if there is one: what is stricter than `b` replaces it. `whole`: of whole numbers,
 * where a fraction is rounded inwards. */
static err schemagrammar_number_bound(struct schemagrammar *s, const json_t *schema,
                                      const char *key, bool whole, struct schemagrammar_number *b)
{
    const json_t *value = json_object_get(schema, key);
    bool low = strstr(key, "inimum") != NULL, open = key[0] == 'e';
    if (!value) {
        return ERR_OK;
    }
    if (!json_is_number(value)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"%s\" is %s; expected a number", key,
                                    json_type_name(value));
    }
    double v = json_number_value(value);
    if (whole && v != floor(v)) {
        v = low ? ceil(v) : floor(v);
        open = false;
    }
    int64_t most = open && !whole ? SCHEMAGRAMMAR_NUMBER_OPEN : SCHEMAGRAMMAR_NUMBER_MOST / 10;
    if (v != floor(v) || fabs(v) > (double)most) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                    "\"%s\" of %.17g is not supported; whole numbers up to %lld "
                                    "are",
                                    key, v, (long long)most);
    }
    int64_t n = (int64_t)v;
    if (low && (n > b->low || (n == b->low && open))) {
        b->low = n;
        b->low_open = open;
    } else if (!low && (n < b->high || (n == b->high && open))) {
        b->high = n;
        b->high_open = open;
    }
    return ERR_OK;
}

/* Magnitudes, with fractions. */
static err schemagrammar_number_fractions(const struct schemagrammar_number *b, struct strbuf *out)
{
    const char *bar = "";
    TRY(strbuf_puts(out, "("));
    if (b->low_open && b->low < b->high) {
        TRY(strbuf_printf(out, "\"%lld.\" [0-9]{0,5} [1-9]", (long long)b->low));
        bar = " | ";
    }
    if (b->low + b->low_open < b->high) {
        TRY(strbuf_puts(out, bar));
        TRY(schemagrammar_number_range(b->low + b->low_open, b->high - 1, out));
        TRY(strbuf_puts(out, " (\".\" [0-9]{1,6})?"));
        bar = " | ";
    }
    if (!b->high_open && (b->low < b->high || !b->low_open)) {
        TRY(strbuf_printf(out, "%s\"%lld\"", bar, (long long)b->high));
    }
    return strbuf_puts(out, ")");
}

static err schemagrammar_number_magnitudes(const struct schemagrammar_number *b, bool whole,
                                           struct strbuf *out)
{
    return whole ? schemagrammar_number_range(b->low, b->high, out)
                 : schemagrammar_number_fractions(b, out);
}

static bool schemagrammar_number_empty(const struct schemagrammar_number *b)
{
    return b->low > b->high || (b->low == b->high && (b->low_open || b->high_open));
}

static err schemagrammar_number_between(struct schemagrammar *s, struct schemagrammar_number b,
                                        bool whole, struct strbuf *out)
{
    if (whole) {
        b = (struct schemagrammar_number){b.low + b.low_open, b.high - b.high_open, false, false};
    }
    struct schemagrammar_number above = b, below = {-b.high, -b.low, b.high_open, b.low_open};
    if (b.low < 0) {
        above.low = 0;
        above.low_open = false;
    }
    if (below.low <= 0) { /* zero has no sign here */
        below.low = whole ? 1 : 0;
        below.low_open = !whole;
    }
    bool has_above = !schemagrammar_number_empty(&above),
         has_below = !schemagrammar_number_empty(&below);
    if (!has_above && !has_below) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "no number is between its bounds");
    }
    TRY(strbuf_puts(out, "("));
    TRY(has_above ? schemagrammar_number_magnitudes(&above, whole, out) : ERR_OK);
    if (has_below) {
        TRY(strbuf_puts(out, has_above ? " | \"-\" " : "\"-\" "));
        TRY(schemagrammar_number_magnitudes(&below, whole, out));
    }
    return strbuf_puts(out, ")");
}

err schemagrammar_number(struct schemagrammar *s, const json_t *schema, bool whole,
                         struct strbuf *out)
{
    static const char *const keys[] = {"minimum", "maximum", "exclusiveMinimum",
                                       "exclusiveMaximum"};
    struct schemagrammar_number b = {-SCHEMAGRAMMAR_NUMBER_MOST, SCHEMAGRAMMAR_NUMBER_MOST, false,
                                     false};
    bool bounded = false;
    for (int i = 0; i < 4; i++) {
        bounded |= json_object_get(schema, keys[i]) != NULL;
        TRY(schemagrammar_number_bound(s, schema, keys[i], whole, &b));
    }
    if (!bounded) {
        return strbuf_puts(out, whole ? "integer" : "number");
    }
    return schemagrammar_number_between(s, b, whole, out);
}
