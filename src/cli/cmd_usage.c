/* cli/cmd_usage.c: `fathom usage`: what the server was asked: requests, tokens and cost by day, key and model.
 */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/barchart.h"
#include "cli/options.h"
#include "cli/storeaccess.h"
#include "cli/verbs.h"
#include "server/keystore.h"
#include "server/money.h"
#include "server/usagestore.h"

enum { CMD_USAGE_DAYS = 30, CMD_USAGE_BAR = 24 /* columns */ };

/* One line of a table: a day, a key, a model, or all. */
struct cmd_usage_line {
    char label[VAULT_ID + 8];
    int64_t requests, prompt, cached, completion, cost;
};

struct cmd_usage_table {
    struct cmd_usage_line *lines;
    size_t n;
};

static int64_t cmd_usage_count(const json_t *row, const char *field)
{
    return json_integer_value(json_object_get(row, field));
}

/* Adds a row of the report to the line of its `field` (of that text), which comes to the end if it is new. */
static err cmd_usage_add(struct cmd_usage_table *t, const json_t *row, const char *field, struct errinfo *info)
{
    const char *label = json_string_value(json_object_get(row, field));
    const char *cost = json_string_value(json_object_get(row, "cost"));
    int64_t amount = 0;
    size_t at = 0;
    while (at < t->n && strncmp(t->lines[at].label, label, sizeof t->lines[at].label - 1) != 0) {
        at++;
    }
    if (at == t->n) {
        struct cmd_usage_line *more = mem_resize(t->lines, t->n + 1, sizeof *more);
        if (!more) {
            return err_set(info, ERR_NOMEM, "out of memory for the usage");
        }
        t->lines = more;
        t->lines[t->n] = (struct cmd_usage_line){0};
        strncpy(t->lines[t->n++].label, label, sizeof more->label - 1);
    }
    struct cmd_usage_line *l = &t->lines[at];
    l->requests += cmd_usage_count(row, "requests");
    l->prompt += cmd_usage_count(row, "prompt_tokens");
    l->cached += cmd_usage_count(row, "cached_tokens");
    l->completion += cmd_usage_count(row, "completion_tokens");
    l->cost += money_parse(cost, &amount) ? amount : 0;
    return ERR_OK;
}

/* A key is told by its name, where it has one. */
static void cmd_usage_name(struct keystore *keys, struct cmd_usage_line *l)
{
    struct keystore_key k;
    if (keystore_get(keys, l->label, &k, NULL) == ERR_OK) {
        snprintf(l->label, sizeof l->label, "%.32s", k.name);
    }
}

/* `currency` NULL: nothing cost anything, so there is no column for it. */
static void cmd_usage_print(struct cmd_usage_table *t, const char *heading, const char *currency)
{
    double most = 0;
    int width = currency ? 14 : 0;
    for (size_t i = 0; i < t->n; i++) {
        double tokens = (double)(t->lines[i].prompt + t->lines[i].completion);
        most = tokens > most ? tokens : most;
    }
    printf("%-32s  %9s  %13s  %13s  %13s  %*s\n", heading, "requests", "prompt", "cached", "completion",
           width, currency ? currency : "");
    for (size_t i = 0; i < t->n; i++) {
        struct cmd_usage_line *l = &t->lines[i];
        char money[MONEY_TEXT], bar[BARCHART_LINE];
        err_clean(l->label);
        printf("%-32.32s  %9" PRId64 "  %13" PRId64 "  %13" PRId64 "  %13" PRId64 "  %*s  %s\n", l->label,
               l->requests, l->prompt, l->cached, l->completion, width,
               currency ? money_text(l->cost, money) : "",
               barchart_line((double)(l->prompt + l->completion), most, CMD_USAGE_BAR, bar));
    }
    putchar('\n');
}

/* A table of the report's `rows` by `field`. */
static err cmd_usage_table(const json_t *rows, const char *field, const char *heading, const char *currency,
                           struct keystore *keys, struct errinfo *info)
{
    struct cmd_usage_table t = {0};
    err e = ERR_OK;
    for (size_t i = 0; i < json_array_size(rows) && e == ERR_OK; i++) {
        e = cmd_usage_add(&t, json_array_get(rows, i), field, info);
    }
    for (size_t i = 0; keys && i < t.n; i++) {
        cmd_usage_name(keys, &t.lines[i]);
    }
    if (e == ERR_OK) {
        cmd_usage_print(&t, heading, currency);
    }
    mem_free(t.lines);
    return e;
}

static err cmd_usage_tables(const json_t *report, struct keystore *keys, struct errinfo *info)
{
    const json_t *days = json_object_get(report, "days"), *totals = json_object_get(report, "totals");
    const char *cost = json_string_value(json_object_get(totals, "cost"));
    const char *currency = json_string_value(json_object_get(report, "currency"));
    currency = strcmp(cost, "0") == 0 ? NULL : currency;
    if (json_array_size(days) == 0) {
        fputs("nothing was asked in these days\n", stderr);
        return ERR_OK;
    }
    TRY(cmd_usage_table(days, "day", "day (UTC)", currency, NULL, info));
    TRY(cmd_usage_table(days, "key", "key", currency, keys, info));
    TRY(cmd_usage_table(json_object_get(report, "models"), "model", "model", currency, NULL, info));
    printf("in all: %" PRId64 " requests, %" PRId64 " prompt tokens (%" PRId64
           " of them out of the cache), %" PRId64 " completion tokens",
           cmd_usage_count(totals, "requests"), cmd_usage_count(totals, "prompt_tokens"),
           cmd_usage_count(totals, "cached_tokens"), cmd_usage_count(totals, "completion_tokens"));
    if (currency) {
        printf(", %s %s", cost, currency);
    }
    putchar('\n');
    return ERR_OK;
}

static err cmd_usage_show(const json_t *report, struct keystore *keys, bool json, struct errinfo *info)
{
    if (!json) {
        return cmd_usage_tables(report, keys, info);
    }
    char *text = json_text_dup(report, JSON_INDENT(2));
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory printing the usage");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

/* Whose usage `word` means: a key's, by id or name, or that of no key. */
static err cmd_usage_key(struct keystore *keys, const char *word, struct keystore_key *of,
                         const char **out, struct errinfo *info)
{
    *out = word;
    if (!word || strcmp(word, "local") == 0) {
        return ERR_OK;
    }
    TRY(keystore_named(keys, word, storeaccess_now(), of, info));
    *out = of->id;
    return ERR_OK;
}

static err cmd_usage_do(const char *data, const char *key, size_t days, bool json, struct errinfo *info)
{
    struct database *d = NULL;
    struct keystore *keys = NULL;
    struct usagestore *usage = NULL;
    json_t *report = NULL;
    int64_t today = usagestore_day(storeaccess_now());
    struct usagestore_query query = {NULL, today - (int64_t)days + 1, today};
    struct keystore_key of;
    err e = storeaccess_look(data, &d, info);
    e = e == ERR_OK ? keystore_open(d, &keys, info) : e;
    e = e == ERR_OK ? cmd_usage_key(keys, key, &of, &query.key, info) : e;
    e = e == ERR_OK ? usagestore_open(d, NULL, &usage, info) : e;
    e = e == ERR_OK ? usagestore_report(usage, &query, &report, info) : e;
    e = e == ERR_OK ? cmd_usage_show(report, keys, json, info) : e;
    json_decref(report);
    usagestore_close(usage);
    keystore_close(keys);
    database_close(d);
    return e;
}

int cmd_usage(int argc, char **argv)
{
    const char *key = NULL, *data = NULL;
    size_t days = CMD_USAGE_DAYS;
    bool json = false;
    const struct options_row rows[] = {
        options_size("days", "N", 1, 36500, &days, "the last N days, today's with them (30)"),
        options_string("key", "ID", &key,
                       "of this key alone, by id or name; \"local\": asked without a key"),
        options_string("data", "DIR", &data,
                       "the folder of the server's data (~/.local/share/fathom/store)"),
        options_flag("json", &json, "one JSON document on stdout"),
    };
    const struct options spec = {"usage", "what the server was asked, and what it cost", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom usage --days 7\n"
                                 "  fathom usage --key 0123456789abcdef0123456789abcdef --json\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    return cmd_usage_do(data, key, days, json, &info) == ERR_OK ? 0 : options_fail(&spec, &info);
}
