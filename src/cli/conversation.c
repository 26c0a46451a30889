/* cli/conversation.c: see conversation.h. */
#include "cli/conversation.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { CONVERSATION_FILE_MAX = 64 << 20, CONVERSATION_VERSION = 1 };

static char *conversation_dup(const char *s)
{
    return s ? mem_dup(s, strlen(s)) : NULL;
}

static void conversation_free_text(const char *s)
{
    mem_free((void *)(uintptr_t)s);
}

void conversation_drop_last(struct conversation *c)
{
    if (c->n > 0) {
        struct chat_message *m = &c->messages[c->n--];
        conversation_free_text(m->content);
        conversation_free_text(m->reasoning);
    }
}

void conversation_clear(struct conversation *c)
{
    while (c->n > 0) {
        conversation_drop_last(c);
    }
}

void conversation_deinit(struct conversation *c)
{
    conversation_clear(c);
    mem_free(c->messages);
    mem_free(c->system);
    *c = (struct conversation){0};
}

err conversation_set_system(struct conversation *c, const char *text, struct errinfo *info)
{
    char *copy = text && text[0] ? conversation_dup(text) : NULL;
    if (text && text[0] && !copy) {
        return err_set(info, ERR_NOMEM, "out of memory for the system text");
    }
    mem_free(c->system);
    c->system = copy;
    return ERR_OK;
}

err conversation_add(struct conversation *c, enum chat_role role, const char *content,
                     const char *reasoning, struct errinfo *info)
{
    struct chat_message *p = mem_grow(c->messages, c->n + 1, &c->cap, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for a message");
    }
    c->messages = p;
    char *text = conversation_dup(content), *thoughts = conversation_dup(reasoning);
    if (!text || (reasoning && !thoughts)) {
        mem_free(text);
        mem_free(thoughts);
        return err_set(info, ERR_NOMEM, "out of memory for a message");
    }
    c->messages[++c->n] =
        (struct chat_message){.role = role, .content = text, .reasoning = thoughts};
    return ERR_OK;
}

err conversation_encode(struct conversation *c, const struct tokenizer *t, enum chat_format f,
                        struct tokenizer_ids *out, struct errinfo *info)
{
    if (c->n == 0) {
        return err_set(info, ERR_ARGUMENT, "the conversation is empty");
    }
    c->messages[0] = (struct chat_message){.role = CHAT_SYSTEM, .content = c->system};
    size_t skip = c->system ? 0 : 1;
    return chat_encode(t, f, c->messages + skip, c->n + 1 - skip, c->think, out, info);
}

/* ---- file ---- */

static json_t *conversation_to_json(const struct conversation *c, const char *model)
{
    json_t *list = json_array();
    for (size_t i = 1; i <= c->n; i++) {
        const struct chat_message *m = &c->messages[i];
        json_t *row = json_pack("{s:s, s:s}", "role", m->role == CHAT_USER ? "user" : "assistant",
                                "content", m->content);
        bool kept = row && (!m->reasoning || json_object_set_new(row, "reasoning",
                                                                 json_string(m->reasoning)) == 0);
        if (!kept || json_array_append(list, row) != 0) {
            json_decref(row);
            json_decref(list);
            return NULL;
        }
        json_decref(row);
    }
    json_t *doc = json_pack("{s:i, s:s, s:I, s:b, s:o}", "fathom_chat", CONVERSATION_VERSION, "model",
                            model, "seed", (json_int_t)c->seed, "think", (int)c->think, "messages",
                            list);
    if (doc && c->system && json_object_set_new(doc, "system", json_string(c->system)) != 0) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

err conversation_save(const struct conversation *c, const char *model, const char *path,
                      struct errinfo *info)
{
    json_t *doc = conversation_to_json(c, model);
    err e = json_write(doc, JSON_INDENT(1), path, info);
    json_decref(doc);
    return e;
}

static err conversation_read_messages(struct conversation *c, const json_t *list, const char *path,
                                      struct errinfo *info)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const char *role, *content, *reasoning = NULL;
        TRY(json_get_string(row, path, "role", &role, info));
        TRY(json_get_string(row, path, "content", &content, info));
        if (json_object_get(row, "reasoning")) {
            TRY(json_get_string(row, path, "reasoning", &reasoning, info));
        }
        const char *expected = i % 2 == 0 ? "user" : "assistant";
        if (strcmp(role, expected) != 0) {
            return err_set(info, ERR_CORRUPT,
                           "%s: message %zu is from \"%s\"; user and assistant must take turns, so "
                           "\"%s\" is expected",
                           path, i + 1, role, expected);
        }
        TRY(conversation_add(c, i % 2 == 0 ? CHAT_USER : CHAT_ASSISTANT, content, reasoning, info));
    }
    if (c->n % 2 != 0) {
        return err_set(info, ERR_CORRUPT, "%s: the last message has no answer", path);
    }
    return ERR_OK;
}

static err conversation_from_json(struct conversation *c, const json_t *doc, const char *path,
                                  struct errinfo *info)
{
    uint64_t version, seed;
    const json_t *list;
    const char *system = NULL;
    TRY(json_get_u64(doc, path, "fathom_chat", &version, info));
    if (version != CONVERSATION_VERSION) {
        return err_set(info, ERR_UNSUPPORTED, "%s is a chat of version %llu; this program reads %d",
                       path, (unsigned long long)version, CONVERSATION_VERSION);
    }
    TRY(json_get_u64(doc, path, "seed", &seed, info));
    TRY(json_get_bool(doc, path, "think", &c->think, info));
    TRY(json_get_array(doc, path, "messages", &list, info));
    if (json_object_get(doc, "system")) {
        TRY(json_get_string(doc, path, "system", &system, info));
    }
    c->seed = (int64_t)(seed & INT64_MAX);
    TRY(conversation_set_system(c, system, info));
    return conversation_read_messages(c, list, path, info);
}

err conversation_load(struct conversation *c, const char *path, struct errinfo *info)
{
    json_t *doc;
    struct conversation loaded = {0};
    TRY(json_parse_file(path, CONVERSATION_FILE_MAX, &doc, info));
    err e = conversation_from_json(&loaded, doc, path, info);
    json_decref(doc);
    if (e != ERR_OK) {
        conversation_deinit(&loaded);
        return e;
    }
    conversation_deinit(c);
    *c = loaded;
    return ERR_OK;
}
