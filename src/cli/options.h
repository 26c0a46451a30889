/* cli/options.h: the one command-line parser. A verb describes its options in a table of rows that
 * point at its variables; the same table checks the arguments and prints `--help`.
 *
 *     const char *model = NULL;
 *     size_t max_tokens = 256;
 *     bool json = false;
 *     const struct options_row rows[] = {
 *         options_operand("MODEL", &model, "a .gguf file, a folder, a name; else the default"),
 *         options_size("max-tokens", "N", 1, 1 << 20, &max_tokens, "stop after N tokens (256)"),
 *         options_flag("json", &json, "one JSON document on stdout"),
 *     };
 *     const struct options spec = {"run", "answer one prompt", rows, sizeof rows / sizeof *rows, NULL};
 *     int status;
 *     if (!options_begin(&spec, argc, argv, &status)) { return status; }
 *
 * Variables hold their defaults before and keep them when the option is absent. `--name value` and
 * `--name=value` are the same; `--` ends the options; a lone `-` is an operand. Refused: unknown
 * names, an option given twice (unless it is a list), a missing value, trailing garbage, NaN, numbers
 * out of range. Strings are borrowed from argv. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum { OPTIONS_ROWS_MAX = 64, OPTIONS_LIST_MAX = 64 };

/* A repeatable option: `--stop A --stop B`. */
struct options_list {
    const char *items[OPTIONS_LIST_MAX];
    size_t n;
};

enum options_type {
    OPTIONS_OPERAND,  /* a word without dashes, by position; may be left out */
    OPTIONS_REQUIRED, /* an operand that must be there */
    OPTIONS_FLAG,
    OPTIONS_INT,
    OPTIONS_SIZE,
    OPTIONS_FLOAT,
    OPTIONS_STRING,
    OPTIONS_CHOICE,
    OPTIONS_LIST,
};

struct options_row {
    enum options_type type;
    const char *name;  /* without dashes; for operands what --help calls them */
    const char *value; /* what --help calls the value: "N", "FILE" … */
    const char *help;
    union {
        bool *flag;
        int64_t *integer;
        size_t *size;
        double *real;
        const char **string;
        int *choice; /* index into choices */
        struct options_list *list;
    } out;
    union { /* inclusive range of a number */
        struct {
            int64_t min, max;
        } integer;
        struct {
            size_t min, max;
        } size;
        struct {
            double min, max;
        } real;
        const char *const *choices; /* NULL-terminated */
    } in;
};

struct options {
    const char *verb;
    const char *summary; /* one line, lower case, no full stop */
    const struct options_row *rows;
    size_t n_rows;
    const char *examples; /* lines shown at the end of --help; NULL when there are none */
};

static inline struct options_row options_operand(const char *name, const char **out,
                                                 const char *help)
{
    return (struct options_row){OPTIONS_OPERAND, name, NULL, help, {.string = out}, {{0, 0}}};
}

static inline struct options_row options_required(const char *name, const char **out,
                                                  const char *help)
{
    return (struct options_row){OPTIONS_REQUIRED, name, NULL, help, {.string = out}, {{0, 0}}};
}

static inline struct options_row options_flag(const char *name, bool *out, const char *help)
{
    return (struct options_row){OPTIONS_FLAG, name, NULL, help, {.flag = out}, {{0, 0}}};
}

static inline struct options_row options_int(const char *name, const char *value, int64_t min,
                                             int64_t max, int64_t *out, const char *help)
{
    return (struct options_row){
        OPTIONS_INT, name, value, help, {.integer = out}, {.integer = {min, max}}};
}

static inline struct options_row options_size(const char *name, const char *value, size_t min,
                                              size_t max, size_t *out, const char *help)
{
    return (struct options_row){OPTIONS_SIZE, name, value, help, {.size = out}, {.size = {min, max}}};
}

static inline struct options_row options_float(const char *name, const char *value, double min,
                                               double max, double *out, const char *help)
{
    return (struct options_row){OPTIONS_FLOAT, name, value, help, {.real = out}, {.real = {min, max}}};
}

static inline struct options_row options_string(const char *name, const char *value,
                                                const char **out, const char *help)
{
    return (struct options_row){OPTIONS_STRING, name, value, help, {.string = out}, {{0, 0}}};
}

/* One word of `choices`; *out becomes its index. */
static inline struct options_row options_choice(const char *name, const char *value,
                                                const char *const *choices, int *out,
                                                const char *help)
{
    return (struct options_row){
        OPTIONS_CHOICE, name, value, help, {.choice = out}, {.choices = choices}};
}

static inline struct options_row options_each(const char *name, const char *value,
                                              struct options_list *out, const char *help)
{
    return (struct options_row){OPTIONS_LIST, name, value, help, {.list = out}, {{0, 0}}};
}

/* Reads argv[1 …] into the rows' variables. ERR_ARGUMENT with a message that names the option, what
 * was found and what is accepted; ERR_CANCELLED when --help or -h was met before any mistake. On
 * error some variables may already be set. */
ERR_MUST_USE err options_parse(const struct options *spec, int argc, char **argv,
                               struct errinfo *info);

/* Prints the verb's manual made from its table. */
void options_help(const struct options *spec, FILE *to);

/* What a verb calls first: parses, and on --help or a mistake prints, sets *status (0 or 2) and
 * returns false. */
bool options_begin(const struct options *spec, int argc, char **argv, int *status);

/* What a verb ends with when its work failed: prints "fathom VERB: message" on stderr and returns the
 * exit code: 2 for ERR_ARGUMENT, OPTIONS_STOPPED after Ctrl-C as shells expect it, else 1. */
enum { OPTIONS_STOPPED = 130 };
int options_fail(const struct options *spec, const struct errinfo *info);

/* The value of --`option`, "1,2,3" (spaces allowed) → a list the caller frees with mem_free. ERR_ARGUMENT
 * that names the option and the piece for anything else. */
ERR_MUST_USE err options_ids(const char *option, const char *text, int32_t **out, size_t *n,
                             struct errinfo *info);

#endif
