/* text/grammar.h: what a text may look like, in the notation of llama.cpp's grammars (GBNF):
 *
 *     root  ::= "yes" | "no" tail?      # a comment
 *     tail  ::= ", " [^\n"]{1,40} .     # classes, repetition: * + ? {m} {m,} {m,n}
 *
 * A rule ends with its line, except inside parentheses, after "::=" and "|", and before a line that begins
 * with "|". Escapes: \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH; classes know ranges and [^…]; "." is
 * any character. The text must match `root` from its beginning to its end. <[7]> is the token of that id,
 * one that marks something rather than a piece of text: its spelling in letters does not match.
 *
 * A grammar is compiled to steps over bytes, a character being the bytes of its UTF-8 form, so that a
 * text may be cut anywhere, inside characters too. How it is matched: text/grammarstates.h. Immutable
 * after creation; thread-safe. */
#ifndef TEXT_GRAMMAR_H
#define TEXT_GRAMMAR_H

#include <stddef.h>

#include "base/err.h"

struct grammar;

/* Caps. Steps are what a grammar is compiled to: one for each byte of a literal, about 25 for [^"], two for
 * each time that {m,n} allows. */
enum {
    GRAMMAR_TEXT_MAX = 8 << 20,
    GRAMMAR_STEPS_MAX = 1 << 20,
    GRAMMAR_REPEAT_MAX = 1 << 16, /* in {m,n} */
    GRAMMAR_DEPTH_MAX = 128,      /* groups in groups */
    GRAMMAR_TOKENS_MAX = 8,       /* different ones in <[…]> */
};

/* ERR_ARGUMENT with line, column, what was found and what was expected; so for what can never match: a
 * rule without a definition, one that calls itself before any character (left recursion) and one that
 * has no end. ERR_LIMIT names the cap. */
ERR_MUST_USE err grammar_new(const char *text, size_t len, struct grammar **out, struct errinfo *info);
void grammar_free(struct grammar *g); /* NULL is fine */

#endif
