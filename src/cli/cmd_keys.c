/* cli/cmd_keys.c: `fathom keys`: API keys of `fathom serve`: made, listed, renewed, revoked;
 * whether a server runs or not. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/keytable.h"
#include "cli/options.h"
#include "cli/storeaccess.h"
#include "cli/verbs.h"
#include "engine/prefixdisk.h"
#include "server/chatowner.h"
#include "server/service.h"

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
        keytable_print(keys, n);
    }
    mem_free(keys);
    return e;
}

/* ---- create ---- */

static err cmd_keys_check_scopes(const struct options_list *scopes, struct errinfo *info)
{
    for (size_t i = 0; i < scopes->n; i++) {
        const char *s = scopes->items[i];
        size_t at = 0;
        while (at < CALLER_SCOPES && strcmp(s, caller_scope_names[at].name) != 0) {
            at++;
        }
        if (at == CALLER_SCOPES) {
            return err_set(info, ERR_ARGUMENT,
                           "--scope needs one of chat, admin, metrics, got \"%.40s\"; several: "
                           "--scope chat --scope admin",
                           s);
        }
    }
    return ERR_OK;
}

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
    char scopes[KEYTABLE_TEXT], state[KEYTABLE_TEXT], limits[KEYTABLE_TEXT],
        name[KEYSTORE_NAME_MAX + 1];
    if (!json) {
        memcpy(name, key->name, sizeof name);
        err_clean(name); /* it goes to a terminal */
        printf("%s\n", secret);
        fprintf(stderr,
                "This is the key \"%s\". It is shown only now: keep it where your programs find it,\n"
                "or sign in with it on the page.\n"
                "  id      %s\n"
                "  scopes  %s\n"
                "  state   %s, %s\n"
                "Should it get lost: fathom keys renew %s\n",
                name, key->id, keytable_scopes(key->scopes, scopes),
                keytable_state(key, storeaccess_now(), state),
                keytable_limits(&key->limits, limits), key->id);
        return ERR_OK;
    }
    json_t *document = keystore_json(key);
    if (json_object_set_new(document, "key", json_string(secret)) != 0) {
        json_decref(document);
        document = NULL;
    }
    return cmd_keys_print_json(document, info);
}

/* What may not have been meant. */
static void cmd_keys_doubts(struct keystore *s, const struct keystore_key *key)
{
    struct keystore_key other;
    struct errinfo info = {0};
    if (!(key->scopes & CALLER_CHAT)) {
        fputs("note: this key cannot chat; for one that can add --scope chat\n", stderr);
    }
    if (key->limited) {
        fputs("note: the balance falls by the prices of `fathom serve --prices FILE`; without, all "
              "costs 0\n",
              stderr);
    }
    if (keystore_named(s, key->name, &other, &info) == ERR_ARGUMENT) {
        fprintf(stderr, "note: %s\n", info.message);
    }
}

static err cmd_keys_create(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    char secret[KEYSTORE_SECRET + 1];
    int64_t now = storeaccess_now();
    if (!c->name) {
        return err_set(info, ERR_ARGUMENT, "a key wants a name: fathom keys create --name laptop");
    }
    TRY(cmd_keys_check_scopes(&c->scopes, info));
    json_t *fields = cmd_keys_fields(c, now);
    err e = fields ? keystore_create(s, fields, now, &key, secret, info)
                   : err_set(info, ERR_NOMEM, "out of memory, or the name is no UTF-8");
    json_decref(fields);
    e = e == ERR_OK ? cmd_keys_show(&key, secret, c->json, info) : e;
    explicit_bzero(secret, sizeof secret);
    TRY(e);
    cmd_keys_doubts(s, &key);
    return ERR_OK;
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

/* ---- What is done to one key. ---- */

static err cmd_keys_find(struct keystore *s, const struct cmd_keys *c, struct keystore_key *out,
                         struct errinfo *info)
{
    return c->id ? keystore_named(s, c->id, out, info)
                 : err_set(info, ERR_ARGUMENT,
                           "which key? fathom keys list shows their ids and names");
}

static err cmd_keys_revoke(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    TRY(cmd_keys_find(s, c, &key, info));
    TRY(keystore_revoke(s, key.id, storeaccess_now(), info));
    TRY(keystore_get(s, key.id, &key, info));
    if (c->json) {
        return cmd_keys_print_json(keystore_json(&key), info);
    }
    err_clean(key.name);
    printf("revoked: %s (%s)\n", key.id, key.name);
    fprintf(stderr,
            "Its chats stay in the store, and nobody sees them, until: fathom keys renew %s\n",
            key.id);
    return ERR_OK;
}

static err cmd_keys_renew(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    char secret[KEYSTORE_SECRET + 1];
    int64_t now = storeaccess_now();
    TRY(cmd_keys_find(s, c, &key, info));
    if (c->expires_days) {
        json_t *fields = json_pack("{s:I}", "expires",
                                   (json_int_t)(now + (int64_t)c->expires_days * CMD_KEYS_DAY));
        err e = fields ? keystore_patch(s, key.id, fields, &key, info)
                       : err_set(info, ERR_NOMEM, "out of memory");
        json_decref(fields);
        TRY(e);
    }
    TRY(keystore_renew(s, key.id, now, &key, secret, info));
    err e = cmd_keys_show(&key, secret, c->json, info);
    explicit_bzero(secret, sizeof secret);
    return e;
}

/* What the server keeps of texts that were read lies with their first owner, where deleting a chat that was
 * handed on would not find it. */
static err cmd_keys_erase_prefixes(const char *data, struct errinfo *info)
{
    char *standard = NULL;
    if (!data) {
        TRY(database_folder(&standard, info));
    }
    char *folder = file_join(data ? data : standard, SERVICE_PREFIXES);
    err e = folder ? prefixdisk_erase(folder, info) : err_set(info, ERR_NOMEM, "out of memory for a path");
    mem_free(folder);
    mem_free(standard);
    return e;
}

/* The chats from before there were keys. A server that runs has them in its hands. */
static err cmd_keys_adopt(struct database *d, struct keystore *s, const struct cmd_keys *c,
                          struct errinfo *info)
{
    struct keystore_key key = {0};
    struct chatstore *chats = NULL;
    size_t n = 0;
    TRY(cmd_keys_find(s, c, &key, info));
    if (!(key.scopes & CALLER_CHAT) || !keystore_good(&key, storeaccess_now())) {
        return err_set(info, ERR_ARGUMENT, "key %s could not see the chats: it %s", key.id,
                       key.scopes & CALLER_CHAT
                           ? "was revoked or has expired; fathom keys renew makes it good again"
                           : "lacks the scope chat");
    }
    TRY(chatstore_open(d, false, &chats, info));
    err e = cmd_keys_erase_prefixes(c->data, info);
    e = e == ERR_OK ? chatowner_change(chats, "local", key.id, &n, info) : e;
    chatstore_close(chats);
    TRY(e);
    if (c->json) {
        return cmd_keys_print_json(json_pack("{s:s, s:I}", "id", key.id, "chats", (json_int_t)n),
                                   info);
    }
    err_clean(key.name);
    printf("chats handed to %s (%s): %zu\n", key.id, key.name, n);
    return ERR_OK;
}

/* The words for what to do; "list" when there is none. */
enum {
    CMD_KEYS_LIST,
    CMD_KEYS_CREATE,
    CMD_KEYS_RENEW,
    CMD_KEYS_REVOKE,
    CMD_KEYS_ADOPT,
    CMD_KEYS_PASSPHRASE,
    CMD_KEYS_ACTIONS
};
static const char *const cmd_keys_actions[] = {"list",   "create", "renew",
                                               "revoke", "adopt",  "passphrase"};

static err cmd_keys_act(const struct cmd_keys *c, int action, struct database *d, struct keystore *s,
                        struct errinfo *info)
{
    switch (action) {
    case CMD_KEYS_CREATE: return cmd_keys_create(s, c, info);
    case CMD_KEYS_RENEW: return cmd_keys_renew(s, c, info);
    case CMD_KEYS_ADOPT: return cmd_keys_adopt(d, s, c, info);
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
                       "\"%.40s\" is nothing to do with keys: list, create, renew, revoke, adopt "
                       "or passphrase",
                       c->action);
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
        options_operand(
            "ACTION", &c.action,
            "list (the default); create; renew: a new key for the same owner, the old one void at "
            "once; revoke; adopt: give the key the chats made without any (the server stopped); "
            "passphrase: change what opens the data"),
        options_operand("ID", &c.id, "of renew, revoke, adopt: the key, by id or by name"),
        options_string("name", "NAME", &c.name, "create: what it is for"),
        options_each(
            "scope", "SCOPE", &c.scopes,
            "create: chat (the default), admin (keys and everybody's usage; not chat), metrics"),
        options_size("rpm", "N", 0, 1000000, &c.rpm, "create: requests per minute (0: no limit)"),
        options_size("tokens-per-day", "N", 0, (size_t)1 << 50, &c.tokens_per_day,
                     "create: prompt and answer tokens of a day, UTC (0: no limit)"),
        options_size("concurrent", "N", 0, 10000, &c.concurrent,
                     "create: answers at a time, each choice of a request one (0: no limit)"),
        options_string("balance", "AMOUNT", &c.balance,
                       "create: what may be spent, like 12.50; prices are those of serve --prices"),
        options_size("expires-days", "N", 0, 36500, &c.expires_days,
                     "create, renew: good for N days (0: for ever)"),
        options_string("data", "DIR", &c.data,
                       "the folder of the server's data (~/.local/share/fathom/store)"),
        options_flag("json", &c.json, "one JSON document on stdout"),
    };
    const struct options spec = {
        "keys", "API keys of the server", rows, sizeof rows / sizeof *rows,
        "  fathom keys create --name laptop\n"
        "  fathom keys create --name ci --rpm 60 --tokens-per-day 1000000 --expires-days 90\n"
        "  fathom keys create --name boss --scope chat --scope admin\n"
        "  fathom keys renew laptop\n"
        "  fathom keys revoke 0123456789abcdef0123456789abcdef\n\n"
        "A key is an account: its chats are seen with it alone. When it is lost, revoked or\n"
        "expired they stay in the store, and renew brings them back. A server that runs sees all\n"
        "changes at once.\n"
        "A passphrase, where the data have one, is FATHOM_PASSPHRASE or is asked for; a new one\n"
        "is FATHOM_NEW_PASSPHRASE or is asked for.\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    return cmd_keys_do(&c, &info) == ERR_OK ? 0 : options_fail(&spec, &info);
}
