/* cli/cmd_keys.c: `fathom keys`: API keys of `fathom serve`: made, listed, changed, renewed, revoked;
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
#include "server/money.h"
#include "server/service.h"

static const int64_t CMD_KEYS_DAY = 86400000;
static const size_t CMD_KEYS_ABSENT = SIZE_MAX; /* a number that was not given */

struct cmd_keys {
    const char *action, *id, *name, *balance, *data;
    struct options_list scopes;
    size_t rpm, tokens_per_day, concurrent, expires_days;
    bool json;
};

/* What to do, "list" when no word says it, and what of the command line goes with it. */
enum {
    CMD_KEYS_LIST,
    CMD_KEYS_CREATE,
    CMD_KEYS_CHANGE,
    CMD_KEYS_RENEW,
    CMD_KEYS_REVOKE,
    CMD_KEYS_ADOPT,
    CMD_KEYS_PASSPHRASE,
    CMD_KEYS_ACTIONS
};
enum { CMD_KEYS_ID = 1, CMD_KEYS_END = 2, CMD_KEYS_FIELDS = 4, CMD_KEYS_NEW = 8 /* a missing store is made */ };
static const struct {
    const char *word;
    unsigned takes;
} cmd_keys_actions[] = {
    {"list", 0},
    {"create", CMD_KEYS_END | CMD_KEYS_FIELDS | CMD_KEYS_NEW},
    {"change", CMD_KEYS_ID | CMD_KEYS_END | CMD_KEYS_FIELDS},
    {"renew", CMD_KEYS_ID | CMD_KEYS_END},
    {"revoke", CMD_KEYS_ID},
    {"adopt", CMD_KEYS_ID},
    {"passphrase", CMD_KEYS_NEW},
};

/* A line on stderr that ends in the command to go on with. */
static void cmd_keys_next(const struct cmd_keys *c, const char *says, const char *action, const char *id)
{
    fprintf(stderr, "%s: fathom keys %s %s%s%s\n", says, action, id, c->data ? " --data " : "",
            c->data ? c->data : "");
}

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

/* ---- create, change ---- */

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

static bool cmd_keys_no_balance(const struct cmd_keys *c)
{
    return c->balance && strcmp(c->balance, "none") == 0;
}

static err cmd_keys_check_balance(const struct cmd_keys *c, struct errinfo *info)
{
    int64_t amount = 0;
    return !c->balance || cmd_keys_no_balance(c) || (money_parse(c->balance, &amount) && amount >= 0)
               ? ERR_OK
               : err_set(info, ERR_ARGUMENT, "--balance needs an amount like 12.50, or none, got \"%.40s\"",
                         c->balance);
}

static err cmd_keys_check_name(const struct cmd_keys *c, struct errinfo *info)
{
    size_t n = c->name ? strlen(c->name) : 1;
    return n > 0 && n <= KEYSTORE_NAME_MAX
               ? ERR_OK
               : err_set(info, ERR_ARGUMENT, "--name needs 1 to %d bytes of text, got %zu",
                         KEYSTORE_NAME_MAX, n);
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
    return list;
}

/* Takes the value; whether it went well. */
static bool cmd_keys_put(json_t *object, bool given, const char *name, json_t *value)
{
    if (!given) {
        json_decref(value);
        return true;
    }
    return json_object_set_new(object, name, value) == 0;
}

static bool cmd_keys_put_number(json_t *object, const char *name, size_t n)
{
    return n == CMD_KEYS_ABSENT || json_object_set_new(object, name, json_integer((json_int_t)n)) == 0;
}

/* What was given, as keystore.h has it. */
static err cmd_keys_fields(const struct cmd_keys *c, json_t **out, struct errinfo *info)
{
    json_t *fields = json_object(), *limits = json_object();
    int64_t end = storeaccess_now() + (int64_t)c->expires_days * CMD_KEYS_DAY;
    bool ends = c->expires_days != CMD_KEYS_ABSENT;
    bool good = cmd_keys_put_number(limits, "requests_per_minute", c->rpm) &&
                cmd_keys_put_number(limits, "tokens_per_day", c->tokens_per_day) &&
                cmd_keys_put_number(limits, "concurrent", c->concurrent) &&
                cmd_keys_put(fields, c->name, "name", json_string(c->name)) &&
                cmd_keys_put(fields, c->scopes.n > 0, "scopes", cmd_keys_scope_list(&c->scopes)) &&
                cmd_keys_put(fields, c->balance, "balance",
                             cmd_keys_no_balance(c) ? json_null() : json_string(c->balance)) &&
                cmd_keys_put(fields, ends, "expires",
                             ends && c->expires_days ? json_integer(end) : json_null());
    good = cmd_keys_put(fields, true, "limits", limits) && good;
    if (!good) {
        json_decref(fields);
        return err_set(info, ERR_NOMEM, "out of memory, or the name is no UTF-8");
    }
    *out = fields;
    return ERR_OK;
}

/* The one time the key itself is seen. */
static err cmd_keys_show(const struct cmd_keys *c, const struct keystore_key *key, const char *secret,
                         struct errinfo *info)
{
    char scopes[KEYTABLE_TEXT], state[KEYTABLE_TEXT], limits[KEYTABLE_TEXT], money[MONEY_TEXT],
        name[KEYSTORE_NAME_MAX + 1];
    if (!c->json) {
        memcpy(name, key->name, sizeof name);
        err_clean(name); /* it goes to a terminal */
        printf("%s\n", secret);
        fprintf(stderr,
                "This is the key \"%s\". It is shown only now: keep it where your programs find it,\n"
                "or sign in with it on the page.\n"
                "  id      %s\n"
                "  scopes  %s\n"
                "  state   %s, %s%s%s\n",
                name, key->id, keytable_scopes(key->scopes, scopes),
                keytable_state(key, storeaccess_now(), state), keytable_limits(&key->limits, limits),
                key->limited ? ", balance " : "", key->limited ? money_text(key->balance, money) : "");
        cmd_keys_next(c, "Should it get lost", "renew", key->id);
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
    if (keystore_named(s, key->name, storeaccess_now(), &other, &info) == ERR_ARGUMENT) {
        fprintf(stderr, "note: %s\n", info.message);
    }
}

static err cmd_keys_create(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    char secret[KEYSTORE_SECRET + 1];
    json_t *fields = NULL;
    if (!c->name) {
        return err_set(info, ERR_ARGUMENT, "a key wants a name: fathom keys create --name laptop");
    }
    TRY(cmd_keys_fields(c, &fields, info));
    err e = keystore_create(s, fields, storeaccess_now(), &key, secret, info);
    json_decref(fields);
    e = e == ERR_OK ? cmd_keys_show(c, &key, secret, info) : e;
    explicit_bzero(secret, sizeof secret);
    TRY(e);
    cmd_keys_doubts(s, &key);
    return ERR_OK;
}

/* ---- passphrase ---- */

enum { CMD_KEYS_LONG = 12 }; /* characters of a passphrase that is not tried out in a day */

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
    if (e == ERR_OK && *next && strlen(next) < CMD_KEYS_LONG) {
        fprintf(stderr,
                "note: who has the disk can try all passphrases of %zu characters; some random words last\n",
                strlen(next));
    }
    explicit_bzero(typed, sizeof typed);
    explicit_bzero(again, sizeof again);
    return e;
}

/* ---- What is done to one key. ---- */

static err cmd_keys_find(struct keystore *s, const struct cmd_keys *c, struct keystore_key *out,
                         struct errinfo *info)
{
    return c->id ? keystore_named(s, c->id, storeaccess_now(), out, info)
                 : err_set(info, ERR_ARGUMENT,
                           "which key? fathom keys list shows their ids and names");
}

/* The fields that were given, of the key. */
static err cmd_keys_patch(struct keystore *s, const struct cmd_keys *c, struct keystore_key *key,
                          struct errinfo *info)
{
    json_t *fields = NULL;
    TRY(cmd_keys_fields(c, &fields, info));
    err e = keystore_patch(s, key->id, fields, key, info);
    json_decref(fields);
    return e;
}

static err cmd_keys_change(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    TRY(cmd_keys_find(s, c, &key, info));
    TRY(cmd_keys_patch(s, c, &key, info));
    if (c->json) {
        return cmd_keys_print_json(keystore_json(&key), info);
    }
    keytable_print(&key, 1);
    cmd_keys_doubts(s, &key);
    return ERR_OK;
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
    cmd_keys_next(c, "Its chats stay in the store, and nobody sees them, until", "renew", key.id);
    return ERR_OK;
}

static err cmd_keys_renew(struct keystore *s, const struct cmd_keys *c, struct errinfo *info)
{
    struct keystore_key key = {0};
    char secret[KEYSTORE_SECRET + 1];
    TRY(cmd_keys_find(s, c, &key, info));
    if (c->expires_days != CMD_KEYS_ABSENT) { /* else a full disk keeps nobody from it */
        TRY(cmd_keys_patch(s, c, &key, info));
    }
    TRY(keystore_renew(s, key.id, storeaccess_now(), &key, secret, info));
    err e = cmd_keys_show(c, &key, secret, info);
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
    TRY(keystore_get(s, key.id, &key, info)); /* none that is damaged */
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

/* ---- Which of these. ---- */

/* Nothing that was given is passed over. */
static err cmd_keys_surplus(const struct cmd_keys *c, int action, struct errinfo *info)
{
    const struct {
        bool given;
        unsigned kind;
        const char *option;
    } all[] = {
        {c->name, CMD_KEYS_FIELDS, "--name"},
        {c->scopes.n > 0, CMD_KEYS_FIELDS, "--scope"},
        {c->rpm != CMD_KEYS_ABSENT, CMD_KEYS_FIELDS, "--rpm"},
        {c->tokens_per_day != CMD_KEYS_ABSENT, CMD_KEYS_FIELDS, "--tokens-per-day"},
        {c->concurrent != CMD_KEYS_ABSENT, CMD_KEYS_FIELDS, "--concurrent"},
        {c->balance, CMD_KEYS_FIELDS, "--balance"},
        {c->expires_days != CMD_KEYS_ABSENT, CMD_KEYS_END, "--expires-days"},
    };
    const char *word = cmd_keys_actions[action].word;
    unsigned takes = cmd_keys_actions[action].takes;
    bool any = false;
    if (c->id && !(takes & CMD_KEYS_ID)) {
        return err_set(info, ERR_ARGUMENT, "%s takes no \"%.40s\"%s", word, c->id,
                       action == CMD_KEYS_CREATE ? "; the new key's name goes with --name" : "");
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        any = any || all[i].given;
        if (all[i].given && !(takes & all[i].kind)) {
            return err_set(info, ERR_ARGUMENT, "%s takes no %s; of a key that is there it is set by "
                           "`fathom keys change NAME`", word, all[i].option);
        }
    }
    return any || action != CMD_KEYS_CHANGE
               ? ERR_OK
               : err_set(info, ERR_ARGUMENT, "change what? `fathom keys change NAME --rpm 60` for example");
}

static err cmd_keys_act(const struct cmd_keys *c, int action, struct database *d, struct keystore *s,
                        struct errinfo *info)
{
    switch (action) {
    case CMD_KEYS_CREATE: return cmd_keys_create(s, c, info);
    case CMD_KEYS_CHANGE: return cmd_keys_change(s, c, info);
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
    while (c->action && action < CMD_KEYS_ACTIONS && strcmp(c->action, cmd_keys_actions[action].word) != 0) {
        action++;
    }
    if (action == CMD_KEYS_ACTIONS) {
        return err_set(info, ERR_ARGUMENT,
                       "\"%.40s\" is nothing to do with keys: list, create, change, renew, revoke, adopt "
                       "or passphrase",
                       c->action);
    }
    TRY(cmd_keys_surplus(c, action, info));
    TRY(cmd_keys_check_name(c, info));
    TRY(cmd_keys_check_scopes(&c->scopes, info));
    TRY(cmd_keys_check_balance(c, info));
    TRY(cmd_keys_actions[action].takes & CMD_KEYS_NEW ? storeaccess_open(c->data, &d, info)
                                                      : storeaccess_look(c->data, &d, info));
    err e = keystore_open(d, &s, info);
    e = e == ERR_OK ? cmd_keys_act(c, action, d, s, info) : e;
    keystore_close(s);
    database_close(d);
    return e;
}

int cmd_keys(int argc, char **argv)
{
    struct cmd_keys c = {.rpm = CMD_KEYS_ABSENT,
                         .tokens_per_day = CMD_KEYS_ABSENT,
                         .concurrent = CMD_KEYS_ABSENT,
                         .expires_days = CMD_KEYS_ABSENT};
    const struct options_row rows[] = {
        options_operand(
            "ACTION", &c.action,
            "list (the default); create; change: its name, scopes, limits, balance, end; renew: a new key "
            "for the same owner, the old one void at once; revoke; adopt: give the key the chats made "
            "without any (the server stopped); passphrase: change what opens the data"),
        options_operand("ID", &c.id, "of change, renew, revoke, adopt: the key, by name, by id or by the "
                                     "id's first 8 digits"),
        options_string("name", "NAME", &c.name, "create, change: what it is for"),
        options_each(
            "scope", "SCOPE", &c.scopes,
            "create, change: chat (the default), admin (keys and everybody's usage; not chat), metrics"),
        options_size("rpm", "N", 0, 1000000, &c.rpm, "create, change: requests per minute (0: no limit)"),
        options_size("tokens-per-day", "N", 0, (size_t)1 << 50, &c.tokens_per_day,
                     "create, change: prompt and answer tokens of a day, UTC (0: no limit)"),
        options_size("concurrent", "N", 0, 10000, &c.concurrent,
                     "create, change: answers at a time, each choice of a request one (0: no limit)"),
        options_string("balance", "AMOUNT", &c.balance,
                       "create, change: what may be spent, like 12.50, or none: no limit; prices are those "
                       "of serve --prices"),
        options_size("expires-days", "N", 0, 36500, &c.expires_days,
                     "create, change, renew: good for N days (0: for ever)"),
        options_string("data", "DIR", &c.data,
                       "the folder of the server's data (~/.local/share/fathom/store)"),
        options_flag("json", &c.json, "one JSON document on stdout"),
    };
    const struct options spec = {
        "keys", "API keys of the server", rows, sizeof rows / sizeof *rows,
        "  fathom keys create --name laptop\n"
        "  fathom keys create --name ci --rpm 60 --tokens-per-day 1000000 --expires-days 90\n"
        "  fathom keys create --name boss --scope chat --scope admin\n"
        "  fathom keys change laptop --rpm 120 --balance 20\n"
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
