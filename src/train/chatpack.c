/* train/chatpack.c: see chatpack.h. Each answer's prompt is made by chat_encode, as when the model is asked; it
 * must begin with the tokens before it. */
#include "train/chatpack.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

struct chatpack {
    const struct tokenizer *t;
    enum chat_format format;
    struct chat_message *messages;
    size_t n;
    struct tokenizer_ids *ids;
    struct strbuf *learn;
    struct errinfo *info;
};

static err chatpack_nomem(const struct chatpack *p)
{
    return err_set(p->info, ERR_NOMEM, "out of memory packing a conversation");
}

static err chatpack_role(const char *text, enum chat_role *out, struct errinfo *info)
{
    static const char *const names[] = {
        [CHAT_SYSTEM] = "system", [CHAT_USER] = "user", [CHAT_ASSISTANT] = "assistant"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum chat_role)i;
            return ERR_OK;
        }
    }
    return err_set(info, ERR_CORRUPT, "the role \"%.40s\" is none of system, user, assistant", text);
}

static err chatpack_message(const json_t *o, struct chat_message *m, struct errinfo *info)
{
    const char *role;
    TRY(json_get_string(o, "message", "role", &role, info));
    TRY(chatpack_role(role, &m->role, info));
    TRY(json_get_string(o, "message", "content", &m->content, info));
    err e = json_get_string(o, "message", "reasoning_content", &m->reasoning, info);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static err chatpack_read(struct chatpack *p, const json_t *o)
{
    const json_t *list;
    TRY(json_get_array(o, "conversation", "messages", &list, p->info));
    p->n = json_array_size(list);
    if (p->n == 0 || p->n > CHATPACK_MESSAGES_MAX) {
        return err_set(p->info, ERR_CORRUPT, "%zu messages; a conversation has 1 to %d", p->n,
                       CHATPACK_MESSAGES_MAX);
    }
    p->messages = mem_calloc(p->n, sizeof *p->messages);
    if (!p->messages) {
        return chatpack_nomem(p);
    }
    for (size_t i = 0; i < p->n; i++) {
        TRY(chatpack_message(json_array_get(list, i), &p->messages[i], p->info));
        bool answers = p->messages[i].role == CHAT_ASSISTANT;
        if (answers && (i == 0 || p->messages[i - 1].role == CHAT_ASSISTANT)) {
            return err_set(p->info, ERR_CORRUPT, "message %zu is the assistant's, but nobody asked", i + 1);
        }
    }
    if (p->messages[p->n - 1].role != CHAT_ASSISTANT) {
        return err_set(p->info, ERR_CORRUPT, "the last message is not the assistant's");
    }
    return ERR_OK;
}

/* learn follows ids. */
static err chatpack_mark(struct chatpack *p, char value)
{
    while (p->learn->len < p->ids->len) {
        if (strbuf_append(p->learn, &value, 1) != ERR_OK) {
            return chatpack_nomem(p);
        }
    }
    return ERR_OK;
}

/* The prompt for message i: what is new in it is only read. */
static err chatpack_prompt(struct chatpack *p, size_t i)
{
    struct tokenizer_ids prompt = {0};
    bool thinks = p->messages[i].reasoning != NULL;
    err e = chat_encode(p->t, p->format, p->messages, i, thinks, &prompt, p->info);
    bool follows = e == ERR_OK && prompt.len >= p->ids->len &&
                   (p->ids->len == 0 ||
                    memcmp(prompt.data, p->ids->data, p->ids->len * sizeof *prompt.data) == 0);
    if (e == ERR_OK && !follows) {
        e = err_set(p->info, ERR_UNSUPPORTED, "%s shows earlier turns otherwise than they were said: "
                    "reasoning can stand in the last turn alone", chat_format_name(p->format));
    }
    for (size_t k = p->ids->len; e == ERR_OK && k < prompt.len; k++) {
        e = tokenizer_ids_push(p->ids, prompt.data[k]) == ERR_OK ? ERR_OK : chatpack_nomem(p);
    }
    tokenizer_ids_deinit(&prompt);
    return e == ERR_OK ? chatpack_mark(p, 0) : e;
}

static err chatpack_answer(struct chatpack *p, const struct chat_message *m)
{
    int32_t stop[CHAT_STOP_MAX], think[CHAT_THINK_MAX];
    if (chat_stop_ids(p->t, p->format, stop) == 0 || (m->reasoning && chat_think_ids(p->t, think) < 2)) {
        return err_set(p->info, ERR_ARGUMENT, "the vocabulary lacks a token that ends turns or thoughts in %s",
                       chat_format_name(p->format));
    }
    if (m->reasoning) {
        TRY(tokenizer_encode(p->t, m->reasoning, strlen(m->reasoning), false, p->ids, p->info));
        TRY(tokenizer_ids_push(p->ids, think[1]) == ERR_OK ? ERR_OK : chatpack_nomem(p));
    }
    TRY(tokenizer_encode(p->t, m->content, strlen(m->content), false, p->ids, p->info));
    TRY(tokenizer_ids_push(p->ids, stop[0]) == ERR_OK ? ERR_OK : chatpack_nomem(p));
    return chatpack_mark(p, 1);
}

static err chatpack_all(struct chatpack *p, const json_t *o)
{
    TRY(chatpack_read(p, o));
    p->ids->len = 0;
    strbuf_clear(p->learn);
    for (size_t i = 0; i < p->n; i++) {
        if (p->messages[i].role == CHAT_ASSISTANT) {
            TRY(chatpack_prompt(p, i));
            TRY(chatpack_answer(p, &p->messages[i]));
        }
    }
    return ERR_OK;
}

err chatpack_encode(const struct tokenizer *t, enum chat_format format, const char *json, size_t len,
                    struct tokenizer_ids *ids, struct strbuf *learn, struct errinfo *info)
{
    struct chatpack p = {.t = t, .format = format, .ids = ids, .learn = learn, .info = info};
    json_t *o;
    TRY(json_parse(json, len, "conversation", &o, info));
    err e = chatpack_all(&p, o);
    mem_free(p.messages);
    json_decref(o);
    return e;
}
