/* text/toolgrammar_data.h: what toolgrammar.c and toolgrammar_dsml.c share. */
#ifndef TEXT_TOOLGRAMMAR_DATA_H
#define TEXT_TOOLGRAMMAR_DATA_H

#include "text/schemagrammar_data.h"
#include "text/toolgrammar.h"

struct toolgrammar {
    struct schemagrammar schemas; /* its rules are the grammar's */
    const struct tokenizer *t;
    const struct toolgrammar_form *form;
    const struct toolgrammar_request *is;
};

/* Text as it is, as literals. */
ERR_MUST_USE err toolgrammar_literal(const char *text, size_t len, struct strbuf *out);
/* Words of the format: marks in them are tokens where the vocabulary has them. */
ERR_MUST_USE err toolgrammar_words(const struct toolgrammar *g, const char *words, struct strbuf *out);
/* Rules PREFIX0 … for any text in which neither `mark` nor a NUL occurs; it begins with PREFIX0. */
ERR_MUST_USE err toolgrammar_without(struct toolgrammar *g, const char *prefix, const char *mark);

/* ---- toolgrammar_dsml.c ---- */

/* The parameters of a call, for a schema of objects without $ref and allOf at its top. Any text as it stands is
 * the rule of this name and 0, which the caller makes. */
#define TOOLGRAMMAR_RAW "raw"
ERR_MUST_USE err toolgrammar_dsml_parameters(struct toolgrammar *g, const json_t *schema, struct strbuf *out);

#endif
