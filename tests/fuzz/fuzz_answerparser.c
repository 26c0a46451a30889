/* tests/fuzz/fuzz_answerparser.c: two bytes that choose a format and where to cut, then any bytes as an answer. Cut or
 * whole, the same is said; a call that ends has arguments that are one JSON object; nothing is said of a call that was
 * not begun; and where no calls are looked for, the answer's bytes come out, less tags and newlines. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "text/answerparser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

struct heard {
    struct strbuf all;       /* a letter for each change of kind, and the text */
    struct strbuf arguments; /* of the open call */
    bool open;
    size_t calls, bytes;
    int last;
};

static void hear(void *user, const struct answerparser_event *e)
{
    struct heard *h = user;
    char letter = (char)('0' + (int)e->kind);
    bool goes_on = h->last == (int)e->kind && e->kind != ANSWERPARSER_CALL;
    check(goes_on || strbuf_append(&h->all, &letter, 1) == ERR_OK);
    check(strbuf_append(&h->all, e->text, e->len) == ERR_OK);
    h->last = (int)e->kind;
    switch (e->kind) {
    case ANSWERPARSER_CALL:
        check(!h->open && e->call == h->calls && e->len > 0);
        h->open = true;
        strbuf_clear(&h->arguments);
        break;
    case ANSWERPARSER_ARGUMENTS:
        check(h->open && e->call == h->calls);
        check(strbuf_append(&h->arguments, e->text, e->len) == ERR_OK);
        break;
    case ANSWERPARSER_CALL_END: {
        json_t *value = NULL;
        check(h->open && e->call == h->calls);
        check(json_parse_text(h->arguments.data, h->arguments.len, "arguments", &value, NULL) == ERR_OK);
        check(json_is_object(value));
        json_decref(value);
        h->open = false;
        h->calls++;
        break;
    }
    case ANSWERPARSER_CALL_BROKEN:
        check(h->open);
        h->open = false;
        break;
    default: check(!h->open && e->len > 0); h->bytes += e->len;
    }
}

static enum answerparser_ending parse(uint8_t choice, const char *text, size_t n, size_t step, struct heard *h)
{
    struct answerparser *p;
    enum answerparser_ending ending;
    h->last = -1;
    check(answerparser_new((enum chat_format)(choice % 16 % CHAT_FORMATS), !(choice & 64), choice & 16, hear, h, &p) ==
          ERR_OK);
    for (size_t i = 0; i < n; i += step) {
        check(answerparser_push(p, text + i, step < n - i ? step : n - i) == ERR_OK);
    }
    check(answerparser_finish(p, choice & 32, &ending) == ERR_OK);
    answerparser_free(p);
    check(!h->open || ending == ANSWERPARSER_TRUNCATED);
    return ending;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t alive = mem_alive(), n = size - 2, tags = 0;
    const char *text = (const char *)data + 2;
    struct heard whole = {0}, cut = {0};
    enum answerparser_ending ending = parse(data[0], text, n, n ? n : 1, &whole);
    check(parse(data[0], text, n, 1 + data[1] % 31, &cut) == ending);
    check(whole.all.len == cut.all.len && whole.calls == cut.calls);
    check(whole.all.len == 0 || memcmp(whole.all.data, cut.all.data, whole.all.len) == 0);
    for (size_t i = 0; i < n; i++) {
        tags += text[i] == '\n' || text[i] == '\r' ? 1 : text[i] == '<' ? strlen("</think>") : 0;
    }
    check(!(data[0] & 64) || (whole.bytes <= n && whole.bytes + tags >= n));
    strbuf_deinit(&whole.all);
    strbuf_deinit(&whole.arguments);
    strbuf_deinit(&cut.all);
    strbuf_deinit(&cut.arguments);
    check(mem_alive() == alive);
    return 0;
}
