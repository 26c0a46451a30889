/* text/tokenizer_stream.c: ids to text that never ends inside a character; see tokenizer.h. */
#include <string.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

static const char tokenizer_stream_mark[] = "\xef\xbf\xbd"; /* U+FFFD */
enum { TOKENIZER_STREAM_MARK = sizeof tokenizer_stream_mark - 1 };

/* What is decided at the start of `bytes`: its length in *taken and the text to write for it. False
 * when the bytes are an unfinished character. */
static bool tokenizer_stream_next(const char *bytes, size_t len, size_t *taken, const char **text,
                                  size_t *n_text)
{
    bool cut = false;
    size_t bad = 0;
    size_t valid = utf8_valid_prefix(bytes, len);
    if (valid > 0) {
        *taken = *n_text = valid;
        *text = bytes;
        return true;
    }
    utf8_length(bytes, len, &bad, &cut);
    *taken = bad;
    *text = tokenizer_stream_mark;
    *n_text = TOKENIZER_STREAM_MARK;
    return !cut;
}

/* Writes what `bytes` decide; *rest is where the unfinished character begins. */
static err tokenizer_stream_write(const char *bytes, size_t len, char *out, size_t cap, size_t *n,
                                  size_t *rest)
{
    size_t pos = 0, done = 0, taken, n_text;
    const char *text;
    while (pos < len && tokenizer_stream_next(bytes + pos, len - pos, &taken, &text, &n_text)) {
        if (n_text > cap - done) {
            return ERR_LIMIT;
        }
        memcpy(out + done, text, n_text);
        done += n_text;
        pos += taken;
    }
    *n = done;
    *rest = pos;
    return ERR_OK;
}

err tokenizer_stream_push(const struct tokenizer *t, struct tokenizer_stream *s, int32_t id,
                          bool show_control, char *out, size_t cap, size_t *len)
{
    struct tokenizer_piece p = tokenizer_bytes(t, id);
    if (!show_control && tokenizer_kind_at(t, id) == TOKENIZER_CONTROL) {
        p.len = 0;
    }
    /* The held bytes are completed with the token's first bytes; the token's rest needs no copy. */
    char joined[2 * sizeof s->held];
    size_t n_first = 0, first_rest = 0, n_joined = s->n_held;
    size_t used = 0;
    memcpy(joined, s->held, s->n_held);
    while (n_joined > 0 && used < p.len && n_first == 0 && n_joined < sizeof joined) {
        joined[n_joined++] = p.data[used++];
        TRY(tokenizer_stream_write(joined, n_joined, out, cap, &n_first, &first_rest));
    }
    if (first_rest < n_joined) {
        /* Either still unfinished, or a broken character was written and the byte after it begins
         * something new: that byte is the token's last one taken. */
        if (n_first == 0) {
            memcpy(s->held, joined, n_joined);
            s->n_held = n_joined;
            *len = 0;
            return ERR_OK;
        }
        used -= n_joined - first_rest;
    }
    size_t n, rest;
    TRY(tokenizer_stream_write(p.data + used, p.len - used, out + n_first, cap - n_first, &n, &rest));
    s->n_held = p.len - used - rest;
    memcpy(s->held, p.data + used + rest, s->n_held);
    *len = n_first + n;
    return ERR_OK;
}

err tokenizer_stream_finish(struct tokenizer_stream *s, char *out, size_t cap, size_t *len)
{
    size_t n = s->n_held > 0 ? TOKENIZER_STREAM_MARK : 0;
    if (n > cap) {
        return ERR_LIMIT;
    }
    memcpy(out, tokenizer_stream_mark, n);
    s->n_held = 0;
    *len = n;
    return ERR_OK;
}
