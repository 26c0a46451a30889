/* cli/lineinput.c: see lineinput.h. */
#include "cli/lineinput.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/interrupt.h"

enum { LINEINPUT_MAX = 16 << 20, LINEINPUT_HISTORY = 1000 };

struct lineinput {
    EditLine *edit; /* NULL: plain lines from stdin */
    History *history;
    char *history_path; /* NULL: none */
    bool keep;
    const char *prompt;
    bool dropped; /* the last Ctrl-C threw away something typed */
    struct strbuf line, message;
};

static char *lineinput_prompt(EditLine *edit)
{
    struct lineinput *in;
    el_get(edit, EL_CLIENTDATA, &in);
    return (char *)(uintptr_t)in->prompt;
}

/* One character for libedit. Its own reader would swallow Ctrl-C; poll is always woken by a signal. */
static int lineinput_char(EditLine *edit, wchar_t *out)
{
    mbstate_t shift = {0};
    (void)edit;
    for (;;) {
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        char byte;
        if (interrupt_pending()) {
            return -1;
        }
        if (poll(&p, 1, -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return (int)n;
        }
        size_t got = mbrtowc(out, &byte, 1, &shift);
        if (got == (size_t)-1) { /* not UTF-8: drop it */
            shift = (mbstate_t){0};
        } else if (got != (size_t)-2) {
            return 1;
        }
    }
}

static char *lineinput_history_path(bool make)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char dir[4096];
    if (state && state[0] == '/') {
        snprintf(dir, sizeof dir, "%s/fathom", state);
    } else if (home && home[0]) {
        snprintf(dir, sizeof dir, "%s/.local/state/fathom", home);
    } else {
        return NULL;
    }
    return make && file_make_dirs(dir, NULL) != ERR_OK ? NULL : file_join(dir, "chat_history");
}

static err lineinput_open_edit(struct lineinput *in, bool keep, struct errinfo *info)
{
    HistEvent event;
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        setlocale(LC_CTYPE, "C.UTF-8"); /* the model speaks UTF-8 whatever the locale says */
    }
    in->edit = el_init("fathom", stdin, stdout, stderr);
    in->history = history_init();
    if (!in->edit || !in->history) {
        return err_set(info, ERR_NOMEM, "the line editor cannot start");
    }
    history(in->history, &event, H_SETSIZE, LINEINPUT_HISTORY);
    history(in->history, &event, H_SETUNIQUE, 1);
    el_set(in->edit, EL_CLIENTDATA, in);
    el_set(in->edit, EL_PROMPT, lineinput_prompt);
    el_set(in->edit, EL_EDITOR, "emacs");
    el_set(in->edit, EL_HIST, history, in->history);
    el_set(in->edit, EL_GETCFN, lineinput_char);
    el_set(in->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    in->keep = keep;
    in->history_path = lineinput_history_path(keep);
    if (in->history_path && keep) {
        history(in->history, &event, H_LOAD, in->history_path);
    }
    return ERR_OK;
}

err lineinput_open(bool interactive, bool keep, struct lineinput **out, struct errinfo *info)
{
    struct lineinput *in = mem_calloc(1, sizeof *in);
    if (!in) {
        return err_set(info, ERR_NOMEM, "out of memory for the input");
    }
    err e = interactive ? lineinput_open_edit(in, keep, info) : ERR_OK;
    if (e != ERR_OK) {
        lineinput_close(in);
        return e;
    }
    *out = in;
    return ERR_OK;
}

void lineinput_close(struct lineinput *in)
{
    HistEvent event;
    if (!in) {
        return;
    }
    if (in->history_path && in->keep) {
        history(in->history, &event, H_SAVE, in->history_path);
    }
    if (in->edit) {
        el_end(in->edit);
    }
    if (in->history) {
        history_end(in->history);
    }
    mem_free(in->history_path);
    strbuf_deinit(&in->line);
    strbuf_deinit(&in->message);
    mem_free(in);
}

const char *lineinput_history(const struct lineinput *in)
{
    return in->history_path && (in->keep || file_exists(in->history_path)) ? in->history_path
                                                                           : NULL;
}

static err lineinput_line_edit(struct lineinput *in)
{
    int n = 0;
    HistEvent event;
    interrupt_watch();
    const char *text = el_gets(in->edit, &n);
    bool interrupted = interrupt_pending();
    interrupt_restore();
    if (interrupted) {
        const LineInfo *typed = el_line(in->edit);
        in->dropped = typed->lastchar > typed->buffer || in->message.len > 0;
        el_reset(in->edit);
        fputs("^C\n", stdout);
        return ERR_CANCELLED;
    }
    if (!text || n <= 0) {
        fputc('\n', stdout);
        return ERR_NOTFOUND;
    }
    if (strspn(text, " \t\n") < (size_t)n) {
        history(in->history, &event, H_ENTER, text);
    }
    return strbuf_append(&in->line, text, (size_t)n);
}

static err lineinput_line_plain(struct lineinput *in)
{
    int c;
    while ((c = getc(stdin)) != EOF) {
        char byte = (char)c;
        TRY(strbuf_append(&in->line, &byte, 1));
        if (c == '\n') {
            return ERR_OK;
        }
        if (c == '\0' || in->line.len > LINEINPUT_MAX) {
            return ERR_LIMIT;
        }
    }
    return in->line.len > 0 ? ERR_OK : ERR_NOTFOUND;
}

/* One line without its newline into in->line. */
static err lineinput_line(struct lineinput *in)
{
    strbuf_clear(&in->line);
    TRY(in->edit ? lineinput_line_edit(in) : lineinput_line_plain(in));
    if (in->line.len > 0 && in->line.data[in->line.len - 1] == '\n') {
        in->line.data[--in->line.len] = '\0';
    }
    return in->message.len + in->line.len > LINEINPUT_MAX ? ERR_LIMIT : ERR_OK;
}

/* Lines up to the one that ends in """; the first has lost its opening quotes. */
static err lineinput_quoted(struct lineinput *in)
{
    const char *text = in->line.data + 3;
    size_t len = in->line.len - 3;
    in->prompt = "... ";
    for (;;) {
        if (len >= 3 && memcmp(text + len - 3, "\"\"\"", 3) == 0) {
            return strbuf_append(&in->message, text, len - 3);
        }
        TRY(strbuf_append(&in->message, text, len));
        TRY(in->message.len > 0 ? strbuf_append(&in->message, "\n", 1) : ERR_OK);
        err e = lineinput_line(in);
        if (e == ERR_NOTFOUND) { /* the input ended: what is there counts */
            return ERR_OK;
        }
        TRY(e);
        text = in->line.data ? in->line.data : "";
        len = in->line.len;
    }
}

static err lineinput_continued(struct lineinput *in)
{
    in->prompt = "... ";
    while (in->line.len > 0 && in->line.data[in->line.len - 1] == '\\') {
        TRY(strbuf_append(&in->message, in->line.data, in->line.len - 1));
        TRY(strbuf_append(&in->message, "\n", 1));
        err e = lineinput_line(in);
        if (e == ERR_NOTFOUND) {
            return ERR_OK;
        }
        TRY(e);
    }
    return strbuf_append(&in->message, in->line.data, in->line.len);
}

static err lineinput_message(struct lineinput *in)
{
    strbuf_clear(&in->message);
    in->prompt = ">>> ";
    TRY(lineinput_line(in));
    bool quoted = in->line.len >= 3 && memcmp(in->line.data, "\"\"\"", 3) == 0;
    return quoted ? lineinput_quoted(in) : lineinput_continued(in);
}

err lineinput_read(struct lineinput *in, const char **out, struct errinfo *info)
{
    err e;
    do { /* Ctrl-C over something typed asks for an empty line, not for the end */
        in->dropped = false;
        e = lineinput_message(in);
    } while (e == ERR_CANCELLED && in->dropped);
    if (e == ERR_LIMIT) {
        return err_set(info, e, "a message must be text of at most %d MiB", LINEINPUT_MAX >> 20);
    }
    if (e == ERR_NOMEM) {
        return err_set(info, e, "out of memory for the message");
    }
    TRY(e);
    *out = in->message.data ? in->message.data : "";
    return ERR_OK;
}
