/* cli/cmd_keys.c: `fathom keys`: API keys of `fathom serve`: made, listed, revoked; whether a server runs or
 * not. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/options.h"
#include "cli/storeaccess.h"
#include "cli/verbs.h"
#include "server/keystore.h"
#include "server/money.h"

static const int64_t CMD_KEYS_DAY = 86400000;

struct cmd_keys {
    const char *action, *id, *name, *balance, *data;
    struct options_list scopes;
    size_t rpm, tokens_per_day, concurrent, expires_days;
    bool json;
};

static err cmd_keys_print_json(json_t *document, struct errinfo *info)
{
    char *text = json_text_dup(document, JSON_INDENT(2));
    json_decref(document);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory printing keys");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

/* ---- list ---- */

static const char *cmd_keys_scopes(unsigned scopes, char out[32])
{
    snprintf(out, 32, "%s%s%s", scopes & CALLER_CHAT ? "chat " : "", scopes & CALLER_ADMIN ? "admin " : "",
             scopes & CALLER_METRICS ? "metrics " : "");
    out[strlen(out) - (*out != '\0')] = '\0';
    return out;
}

static const char *cmd_keys_date(int64_t when, char out[16])
{
    struct tm t;
    time_t at = (time_t)(when / 1000);
    if (!gmtime_r(&at, &t) || strftime(out, 16, "%Y-%m-%d", &t) == 0) {
        strcpy(out, "?");
    }
    return out;
}

static const char *cmd_keys_state(const struct keystore_key *k, int64_t now, char out[40])
{
    char day[16];
    if (k->revoked || (k->expires && k->expires <= now)) {
        snprintf(out, 40, "%s %s", k->revoked ? "revoked" : "expired",
                 cmd_keys_date(k->revoked ? k->revoked : k->expires, day));
    } else if (k->expires) {
        snprintf(out, 40, "until %s", cmd_keys_date(k->expires, day));
    } else {
        snprintf(out, 40, "good");
    }
    return out;
}

static const char *cmd_keys_limits(const struct keystore_limits *l, char out[80])
{
    int n = 0;
    out[0] = '\0';
    if (l->requests_per_minute) {
        n += snprintf(out + n, 80 - (size_t)n, "%" PRIu32 "/min ", l->requests_per_minute);
    }
    if (l->tokens_per_day) {
        n += snprintf(out + n, 80 - (size_t)n, "%" PRIu64 " tokens/day ", l->tokens_per_day);
    }
    if (l->concurrent) {
        n += snprintf(out + n, 80 - (size_t)n, "%" PRIu32 " at a time ", l->concurrent);
    }
    if (n == 0) {
        snprintf(out, 80, "no limits ");
    }
    out[strlen(out) - 1] = '\0';
    return out;
}

static void cmd_keys_print(const struct keystore_key *keys, size_t n)
{
    int name = 4;
    for (size_t i = 0; i < n; i++) {
        name = (int)strlen(keys[i].name) > name ? (int)strlen(keys[i].name) : name;
    }
    if (n == 0) {
        fputs("no keys yet; see: fathom keys --help\n", stderr);
        return;
    }
    printf("%-32s  %-*s  %-18s  %-19s  %-10s  %-12s  %s\n", "id", name, "name", "scopes", "state", "last used",
           "balance", "limits");
    for (size_t i = 0; i < n; i++) {
        const struct keystore_key *k = &keys[i];
        char scopes[32], state[40], limits[80], used[16], money[MONEY_TEXT], shown[KEYSTORE_NAME_MAX + 1];
        memcpy(shown, k->name, sizeof shown);
        err_clean(shown); /* it goes to a terminal */
        printf("%-32s  %-*s  %-18s  %-19s  %-10s  %-12s  %s\n", k->id, name, shown,
               cmd_keys_scopes(k->scopes, scopes), cmd_keys_state(k, storeaccess_now(), state),
               k->last_used ? cmd_keys_date(k->last_used, used) : "never",
               k->limited ? money_text(k->balance, money) : "-", cmd_keys_limits(&k->limits, limits));
    }
}

static err cmd_keys_list(struct keystore *s, bool json, struct errinfo *info)
{
    struct keystore_key *keys = NULL;
    size_t n = 0;
    TRY(keystore_list(s, &keys, &n, info));
    err e = ERR_OK;
    if (json) {
        json_t *array = json_array();
        for (size_t i = 0; i < n && array; i++) {
            if (json_array_append_new(array, keystore_json(&keys[i])) != 0) {
                json_decref(array);
                array = NULL;
            }
        }
        e = cmd_keys_print_json(array, info);
    } else {
        cmd_keys_print(keys, n);
    }
    mem_free(keys);
    return e;
}

/* ---- create ---- */

static json_t *cmd_keys_scope_list(const struct options_list *scopes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < scopes->n && list; i++) {
        if (json_array_append_new(list, json_string(scopes->items[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list && scopes->n == 0 && json_array_append_new(list, json_string("chat")) != 0 ? NULL : list;
}

static json_t *cmd_keys_fields(const struct cmd_keys *c, int64_t now)
{
    return json_pack(
        "{s:s, s:o, s:{s:I, s:I, s:I}, s:s?, s:o}", "name", c->name, "scopes", cmd_keys_scope_list(&c->scopes),
        "limits", "requests_per_minute", (json_int_t)c->rpm, "tokens_per_day", (json_int_t)c->tokens_per_day,
        "concurrent", (json_int_t)c->concurrent, "balance", c->balance, "expires",
        c->expires_days ? json_integer(now + (int64_t)c->expires_days * CMD_KEYS_DAY) : json_null());
}

/* The one time the key itself is seen. */
static err cmd_keys_show(const struct keystore_key *key, const char *secret, bool json, struct errinfo *info)
{
    if (!json) {
        printf("%s\n", secret);
        fprintf(stderr, "This is the key \"%s\". It is shown only now: keep it where your programs find it.\n",
                key->name);
        return ERR_OK;
    }
    json_t *document = keystore_json(key);
    if (json_object_set_new(document, "key", json_string(secret)) != 0) {
        json_decref(document);
        document = NULL;
    }
    return cmd_keys_print_json(document, info);
}

static err cmd_keys_create(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    char secret[KEYSTORE_SECRET + 1];
    int64_t now = storeaccess_now();
    if (!c->name) {
        return err_set(info, ERR_ARGUMENT, "a key wants a name: fathom keys create --name laptop");
    }
    json_t *fields = cmd_keys_fields(c, now);
    err e = fields ? keystore_create(s, fields, now, &key, secret, info)
                   : err_set(info, ERR_NOMEM, "out of memory, or the name is no UTF-8");
    json_decref(fields);
    return e == ERR_OK ? cmd_keys_show(&key, secret, c->json, info) : e;
}

/* ---- passphrase ---- */

static err cmd_keys_passphrase(struct database *d, struct errinfo *info)
{
    char typed[STOREACCESS_PASSPHRASE] = "", again[STOREACCESS_PASSPHRASE] = "";
    const char *given = getenv("FATHOM_NEW_PASSPHRASE");
    if (!given && (!storeaccess_ask("new passphrase (nothing: none): ", typed) ||
                   !storeaccess_ask("once more: ", again))) {
        return err_set(info, ERR_ARGUMENT,
                       "no new passphrase: set FATHOM_NEW_PASSPHRASE, or run this on a terminal");
    }
    err e = strcmp(typed, again) == 0 ? ERR_OK : err_set(info, ERR_ARGUMENT, "the two are not the same");
    const char *next = given ? given : typed;
    e = e == ERR_OK ? vault_change(database_vault(d), *next ? next : NULL, info) : e;
    if (e == ERR_OK) {
        fputs(*next ? "from now on this passphrase opens chats and keys\n"
                    : "chats and keys open without a passphrase\n",
              stderr);
    }
    explicit_bzero(typed, sizeof typed);
    explicit_bzero(again, sizeof again);
    return e;
}

/* ---- revoke ---- */

static err cmd_keys_revoke(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    if (!c->id) {
        return err_set(info, ERR_ARGUMENT, "which key? fathom keys list shows their ids");
    }
    TRY(keystore_revoke(s, c->id, storeaccess_now(), info));
    TRY(keystore_get(s, c->id, &key, info));
    if (c->json) {
        return cmd_keys_print_json(keystore_json(&key), info);
    }
    err_clean(key.name);
    printf("revoked: %s (%s)\n", key.id, key.name);
    return ERR_OK;
}

/* The words for what to do; "list" when there is none. */
enum { CMD_KEYS_LIST, CMD_KEYS_CREATE, CMD_KEYS_REVOKE, CMD_KEYS_PASSPHRASE, CMD_KEYS_ACTIONS };
static const char *const cmd_keys_actions[] = {"list", "create", "revoke", "passphrase"};

static err cmd_keys_act(const struct cmd_keys *c, int action, struct database *d, struct keystore *s,
                        struct errinfo *info)
{
    switch (action) {
    case CMD_KEYS_CREATE: return cmd_keys_create(s, c, info);
    case CMD_KEYS_REVOKE: return cmd_keys_revoke(s, c, info);
    case CMD_KEYS_PASSPHRASE: return cmd_keys_passphrase(d, info);
    default: return cmd_keys_list(s, c->json, info);
    }
}

static err cmd_keys_do(const struct cmd_keys *c, struct errinfo *info)
{
    struct database *d = NULL;
    struct keystore *s = NULL;
    int action = CMD_KEYS_LIST;
    while (c->action && action < CMD_KEYS_ACTIONS && strcmp(c->action, cmd_keys_actions[action]) != 0) {
        action++;
    }
    if (action == CMD_KEYS_ACTIONS) {
        return err_set(info, ERR_ARGUMENT,
                       "\"%.40s\" is nothing to do with keys: list, create, revoke or passphrase", c->action);
    }
    TRY(storeaccess_open(c->data, &d, info));
    err e = keystore_open(d, &s, info);
    e = e == ERR_OK ? cmd_keys_act(c, action, d, s, info) : e;
    keystore_close(s);
    database_close(d);
    return e;
}

int cmd_keys(int argc, char **argv)
{
    struct cmd_keys c = {0};
    const struct options_row rows[] = {
        options_operand("ACTION", &c.action,
                        "list (the default), create, revoke, or passphrase: change what opens the data"),
        options_operand("ID", &c.id, "the key to revoke"),
        options_string("name", "NAME", &c.name, "create: what it is for"),
        options_each("scope", "SCOPE", &c.scopes, "create: chat (the default), metrics, admin"),
        options_size("rpm", "N", 0, 1000000, &c.rpm, "create: requests per minute (0: no limit)"),
        options_size("tokens-per-day", "N", 0, (size_t)1 << 50, &c.tokens_per_day,
                     "create: prompt and answer tokens of a day, UTC (0: no limit)"),
        options_size("concurrent", "N", 0, 10000, &c.concurrent, "create: requests at a time (0: no limit)"),
        options_string("balance", "AMOUNT", &c.balance,
                       "create: what may be spent, like 12.50; prices as in fathom usage"),
        options_size("expires-days", "N", 0, 36500, &c.expires_days, "create: good for N days (0: for ever)"),
        options_string("data", "DIR", &c.data, "the folder of the server's data (~/.local/share/fathom/store)"),
        options_flag("json", &c.json, "one JSON document on stdout"),
    };
    const struct options spec = {
        "keys", "API keys of the server", rows, sizeof rows / sizeof *rows,
        "  fathom keys create --name laptop\n"
        "  fathom keys create --name ci --rpm 60 --tokens-per-day 1000000 --expires-days 90\n"
        "  fathom keys revoke 0123456789abcdef0123456789abcdef\n\n"
        "A passphrase, where the data have one, is FATHOM_PASSPHRASE or is asked for; a new one\n"
        "is FATHOM_NEW_PASSPHRASE or is asked for.\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    return cmd_keys_do(&c, &info) == ERR_OK ? 0 : options_fail(&spec, &info);
}
