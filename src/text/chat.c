/* text/chat.c: see chat.h. A prompt is a chain of special tokens and stretches of text. Text between two
 * special tokens is collected and encoded in one piece, since merges run across the border of template
 * and message: that is what the model saw in training. */
#include "text/chat.h"

#include <string.h>

#include "base/strbuf.h"
#include "text/chat_marks.h"

struct chat_writer {
    const struct tokenizer *t;
    struct tokenizer_ids *out;
    struct strbuf text; /* not yet encoded */
    struct errinfo *info;
    const char *format;
};

typedef err (*chat_encoder)(struct chat_writer *w, enum chat_format f,
                            const struct chat_message *messages, size_t n, bool think);

static err chat_encode_plain(struct chat_writer *w, enum chat_format f,
                             const struct chat_message *messages, size_t n, bool think);
static err chat_encode_v2(struct chat_writer *w, enum chat_format f,
                          const struct chat_message *messages, size_t n, bool think);
static err chat_encode_v3(struct chat_writer *w, enum chat_format f,
                          const struct chat_message *messages, size_t n, bool think);
static err chat_encode_chatml(struct chat_writer *w, enum chat_format f,
                              const struct chat_message *messages, size_t n, bool think);
static err chat_encode_llama3(struct chat_writer *w, enum chat_format f,
                              const struct chat_message *messages, size_t n, bool think);

static const struct chat_row {
    const char *name;
    chat_encoder encode;
    const char *system;              /* where none is given; NULL for none */
    const char *stops[CHAT_STOP_MAX]; /* besides the tokenizer's eos */
    bool can_think, can_skip;
} chat_rows[CHAT_FORMATS] = {
    [CHAT_PLAIN] = {"plain", chat_encode_plain, NULL, {NULL}, false, false},
    [CHAT_DEEPSEEK_V2] = {"deepseek-v2", chat_encode_v2, NULL, {CHAT_EOS}, false, false},
    [CHAT_DEEPSEEK_V25] = {"deepseek-v2.5", chat_encode_v3, NULL, {CHAT_EOS}, false, false},
    [CHAT_DEEPSEEK_V3] = {"deepseek-v3", chat_encode_v3, NULL, {CHAT_EOS}, false, false},
    [CHAT_DEEPSEEK_R1] = {"deepseek-r1", chat_encode_v3, NULL, {CHAT_EOS}, true, false},
    [CHAT_DEEPSEEK_V31] = {"deepseek-v3.1", chat_encode_v3, NULL, {CHAT_EOS}, true, true},
    [CHAT_CHATML] = {"chatml", chat_encode_chatml, NULL, {"<|im_end|>", "<|endoftext|>"}, false, false},
    [CHAT_LLAMA3] = {"llama3",
                     chat_encode_llama3,
                     NULL,
                     {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"},
                     false,
                     false},
    [CHAT_SMOLLM2] = {"smollm2",
                      chat_encode_chatml,
                      CHAT_SMOLLM2_SYSTEM,
                      {"<|im_end|>", "<|endoftext|>"},
                      false,
                      false},
    [CHAT_QWEN2] = {"qwen2",
                    chat_encode_chatml,
                    CHAT_QWEN2_SYSTEM,
                    {"<|im_end|>", "<|endoftext|>"},
                    false,
                    false},
    [CHAT_QWEN25] = {"qwen2.5",
                     chat_encode_chatml,
                     CHAT_QWEN25_SYSTEM,
                     {"<|im_end|>", "<|endoftext|>"},
                     false,
                     false},
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

static err chat_nomem(const struct chat_writer *w)
{
    return err_set(w->info, ERR_NOMEM, "out of memory encoding the conversation");
}

static err chat_text(struct chat_writer *w, const char *text, size_t len)
{
    return strbuf_append(&w->text, text, len) == ERR_OK ? ERR_OK : chat_nomem(w);
}

static err chat_puts(struct chat_writer *w, const char *text)
{
    return chat_text(w, text, strlen(text));
}

static err chat_flush(struct chat_writer *w)
{
    TRY(tokenizer_encode(w->t, w->text.data, w->text.len, false, w->out, w->info));
    strbuf_clear(&w->text);
    return ERR_OK;
}

static err chat_special(struct chat_writer *w, const char *token)
{
    int32_t id = tokenizer_special(w->t, token);
    if (id < 0) {
        return err_set(w->info, ERR_ARGUMENT, "the vocabulary has no token %s, which the chat format %s "
                       "needs; choose another format", token, w->format);
    }
    TRY(chat_flush(w));
    return tokenizer_ids_push(w->out, id) == ERR_OK ? ERR_OK : chat_nomem(w);
}

/* The tokenizer's own bos, where the format begins with one and it may be spelled in several ways. */
static err chat_bos(struct chat_writer *w, const char *token)
{
    int32_t id = tokenizer_special(w->t, token);
    id = id >= 0 ? id : tokenizer_bos(w->t);
    if (id < 0) {
        return chat_special(w, token);
    }
    return tokenizer_ids_push(w->out, id) == ERR_OK ? ERR_OK : chat_nomem(w);
}

static err chat_encode_plain(struct chat_writer *w, enum chat_format f,
                             const struct chat_message *messages, size_t n, bool think)
{
    (void)f;
    (void)think;
    if (tokenizer_add_bos(w->t) && tokenizer_bos(w->t) >= 0 &&
        tokenizer_ids_push(w->out, tokenizer_bos(w->t)) != ERR_OK) {
        return chat_nomem(w);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(chat_puts(w, messages[i].content));
    }
    return ERR_OK;
}

/* bos [system \n\n] User: q \n\n Assistant: answer eos … Assistant: */
static err chat_encode_v2(struct chat_writer *w, enum chat_format f,
                          const struct chat_message *messages, size_t n, bool think)
{
    (void)f;
    (void)think;
    TRY(chat_bos(w, CHAT_BOS));
    for (size_t i = 0; i < n; i++) {
        const struct chat_message *m = &messages[i];
        TRY(chat_puts(w, m->role == CHAT_USER        ? "User: "
                         : m->role == CHAT_ASSISTANT ? "Assistant: "
                                                     : ""));
        TRY(chat_puts(w, m->content));
        TRY(m->role == CHAT_ASSISTANT ? chat_special(w, CHAT_EOS) : chat_puts(w, "\n\n"));
    }
    return chat_puts(w, "Assistant:");
}

/* What of an earlier answer is repeated: R1 keeps what follows the last </think>, V3.1 what follows the
 * first. */
static const char *chat_kept(enum chat_format f, const char *content)
{
    const char *kept = content;
    if (f == CHAT_DEEPSEEK_R1 || f == CHAT_DEEPSEEK_V31) {
        const char *end = strstr(content, CHAT_THINK_END);
        while (end) {
            kept = end + strlen(CHAT_THINK_END);
            end = f == CHAT_DEEPSEEK_R1 ? strstr(kept, CHAT_THINK_END) : NULL;
        }
    }
    return kept;
}

static err chat_encode_systems(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (messages[i].role == CHAT_SYSTEM) {
            TRY(chat_puts(w, first ? "" : "\n\n"));
            TRY(chat_puts(w, messages[i].content));
            first = false;
        }
    }
    return ERR_OK;
}

/* bos system <User>q <Assistant>answer eos … <Assistant>, for V2.5, V3, R1, V3.1. In V3.1 </think> opens
 * every earlier answer, and <think> or </think> the next. */
static err chat_encode_v3(struct chat_writer *w, enum chat_format f,
                          const struct chat_message *messages, size_t n, bool think)
{
    TRY(chat_bos(w, CHAT_BOS));
    TRY(chat_encode_systems(w, messages, n));
    for (size_t i = 0; i < n; i++) {
        const struct chat_message *m = &messages[i];
        if (m->role == CHAT_USER) {
            TRY(chat_special(w, CHAT_USER_MARK));
            TRY(chat_puts(w, m->content));
        } else if (m->role == CHAT_ASSISTANT) {
            TRY(chat_special(w, CHAT_ASSISTANT_MARK));
            TRY(f == CHAT_DEEPSEEK_V31 ? chat_special(w, CHAT_THINK_END) : ERR_OK);
            TRY(chat_puts(w, chat_kept(f, m->content)));
            TRY(chat_special(w, CHAT_EOS));
        }
    }
    TRY(chat_special(w, CHAT_ASSISTANT_MARK));
    if (f == CHAT_DEEPSEEK_R1) {
        TRY(chat_special(w, CHAT_THINK));
        return chat_puts(w, "\n");
    }
    return f == CHAT_DEEPSEEK_V31 ? chat_special(w, think ? CHAT_THINK : CHAT_THINK_END) : ERR_OK;
}

static const char *chat_role_name(enum chat_role role)
{
    return role == CHAT_SYSTEM ? "system" : role == CHAT_USER ? "user" : "assistant";
}

static err chat_encode_chatml_turn(struct chat_writer *w, enum chat_role role, const char *content)
{
    TRY(chat_special(w, "<|im_start|>"));
    TRY(chat_puts(w, chat_role_name(role)));
    TRY(chat_puts(w, "\n"));
    TRY(chat_puts(w, content));
    TRY(chat_special(w, "<|im_end|>"));
    return chat_puts(w, "\n");
}

static err chat_encode_chatml(struct chat_writer *w, enum chat_format f,
                              const struct chat_message *messages, size_t n, bool think)
{
    (void)think;
    if (chat_row_of(f)->system && messages[0].role != CHAT_SYSTEM) {
        TRY(chat_encode_chatml_turn(w, CHAT_SYSTEM, chat_row_of(f)->system));
    }
    for (size_t i = 0; i < n; i++) {
        TRY(chat_encode_chatml_turn(w, messages[i].role, messages[i].content));
    }
    TRY(chat_special(w, "<|im_start|>"));
    return chat_puts(w, "assistant\n");
}

/* Whitespace that the Llama 3 template trims: what Python's strip() removes, in ASCII. */
static bool chat_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f');
}

static err chat_encode_header(struct chat_writer *w, enum chat_role role)
{
    TRY(chat_special(w, "<|start_header_id|>"));
    TRY(chat_puts(w, chat_role_name(role)));
    TRY(chat_special(w, "<|end_header_id|>"));
    return chat_puts(w, "\n\n");
}

static err chat_encode_llama3(struct chat_writer *w, enum chat_format f,
                              const struct chat_message *messages, size_t n, bool think)
{
    (void)f;
    (void)think;
    TRY(chat_bos(w, "<|begin_of_text|>"));
    for (size_t i = 0; i < n; i++) {
        const char *text = messages[i].content;
        size_t len = strlen(text);
        while (len > 0 && chat_is_space(*text)) {
            text++;
            len--;
        }
        while (len > 0 && chat_is_space(text[len - 1])) {
            len--;
        }
        TRY(chat_encode_header(w, messages[i].role));
        TRY(chat_text(w, text, len));
        TRY(chat_special(w, "<|eot_id|>"));
    }
    return chat_encode_header(w, CHAT_ASSISTANT);
}

err chat_encode(const struct tokenizer *t, enum chat_format f, const struct chat_message *messages,
                size_t n_messages, bool think, struct tokenizer_ids *out, struct errinfo *info)
{
    if (n_messages == 0) {
        return err_set(info, ERR_ARGUMENT, "the conversation is empty; it must end with a user message");
    }
    if (f != CHAT_PLAIN && messages[n_messages - 1].role == CHAT_ASSISTANT) {
        return err_set(info, ERR_ARGUMENT, "the last message is the assistant's; a conversation must end "
                       "with a user message to be answered");
    }
    struct chat_writer w = {.t = t, .out = out, .info = info, .format = chat_format_name(f)};
    size_t before = out->len;
    err e = chat_row_of(f)->encode(&w, f, messages, n_messages, think);
    if (e == ERR_OK) {
        e = chat_flush(&w);
    }
    strbuf_deinit(&w.text);
    if (e != ERR_OK) {
        out->len = before;
    }
    return e;
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

size_t chat_think_ids(const struct tokenizer *t, int32_t ids[CHAT_THINK_MAX])
{
    static const char *const marks[CHAT_THINK_MAX] = {CHAT_THINK, CHAT_THINK_END};
    size_t n = 0;
    for (size_t i = 0; i < CHAT_THINK_MAX; i++) {
        int32_t id = tokenizer_special(t, marks[i]);
        if (id >= 0) {
            ids[n++] = id;
        }
    }
    return n;
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
        "<｜fim▁hole｜>",
        "<｜fim▁begin｜>",
        "<｜fim▁end｜>",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>",
        "<｜tool▁outputs▁begin｜>",
        "<｜tool▁outputs▁end｜>",
        "<｜tool▁output▁begin｜>",
        "<｜tool▁output▁end｜>",
        "<｜tool▁sep｜>",
        "<｜place▁holder▁no▁0｜>",
        "<｜place▁holder▁no▁1｜>",
        "<｜place▁holder▁no▁2｜>",
        "<｜place▁holder▁no▁3｜>",
        "<｜place▁holder▁no▁4｜>",
        NULL,
    };
    return tokens;
}
