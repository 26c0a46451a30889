/* server/chatimport.c: see chatimport.h. */
#include "server/chatimport.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "server/chatfields.h"
#include "server/chatsearch.h"
#include "server/chatsettings.h"
#include "server/chatstore_data.h"
#include "server/foreignchats.h"

static const double CHATIMPORT_PORTION_S = 0.02; /* how long others wait */

/* The messages of one chat of the file, in an order in which no message comes before its parent. */
struct chatimport_order {
    size_t *parent, *first, *next; /* [n + 1] index of a message; n: none, and the place of all first turns */
    size_t *order;                 /* [n] */
    size_t n;
};

static err chatimport_order_new(size_t n, struct chatimport_order *out, struct errinfo *info)
{
    size_t *memory = mem_calloc(4 * (n + 1), sizeof *memory);
    if (!memory) {
        return chatrecord_nomem(info);
    }
    *out = (struct chatimport_order){memory, memory + (n + 1), memory + 2 * (n + 1), memory + 3 * (n + 1), n};
    return ERR_OK;
}

/* Who is whose parent, by the ids of the file. */
static err chatimport_parents(const json_t *messages, struct chatimport_order *o, struct errinfo *info)
{
    json_t *by_id = json_object();
    err e = by_id ? ERR_OK : chatrecord_nomem(info);
    for (size_t i = 0; i < o->n && e == ERR_OK; i++) {
        const json_t *m = json_array_get(messages, i);
        const char *id = json_string_value(json_object_get(m, "id"));
        if (!id || json_object_get(by_id, id)) {
            e = err_set(info, ERR_ARGUMENT, "a message without an id, or two with one");
        } else if (json_object_set_new(by_id, id, json_integer((json_int_t)i)) != 0) {
            e = chatrecord_nomem(info);
        }
    }
    for (size_t i = 0; i < o->n && e == ERR_OK; i++) {
        const char *parent = json_string_value(json_object_get(json_array_get(messages, i), "parent"));
        const json_t *at = parent ? json_object_get(by_id, parent) : NULL;
        o->parent[i] = at ? (size_t)json_integer_value(at) : o->n;
    }
    json_decref(by_id);
    return e;
}

/* The order of the file where it serves, else parents before children, each with all that hangs on it. */
static bool chatimport_sort(struct chatimport_order *o)
{
    size_t n = o->n, done = 0;
    for (size_t i = 0; i < n; i++) {
        o->order[i] = i;
        done += o->parent[i] == n || o->parent[i] < i;
    }
    if (done == n) {
        return true;
    }
    for (size_t i = 0; i <= n; i++) {
        o->first[i] = n;
    }
    for (size_t i = n; i-- > 0;) { /* from behind: siblings keep their order */
        o->next[i] = o->first[o->parent[i]];
        o->first[o->parent[i]] = i;
    }
    done = 0;
    for (size_t at = o->first[n]; at != n;) {
        o->order[done++] = at;
        size_t down = o->first[at];
        while (down == n && at != n) { /* nothing below: on beside it, or beside what is above */
            down = o->next[at];
            at = down == n ? o->parent[at] : at;
        }
        at = down;
    }
    return done == n; /* else some hang in a circle */
}

/* ---- One chat. ---- */

/* Of settings those that a turn takes. What is no object is for chatfields_apply to refuse. */
static err chatimport_settings(json_t *fields, size_t *left_out, struct errinfo *info)
{
    const json_t *settings = json_object_get(fields, "settings");
    json_t *taken = json_is_object(settings) ? chatsettings_taken(settings, left_out) : NULL;
    return !json_is_object(settings) || json_object_set_new(fields, "settings", taken) == 0
               ? ERR_OK
               : chatrecord_nomem(info);
}

/* The fields that a person may set, and none of the others. */
static err chatimport_fields(const json_t *chat, struct chatrecord *r, size_t *left_out, struct errinfo *info)
{
    static const char *const names[] = {"title", "folder", "pinned", "system", "settings", "forget_after_days"};
    json_t *fields = json_object();
    err e = fields ? ERR_OK : chatrecord_nomem(info);
    for (size_t i = 0; i < sizeof names / sizeof *names && e == ERR_OK; i++) {
        json_t *value = json_object_get(chat, names[i]);
        if (value && json_object_set(fields, names[i], value) != 0) {
            e = chatrecord_nomem(info);
        }
    }
    e = e == ERR_OK ? chatimport_settings(fields, left_out, info) : e;
    e = e == ERR_OK ? chatfields_apply(r, fields, false, info) : e;
    json_decref(fields);
    return e;
}

/* None is in the future: the chat would be on top for good, and no retention would reach it. */
static int64_t chatimport_time(const json_t *object, const char *field, int64_t otherwise, int64_t now)
{
    int64_t t = json_integer_value(json_object_get(object, field));
    t = t > 0 ? t : otherwise;
    return t < now ? t : now;
}

/* A field of a message if it has the type it must have. */
static err chatimport_take(json_t *to, const json_t *from, const char *field, json_type type,
                           struct errinfo *info)
{
    json_t *value = json_object_get(from, field);
    if (!value || json_typeof(value) != type) {
        return ERR_OK;
    }
    return json_object_set(to, field, value) == 0 ? ERR_OK : chatrecord_nomem(info);
}

static err chatimport_state(json_t *to, const json_t *from, struct errinfo *info)
{
    enum chattree_state state = CHATTREE_DONE;
    if (chatmessage_state(chatmessage_text(from, "state"), &state, NULL) != ERR_OK) {
        state = CHATTREE_DONE;
    }
    state = state == CHATTREE_WRITING ? CHATTREE_INTERRUPTED : state;
    return json_object_set_new(to, "state", json_string(chatmessage_state_name(state))) == 0
               ? ERR_OK
               : chatrecord_nomem(info);
}

/* A message of the file as one of ours, under `parent` (an id of ours, or NULL). */
static err chatimport_message(const json_t *from, const char *parent, int64_t now, json_t **out,
                              struct errinfo *info)
{
    const char *role = chatmessage_text(from, "role"), *think = chatmessage_text(from, "think");
    const json_t *attachments = json_object_get(from, "attachments");
    size_t bytes = strlen(chatmessage_text(from, "content"));
    if (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0) {
        return err_set(info, ERR_ARGUMENT, "a message of role \"%.20s\"; user and assistant were expected",
                       role);
    }
    TRY(chatfields_attachments(attachments, &bytes, info));
    if (bytes > CHATTREE_CONTENT_MAX || strlen(chatmessage_text(from, "reasoning")) > CHATTREE_CONTENT_MAX) {
        return err_set(info, ERR_ARGUMENT, "a message has more than %d bytes", CHATTREE_CONTENT_MAX);
    }
    bool known = strcmp(think, "on") == 0 || strcmp(think, "max") == 0;
    TRY(chatmessage_new(parent, strcmp(role, "user") == 0, chatmessage_text(from, "content"), attachments,
                        known ? think : "off", chatimport_time(from, "created", now, now), out, info));
    TRY(chatimport_state(*out, from, info));
    TRY(chatimport_take(*out, from, "reasoning", JSON_STRING, info));
    TRY(chatimport_take(*out, from, "error", JSON_STRING, info));
    return chatimport_take(*out, from, "stats", JSON_OBJECT, info);
}

/* Stores the messages in the order that was found; ids[i] becomes the new id of message i. */
static err chatimport_messages(struct chatrecord_shelf *shelf, struct chatrecord *r, const json_t *messages,
                               const struct chatimport_order *o, char (*ids)[VAULT_ID + 1], int64_t now,
                               struct errinfo *info)
{
    err e = ERR_OK;
    for (size_t k = 0; k < o->n && e == ERR_OK; k++) {
        size_t i = o->order[k];
        json_t *message = NULL;
        int64_t number = 0;
        const char *parent = o->parent[i] < o->n ? ids[o->parent[i]] : NULL;
        e = chatimport_message(json_array_get(messages, i), parent, now, &message, info);
        e = e == ERR_OK ? chatmessage_insert(shelf, r, message, &number, info) : e;
        e = e == ERR_OK ? chatsearch_message(shelf, r, message, number, info) : e;
        strncpy(ids[i], chatmessage_text(message, "id"), VAULT_ID + 1);
        json_decref(message);
    }
    return e;
}

/* The leaf of the file by its new id, or the last message. */
static void chatimport_leaf(struct chatrecord *r, const json_t *chat, const json_t *messages,
                            const struct chatimport_order *o, char (*ids)[VAULT_ID + 1])
{
    const char *leaf = chatmessage_text(chat, "leaf");
    memset(r->leaf, 0, sizeof r->leaf);
    for (size_t i = 0; i < o->n; i++) {
        if (strcmp(chatmessage_text(json_array_get(messages, i), "id"), leaf) == 0) {
            memcpy(r->leaf, ids[i], sizeof r->leaf);
            return;
        }
    }
    if (o->n > 0) {
        memcpy(r->leaf, ids[o->order[o->n - 1]], sizeof r->leaf);
    }
}

static err chatimport_tree(struct chatrecord_shelf *shelf, const char *owner, const json_t *from,
                           struct chatimport_order *o, int64_t now, int64_t *number, size_t *left_out,
                           struct errinfo *info)
{
    const json_t *chat = json_object_get(from, "chat"), *messages = json_object_get(from, "messages");
    struct chatrecord r = {0};
    TRY(chatimport_parents(messages, o, info));
    if (!chatimport_sort(o)) {
        return err_set(info, ERR_ARGUMENT, "messages are each other's parents");
    }
    char(*ids)[VAULT_ID + 1] = mem_calloc(o->n + 1, sizeof *ids);
    err e = ids ? chatrecord_new(shelf, owner, chatimport_time(chat, "created", now, now), &r, info)
                : chatrecord_nomem(info);
    e = e == ERR_OK ? chatimport_fields(chat, &r, left_out, info) : e;
    e = e == ERR_OK ? chatrecord_insert(shelf, &r, info) : e;
    e = e == ERR_OK ? chatsearch_chat(shelf, &r, info) : e;
    e = e == ERR_OK ? chatimport_messages(shelf, &r, messages, o, ids, now, info) : e;
    if (e == ERR_OK) {
        r.updated = chatimport_time(chat, "updated", r.created, now);
        chatimport_leaf(&r, chat, messages, o, ids);
        e = chatrecord_touch(shelf, &r, info);
    }
    *number = r.number;
    chatrecord_deinit(&r);
    mem_free(ids);
    return e;
}

static err chatimport_one(struct chatrecord_shelf *shelf, const char *owner, const json_t *from, int64_t now,
                          int64_t *number, size_t *left_out, struct errinfo *info)
{
    const json_t *messages = json_object_get(from, "messages");
    struct chatimport_order o = {0};
    if (!json_is_object(json_object_get(from, "chat")) || !json_is_array(messages)) {
        return err_set(info, ERR_ARGUMENT, "\"chat\" and \"messages\" were expected");
    }
    if (json_array_size(messages) > CHATIMPORT_MESSAGES_MAX) {
        return err_set(info, ERR_ARGUMENT, "more than 50000 messages");
    }
    TRY(chatimport_order_new(json_array_size(messages), &o, info));
    err e = chatimport_tree(shelf, owner, from, &o, now, number, left_out, info);
    mem_free(o.parent);
    return e;
}

/* ---- The file. ---- */

/* The chats of the document, a new reference. */
static err chatimport_chats(const json_t *document, json_t **chats, struct errinfo *info)
{
    const json_t *format = json_object_get(document, "format");
    if (!json_is_string(format)) {
        return foreignchats_read(document, chats, info);
    }
    json_t *list = json_object_get(document, "chats");
    if (strcmp(json_string_value(format), "fathom-chats") != 0 || !json_is_array(list)) {
        return err_set(info, ERR_ARGUMENT,
                       "the file is of format \"%.40s\"; \"fathom-chats\" with a list of chats was "
                       "expected",
                       json_string_value(format));
    }
    if (json_integer_value(json_object_get(document, "version")) > 1) {
        return err_set(info, ERR_ARGUMENT, "the file was written by a newer fathom: use that one");
    }
    *chats = json_incref(list);
    return ERR_OK;
}

/* A portion of them, in one step. */
static err chatimport_some(struct chatrecord_shelf *shelf, const char *owner, const json_t *chats, int64_t now,
                           int64_t *numbers, struct chatimport_count *done, struct errinfo *info)
{
    size_t at = done->chats;
    TRY(database_begin(shelf->database, info));
    double until = progress_clock() + CHATIMPORT_PORTION_S;
    err e = ERR_OK;
    while (e == ERR_OK && at < json_array_size(chats) && (at == done->chats || progress_clock() < until)) {
        e = chatimport_one(shelf, owner, json_array_get(chats, at), now, &numbers[at], &done->settings_left_out,
                           info);
        at++;
        e = e == ERR_ARGUMENT ? err_prefix(info, e, "chat %zu of the file: ", at) : e;
    }
    TRY(database_end(shelf->database, e, info));
    done->chats = at;
    return ERR_OK;
}

/* Some of the last chats of [*n], in one step. */
static err chatimport_undo_some(struct chatrecord_shelf *shelf, const int64_t *numbers, size_t *n,
                                struct errinfo *info)
{
    size_t left = *n, room = DATABASE_DELETED;
    bool whole;
    TRY(database_begin_delete(shelf->database, info));
    err e = ERR_OK;
    while (left > 0 && room > 0 && e == ERR_OK) {
        e = chatstore_drop(shelf, numbers[left - 1], &room, &whole, info);
        left -= e == ERR_OK && whole;
    }
    TRY(database_end(shelf->database, e, info));
    *n = left;
    return database_scrub(shelf->database, info);
}

/* Takes back the first `n` chats that came in; what cannot be taken back stays. */
static void chatimport_undo(struct chatrecord_shelf *shelf, const int64_t *numbers, size_t n)
{
    struct errinfo info;
    while (n > 0 && chatimport_undo_some(shelf, numbers, &n, &info) == ERR_OK) {}
}

static err chatimport_all(struct chatrecord_shelf *shelf, const char *owner, const json_t *chats, int64_t now,
                          struct chatimport_count *done, struct errinfo *info)
{
    size_t count = json_array_size(chats);
    if (count > CHATIMPORT_CHATS_MAX) {
        return err_set(info, ERR_LIMIT, "the file has %zu chats, at most %d are accepted", count,
                       CHATIMPORT_CHATS_MAX);
    }
    int64_t *numbers = mem_calloc(count + 1, sizeof *numbers);
    err e = numbers ? ERR_OK : chatrecord_nomem(info);
    while (done->chats < count && e == ERR_OK) {
        e = chatimport_some(shelf, owner, chats, now, numbers, done, info);
    }
    if (e != ERR_OK) {
        chatimport_undo(shelf, numbers, done->chats);
    }
    mem_free(numbers);
    return e;
}

err chatimport_read(struct chatstore *s, const char *owner, const json_t *document, int64_t now,
                    struct chatimport_count *out, struct errinfo *info)
{
    struct chatimport_count done = {0};
    json_t *chats = NULL;
    TRY(chatimport_chats(document, &chats, info));
    err e = chatimport_all(&s->shelves[CHATSTORE_DISK], owner, chats, now, &done, info);
    json_decref(chats);
    if (e == ERR_OK) {
        *out = done;
    }
    return e;
}
