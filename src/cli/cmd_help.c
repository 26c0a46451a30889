/* cli/cmd_help.c: `fathom help [VERB]`, for those who write it that way round. */
#include "cli/options.h"
#include "cli/verbs.h"

int cmd_help(int argc, char **argv)
{
    const char *name = NULL;
    const struct options_row rows[] = {
        options_operand("VERB", &name, "the verb to explain; without one, the whole program"),
    };
    const struct options spec = {"help", "this text, or the manual of one verb", rows, 1, NULL};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    if (!name) {
        return verbs_main(2, (char *[]){(char[]){"fathom"}, (char[]){"--help"}, NULL});
    }
    const struct verbs_row *verb = verbs_find(name);
    if (!verb) {
        return verbs_main(2, (char *[]){(char[]){"fathom"}, argv[1], NULL});
    }
    return verb->run(2, (char *[]){argv[1], (char[]){"--help"}, NULL});
}
