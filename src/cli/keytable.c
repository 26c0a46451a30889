/* cli/keytable.c: see keytable.h. */
#include "cli/keytable.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/storeaccess.h"
#include "server/money.h"

const char *keytable_scopes(unsigned scopes, char out[KEYTABLE_TEXT])
{
    snprintf(out, KEYTABLE_TEXT, "%s%s%s", scopes & CALLER_CHAT ? "chat " : "",
             scopes & CALLER_ADMIN ? "admin " : "", scopes & CALLER_METRICS ? "metrics " : "");
    out[strlen(out) - (*out != '\0')] = '\0';
    return out;
}

static const char *keytable_date(int64_t when, char out[16])
{
    struct tm t;
    time_t at = (time_t)(when / 1000);
    if (!gmtime_r(&at, &t) || strftime(out, 16, "%Y-%m-%d", &t) == 0) {
        strcpy(out, "?");
    }
    return out;
}

const char *keytable_state(const struct keystore_key *k, int64_t now, char out[KEYTABLE_TEXT])
{
    char day[16];
    if (k->revoked || (k->expires && k->expires <= now)) {
        snprintf(out, KEYTABLE_TEXT, "%s %s", k->revoked ? "revoked" : "expired",
                 keytable_date(k->revoked ? k->revoked : k->expires, day));
    } else if (k->expires) {
        snprintf(out, KEYTABLE_TEXT, "until %s", keytable_date(k->expires, day));
    } else {
        snprintf(out, KEYTABLE_TEXT, "good");
    }
    return out;
}

const char *keytable_limits(const struct keystore_limits *l, char out[KEYTABLE_TEXT])
{
    int n = 0;
    out[0] = '\0';
    if (l->requests_per_minute) {
        n += snprintf(out + n, KEYTABLE_TEXT - (size_t)n, "%" PRIu32 "/min ",
                      l->requests_per_minute);
    }
    if (l->tokens_per_day) {
        n += snprintf(out + n, KEYTABLE_TEXT - (size_t)n, "%" PRIu64 " tokens/day ",
                      l->tokens_per_day);
    }
    if (l->concurrent) {
        n += snprintf(out + n, KEYTABLE_TEXT - (size_t)n, "%" PRIu32 " at a time ", l->concurrent);
    }
    if (n == 0) {
        snprintf(out, KEYTABLE_TEXT, "no limits ");
    }
    out[strlen(out) - 1] = '\0';
    return out;
}

void keytable_print(const struct keystore_key *keys, size_t n)
{
    int name = 4;
    for (size_t i = 0; i < n; i++) {
        name = (int)strlen(keys[i].name) > name ? (int)strlen(keys[i].name) : name;
    }
    if (n == 0) {
        fputs("no keys yet; see: fathom keys --help\n", stderr);
        return;
    }
    printf("%-32s  %-*s  %-18s  %-19s  %-10s  %-12s  %s\n", "id", name, "name", "scopes", "state",
           "last used", "balance", "limits");
    for (size_t i = 0; i < n; i++) {
        const struct keystore_key *k = &keys[i];
        char scopes[KEYTABLE_TEXT], state[KEYTABLE_TEXT], limits[KEYTABLE_TEXT], used[16],
            money[MONEY_TEXT], shown[KEYSTORE_NAME_MAX + 1];
        if (k->damaged) {
            printf("%-32s  damaged: something else than fathom changed it; it opens nothing: revoke it\n",
                   k->id);
            continue;
        }
        memcpy(shown, k->name, sizeof shown);
        err_clean(shown); /* it goes to a terminal */
        printf("%-32s  %-*s  %-18s  %-19s  %-10s  %-12s  %s\n", k->id, name, shown,
               keytable_scopes(k->scopes, scopes), keytable_state(k, storeaccess_now(), state),
               k->last_used ? keytable_date(k->last_used, used) : "never",
               k->limited ? money_text(k->balance, money) : "-",
               keytable_limits(&k->limits, limits));
    }
}
