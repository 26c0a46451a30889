/* text/chat.c: see chat.h. The table of formats, what each can say, and the encoders of the small ones. */
#include "text/chat.h"

#include <string.h>

#include "base/json.h"
#include "text/chat_marks.h"
#include "text/chat_writer.h"

typedef err (*chat_encoder)(struct chat_writer *w, const struct chat_message *messages, size_t n);

static err chat_encode_plain(struct chat_writer *w, const struct chat_message *messages, size_t n);
static err chat_encode_v2(struct chat_writer *w, const struct chat_message *messages, size_t n);
static err chat_encode_llama3(struct chat_writer *w, const struct chat_message *messages, size_t n);

#define CHAT_CHATML_STOPS {"<|im_end|>", "<|endoftext|>"}

static const struct chat_row {
    const char *name;
    chat_encoder encode;
    const char *system;              /* where none is given; NULL for none */
    const char *stops[CHAT_STOP_MAX]; /* besides the tokenizer's eos */
    bool can_think, can_skip, can_call;
    bool dsml; /* V3.2 and V4: developer messages, schemas of answers */
} chat_rows[CHAT_FORMATS] = {
    [CHAT_PLAIN] = {.name = "plain", .encode = chat_encode_plain},
    [CHAT_DEEPSEEK_V2] = {.name = "deepseek-v2", .encode = chat_encode_v2, .stops = {CHAT_EOS}},
    [CHAT_DEEPSEEK_V25] = {.name = "deepseek-v2.5", .encode = chat_deepseek_encode, .stops = {CHAT_EOS}},
    [CHAT_DEEPSEEK_V3] = {.name = "deepseek-v3",
                          .encode = chat_deepseek_encode,
                          .stops = {CHAT_EOS},
                          .can_call = true},
    [CHAT_DEEPSEEK_R1] = {.name = "deepseek-r1",
                          .encode = chat_deepseek_encode,
                          .stops = {CHAT_EOS},
                          .can_think = true,
                          .can_call = true},
    [CHAT_DEEPSEEK_V31] = {.name = "deepseek-v3.1",
                           .encode = chat_deepseek_encode,
                           .stops = {CHAT_EOS},
                           .can_think = true,
                           .can_skip = true,
                           .can_call = true},
    [CHAT_DEEPSEEK_V32] = {.name = "deepseek-v3.2",
                           .encode = chat_dsml_encode_v32,
                           .stops = {CHAT_EOS},
                           .can_think = true,
                           .can_skip = true,
                           .can_call = true,
                           .dsml = true},
    [CHAT_DEEPSEEK_V4] = {.name = "deepseek-v4",
                          .encode = chat_dsml_encode_v4,
                          .stops = {CHAT_EOS},
                          .can_think = true,
                          .can_skip = true,
                          .can_call = true,
                          .dsml = true},
    [CHAT_DEEPSEEK_V4_0731] = {.name = "deepseek-v4-0731",
                               .encode = chat_dsml_encode_v4,
                               .stops = {CHAT_EOS},
                               .can_think = true,
                               .can_skip = true,
                               .can_call = true,
                               .dsml = true},
    [CHAT_CHATML] = {.name = "chatml",
                     .encode = chat_chatml_encode,
                     .stops = CHAT_CHATML_STOPS,
                     .can_call = true},
    [CHAT_LLAMA3] = {.name = "llama3",
                     .encode = chat_encode_llama3,
                     .stops = {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"}},
    [CHAT_SMOLLM2] = {.name = "smollm2",
                      .encode = chat_chatml_encode,
                      .system = CHAT_SMOLLM2_SYSTEM,
                      .stops = CHAT_CHATML_STOPS},
    [CHAT_QWEN2] = {.name = "qwen2",
                    .encode = chat_chatml_encode,
                    .system = CHAT_QWEN2_SYSTEM,
                    .stops = CHAT_CHATML_STOPS},
    [CHAT_QWEN25] = {.name = "qwen2.5",
                     .encode = chat_chatml_encode,
                     .system = CHAT_QWEN25_SYSTEM,
                     .stops = CHAT_CHATML_STOPS,
                     .can_call = true},
    [CHAT_FATHOM] = {.name = "fathom", .encode = chat_deepseek_encode, .stops = {CHAT_EOS}},
};

static const struct chat_row *chat_row_of(enum chat_format f)
{
    return &chat_rows[(unsigned)f < CHAT_FORMATS ? f : CHAT_PLAIN];
}

const char *chat_format_name(enum chat_format f)
{
    return chat_row_of(f)->name;
}

bool chat_format_from_name(const char *name, enum chat_format *out)
{
    for (unsigned f = 0; f < CHAT_FORMATS; f++) {
        if (strcmp(chat_rows[f].name, name) == 0) {
            *out = (enum chat_format)f;
            return true;
        }
    }
    return false;
}

bool chat_can_think(enum chat_format f)
{
    return chat_row_of(f)->can_think;
}

bool chat_can_skip_thinking(enum chat_format f)
{
    return chat_row_of(f)->can_skip;
}

bool chat_can_call(enum chat_format f)
{
    return chat_row_of(f)->can_call;
}

static err chat_encode_plain(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    if (tokenizer_add_bos(w->t) && tokenizer_bos(w->t) >= 0 &&
        tokenizer_ids_push(w->out, tokenizer_bos(w->t)) != ERR_OK) {
        return chat_writer_nomem(w);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(chat_writer_puts(w, messages[i].content));
    }
    return ERR_OK;
}

/* bos [system \n\n] User: q \n\n Assistant: answer eos … Assistant: */
static err chat_encode_v2(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    TRY(chat_writer_bos(w, CHAT_BOS));
    for (size_t i = 0; i < n; i++) {
        const struct chat_message *m = &messages[i];
        TRY(chat_writer_puts(w, m->role == CHAT_USER        ? "User: "
                                : m->role == CHAT_ASSISTANT ? "Assistant: "
                                                            : ""));
        TRY(chat_writer_puts(w, m->content));
        TRY(m->role == CHAT_ASSISTANT ? chat_writer_special(w, CHAT_EOS) : chat_writer_puts(w, "\n\n"));
    }
    return chat_writer_puts(w, "Assistant:");
}

/* Whitespace that the Llama 3 template trims: what Python's strip() removes, in ASCII. */
static bool chat_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f');
}

static err chat_encode_header(struct chat_writer *w, enum chat_role role)
{
    TRY(chat_writer_special(w, "<|start_header_id|>"));
    TRY(chat_writer_puts(w, role == CHAT_SYSTEM ? "system" : role == CHAT_USER ? "user" : "assistant"));
    TRY(chat_writer_special(w, "<|end_header_id|>"));
    return chat_writer_puts(w, "\n\n");
}

static err chat_encode_llama3(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    TRY(chat_writer_bos(w, "<|begin_of_text|>"));
    for (size_t i = 0; i < n; i++) {
        const char *text = messages[i].content ? messages[i].content : "";
        size_t len = strlen(text);
        while (len > 0 && chat_is_space(*text)) {
            text++;
            len--;
        }
        while (len > 0 && chat_is_space(text[len - 1])) {
            len--;
        }
        TRY(chat_encode_header(w, messages[i].role));
        TRY(chat_writer_text(w, text, len));
        TRY(chat_writer_special(w, "<|eot_id|>"));
    }
    return chat_encode_header(w, CHAT_ASSISTANT);
}

static err chat_refuse(const struct chat_writer *w, size_t i, const char *what, const char *who)
{
    return err_set(w->info, ERR_UNSUPPORTED, "message %zu has %s, which the chat format %s does not know; %s",
                   i + 1, what, chat_format_name(w->format), who);
}

static bool chat_is_v4(enum chat_format f)
{
    return f == CHAT_DEEPSEEK_V4 || f == CHAT_DEEPSEEK_V4_0731;
}

/* What message i has must be something that the format knows. */
static err chat_check_known(const struct chat_writer *w, const struct chat_message *m, size_t i)
{
    static const char callers[] = "deepseek-v3, -r1, -v3.1, -v3.2, -v4, chatml and qwen2.5 do";
    static const char dsml[] = "deepseek-v3.2 and deepseek-v4 do", v4[] = "deepseek-v4 does";
    const struct chat_row *row = chat_row_of(w->format);
    bool leads = m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER;
    if (!row->can_call && ((leads && m->n_tools > 0) || m->role == CHAT_TOOL ||
                           (m->role == CHAT_ASSISTANT && m->n_calls > 0))) {
        return chat_refuse(w, i, leads ? "tools" : m->role == CHAT_TOOL ? "a tool's result" : "tool calls",
                           callers);
    }
    if (!row->dsml && (m->role == CHAT_DEVELOPER || (leads && m->response_schema))) {
        return chat_refuse(w, i, m->role == CHAT_DEVELOPER ? "the role developer" : "a schema for the answer",
                           dsml);
    }
    if (!chat_is_v4(w->format) && (m->role == CHAT_REMINDER || (m->role == CHAT_USER && m->task))) {
        return chat_refuse(w, i, m->role == CHAT_REMINDER ? "the role latest_reminder" : "a task", v4);
    }
    return ERR_OK;
}

static err chat_check_call(const struct chat_writer *w, const struct chat_call *call)
{
    json_t *arguments;
    size_t len = strlen(call->arguments);
    err e = json_parse(call->arguments, len, "the arguments of a call", &arguments, w->info);
    if (e != ERR_OK) {
        return e == ERR_CORRUPT ? ERR_ARGUMENT : e; /* the caller's, not a file's */
    }
    bool object = json_is_object(arguments);
    const char *found = json_type_name(arguments);
    json_decref(arguments);
    return object ? ERR_OK
                  : err_set(w->info, ERR_ARGUMENT, "the arguments of the call of %.80s are %s; expected an "
                            "object", call->name, found);
}

static err chat_check_task(const struct chat_writer *w, const char *task)
{
    static const char *const tasks[] = {"action", "query", "authority", "domain", "title", "read_url"};
    for (size_t i = 0; i < sizeof tasks / sizeof tasks[0]; i++) {
        if (strcmp(task, tasks[i]) == 0) {
            return ERR_OK;
        }
    }
    return err_set(w->info, ERR_ARGUMENT, "the task %.40s is unknown; there are action, query, authority, "
                   "domain, title and read_url", task);
}

static err chat_check(const struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    bool called = false;
    for (size_t i = 0; i < n; i++) {
        const struct chat_message *m = &messages[i];
        TRY(chat_check_known(w, m, i));
        for (size_t k = 0; m->role == CHAT_ASSISTANT && k < m->n_calls; k++) {
            TRY(chat_check_call(w, &m->calls[k]));
            called = true;
        }
        if (m->role == CHAT_TOOL && !called) {
            return err_set(w->info, ERR_ARGUMENT, "message %zu is a tool's result, but nothing was called "
                           "before", i + 1);
        }
        TRY(m->role == CHAT_USER && m->task ? chat_check_task(w, m->task) : ERR_OK);
        if (m->open && (i + 1 < n || m->role != CHAT_ASSISTANT)) {
            return err_set(w->info, ERR_ARGUMENT, "message %zu is to be continued; only the last one can be, "
                           "and only the assistant's", i + 1);
        }
    }
    return ERR_OK;
}

static bool chat_says(const char *text)
{
    return text && text[0];
}

/* The beginning of an answer, behind the prompt for it. `thinks`: that ends inside a think block. */
static err chat_continue(struct chat_writer *w, const struct chat_message *m, bool thinks)
{
    bool r1 = w->format == CHAT_DEEPSEEK_R1;
    if (m->n_calls > 0) {
        return err_set(w->info, ERR_UNSUPPORTED, "the answer's given beginning has tool calls; only text can "
                       "be continued");
    }
    if (chat_says(m->reasoning) && !thinks) {
        return err_set(w->info, ERR_UNSUPPORTED, "the answer's given beginning has reasoning, but this answer "
                       "has none: %s", chat_can_think(w->format) ? "thinking is off here"
                                                                 : "the model does not think");
    }
    TRY(chat_writer_puts(w, m->reasoning));
    if (!chat_says(m->content)) {
        return ERR_OK;
    }
    if (thinks) {
        TRY(chat_writer_puts(w, r1 ? "\n" : ""));
        TRY(chat_writer_special(w, CHAT_THINK_END));
        TRY(chat_writer_puts(w, r1 ? "\n\n" : ""));
    }
    TRY(chat_writer_puts(w, w->format == CHAT_DEEPSEEK_V2 ? " " : ""));
    return chat_writer_puts(w, m->content);
}

/* The open message that the conversation ends with; NULL: none. */
static const struct chat_message *chat_beginning(const struct chat_message *messages, size_t n)
{
    const struct chat_message *last = n > 0 ? &messages[n - 1] : NULL;
    return last && last->role == CHAT_ASSISTANT && last->open ? last : NULL;
}

/* An answer of V3.1 that is given without reasoning is one that was not thought about. */
static bool chat_skips_thinking(enum chat_format f, const struct chat_message *beginning)
{
    return f == CHAT_DEEPSEEK_V31 && beginning && chat_says(beginning->content) &&
           !chat_says(beginning->reasoning);
}

err chat_encode(const struct tokenizer *t, enum chat_format f, const struct chat_message *messages,
                size_t n_messages, enum chat_thinking think, struct tokenizer_ids *out, struct errinfo *info)
{
    const struct chat_message *beginning = chat_beginning(messages, n_messages);
    size_t n = n_messages - (beginning ? 1 : 0); /* messages before the answer */
    if (n_messages == 0 || (n == 0 && f != CHAT_PLAIN)) {
        return err_set(info, ERR_ARGUMENT, "the conversation is empty; it must end with a user message");
    }
    if (f != CHAT_PLAIN && messages[n - 1].role == CHAT_ASSISTANT) {
        return err_set(info, ERR_ARGUMENT, "the last message is the assistant's; a conversation must end "
                       "with a user message to be answered");
    }
    struct chat_writer w = {.t = t, .format = f, .think = think, .out = out, .info = info};
    w.think = chat_skips_thinking(f, beginning) ? CHAT_NO_THINKING : think;
    w.system = chat_row_of(f)->system;
    size_t before = out->len;
    err e = chat_check(&w, messages, n_messages);
    e = e == ERR_OK ? chat_row_of(f)->encode(&w, messages, n) : e;
    if (e == ERR_OK && beginning) {
        e = chat_continue(&w, beginning, chat_opens_thinking(f, messages, n, w.think));
    }
    e = e == ERR_OK ? chat_writer_flush(&w) : e;
    strbuf_deinit(&w.text);
    if (e != ERR_OK) {
        out->len = before;
    }
    return e;
}

bool chat_opens_thinking(enum chat_format f, const struct chat_message *messages, size_t n_messages,
                         enum chat_thinking think)
{
    const struct chat_message *beginning = chat_beginning(messages, n_messages);
    if (beginning) {
        return !chat_says(beginning->content) && chat_opens_thinking(f, messages, n_messages - 1, think);
    }
    const struct chat_message *last = n_messages > 0 ? &messages[n_messages - 1] : NULL;
    if (!last || !chat_can_think(f) || (chat_can_skip_thinking(f) && !think)) {
        return false;
    }
    /* Behind a result R1 and V3.1 go on with what they were saying; a task's answer has no thinking part. */
    return chat_row_of(f)->dsml ? last->role != CHAT_USER || !last->task : last->role != CHAT_TOOL;
}

size_t chat_stop_ids(const struct tokenizer *t, enum chat_format f, int32_t ids[CHAT_STOP_MAX])
{
    size_t n = 0;
    if (tokenizer_eos(t) >= 0) {
        ids[n++] = tokenizer_eos(t);
    }
    const char *const *stops = chat_row_of(f)->stops;
    for (size_t i = 0; i < CHAT_STOP_MAX && stops[i] && n < CHAT_STOP_MAX; i++) {
        int32_t id = tokenizer_special(t, stops[i]);
        bool known = id < 0;
        for (size_t k = 0; k < n; k++) {
            known = known || ids[k] == id;
        }
        if (!known) {
            ids[n++] = id;
        }
    }
    return n;
}

static size_t chat_known_ids(const struct tokenizer *t, const char *const *marks, size_t n_marks, int32_t *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < n_marks; i++) {
        int32_t id = tokenizer_special(t, marks[i]);
        if (id >= 0) {
            ids[n++] = id;
        }
    }
    return n;
}

size_t chat_think_ids(const struct tokenizer *t, int32_t ids[CHAT_THINK_MAX])
{
    static const char *const marks[CHAT_THINK_MAX] = {CHAT_THINK, CHAT_THINK_END};
    return chat_known_ids(t, marks, CHAT_THINK_MAX, ids);
}

err chat_think_end(const struct tokenizer *t, enum chat_format f, struct tokenizer_ids *out,
                   struct errinfo *info)
{
    int32_t id = tokenizer_special(t, CHAT_THINK_END);
    if (id < 0 || !chat_can_think(f)) {
        return ERR_OK;
    }
    size_t before = out->len;
    const char *behind = f == CHAT_DEEPSEEK_R1 ? "\n\n" : "";
    err e = tokenizer_ids_push(out, id);
    e = e == ERR_OK ? tokenizer_encode(t, behind, strlen(behind), false, out, info)
                    : err_set(info, e, "out of memory for the end of a think block");
    if (e != ERR_OK) {
        out->len = before;
    }
    return e;
}

size_t chat_call_ids(const struct tokenizer *t, int32_t ids[CHAT_CALL_MAX])
{
    static const char *const marks[CHAT_CALL_MAX] = {CHAT_CALLS,    CHAT_CALLS_END, CHAT_CALL,
                                                     CHAT_CALL_END, CHAT_CALL_SEP,  CHAT_DSML,
                                                     CHAT_TOOL_CALL, CHAT_TOOL_CALL_END};
    return chat_known_ids(t, marks, CHAT_CALL_MAX, ids);
}

const char *chat_template_text(void)
{
    return "{% if thinking is not defined %}{% set thinking = false %}{% endif %}"
           "{% set ns = namespace(system='') %}"
           "{% for m in messages %}{% if m['role'] == 'system' %}"
           "{% set ns.system = ns.system + ('\n\n' if ns.system else '') + m['content'] %}"
           "{% endif %}{% endfor %}"
           "{{ bos_token + ns.system }}"
           "{% for m in messages %}"
           "{% if m['role'] == 'user' %}{{ '" CHAT_USER_MARK "' + m['content'] }}"
           "{% elif m['role'] == 'assistant' %}"
           "{{ '" CHAT_ASSISTANT_MARK CHAT_THINK_END "' + m['content'] + '" CHAT_EOS "' }}"
           "{% endif %}{% endfor %}"
           "{% if add_generation_prompt %}{{ '" CHAT_ASSISTANT_MARK "' }}"
           "{% if thinking %}{{ '" CHAT_THINK "' }}{% else %}{{ '" CHAT_THINK_END "' }}{% endif %}{% endif %}";
}

const char *const *chat_control_tokens(void)
{
    static const char *const tokens[] = {
        CHAT_BOS,
        CHAT_EOS,
        "<｜▁pad▁｜>",
        CHAT_USER_MARK,
        CHAT_ASSISTANT_MARK,
        CHAT_THINK,
        CHAT_THINK_END,
        CHAT_FIM_HOLE,
        CHAT_FIM_BEGIN,
        CHAT_FIM_END,
        CHAT_CALLS,
        CHAT_CALLS_END,
        CHAT_CALL,
        CHAT_CALL_END,
        CHAT_RESULTS,
        CHAT_RESULTS_END,
        CHAT_RESULT,
        CHAT_RESULT_END,
        CHAT_CALL_SEP,
        "<｜place▁holder▁no▁0｜>",
        "<｜place▁holder▁no▁1｜>",
        "<｜place▁holder▁no▁2｜>",
        "<｜place▁holder▁no▁3｜>",
        "<｜place▁holder▁no▁4｜>",
        NULL,
    };
    return tokens;
}
