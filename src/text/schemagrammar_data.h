/* text/schemagrammar_data.h: what the schemagrammar*.c files share, and how toolgrammar.c
 * puts several schemas into one grammar. An expression is GBNF that can
 * stand anywhere in a sequence: one element, or several in parentheses. */
#ifndef TEXT_SCHEMAGRAMMAR_DATA_H
#define TEXT_SCHEMAGRAMMAR_DATA_H

#include "base/strbuf.h"
#include "text/schemagrammar.h"

struct schemagrammar {
    const json_t *root;
    json_t *refs;        /* rule numbers by JSON pointer; owned */
    struct strbuf rules; /* finished ones */
    struct strbuf path;  /* JSON pointer of where we are */
    unsigned n_rules, n_refs;
    size_t depth, visits, merges;
    struct errinfo *info;
};

/* From here on $ref names parts of `root`, which is borrowed. Rules made so far stay. */
ERR_MUST_USE err schemagrammar_begin(struct schemagrammar *s, const json_t *root);
/* Behind the expression of `root`: all rules. */
ERR_MUST_USE err schemagrammar_end(struct schemagrammar *s, struct strbuf *text);
void schemagrammar_deinit(struct schemagrammar *s); /* a zeroed struct is fine */

/* ERR_UNSUPPORTED or ERR_ARGUMENT with the pointer in front. */
ERR_MUST_USE err schemagrammar_refuse(struct schemagrammar *s, err code, const char *fmt, ...)
    ERR_PRINTF(3, 4);
/* One step down; *back is for schemagrammar_leave. */
ERR_MUST_USE err schemagrammar_enter(struct schemagrammar *s, const char *key, size_t *back);
void schemagrammar_leave(struct schemagrammar *s, size_t back);
/* A rule of its own with this body; its name goes to `out`. */
ERR_MUST_USE err schemagrammar_rule(struct schemagrammar *s, const struct strbuf *body,
                                    struct strbuf *out);
/* The text of a value as a literal. */
ERR_MUST_USE err schemagrammar_literal(const json_t *value, struct strbuf *out);
/* schema[key] as a count; `absent` when it is not there. */
ERR_MUST_USE err schemagrammar_count(struct schemagrammar *s, const json_t *schema, const char *key,
                                     size_t absent, size_t *out);
/* The expression of any schema. */
ERR_MUST_USE err schemagrammar_visit(struct schemagrammar *s, const json_t *schema,
                                     struct strbuf *out);

/* One kind of value each: schemagrammar_object.c, _array.c, _string.c, _number.c. */
ERR_MUST_USE err schemagrammar_object(struct schemagrammar *s, const json_t *schema,
                                      struct strbuf *out);
ERR_MUST_USE err schemagrammar_array(struct schemagrammar *s, const json_t *schema,
                                     struct strbuf *out);
ERR_MUST_USE err schemagrammar_string(struct schemagrammar *s, const json_t *schema,
                                      struct strbuf *out);
ERR_MUST_USE err schemagrammar_number(struct schemagrammar *s, const json_t *schema, bool whole,
                                      struct strbuf *out);
ERR_MUST_USE err schemagrammar_pattern(struct schemagrammar *s, const char *pattern,
                                       struct strbuf *out);

/* ---- schemagrammar_merge.c: several schemas that all hold, as one ---- */

/* What a $ref names; borrowed. */
ERR_MUST_USE err schemagrammar_merge_find(struct schemagrammar *s, const char *ref,
                                          const json_t **out);
/* New references. */
ERR_MUST_USE err schemagrammar_merge(struct schemagrammar *s, const json_t *a, const json_t *b,
                                     json_t **out);
/* The schema without $ref and allOf at its top. */
ERR_MUST_USE err schemagrammar_merge_flat(struct schemagrammar *s, const json_t *schema,
                                          json_t **out);
/* Can no value match both? False when that is not plain to see. */
ERR_MUST_USE err schemagrammar_merge_apart(struct schemagrammar *s, const json_t *a,
                                           const json_t *b, bool *yes);

/* ---- schemagrammar_keywords.c ---- */

enum { /* kinds of values; a whole number is a number */
       SCHEMAGRAMMAR_NULL = 1,
       SCHEMAGRAMMAR_BOOLEAN = 2,
       SCHEMAGRAMMAR_INTEGER = 4,
       SCHEMAGRAMMAR_FRACTION = 8,
       SCHEMAGRAMMAR_NUMBER = 12,
       SCHEMAGRAMMAR_STRING = 16,
       SCHEMAGRAMMAR_ARRAY = 32,
       SCHEMAGRAMMAR_OBJECT = 64,
       SCHEMAGRAMMAR_ANY = 127,
};
/* True for what says nothing about validity. */
bool schemagrammar_keywords_annotation(const char *key);
/* ERR_UNSUPPORTED for a keyword that is not known, and for a $id anywhere but at the root: */
ERR_MUST_USE err schemagrammar_keywords_check(struct schemagrammar *s, const json_t *schema);
err schemagrammar_keywords_id(struct schemagrammar *s); /* which this says */
/* The kinds of value a schema is about: `type`, else those its keywords speak of, else all. */
ERR_MUST_USE err schemagrammar_keywords_kinds(struct schemagrammar *s, const json_t *schema,
                                              unsigned *out);
unsigned schemagrammar_keywords_kind_of(const json_t *value);
/* Equal as JSON schemas have it: 1 and 1.0 are, inside lists and objects too. */
bool schemagrammar_keywords_same(const json_t *a, const json_t *b);

#endif
