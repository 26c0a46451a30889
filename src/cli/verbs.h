/* cli/verbs.h: the table of verbs. A new verb is one file cmd_NAME.c with `int cmd_NAME(int, char **)`,
 * one line below and one row in verbs.c.
 *
 * A verb gets argv with argv[0] = its name, parses it with options_begin, prints results on stdout and
 * everything else on stderr, and returns the exit code: 0 done, 1 the work failed, 2 wrong usage, 130
 * stopped by Ctrl-C. */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include <stddef.h>
#include <stdio.h>

int cmd_chat(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_usage(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_tokenizer(int argc, char **argv);
int cmd_data(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_help(int argc, char **argv);

struct verbs_row {
    const char *name;
    const char *summary; /* one line for `fathom --help` */
    int (*run)(int argc, char **argv);
};

size_t verbs_count(void);
const struct verbs_row *verbs_at(size_t i);
const struct verbs_row *verbs_find(const char *name); /* NULL when there is none */

/* The program's own manual. */
void verbs_help(FILE *to);

/* The whole program after its libraries are set up: argv as main gets it. */
int verbs_main(int argc, char **argv);

#endif
