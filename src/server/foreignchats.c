/* server/foreignchats.c: see foreignchats.h. What the formats look like, as far as it matters here:
 *
 *   llama.cpp   {"conv":{"name","lastModified","currNode"},"messages":[{"id","type","role","content","parent",
 *               "timestamp","thinking" or "reasoningContent","extra":[{"name","content"}]}]}, or a list of
 * these Open WebUI
 * [{"title","created_at","chat":{"title","system","history":{"messages":{ID:{"parentId","role",
 *               "content","timestamp"}},"currentId"}}}]
 *   ChatGPT     [{"title","create_time","update_time","mapping":{ID:{"parent","message":{"author":{"role"},
 *               "create_time","content":{"content_type","parts":[…]}}}},"current_node"}]
 *
 * Each is read into nodes: a message, or a place between messages that is passed over. */
#include "server/foreignchats.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "base/utf8seq.h"
#include "server/chatstore.h"

enum { FOREIGNCHATS_PASSED_MAX = 200 /* places between two messages */ };

static err foreignchats_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for the chats of the file");
}

/* A new reference that may have failed, into an object. */
static err foreignchats_set(json_t *object, const char *field, json_t *value)
{
    return json_object_set_new(object, field, value) == 0 ? ERR_OK : ERR_NOMEM;
}

static const char *foreignchats_text(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));
    return text ? text : "";
}

/* A time in seconds (with a fraction, perhaps) or milliseconds as milliseconds; 0: there is none. */
static int64_t foreignchats_time(const json_t *value)
{
    double t = json_number_value(value);
    t = t < 1e11 ? t * 1000 : t;
    return t > 0 && t < 1e15 ? (int64_t)t : 0;
}

/* An id may be a number. */
static json_t *foreignchats_id(const json_t *value)
{
    char text[32];
    if (json_is_integer(value)) {
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        return json_string(text);
    }
    return json_is_string(value) ? json_string(json_string_value(value)) : json_null();
}

static json_t *foreignchats_title(const char *text)
{
    char title[CHATSTORE_TITLE_MAX + 1];
    snprintf(title, sizeof title, "%s", text);
    utf8seq_trim(title);
    return json_string(title);
}

static json_t *foreignchats_chat(json_t *id, const char *title, int64_t created, int64_t updated)
{
    return json_pack("{s:o, s:o, s:I, s:I}", "id", id, "title", foreignchats_title(title), "created",
                     (json_int_t)created, "updated", (json_int_t)(updated ? updated : created));
}

/* A message; nothing to say makes a place that is passed over, as any other role does. */
static json_t *foreignchats_node(json_t *id, json_t *parent, const char *role, const char *content,
                                 const char *reasoning, int64_t created)
{
    bool kept = (strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0) && (*content || *reasoning);
    return json_pack("{s:o, s:o, s:s?, s:s, s:s, s:[], s:I}", "id", id, "parent", parent, "role",
                     kept ? role : NULL, "content", content, "reasoning", reasoning, "attachments", "created",
                     (json_int_t)created);
}

/* ---- llama.cpp. ---- */

static err foreignchats_extras(const json_t *extra, json_t *attachments)
{
    for (size_t i = 0; i < json_array_size(extra); i++) {
        const json_t *x = json_array_get(extra, i);
        if (json_is_string(json_object_get(x, "content"))) {
            json_t *a = json_pack("{s:o, s:s}", "name", foreignchats_title(foreignchats_text(x, "name")),
                                  "text", foreignchats_text(x, "content"));
            if (json_array_append_new(attachments, a) != 0) {
                return ERR_NOMEM;
            }
        }
    }
    return ERR_OK;
}

static err foreignchats_llama(const json_t *from, json_t *chat, json_t *nodes)
{
    const json_t *messages = json_object_get(from, "messages");
    const json_t *conv = json_object_get(from, "conv");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const char *reasoning = foreignchats_text(m, "reasoningContent");
        json_t *node = foreignchats_node(foreignchats_id(json_object_get(m, "id")),
                                         foreignchats_id(json_object_get(m, "parent")),
                                         foreignchats_text(m, "role"), foreignchats_text(m, "content"),
                                         *reasoning ? reasoning : foreignchats_text(m, "thinking"),
                                         foreignchats_time(json_object_get(m, "timestamp")));
        if (json_array_append_new(nodes, node) != 0) {
            return ERR_NOMEM;
        }
        TRY(foreignchats_extras(json_object_get(m, "extra"), json_object_get(node, "attachments")));
        if (strcmp(foreignchats_text(m, "role"), "system") == 0 && *foreignchats_text(m, "content")) {
            TRY(foreignchats_set(chat, "system", json_string(foreignchats_text(m, "content"))));
        }
    }
    return foreignchats_set(chat, "leaf", foreignchats_id(json_object_get(conv, "currNode")));
}

/* ---- Open WebUI. ---- */

static err foreignchats_webui(const json_t *from, json_t *chat, json_t *nodes)
{
    const json_t *inner = json_object_get(from, "chat");
    const json_t *history = json_object_get(inner, "history");
    const char *id;
    json_t *m;
    json_object_foreach(json_object_get(history, "messages"), id, m) {
        json_t *node = foreignchats_node(json_string(id), foreignchats_id(json_object_get(m, "parentId")),
                                         foreignchats_text(m, "role"), foreignchats_text(m, "content"), "",
                                         foreignchats_time(json_object_get(m, "timestamp")));
        if (json_array_append_new(nodes, node) != 0) {
            return ERR_NOMEM;
        }
    }
    TRY(foreignchats_set(chat, "system", json_string(foreignchats_text(inner, "system"))));
    return foreignchats_set(chat, "leaf", foreignchats_id(json_object_get(history, "currentId")));
}

/* ---- ChatGPT. ---- */

/* The text of a message: its parts that are strings. */
static err foreignchats_parts(const json_t *content, struct strbuf *out)
{
    const json_t *parts = json_object_get(content, "parts");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const char *text = json_string_value(json_array_get(parts, i));
        if (text && *text) {
            TRY(strbuf_puts(out, out->len > 0 ? "\n\n" : ""));
            TRY(strbuf_puts(out, text));
        }
    }
    return strbuf_puts(out, foreignchats_text(content, "text"));
}

/* What is written for a person; not calls of tools, nor what they gave. */
static bool foreignchats_shown(const json_t *message)
{
    const char *type = foreignchats_text(json_object_get(message, "content"), "content_type");
    const json_t *hidden =
        json_object_get(json_object_get(message, "metadata"), "is_visually_hidden_from_conversation");
    const json_t *to = json_object_get(message, "recipient");
    return (strcmp(type, "text") == 0 || strcmp(type, "multimodal_text") == 0) && !json_is_true(hidden) &&
           (!json_is_string(to) || strcmp(json_string_value(to), "all") == 0);
}

static err foreignchats_gpt(const json_t *from, json_t *chat, json_t *nodes)
{
    const char *id;
    json_t *place;
    json_object_foreach(json_object_get(from, "mapping"), id, place) {
        const json_t *m = json_object_get(place, "message");
        struct strbuf text = {0};
        err e = foreignchats_parts(json_object_get(m, "content"), &text);
        json_t *node =
            e != ERR_OK
                ? NULL
                : foreignchats_node(
                      json_string(id), foreignchats_id(json_object_get(place, "parent")),
                      foreignchats_shown(m) ? foreignchats_text(json_object_get(m, "author"), "role") : "",
                      text.data, "", foreignchats_time(json_object_get(m, "create_time")));
        strbuf_deinit(&text);
        if (json_array_append_new(nodes, node) != 0) {
            return ERR_NOMEM;
        }
    }
    return foreignchats_set(chat, "leaf", foreignchats_id(json_object_get(from, "current_node")));
}

/* ---- Nodes to messages. ---- */

/* The first message at or above the node `id`, over places that are none; NULL: there is none. */
static const json_t *foreignchats_above(const json_t *by_id, const json_t *id)
{
    const json_t *node = json_is_string(id) ? json_object_get(by_id, json_string_value(id)) : NULL;
    for (size_t n = 0; node && n < FOREIGNCHATS_PASSED_MAX; n++) {
        if (json_is_string(json_object_get(node, "role"))) {
            return node;
        }
        const json_t *parent = json_object_get(node, "parent");
        node = json_is_string(parent) ? json_object_get(by_id, json_string_value(parent)) : NULL;
    }
    return NULL;
}

static err foreignchats_hang(const json_t *by_id, json_t *object, const char *field)
{
    const json_t *above = foreignchats_above(by_id, json_object_get(object, field));
    return foreignchats_set(object, field, above ? json_string(foreignchats_text(above, "id")) : json_null());
}

/* Nodes that are no messages go; what hung on them hangs on what they hung on. */
static err foreignchats_settle(json_t *chat, const json_t *nodes, json_t *messages)
{
    json_t *by_id = json_object();
    err e = by_id ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < json_array_size(nodes) && e == ERR_OK; i++) {
        json_t *node = json_array_get(nodes, i);
        e = json_object_set(by_id, foreignchats_text(node, "id"), node) == 0 ? ERR_OK : ERR_NOMEM;
    }
    for (size_t i = 0; i < json_array_size(nodes) && e == ERR_OK; i++) {
        json_t *node = json_array_get(nodes, i);
        if (json_is_string(json_object_get(node, "role"))) {
            e = json_array_append(messages, node) == 0 ? foreignchats_hang(by_id, node, "parent") : ERR_NOMEM;
        }
    }
    e = e == ERR_OK ? foreignchats_hang(by_id, chat, "leaf") : e;
    json_decref(by_id);
    return e;
}

/* ---- Whole files. ---- */

static err foreignchats_one(const json_t *from, json_t *chats, struct errinfo *info)
{
    const json_t *conv = json_object_get(from, "conv");
    bool llama = json_is_object(conv) && json_is_array(json_object_get(from, "messages"));
    bool webui = json_is_object(json_object_get(json_object_get(from, "chat"), "history"));
    bool gpt = json_is_object(json_object_get(from, "mapping"));
    if (!llama && !webui && !gpt) {
        return err_set(info, ERR_ARGUMENT,
                       "chat %zu of the file: this is no export of Fathom, llama.cpp, Open WebUI or "
                       "ChatGPT",
                       json_array_size(chats) + 1);
    }
    int64_t created = foreignchats_time(json_object_get(from, gpt ? "create_time" : "created_at"));
    int64_t updated = foreignchats_time(llama ? json_object_get(conv, "lastModified")
                                              : json_object_get(from, gpt ? "update_time" : "updated_at"));
    const json_t *id = json_object_get(llama ? conv : from, "id");
    const char *title = llama ? foreignchats_text(conv, "name") : foreignchats_text(from, "title");
    json_t *chat = foreignchats_chat(foreignchats_id(id), title, created ? created : updated, updated);
    json_t *nodes = json_array(), *messages = json_array();
    err e = chat && nodes && messages ? ERR_OK : ERR_NOMEM;
    e = e != ERR_OK ? e
        : llama     ? foreignchats_llama(from, chat, nodes)
        : webui     ? foreignchats_webui(from, chat, nodes)
                    : foreignchats_gpt(from, chat, nodes);
    e = e == ERR_OK ? foreignchats_settle(chat, nodes, messages) : e;
    if (e == ERR_OK &&
        json_array_append_new(chats, json_pack("{s:O, s:O}", "chat", chat, "messages", messages)) != 0) {
        e = ERR_NOMEM;
    }
    json_decref(chat);
    json_decref(nodes);
    json_decref(messages);
    return e == ERR_OK ? ERR_OK : foreignchats_nomem(info);
}

err foreignchats_read(const json_t *document, json_t **chats, struct errinfo *info)
{
    json_t *list = json_array();
    err e = list ? ERR_OK : foreignchats_nomem(info);
    if (e == ERR_OK && !json_is_array(document)) {
        e = foreignchats_one(document, list, info);
    }
    for (size_t i = 0; i < json_array_size(document) && e == ERR_OK; i++) {
        e = foreignchats_one(json_array_get(document, i), list, info);
    }
    if (e != ERR_OK) {
        json_decref(list);
        return e;
    }
    *chats = list;
    return ERR_OK;
}
