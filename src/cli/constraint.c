/* cli/constraint.c: see constraint.h. */
#include "cli/constraint.h"

#include "base/file.h"
#include "base/mem.h"
#include "text/chat.h"
#include "text/schemagrammar.h"

void constraint_rows(struct constraint *c, struct options_row *rows, size_t *n)
{
    rows[(*n)++] = options_string("grammar", "FILE", &c->grammar_file,
                                  "the answer matches this grammar (GBNF, as llama.cpp has it)");
    rows[(*n)++] = options_string("json-schema", "FILE", &c->schema_file,
                                  "the answer is JSON that this schema accepts");
    rows[(*n)++] = options_flag("json-object", &c->json_object, "the answer is a JSON object");
}

static err constraint_read_grammar(struct constraint *c, struct errinfo *info)
{
    char *text;
    size_t len;
    TRY(file_read(c->grammar_file, GRAMMAR_TEXT_MAX, &text, &len, info));
    err e = grammar_new(text, len, &c->grammar, info);
    mem_free(text);
    return e == ERR_OK ? ERR_OK : err_prefix(info, e, "%s: ", c->grammar_file);
}

static err constraint_read_schema(struct constraint *c, struct errinfo *info)
{
    json_t *schema;
    TRY(json_parse_file(c->schema_file, GRAMMAR_TEXT_MAX, &schema, info));
    err e = schemagrammar_new(schema, &c->grammar, info);
    json_decref(schema);
    return e == ERR_OK ? ERR_OK : err_prefix(info, e, "%s: ", c->schema_file);
}

err constraint_read(struct constraint *c, struct errinfo *info)
{
    if ((c->grammar_file != NULL) + (c->schema_file != NULL) + c->json_object > 1) {
        return err_set(info, ERR_ARGUMENT, "--grammar, --json-schema and --json-object exclude each other");
    }
    if (c->grammar_file) {
        return constraint_read_grammar(c, info);
    }
    if (c->schema_file) {
        return constraint_read_schema(c, info);
    }
    return c->json_object ? schemagrammar_new(NULL, &c->grammar, info) : ERR_OK;
}

err constraint_open(struct constraint *c, const struct tokenizer *t, bool thinking, struct errinfo *info)
{
    int32_t think[CHAT_THINK_MAX], after = -1;
    if (!c->grammar) {
        return ERR_OK;
    }
    if (!t) {
        return err_set(info, ERR_UNSUPPORTED,
                       "an answer by a grammar needs a tokenizer, and the model's files have none");
    }
    if (thinking && chat_think_ids(t, think) == CHAT_THINK_MAX) {
        after = think[CHAT_THINK_MAX - 1];
    } else if (thinking) {
        return err_set(info, ERR_UNSUPPORTED,
                       "an answer by a grammar after thinking needs a token </think>, which is not here");
    }
    TRY(tokentrie_new(t, &c->trie, info));
    TRY(grammarmask_new(c->grammar, c->trie, &c->mask, info));
    grammarmask_begin(c->mask, after);
    return ERR_OK;
}

void constraint_close(struct constraint *c)
{
    grammarmask_free(c->mask);
    tokentrie_free(c->trie);
    grammar_free(c->grammar);
}
