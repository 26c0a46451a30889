/* cli/terminaltext.h: text that a model made, on a terminal while it comes: control characters defused, words
 * kept whole at the edge. To what is no terminal it goes as it is. One thread at a time. */
#ifndef CLI_TERMINALTEXT_H
#define CLI_TERMINALTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TERMINALTEXT_WORD = 256 };

/* `columns` 0: unknown, or no escape sequences are wanted; nothing is wrapped then. A word is shown as it
 * comes; when it would cross the edge, its beginning is taken back and it goes on in the next line. */
struct terminaltext {
    FILE *to;
    bool terminal;
    size_t columns, column;
    size_t word_columns, word_len; /* of the word that is being written */
    char word[TERMINALTEXT_WORD];
};

/* At the beginning of a line of `to`, which may be NULL and must outlive it. */
struct terminaltext terminaltext_new(FILE *to);

/* Whole characters of UTF-8; bytes that are none pass. Does not flush. */
void terminaltext_print(struct terminaltext *t, const char *text, size_t len);

#endif
