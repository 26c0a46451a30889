/* cli/terminaltext.c: see terminaltext.h. */
#include "cli/terminaltext.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/terminal.h"

/* What is shown for the next `taken` bytes of a text, and the columns that it takes. */
struct terminaltext_character {
    const char *bytes;
    size_t len, columns, taken;
};

struct terminaltext terminaltext_new(FILE *to)
{
    if (!to) {
        return (struct terminaltext){0};
    }
    return (struct terminaltext){
        .to = to, .terminal = isatty(fileno(to)), .columns = terminal_styled(to) ? terminal_columns(to) : 0};
}

/* C0 except newline and tab, DEL, and C1: they could move the cursor, or worse. */
static bool terminaltext_control(utf8proc_int32_t c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
}

static struct terminaltext_character terminaltext_next(const char *text, size_t len)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &c);
    if (n < 1) {
        return (struct terminaltext_character){text, 1, 0, 1};
    }
    if (terminaltext_control(c)) {
        return (struct terminaltext_character){"\xef\xbf\xbd", 3, 1, (size_t)n};
    }
    return (struct terminaltext_character){text, (size_t)n, (size_t)utf8proc_charwidth(c), (size_t)n};
}

static void terminaltext_break(struct terminaltext *t)
{
    fputc('\n', t->to);
    t->column = t->word_columns = t->word_len = 0;
}

/* The word that reaches the edge goes to the next line, if it began in this one and fits there. */
static void terminaltext_carry(struct terminaltext *t, size_t edge)
{
    size_t columns = t->word_columns, len = t->word_len;
    if (columns == t->column || columns >= edge || len == sizeof t->word) {
        return;
    }
    if (columns > 0) {
        fprintf(t->to, "\033[%zuD\033[K", columns);
    }
    terminaltext_break(t);
    fwrite(t->word, 1, len, t->to);
    t->column = t->word_columns = columns;
    t->word_len = len;
}

/* A character of a word. A terminal wraps by itself what is longer than a line. */
static void terminaltext_letter(struct terminaltext *t, struct terminaltext_character c, size_t edge)
{
    if (t->column + c.columns > edge) {
        terminaltext_carry(t, edge);
    }
    bool full = t->columns > 0 && t->column + c.columns > t->columns;
    t->column = full ? c.columns : t->column + c.columns;
    t->word_columns += c.columns;
    size_t room = sizeof t->word - t->word_len, n = c.len < room ? c.len : room;
    memcpy(t->word + t->word_len, c.bytes, n);
    t->word_len += n;
    fwrite(c.bytes, 1, c.len, t->to);
}

/* Between words: a blank at the edge is the line's end; a wide character is a word of its own. */
static void terminaltext_between(struct terminaltext *t, struct terminaltext_character c, size_t edge)
{
    bool tab = c.bytes[0] == '\t', blank = tab || c.bytes[0] == ' ';
    size_t columns = tab ? 8 - t->column % 8 : c.columns;
    t->word_columns = t->word_len = 0;
    if (t->column + columns > edge) {
        terminaltext_break(t);
        if (blank) {
            return;
        }
    }
    t->column += columns;
    fwrite(c.bytes, 1, c.len, t->to);
}

void terminaltext_print(struct terminaltext *t, const char *text, size_t len)
{
    if (!t->terminal) {
        fwrite(text, 1, len, t->to);
        return;
    }
    size_t edge = t->columns > 1 ? t->columns - 1 : SIZE_MAX / 2; /* behind the last one cursors are odd */
    for (size_t i = 0; i < len;) {
        struct terminaltext_character c = terminaltext_next(text + i, len - i);
        i += c.taken;
        if (c.bytes[0] == '\n') {
            terminaltext_break(t);
        } else if (c.columns == 2 || c.bytes[0] == ' ' || c.bytes[0] == '\t') {
            terminaltext_between(t, c, edge);
        } else {
            terminaltext_letter(t, c, edge);
        }
    }
}
