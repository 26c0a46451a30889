/* text/toolgrammar.h: calls of tools as a grammar: an answer that matches it calls what it may call, written as
 * the chat format writes calls, with arguments that the tool's schema accepts (schemagrammar.h, and what it
 * says of schemas). text/answerparser.h takes such an answer apart.
 *
 * Where the vocabulary has tokens for the format's marks, these tokens are wanted and not their letters. In
 * DSML (V3.2, V4) the parameters come in the schema's order; a string stands as it is unless its length or
 * pattern matters: then it is written as JSON, as everything else. No value holds the mark that ends it, JSON
 * excepted. Beside named parameters there are no others, and a schema of alternatives (anyOf) is refused
 * where it is about the arguments as a whole.
 *
 * A tool without parameters takes none; where the schema says nothing ({"type": "object"}) anything goes. */
#ifndef TEXT_TOOLGRAMMAR_H
#define TEXT_TOOLGRAMMAR_H

#include "text/chat.h"
#include "text/grammar.h"

struct toolgrammar_request {
    const struct chat_tool *tools; /* [n_tools] */
    size_t n_tools;
    const char *only; /* the one that must be called; NULL: any */
    bool may_answer;  /* text may come before the calls, or instead of them; else the answer is calls */
    bool one;         /* not more than one */
};

/* ERR_ARGUMENT for no tools, one by the name of `only` not among them, and a name that no call can spell;
 * ERR_UNSUPPORTED for a format that knows no calls, and as schemagrammar_new; json_parse's for a schema that is
 * no JSON. The tool is named. */
ERR_MUST_USE err toolgrammar_new(const struct tokenizer *t, enum chat_format f,
                                 const struct toolgrammar_request *request, struct grammar **out,
                                 struct errinfo *info);
/* The same as GBNF, to read: owned, mem_free. */
ERR_MUST_USE err toolgrammar_text(const struct tokenizer *t, enum chat_format f,
                                  const struct toolgrammar_request *request, char **out, struct errinfo *info);

#endif
