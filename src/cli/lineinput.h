/* cli/lineinput.h: messages typed by a person: one line, or several between """ and """, or lines
 * that end in a backslash. On a terminal with libedit (editing, history in memory, or kept as plain
 * text in ${XDG_STATE_HOME:-~/.local/state}/fathom/chat_history, mode 0600);
 * from a pipe just lines. */
#ifndef CLI_LINEINPUT_H
#define CLI_LINEINPUT_H

#include <stdbool.h>

#include "base/err.h"

struct lineinput;

/* `interactive`: stdin and stdout are a terminal. `keep`: the history in its file, and what is
 * there already. */
ERR_MUST_USE err lineinput_open(bool interactive, bool keep, struct lineinput **out,
                                struct errinfo *info);
void lineinput_close(struct lineinput *in); /* saves the history; NULL is fine */

/* The file of the history, where one is kept, or (`keep` false) is there from before; else NULL. */
const char *lineinput_history(const struct lineinput *in);

/* The next message into *out (borrowed until the next call). ERR_NOTFOUND at the end of the input,
 * ERR_CANCELLED when Ctrl-C was pressed at an empty prompt (over typed
 * text it only empties the line), ERR_LIMIT for a message over 16 MiB or one with a NUL
 * byte. */
ERR_MUST_USE err lineinput_read(struct lineinput *in, const char **out, struct errinfo *info);

#endif
