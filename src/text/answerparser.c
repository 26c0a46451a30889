/* text/answerparser.c: see answerparser.h. Text that is not yet understood waits in `pending`. Each state
 * looks at its beginning and either uses some of it up, perhaps changing the state, or asks for more.
 * What a state decides must not depend on how much more is there already: then cuts make no difference.
 */
#include "text/answerparser.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "text/chat_marks.h"
#include "text/pythonjson.h"

/* How a format writes calls. */
struct answerparser_dialect {
    const char *open;     /* where calls begin */
    size_t newlines;      /* at most so many before `open` belong to it */
    const char *item;     /* where each begins; NULL: `open` begins one */
    const char *name_end; /* NULL: name and arguments are members of one object */
    const char *item_end;
    const char *close; /* behind the last; NULL: nothing */
    bool typed;        /* a type comes before the name */
    bool dsml;         /* arguments are parameters, not an object */
};

static const struct answerparser_dialect answerparser_v3 = {
    .open = CHAT_CALLS, .item = CHAT_CALL, .name_end = "\n", .item_end = CHAT_CALL_END,
    .close = CHAT_CALLS_END, .typed = true};
static const struct answerparser_dialect answerparser_v31 = {
    .open = CHAT_CALLS, .item = CHAT_CALL, .name_end = CHAT_CALL_SEP, .item_end = CHAT_CALL_END,
    .close = CHAT_CALLS_END};
static const struct answerparser_dialect answerparser_v32 = {
    .open = "<" CHAT_DSML "function_calls>", .newlines = 2, .item = CHAT_DSML_INVOKE, .name_end = "\">",
    .item_end = CHAT_DSML_INVOKE_END, .close = "</" CHAT_DSML "function_calls>", .dsml = true};
static const struct answerparser_dialect answerparser_v4 = {
    .open = "<" CHAT_DSML "tool_calls>", .newlines = 2, .item = CHAT_DSML_INVOKE, .name_end = "\">",
    .item_end = CHAT_DSML_INVOKE_END, .close = "</" CHAT_DSML "tool_calls>", .dsml = true};
static const struct answerparser_dialect answerparser_chatml = {
    .open = CHAT_TOOL_CALL, .newlines = 1, .item_end = CHAT_TOOL_CALL_END};

enum answerparser_state {
    ANSWERPARSER_IN_REASONING,
    ANSWERPARSER_IN_CONTENT,
    ANSWERPARSER_BETWEEN, /* calls */
    ANSWERPARSER_IN_TYPE,
    ANSWERPARSER_IN_NAME,
    ANSWERPARSER_IN_HEAD,    /* ChatML: {"name": …, "arguments": */
    ANSWERPARSER_IN_WHOLE,   /* ChatML: an object in any other order */
    ANSWERPARSER_IN_FENCE,   /* ```json */
    ANSWERPARSER_IN_OBJECT,  /* arguments as they are */
    ANSWERPARSER_IN_TAIL,    /* ``` or } behind them */
    ANSWERPARSER_IN_END,     /* of a call */
    ANSWERPARSER_PARAMETERS, /* between them */
    ANSWERPARSER_IN_KEY,
    ANSWERPARSER_IN_TYPE_OF_VALUE,
    ANSWERPARSER_IN_STRING,
    ANSWERPARSER_IN_JSON,
    ANSWERPARSER_BROKEN, /* all the rest is content */
};

/* Finds where a JSON object ends; whether it is JSON is asked afterwards. */
struct answerparser_scan {
    size_t depth;
    bool in_string, escaped;
};

struct answerparser {
    const struct answerparser_dialect *dialect; /* NULL: none */
    answerparser_sink sink;
    void *user;
    enum answerparser_state state;
    bool at_start;    /* of reasoning or content: newlines are dropped */
    bool open;        /* a call was said and has not ended */
    const char *tail; /* what ANSWERPARSER_IN_TAIL expects; NULL for nothing */
    size_t calls;     /* that have ended */
    bool any;         /* of them since calls began */
    struct strbuf pending;
    size_t used;         /* of pending */
    struct strbuf raw;   /* all since the last thing that is certain; empty outside calls */
    struct strbuf value; /* a name, a key, a value that must be whole first */
    struct strbuf arguments;
    struct answerparser_scan scan;
};

/* A state's work: *more is false when it can do nothing before there is more text. */
typedef err (*answerparser_step)(struct answerparser *p, bool *more);

static const struct answerparser_dialect *answerparser_dialect_of(enum chat_format f)
{
    switch (f) {
    case CHAT_DEEPSEEK_V3:
    case CHAT_DEEPSEEK_R1: return &answerparser_v3;
    case CHAT_DEEPSEEK_V31: return &answerparser_v31;
    case CHAT_DEEPSEEK_V32: return &answerparser_v32;
    case CHAT_DEEPSEEK_V4:
    case CHAT_DEEPSEEK_V4_0731: return &answerparser_v4;
    default: return chat_can_call(f) ? &answerparser_chatml : NULL;
    }
}

err answerparser_new(enum chat_format f, bool tools, bool thinking, answerparser_sink sink, void *user,
                     struct answerparser **out)
{
    struct answerparser *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return ERR_NOMEM;
    }
    p->dialect = tools ? answerparser_dialect_of(f) : NULL;
    p->sink = sink;
    p->user = user;
    p->state = thinking ? ANSWERPARSER_IN_REASONING : ANSWERPARSER_IN_CONTENT;
    p->at_start = true;
    *out = p;
    return ERR_OK;
}

void answerparser_free(struct answerparser *p)
{
    if (p) {
        strbuf_deinit(&p->pending);
        strbuf_deinit(&p->raw);
        strbuf_deinit(&p->value);
        strbuf_deinit(&p->arguments);
        mem_free(p);
    }
}

/* ---- pending text ---- */

static const char *answerparser_at(const struct answerparser *p)
{
    return p->pending.data + p->used;
}

static size_t answerparser_left(const struct answerparser *p)
{
    return p->pending.len - p->used;
}

static bool answerparser_in_call(const struct answerparser *p)
{
    return p->state != ANSWERPARSER_IN_REASONING && p->state != ANSWERPARSER_IN_CONTENT &&
           p->state != ANSWERPARSER_BROKEN;
}

static err answerparser_use(struct answerparser *p, size_t n)
{
    TRY(answerparser_in_call(p) ? strbuf_append(&p->raw, answerparser_at(p), n) : ERR_OK);
    p->used += n;
    return ERR_OK;
}

static err answerparser_skip_space(struct answerparser *p)
{
    size_t n = 0;
    while (n < answerparser_left(p) && strchr(" \t\r\n", answerparser_at(p)[n]) &&
           answerparser_at(p)[n]) {
        n++;
    }
    return answerparser_use(p, n);
}

enum answerparser_match { ANSWERPARSER_NO, ANSWERPARSER_PARTLY, ANSWERPARSER_YES };

static enum answerparser_match answerparser_matches(const struct answerparser *p, const char *mark)
{
    size_t n = strlen(mark), left = answerparser_left(p);
    if (memcmp(answerparser_at(p), mark, left < n ? left : n) != 0) {
        return ANSWERPARSER_NO;
    }
    return left < n ? ANSWERPARSER_PARTLY : ANSWERPARSER_YES;
}

/* How many bytes at the end of text may be the beginning of `mark`. */
static size_t answerparser_suspect(const char *text, size_t len, const char *mark)
{
    size_t most = strlen(mark) - 1;
    for (size_t n = len < most ? len : most; n > 0; n--) {
        if (memcmp(text + len - n, mark, n) == 0) {
            return n;
        }
    }
    return 0;
}

/* Bytes before `mark`, where *found; else those before what may become one. */
static size_t answerparser_before(const struct answerparser *p, const char *mark, bool *found)
{
    const char *text = answerparser_at(p);
    size_t left = answerparser_left(p);
    const char *at = memmem(text, left, mark, strlen(mark));
    *found = at != NULL;
    return at ? (size_t)(at - text) : left - answerparser_suspect(text, left, mark);
}

/* ---- what is told ---- */

static void answerparser_tell(struct answerparser *p, enum answerparser_kind kind, const char *text,
                              size_t len)
{
    const struct answerparser_event event = {kind, p->calls, text, len};
    p->sink(p->user, &event);
}

/* The next n pending bytes are reasoning or content. */
static err answerparser_say(struct answerparser *p, size_t n)
{
    if (n > 0) {
        p->at_start = false;
        answerparser_tell(
            p, p->state == ANSWERPARSER_IN_REASONING ? ANSWERPARSER_REASONING : ANSWERPARSER_CONTENT,
            answerparser_at(p), n);
    }
    return answerparser_use(p, n);
}

static err answerparser_argue(struct answerparser *p, const char *text, size_t len)
{
    TRY(strbuf_append(&p->arguments, text, len));
    if (len > 0) {
        answerparser_tell(p, ANSWERPARSER_ARGUMENTS, text, len);
    }
    return ERR_OK;
}

/* Says text as the inside of a JSON string. */
static err answerparser_argue_string(struct answerparser *p, const char *text, size_t len)
{
    struct strbuf escaped = {0};
    err e = pythonjson_escape(&escaped, text, len);
    e = e == ERR_OK ? answerparser_argue(p, escaped.data, escaped.len) : e;
    strbuf_deinit(&escaped);
    return e;
}

/* What looked like a call is none. */
static err answerparser_break(struct answerparser *p)
{
    if (p->open) {
        answerparser_tell(p, ANSWERPARSER_CALL_BROKEN, "", 0);
        p->open = false;
    }
    p->state = ANSWERPARSER_BROKEN;
    p->at_start = false;
    if (p->raw.len > 0) {
        answerparser_tell(p, ANSWERPARSER_CONTENT, p->raw.data, p->raw.len);
    }
    strbuf_clear(&p->raw);
    return ERR_OK;
}

/* A call begins; its name is p->value. */
static err answerparser_begin_call(struct answerparser *p)
{
    const char *name = p->value.data;
    size_t len = p->value.len;
    while (len > 0 && strchr(" \t\r\n", name[len - 1])) {
        len--;
    }
    while (len > 0 && strchr(" \t\r\n", *name)) {
        name++;
        len--;
    }
    if (len == 0) {
        return answerparser_break(p);
    }
    p->open = true;
    p->scan = (struct answerparser_scan){0};
    strbuf_clear(&p->arguments);
    answerparser_tell(p, ANSWERPARSER_CALL, name, len);
    return ERR_OK;
}

/* The call is whole: its arguments must be an object. */
static err answerparser_end_call(struct answerparser *p)
{
    json_t *object;
    err e = json_parse_text(p->arguments.data, p->arguments.len, "arguments", &object, NULL);
    if (e == ERR_NOMEM) {
        return e;
    }
    bool good = e == ERR_OK && json_is_object(object);
    if (e == ERR_OK) {
        json_decref(object);
    }
    if (!good) {
        return answerparser_break(p);
    }
    answerparser_tell(p, ANSWERPARSER_CALL_END, "", 0);
    p->open = false;
    p->calls++;
    p->any = true;
    strbuf_clear(&p->raw);
    p->at_start = true;
    p->state = p->dialect->close ? ANSWERPARSER_BETWEEN : ANSWERPARSER_IN_CONTENT;
    return ERR_OK;
}

/* ---- reasoning and content ---- */

/* At the start of a part newlines go, and a <think> begins reasoning. True once it is known that neither
 * comes. */
static bool answerparser_started(struct answerparser *p, bool *more)
{
    size_t used = p->used;
    while (answerparser_left(p) > 0 && (*answerparser_at(p) == '\n' || *answerparser_at(p) == '\r')) {
        p->used++;
    }
    enum answerparser_match m = answerparser_matches(p, CHAT_THINK);
    if (m == ANSWERPARSER_YES) {
        p->used += strlen(CHAT_THINK);
        p->state = ANSWERPARSER_IN_REASONING;
    }
    *more = m != ANSWERPARSER_NO && p->used > used;
    return m == ANSWERPARSER_NO;
}

static err answerparser_reasoning(struct answerparser *p, bool *more)
{
    if (p->at_start && !answerparser_started(p, more)) {
        return ERR_OK;
    }
    TRY(answerparser_say(p, answerparser_before(p, CHAT_THINK_END, more)));
    if (*more) {
        TRY(answerparser_use(p, strlen(CHAT_THINK_END)));
        p->state = ANSWERPARSER_IN_CONTENT;
        p->at_start = true;
    }
    return ERR_OK;
}

static err answerparser_content(struct answerparser *p, bool *more)
{
    if (p->at_start && !answerparser_started(p, more)) {
        return ERR_OK;
    }
    if (!p->dialect) {
        return answerparser_say(p, answerparser_left(p));
    }
    size_t n = answerparser_before(p, p->dialect->open, more), newlines = 0;
    while (newlines < p->dialect->newlines && n > 0 && answerparser_at(p)[n - 1] == '\n') {
        newlines++;
        n--;
    }
    TRY(answerparser_say(p, n));
    if (*more) {
        p->any = false;
        p->state = p->dialect->item ? ANSWERPARSER_BETWEEN : ANSWERPARSER_IN_HEAD;
        return answerparser_use(p, newlines + strlen(p->dialect->open));
    }
    return ERR_OK;
}

static err answerparser_broken(struct answerparser *p, bool *more)
{
    (void)more;
    return answerparser_say(p, answerparser_left(p));
}

/* ---- calls ---- */

/* After spaces comes `mark`, and then state `then`; or else `other` comes; or the call is none. */
static err answerparser_choose(struct answerparser *p, bool *more, const char *mark,
                               enum answerparser_state then, const char *other, bool *is_other)
{
    *is_other = false;
    TRY(answerparser_skip_space(p));
    if (answerparser_left(p) == 0) {
        return ERR_OK;
    }
    enum answerparser_match m = answerparser_matches(p, mark);
    enum answerparser_match o = other ? answerparser_matches(p, other) : ANSWERPARSER_NO;
    *more = true;
    if (m == ANSWERPARSER_YES) {
        TRY(answerparser_use(p, strlen(mark)));
        p->state = then;
        strbuf_clear(&p->value);
        return ERR_OK;
    }
    if (o == ANSWERPARSER_YES) {
        *is_other = true;
        return answerparser_use(p, strlen(other));
    }
    *more = m == ANSWERPARSER_NO && o == ANSWERPARSER_NO;
    return *more ? answerparser_break(p) : ERR_OK;
}

/* Collects what stands before `mark` in p->value; *more: all of it, and the mark is behind us. */
static err answerparser_collect(struct answerparser *p, const char *mark, bool *more)
{
    size_t n = answerparser_before(p, mark, more);
    TRY(strbuf_append(&p->value, answerparser_at(p), n));
    return answerparser_use(p, *more ? n + strlen(mark) : n);
}

static err answerparser_between(struct answerparser *p, bool *more)
{
    bool closed;
    TRY(answerparser_choose(p, more, p->dialect->item,
                            p->dialect->typed ? ANSWERPARSER_IN_TYPE : ANSWERPARSER_IN_NAME,
                            p->dialect->close, &closed));
    if (closed && !p->any) {
        return answerparser_break(p);
    }
    if (closed) {
        p->state = ANSWERPARSER_IN_CONTENT;
        p->at_start = true;
        strbuf_clear(&p->raw);
    }
    return ERR_OK;
}

static err answerparser_type(struct answerparser *p, bool *more)
{
    TRY(answerparser_collect(p, CHAT_CALL_SEP, more));
    if (*more) {
        strbuf_clear(&p->value);
        p->state = ANSWERPARSER_IN_NAME;
    }
    return ERR_OK;
}

static err answerparser_name(struct answerparser *p, bool *more)
{
    TRY(answerparser_collect(p, p->dialect->name_end, more));
    if (*more) {
        p->tail = NULL;
        p->state = p->dialect->dsml    ? ANSWERPARSER_PARAMETERS
                   : p->dialect->typed ? ANSWERPARSER_IN_FENCE
                                       : ANSWERPARSER_IN_OBJECT;
        TRY(answerparser_begin_call(p));
        return p->open && p->dialect->dsml ? answerparser_argue(p, "{", 1) : ERR_OK;
    }
    return ERR_OK;
}

/* ```json, or nothing of the kind. */
static err answerparser_fence(struct answerparser *p, bool *more)
{
    TRY(answerparser_skip_space(p));
    enum answerparser_match m =
        answerparser_left(p) ? answerparser_matches(p, "```json") : ANSWERPARSER_PARTLY;
    *more = m != ANSWERPARSER_PARTLY;
    if (*more) {
        p->state = ANSWERPARSER_IN_OBJECT;
        p->tail = m == ANSWERPARSER_YES ? "```" : NULL;
        return m == ANSWERPARSER_YES ? answerparser_use(p, strlen("```json")) : ERR_OK;
    }
    return ERR_OK;
}

/* ---- arguments as an object ---- */

/* Bytes up to the object's end, where *found, or all of them. */
static size_t answerparser_object(struct answerparser *p, bool *found)
{
    const char *text = answerparser_at(p);
    struct answerparser_scan *s = &p->scan;
    size_t n = 0;
    *found = false;
    while (n < answerparser_left(p) && !*found) {
        char c = text[n++];
        if (s->in_string) {
            s->in_string = s->escaped || c != '"';
            s->escaped = !s->escaped && c == '\\';
        } else {
            s->in_string = c == '"';
            s->depth += c == '{' || c == '[';
            s->depth -= c == '}' || c == ']';
            *found = s->depth == 0;
        }
    }
    return n;
}

static err answerparser_arguments(struct answerparser *p, bool *more)
{
    if (p->scan.depth == 0) {
        TRY(answerparser_skip_space(p));
        if (answerparser_left(p) == 0) {
            return ERR_OK;
        }
        *more = true;
        if (*answerparser_at(p) == (p->tail ? '`' : '<')) { /* nothing at all */
            p->state = ANSWERPARSER_IN_TAIL;
            return answerparser_argue(p, "{}", 2);
        }
        if (*answerparser_at(p) != '{') {
            return answerparser_break(p);
        }
    }
    size_t n = answerparser_object(p, more);
    TRY(answerparser_argue(p, answerparser_at(p), n));
    p->state = *more ? ANSWERPARSER_IN_TAIL : p->state;
    return answerparser_use(p, n);
}

static err answerparser_tail(struct answerparser *p, bool *more)
{
    bool other;
    if (p->tail) {
        return answerparser_choose(p, more, p->tail, ANSWERPARSER_IN_END, NULL, &other);
    }
    p->state = ANSWERPARSER_IN_END;
    *more = true;
    return ERR_OK;
}

static err answerparser_item_end(struct answerparser *p, bool *more)
{
    bool other;
    TRY(answerparser_choose(p, more, p->dialect->item_end, ANSWERPARSER_BETWEEN, NULL, &other));
    return p->state == ANSWERPARSER_BETWEEN ? answerparser_end_call(p) : ERR_OK;
}

/* ---- ChatML: name and arguments in one object ---- */

enum { ANSWERPARSER_HEAD_MAX = 1024 };

struct answerparser_head {
    const char *text;
    size_t len, pos;
    enum answerparser_match match; /* YES so far, PARTLY at the text's end */
};

static bool answerparser_head_take(struct answerparser_head *h, const char *mark)
{
    while (h->pos < h->len && strchr(" \t\r\n", h->text[h->pos]) && h->text[h->pos]) {
        h->pos++;
    }
    for (; *mark && h->match == ANSWERPARSER_YES; mark++) {
        h->match = h->pos == h->len             ? ANSWERPARSER_PARTLY
                   : h->text[h->pos++] == *mark ? ANSWERPARSER_YES
                                                : ANSWERPARSER_NO;
    }
    return h->match == ANSWERPARSER_YES;
}

/* A string's inside: its end in h->pos, behind the quote. */
static bool answerparser_head_string(struct answerparser_head *h)
{
    while (h->pos < h->len && h->text[h->pos] != '"') {
        h->pos += h->text[h->pos] == '\\' ? 2 : 1;
    }
    h->match = h->pos < h->len ? ANSWERPARSER_YES : ANSWERPARSER_PARTLY;
    h->pos++;
    return h->match == ANSWERPARSER_YES;
}

/* Whether pending text begins {"name": "…", "arguments": { ; the name's place and the arguments'. */
static enum answerparser_match answerparser_head(const struct answerparser *p, size_t *name,
                                                 size_t *name_end, size_t *arguments)
{
    struct answerparser_head h = {answerparser_at(p), answerparser_left(p), 0, ANSWERPARSER_YES};
    h.len = h.len < ANSWERPARSER_HEAD_MAX ? h.len : ANSWERPARSER_HEAD_MAX;
    if (answerparser_head_take(&h, "{") && answerparser_head_take(&h, "\"name\"") &&
        answerparser_head_take(&h, ":") && answerparser_head_take(&h, "\"")) {
        *name = h.pos;
        if (answerparser_head_string(&h)) {
            *name_end = h.pos - 1;
            if (answerparser_head_take(&h, ",") && answerparser_head_take(&h, "\"arguments\"") &&
                answerparser_head_take(&h, ":") && answerparser_head_take(&h, "{")) {
                *arguments = h.pos - 1;
            }
        }
    }
    return h.match == ANSWERPARSER_PARTLY && h.len == ANSWERPARSER_HEAD_MAX ? ANSWERPARSER_NO : h.match;
}

/* p->value becomes what the JSON string says; false: it is none. */
static err answerparser_set_name(struct answerparser *p, const char *inside, size_t len, bool *good)
{
    struct strbuf quoted = {0};
    json_t *name = NULL;
    err e = strbuf_append(&quoted, "\"", 1);
    e = e == ERR_OK ? strbuf_append(&quoted, inside, len) : e;
    e = e == ERR_OK ? strbuf_append(&quoted, "\"", 1) : e;
    e = e == ERR_OK ? json_parse(quoted.data, quoted.len, "name", &name, NULL) : e;
    strbuf_deinit(&quoted);
    *good = e == ERR_OK;
    if (e == ERR_OK) {
        strbuf_clear(&p->value);
        e = strbuf_puts(&p->value, json_string_value(name));
        json_decref(name);
    }
    return e == ERR_NOMEM ? e : ERR_OK;
}

static err answerparser_in_head(struct answerparser *p, bool *more)
{
    size_t name = 0, name_end = 0, arguments = 0;
    enum answerparser_match m = answerparser_head(p, &name, &name_end, &arguments);
    bool good = false;
    *more = m != ANSWERPARSER_PARTLY;
    if (m == ANSWERPARSER_YES) {
        TRY(answerparser_set_name(p, answerparser_at(p) + name, name_end - name, &good));
    }
    if (good) {
        TRY(answerparser_use(p, arguments));
        p->state = ANSWERPARSER_IN_OBJECT;
        p->tail = "}";
        return answerparser_begin_call(p);
    }
    if (*more) {
        p->state = ANSWERPARSER_IN_WHOLE;
        p->scan = (struct answerparser_scan){0};
        strbuf_clear(&p->value);
    }
    return ERR_OK;
}

/* The call that an object, as pythonjson_append wrote it, is. */
static err answerparser_take_members(struct answerparser *p, const char *object)
{
    struct pythonjson_member m, name = {0}, arguments = {.value = "{}", .value_len = 2};
    while (pythonjson_next(&object, &m)) {
        if (m.key_len == strlen("\"name\"") && memcmp(m.key, "\"name\"", m.key_len) == 0) {
            name = m;
        } else if (m.key_len == strlen("\"arguments\"") && memcmp(m.key, "\"arguments\"", m.key_len) == 0) {
            arguments = m;
        }
    }
    p->state = ANSWERPARSER_IN_END;
    strbuf_clear(&p->value);
    if (!name.value || *name.value != '"' || *arguments.value != '{') {
        return answerparser_break(p);
    }
    TRY(pythonjson_unescape(&p->value, name.value, name.value_len));
    TRY(answerparser_begin_call(p));
    return p->open ? answerparser_argue(p, arguments.value, arguments.value_len) : ERR_OK;
}

/* A whole object in p->value is a call; of its numbers every digit goes on. */
static err answerparser_take_whole(struct answerparser *p)
{
    struct strbuf object = {0};
    err e = pythonjson_append(&object, p->value.data, p->value.len, "call", NULL);
    if (e == ERR_OK) {
        e = answerparser_take_members(p, object.data);
    } else if (e != ERR_NOMEM) {
        e = answerparser_break(p);
    }
    strbuf_deinit(&object);
    return e;
}

static err answerparser_in_whole(struct answerparser *p, bool *more)
{
    if (p->scan.depth == 0) {
        TRY(answerparser_skip_space(p));
        if (answerparser_left(p) == 0) {
            return ERR_OK;
        }
        if (*answerparser_at(p) != '{') {
            *more = true;
            return answerparser_break(p);
        }
    }
    size_t n = answerparser_object(p, more);
    TRY(strbuf_append(&p->value, answerparser_at(p), n));
    TRY(answerparser_use(p, n));
    return *more ? answerparser_take_whole(p) : ERR_OK;
}

/* ---- DSML: parameters ---- */

static err answerparser_parameters(struct answerparser *p, bool *more)
{
    bool ended;
    TRY(answerparser_choose(p, more, CHAT_DSML_PARAMETER, ANSWERPARSER_IN_KEY, p->dialect->item_end,
                            &ended));
    if (ended) {
        TRY(answerparser_argue(p, "}", 1));
        return answerparser_end_call(p);
    }
    return ERR_OK;
}

static err answerparser_key(struct answerparser *p, bool *more)
{
    TRY(answerparser_collect(p, "\" string=\"", more));
    if (*more) {
        TRY(answerparser_argue(p, p->arguments.len > 1 ? ", \"" : "\"", p->arguments.len > 1 ? 3 : 1));
        TRY(answerparser_argue_string(p, p->value.data, p->value.len));
        TRY(answerparser_argue(p, "\": ", 3));
        p->state = ANSWERPARSER_IN_TYPE_OF_VALUE;
    }
    return ERR_OK;
}

static err answerparser_type_of_value(struct answerparser *p, bool *more)
{
    bool json;
    TRY(answerparser_choose(p, more, "true\">", ANSWERPARSER_IN_STRING, "false\">", &json));
    if (json) {
        p->state = ANSWERPARSER_IN_JSON;
        strbuf_clear(&p->value);
    }
    return p->state == ANSWERPARSER_IN_STRING ? answerparser_argue(p, "\"", 1) : ERR_OK;
}

static err answerparser_string(struct answerparser *p, bool *more)
{
    size_t n = answerparser_before(p, CHAT_DSML_PARAMETER_END, more);
    TRY(answerparser_argue_string(p, answerparser_at(p), n));
    TRY(answerparser_use(p, *more ? n + strlen(CHAT_DSML_PARAMETER_END) : n));
    if (*more) {
        p->state = ANSWERPARSER_PARAMETERS;
        return answerparser_argue(p, "\"", 1);
    }
    return ERR_OK;
}

/* A value that is no JSON is a string after all. */
static err answerparser_json(struct answerparser *p, bool *more)
{
    TRY(answerparser_collect(p, CHAT_DSML_PARAMETER_END, more));
    if (!*more) {
        return ERR_OK;
    }
    p->state = ANSWERPARSER_PARAMETERS;
    json_t *value = NULL;
    err e = json_parse_text(p->value.data, p->value.len, "value", &value, NULL);
    if (e == ERR_OK) {
        json_decref(value);
        return answerparser_argue(p, p->value.data, p->value.len);
    }
    TRY(e == ERR_NOMEM ? e : answerparser_argue(p, "\"", 1));
    TRY(answerparser_argue_string(p, p->value.data, p->value.len));
    return answerparser_argue(p, "\"", 1);
}

/* ---- the loop ---- */

static const answerparser_step answerparser_steps[] = {
    [ANSWERPARSER_IN_REASONING] = answerparser_reasoning,
    [ANSWERPARSER_IN_CONTENT] = answerparser_content,
    [ANSWERPARSER_BETWEEN] = answerparser_between,
    [ANSWERPARSER_IN_TYPE] = answerparser_type,
    [ANSWERPARSER_IN_NAME] = answerparser_name,
    [ANSWERPARSER_IN_HEAD] = answerparser_in_head,
    [ANSWERPARSER_IN_WHOLE] = answerparser_in_whole,
    [ANSWERPARSER_IN_FENCE] = answerparser_fence,
    [ANSWERPARSER_IN_OBJECT] = answerparser_arguments,
    [ANSWERPARSER_IN_TAIL] = answerparser_tail,
    [ANSWERPARSER_IN_END] = answerparser_item_end,
    [ANSWERPARSER_PARAMETERS] = answerparser_parameters,
    [ANSWERPARSER_IN_KEY] = answerparser_key,
    [ANSWERPARSER_IN_TYPE_OF_VALUE] = answerparser_type_of_value,
    [ANSWERPARSER_IN_STRING] = answerparser_string,
    [ANSWERPARSER_IN_JSON] = answerparser_json,
    [ANSWERPARSER_BROKEN] = answerparser_broken,
};

err answerparser_push(struct answerparser *p, const char *text, size_t len)
{
    size_t left = answerparser_left(p);
    if (p->used > 0) {
        memmove(p->pending.data, p->pending.data + p->used, left);
        p->pending.len = left;
        p->used = 0;
    }
    TRY(strbuf_append(&p->pending, text, len));
    bool more = true;
    while (more && answerparser_left(p) > 0) {
        more = false;
        TRY(answerparser_steps[p->state](p, &more));
    }
    return ERR_OK;
}

/* Whether what was held back of content is the beginning of a mark that a control token begins: no text. */
static bool answerparser_part_of_mark(const struct answerparser *p)
{
    return p->state == ANSWERPARSER_IN_CONTENT && p->dialect && p->dialect->dsml && answerparser_left(p) > 0 &&
           memmem(answerparser_at(p), answerparser_left(p), CHAT_DSML, strlen(CHAT_DSML)) != NULL;
}

err answerparser_finish(struct answerparser *p, bool cut, enum answerparser_ending *ending)
{
    bool rest = answerparser_left(p) > 0;
    *ending = ANSWERPARSER_COMPLETE;
    if (p->state == ANSWERPARSER_IN_REASONING || (cut && answerparser_in_call(p))) {
        *ending = ANSWERPARSER_TRUNCATED;
    } else if (p->state == ANSWERPARSER_IN_END && !rest) {
        TRY(answerparser_end_call(p)); /* only its closing mark is missing */
    } else if (answerparser_in_call(p) && (p->state != ANSWERPARSER_BETWEEN || !p->any || rest)) {
        TRY(answerparser_break(p));
    }
    if (p->state == ANSWERPARSER_BROKEN) {
        *ending = ANSWERPARSER_MALFORMED;
    }
    bool part = cut && answerparser_part_of_mark(p);
    *ending = part ? ANSWERPARSER_TRUNCATED : *ending;
    return part || answerparser_in_call(p) ? ERR_OK : answerparser_say(p, answerparser_left(p));
}
