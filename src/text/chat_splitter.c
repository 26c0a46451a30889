/* text/chat_splitter.c: a streamed answer split into reasoning and content; see chat.h. A tag counts
 * where the models put it: <think> before anything else of a part, </think> while reasoning. The same
 * letters later in the content are the answer's own text. */
#include <string.h>

#include "text/chat.h"

static const char chat_splitter_open[] = "<think>";
static const char chat_splitter_close[] = "</think>";

void chat_splitter_init(struct chat_splitter *s, bool thinking)
{
    *s = (struct chat_splitter){.part = thinking ? CHAT_REASONING : CHAT_CONTENT, .at_start = true};
}

/* Whether the held bytes begin `tag` (of n bytes); *whole when they are all of it. */
static bool chat_splitter_begins(const struct chat_splitter *s, const char *tag, size_t n, bool *whole)
{
    *whole = s->n_held == n;
    return s->n_held <= n && memcmp(s->held, tag, s->n_held) == 0;
}

/* Gives text to the sink, less the newlines that a part begins with. */
static void chat_splitter_emit(struct chat_splitter *s, const char *text, size_t len, chat_sink sink,
                               void *user)
{
    while (s->at_start && len > 0 && (*text == '\n' || *text == '\r')) {
        text++;
        len--;
    }
    if (len > 0) {
        s->at_start = false;
        sink(user, s->part, text, len);
    }
}

/* After a byte was added to the held ones: false when they cannot become a tag here. */
static bool chat_splitter_decide(struct chat_splitter *s)
{
    bool whole;
    if (s->at_start &&
        chat_splitter_begins(s, chat_splitter_open, sizeof chat_splitter_open - 1, &whole)) {
        if (whole) {
            chat_splitter_init(s, true);
        }
        return true;
    }
    if (s->part == CHAT_REASONING &&
        chat_splitter_begins(s, chat_splitter_close, sizeof chat_splitter_close - 1, &whole)) {
        if (whole) {
            chat_splitter_init(s, false);
        }
        return true;
    }
    return false;
}

void chat_splitter_push(struct chat_splitter *s, const char *text, size_t len, chat_sink sink,
                        void *user)
{
    size_t from = 0; /* start of the bytes that are plain text and not yet given away */
    for (size_t i = 0; i < len; i++) {
        if (s->n_held == 0 && text[i] != '<') {
            continue;
        }
        if (s->n_held == 0) {
            chat_splitter_emit(s, text + from, i - from, sink, user);
        }
        s->held[s->n_held++] = text[i];
        from = i + 1;
        if (chat_splitter_decide(s)) {
            continue;
        }
        /* No tag. The byte itself may begin one: a tag has no second '<'. */
        bool again = text[i] == '<' && s->n_held > 1;
        size_t n = s->n_held - (again ? 1 : 0);
        s->n_held = 0;
        chat_splitter_emit(s, s->held, n, sink, user);
        if (again) {
            i--; /* looked at once more, with nothing held */
            from = i + 1;
        }
    }
    if (from < len && s->n_held == 0) {
        chat_splitter_emit(s, text + from, len - from, sink, user);
    }
}

void chat_splitter_finish(struct chat_splitter *s, chat_sink sink, void *user)
{
    size_t n = s->n_held;
    s->n_held = 0;
    chat_splitter_emit(s, s->held, n, sink, user);
}
