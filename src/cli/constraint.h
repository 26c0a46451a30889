/* cli/constraint.h: what an answer must look like: a grammar, a JSON schema, or any JSON object. */
#ifndef CLI_CONSTRAINT_H
#define CLI_CONSTRAINT_H

#include "cli/options.h"
#include "text/grammarmask.h"

struct constraint {
    const char *grammar_file, *schema_file;
    bool json_object;
    /* Owned; NULL until constraint_open. */
    struct grammar *grammar;
    struct tokentrie *trie;
    struct grammarmask *mask; /* for generate_options; NULL: anything may come */
};

/* --grammar, --json-schema and --json-object; appends to rows[*n] and advances *n. */
enum { CONSTRAINT_ROWS = 3 };
void constraint_rows(struct constraint *c, struct options_row *rows, size_t *n);

/* Reads what was asked for, if anything was; before the model is opened, so that mistakes show at once. */
ERR_MUST_USE err constraint_read(struct constraint *c, struct errinfo *info);
/* For this vocabulary. `thinking`: the answer begins behind </think>. */
ERR_MUST_USE err constraint_open(struct constraint *c, const struct tokenizer *t, bool thinking,
                                 struct errinfo *info);
void constraint_close(struct constraint *c); /* a zeroed struct is fine */

#endif
