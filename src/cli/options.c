/* cli/options.c: see options.h. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "cli/interrupt.h"
#include "cli/suggest.h"

static bool options_is_operand(const struct options_row *row)
{
    return row->type == OPTIONS_OPERAND || row->type == OPTIONS_REQUIRED;
}

/* The option called `name` (n bytes long), or NULL. */
static const struct options_row *options_named(const struct options *spec, const char *name,
                                               size_t n)
{
    for (size_t i = 0; i < spec->n_rows; i++) {
        const struct options_row *row = &spec->rows[i];
        if (!options_is_operand(row) && strlen(row->name) == n && memcmp(row->name, name, n) == 0) {
            return row;
        }
    }
    return NULL;
}

/* The same, with a suggestion in info. */
static const struct options_row *options_find(const struct options *spec, const char *name, size_t n,
                                              struct errinfo *info)
{
    const char *names[OPTIONS_ROWS_MAX + 1] = {"help"};
    const struct options_row *row = options_named(spec, name, n);
    size_t n_names = 1;
    if (row) {
        return row;
    }
    for (size_t i = 0; i < spec->n_rows; i++) {
        if (!options_is_operand(&spec->rows[i])) {
            names[n_names++] = spec->rows[i].name; /* options_parse has counted them */
        }
    }
    char word[SUGGEST_WORD_MAX + 1];
    snprintf(word, sizeof word, "%.*s", n < sizeof word ? (int)n : (int)sizeof word - 1, name);
    for (size_t i = 0; i < spec->n_rows; i++) {
        if (options_is_operand(&spec->rows[i]) && strcasecmp(spec->rows[i].name, word) == 0) {
            err_set(info, ERR_ARGUMENT, "unknown option --%s; %s is said without it: fathom %s %s", word,
                    spec->rows[i].name, spec->verb, spec->rows[i].name);
            return NULL;
        }
    }
    const char *near = suggest_nearest(word, names, n_names);
    err_set(info, ERR_ARGUMENT, "unknown option --%s%s%s%s", word, near ? "; did you mean --" : "",
            near ? near : "", near ? "?" : "");
    return NULL;
}

/* Digits must follow at once: no spaces, no second sign, nothing after the number. */
static bool options_starts_number(const char *text)
{
    if (*text == '-' || *text == '+') {
        text++;
    }
    return isdigit((unsigned char)*text) || (*text == '.' && isdigit((unsigned char)text[1]));
}

static err options_set_int(const struct options_row *row, const char *text, struct errinfo *info)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    int64_t min = row->in.integer.min;
    int64_t max = row->in.integer.max;
    if (!options_starts_number(text) || *end || errno || v < min || v > max) {
        return err_set(info, ERR_ARGUMENT,
                       "--%s needs a whole number from %" PRId64 " to %" PRId64 ", got \"%s\"",
                       row->name, min, max, text);
    }
    *row->out.integer = v;
    return ERR_OK;
}

static err options_set_size(const struct options_row *row, const char *text, struct errinfo *info)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    size_t min = row->in.size.min;
    size_t max = row->in.size.max;
    if (!isdigit((unsigned char)*text) || *end || errno || v < min || v > max) {
        return err_set(info, ERR_ARGUMENT, "--%s needs a whole number from %zu to %zu, got \"%s\"",
                       row->name, min, max, text);
    }
    *row->out.size = v;
    return ERR_OK;
}

static err options_set_float(const struct options_row *row, const char *text, struct errinfo *info)
{
    char *end;
    double v = strtod(text, &end);
    double min = row->in.real.min;
    double max = row->in.real.max;
    if (!options_starts_number(text) || *end || !(v >= min && v <= max)) {
        return err_set(info, ERR_ARGUMENT, "--%s needs a number from %g to %g, got \"%s\"", row->name,
                       min, max, text);
    }
    *row->out.real = v;
    return ERR_OK;
}

static err options_set_choice(const struct options_row *row, const char *text, struct errinfo *info)
{
    char list[512];
    size_t used = 0, n_choices = 0;
    list[0] = '\0';
    for (int i = 0; row->in.choices[i]; i++, n_choices++) {
        if (strcasecmp(text, row->in.choices[i]) == 0) {
            *row->out.choice = i;
            return ERR_OK;
        }
        int n = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", row->in.choices[i]);
        used += (size_t)n < sizeof list - used ? (size_t)n : sizeof list - used - 1;
    }
    const char *near = suggest_nearest(text, row->in.choices, n_choices);
    return err_set(info, ERR_ARGUMENT, "--%s needs one of %s, got \"%s\"%s%s%s", row->name, list, text,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static err options_set(const struct options_row *row, const char *text, struct errinfo *info)
{
    switch (row->type) {
    case OPTIONS_INT: return options_set_int(row, text, info);
    case OPTIONS_SIZE: return options_set_size(row, text, info);
    case OPTIONS_FLOAT: return options_set_float(row, text, info);
    case OPTIONS_CHOICE: return options_set_choice(row, text, info);
    case OPTIONS_LIST:
        if (row->out.list->n == OPTIONS_LIST_MAX) {
            return err_set(info, ERR_ARGUMENT, "--%s may be given at most %d times", row->name,
                           OPTIONS_LIST_MAX);
        }
        row->out.list->items[row->out.list->n++] = text;
        return ERR_OK;
    case OPTIONS_OPERAND:
    case OPTIONS_REQUIRED:
    case OPTIONS_STRING: *row->out.string = text; return ERR_OK;
    case OPTIONS_FLAG: *row->out.flag = true; return ERR_OK;
    }
    return ERR_OK;
}

/* One `--name`, `--name value` or `--name=value` at argv[*i]; steps over what it used. */
static err options_long(const struct options *spec, int argc, char **argv, int *i, bool *seen,
                        struct errinfo *info)
{
    const char *name = argv[*i] + 2;
    const char *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const struct options_row *row = options_find(spec, name, n, info);
    if (!row) {
        return ERR_ARGUMENT;
    }
    if (seen[row - spec->rows] && row->type != OPTIONS_LIST) {
        return err_set(info, ERR_ARGUMENT, "--%s is given twice; say it once", row->name);
    }
    seen[row - spec->rows] = true;
    if (row->type == OPTIONS_FLAG) {
        if (equals) {
            return err_set(info, ERR_ARGUMENT, "--%s takes no value, got \"%s\"", row->name,
                           equals + 1);
        }
        return options_set(row, "", info);
    }
    if (equals) {
        return options_set(row, equals + 1, info);
    }
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    if (!next || strncmp(next, "--", 2) == 0) {
        return err_set(info, ERR_ARGUMENT, "--%s needs a value: --%s %s%s", row->name, row->name,
                       row->value, next ? " (a value that begins with -- is written with =)" : "");
    }
    (*i)++;
    return options_set(row, next, info);
}

/* The next free operand row takes the word. */
static err options_word(const struct options *spec, const char *word, bool *seen,
                        struct errinfo *info)
{
    for (size_t i = 0; i < spec->n_rows; i++) {
        if (options_is_operand(&spec->rows[i]) && !seen[i]) {
            seen[i] = true;
            return options_set(&spec->rows[i], word, info);
        }
    }
    const struct options_row *text = options_named(spec, "prompt", 6);
    if (text && seen[text - spec->rows]) {
        return err_set(info, ERR_ARGUMENT,
                       "unexpected argument \"%s\"; a text of several words wants quotes: --prompt \"%s …\"",
                       word, *text->out.string);
    }
    return err_set(info, ERR_ARGUMENT,
                   text ? "unexpected argument \"%s\"; text goes with --prompt \"%s\""
                        : "unexpected argument \"%s\"",
                   word, word);
}

err options_parse(const struct options *spec, int argc, char **argv, struct errinfo *info)
{
    bool seen[OPTIONS_ROWS_MAX] = {false};
    bool only_words = false;
    if (spec->n_rows > OPTIONS_ROWS_MAX) {
        return err_set(info, ERR_LIMIT, "%s has more than %d options", spec->verb, OPTIONS_ROWS_MAX);
    }
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (only_words || arg[0] != '-' || arg[1] == '\0') {
            TRY(options_word(spec, arg, seen, info));
        } else if (strcmp(arg, "--") == 0) {
            only_words = true;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            return err_set(info, ERR_CANCELLED, "help was asked for");
        } else if (arg[1] != '-') {
            return err_set(info, ERR_ARGUMENT,
                           "unknown option %s; options are written with two dashes", arg);
        } else {
            TRY(options_long(spec, argc, argv, &i, seen, info));
        }
    }
    for (size_t i = 0; i < spec->n_rows; i++) {
        if (spec->rows[i].type == OPTIONS_REQUIRED && !seen[i]) {
            return err_set(info, ERR_ARGUMENT, "%s is missing: %s", spec->rows[i].name,
                           spec->rows[i].help);
        }
    }
    return ERR_OK;
}

enum { OPTIONS_HELP_COLUMNS = 100, OPTIONS_HELP_LEAST = 30 };

/* Text at column `indent`, broken between words; a word too long for a line stands alone. */
static void options_wrap(const char *text, int indent, FILE *to)
{
    int room = OPTIONS_HELP_COLUMNS - indent;
    room = room > OPTIONS_HELP_LEAST ? room : OPTIONS_HELP_LEAST;
    int used = 0;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (used > 0 && used + 1 + word > room) {
            fprintf(to, "\n%*s", indent, "");
            used = 0;
        }
        used += fprintf(to, "%s%.*s", used ? " " : "", word, text);
        text += word + (text[word] == ' ');
    }
    fputc('\n', to);
}

void options_help(const struct options *spec, FILE *to)
{
    fprintf(to, "fathom %s: %s\n\nusage: fathom %s", spec->verb, spec->summary, spec->verb);
    int width = 6;
    for (size_t i = 0; i < spec->n_rows; i++) {
        const struct options_row *row = &spec->rows[i];
        if (options_is_operand(row)) {
            fprintf(to, row->type == OPTIONS_REQUIRED ? " %s" : " [%s]", row->name);
        }
        int n = (int)strlen(row->name) +
                (options_is_operand(row) ? 0 : 2 + (row->value ? 1 + (int)strlen(row->value) : 0));
        width = n > width ? n : width;
    }
    fputs(" [options]\n\n", to);
    for (size_t i = 0; i < spec->n_rows; i++) {
        const struct options_row *row = &spec->rows[i];
        char left[128];
        if (options_is_operand(row)) {
            snprintf(left, sizeof left, "%s", row->name);
        } else {
            snprintf(left, sizeof left, "--%s%s%s", row->name, row->value ? " " : "",
                     row->value ? row->value : "");
        }
        char help[512];
        snprintf(help, sizeof help, "%s%s", row->help,
                 row->type == OPTIONS_LIST ? "; may be repeated" : "");
        fprintf(to, "  %-*s  ", width, left);
        options_wrap(help, width + 4, to);
    }
    fprintf(to, "  %-*s  %s\n", width, "--help", "this text");
    if (spec->examples) {
        fprintf(to, "\nexamples:\n%s", spec->examples);
    }
}

bool options_begin(const struct options *spec, int argc, char **argv, int *status)
{
    struct errinfo info = {0};
    err e = options_parse(spec, argc, argv, &info);
    if (e == ERR_OK) {
        return true;
    }
    if (e == ERR_CANCELLED) {
        options_help(spec, stdout);
        *status = 0;
        return false;
    }
    fprintf(stderr, "fathom %s: %s\nsee: fathom %s --help\n", spec->verb, info.message, spec->verb);
    *status = 2;
    return false;
}

int options_fail(const struct options *spec, const struct errinfo *info)
{
    fprintf(stderr, "fathom %s: %s\n", spec->verb,
            info->message[0] ? info->message : err_name(info->code));
    if (info->code == ERR_CANCELLED && interrupt_pending()) {
        return OPTIONS_STOPPED;
    }
    return info->code == ERR_ARGUMENT ? 2 : 1;
}

err options_ids(const char *option, const char *text, int32_t **out, size_t *n, struct errinfo *info)
{
    size_t commas = 1;
    for (const char *p = text; *p; p++) {
        commas += *p == ',';
    }
    int32_t *ids = mem_calloc(commas, sizeof *ids);
    if (!ids) {
        return err_set(info, ERR_NOMEM, "--%s: out of memory for %zu numbers", option, commas);
    }
    const char *p = text;
    for (size_t i = 0; i < commas; i++) {
        char *end;
        errno = 0;
        while (*p == ' ') {
            p++;
        }
        long v = isdigit((unsigned char)*p) ? strtol(p, &end, 10) : -1;
        while (v >= 0 && *end == ' ') {
            end++;
        }
        if (v < 0 || errno || v > INT32_MAX || (*end != ',' && *end != '\0')) {
            mem_free(ids);
            int piece = (int)strcspn(p, ",");
            return err_set(info, ERR_ARGUMENT,
                           "--%s: \"%.*s\" is not a whole number from 0 to %d; a list looks like 1,2,3",
                           option, piece < 40 ? piece : 40, p, INT32_MAX);
        }
        ids[i] = (int32_t)v;
        p = end + 1;
    }
    *out = ids;
    *n = commas;
    return ERR_OK;
}
