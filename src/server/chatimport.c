/* server/chatimport.c: see chatimport.h. */
#include "server/chatimport.h"

#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/strbuf.h"
#include "server/chatfields.h"
#include "server/chatorder.h"
#include "server/chatsearch.h"
#include "server/chatsettings.h"
#include "server/chatstore_data.h"
#include "server/foreignchats.h"

enum { CHATIMPORT_QUICK = 500 /* messages whose order is found while others wait */ };

/* ---- What is taken of a file. ---- */

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

/* ---- Coming in: the store is held for a portion of time, then others have their turn. ---- */

/* An import; nobody else sees its chats before the last step. */
struct chatimport {
    struct chatstore *store;
    struct chatrecord_shelf *shelf;
    const char *owner;
    int64_t now, number; /* its own among the imports */
    bool held;
    double until;
    struct chatimport_count count;
};

/* One of its chats. */
struct chatimport_chat {
    const json_t *chat, *messages;
    struct chatorder order;
    char (*ids)[VAULT_ID + 1]; /* the new id of each message */
    struct chatrecord record;
};

/* Ends the portion, if there is one, with `e`. */
static err chatimport_let_go(struct chatimport *m, err e, struct errinfo *info)
{
    bool held = m->held;
    m->held = false;
    return held ? database_end(m->shelf->database, e, info) : e;
}

/* Before each step; the key on the shelf is then that of `chat`, unless that is not stored yet. */
static err chatimport_hold(struct chatimport *m, const struct chatrecord *chat, struct errinfo *info)
{
    if (m->held && progress_clock() < m->until) {
        return ERR_OK;
    }
    TRY(chatimport_let_go(m, ERR_OK, info));
    TRY(database_begin(m->shelf->database, info));
    m->held = true;
    m->until = progress_clock() + CHATRECORD_PORTION_S;
    m->number = m->number ? m->number : ++m->store->imports;
    return chat->number ? chatrecord_key(m->shelf, chat, info) : ERR_OK;
}

/* ---- Chats that are here already. ---- */

/* Whether the owner has the chat, which can be read and was last changed then, or later. */
static err chatimport_has(struct chatimport *m, const char *id, int64_t updated, bool *has,
                          struct errinfo *info)
{
    struct chatrecord r = {0};
    err e = chatrecord_find(m->shelf, m->owner, id, &r, info);
    *has = e == ERR_OK && r.updated >= updated;
    chatrecord_deinit(&r);
    return e == ERR_NOTFOUND || e == ERR_CORRUPT ? ERR_OK : e;
}

/* Whether any chat has the id, also one that nobody sees yet. */
static err chatimport_taken(struct chatimport *m, const char *id, bool *taken, struct errinfo *info)
{
    sqlite3_stmt *st;
    TRY(database_query(m->shelf->database, &st, info, "SELECT 1 FROM chat WHERE id = ?1", "t", id));
    TRY(database_next(m->shelf->database, st, taken, info));
    sqlite3_reset(st);
    return ERR_OK;
}

/* The id that a chat of a file gets from this owner: made of its id and time there, so the same each time. */
static err chatimport_id(struct chatimport *m, const char *id, int64_t updated, char out[VAULT_ID + 1],
                         struct errinfo *info)
{
    struct strbuf words = {0};
    err e = strbuf_printf(&words, "import%c%s%c%s%c%lld", '\0', m->owner, '\0', id, '\0', (long long)updated);
    if (e == ERR_OK) {
        vault_id_of(m->shelf->tags, words.data, words.len, out);
    }
    strbuf_deinit(&words);
    return e == ERR_OK ? ERR_OK : chatrecord_nomem(info);
}

/* Is it the owner's own, or was it imported before? `id` is then the one it gets else; "": any. */
static err chatimport_known(struct chatimport *m, const json_t *chat, bool *known, char id[VAULT_ID + 1],
                            struct errinfo *info)
{
    const char *there = chatmessage_text(chat, "id");
    int64_t updated = json_integer_value(json_object_get(chat, "updated"));
    bool taken = false;
    id[0] = '\0';
    *known = false;
    if (!*there) {
        return ERR_OK;
    }
    TRY(chatimport_has(m, there, updated, known, info));
    if (!*known) {
        TRY(chatimport_id(m, there, updated, id, info));
        TRY(chatimport_has(m, id, 0, known, info));
        TRY(chatimport_taken(m, id, &taken, info));
        id[0] = taken ? '\0' : id[0];
    }
    return ERR_OK;
}

/* ---- One chat. ---- */

/* Its row, and the one that hides it. */
static err chatimport_begin(struct chatimport *m, struct chatimport_chat *c, const char *id,
                            struct errinfo *info)
{
    struct chatrecord *r = &c->record;
    TRY(chatrecord_new(m->shelf, m->owner, chatimport_time(c->chat, "created", m->now, m->now), r, info));
    if (*id) {
        memcpy(r->id, id, sizeof r->id);
    }
    TRY(chatimport_fields(c->chat, r, &m->count.settings_left_out, info));
    TRY(chatrecord_insert(m->shelf, r, info));
    TRY(database_run(m->shelf->database, info, "INSERT INTO coming VALUES(?1, ?2)", "ii", r->number,
                     m->number));
    return chatsearch_chat(m->shelf, r, info);
}

static err chatimport_messages(struct chatimport *m, struct chatimport_chat *c, struct errinfo *info)
{
    const struct chatorder *o = &c->order;
    err e = ERR_OK;
    for (size_t k = 0; k < o->n && e == ERR_OK; k++) {
        size_t i = o->order[k];
        json_t *message = NULL;
        int64_t number = 0;
        const json_t *from = json_array_get(c->messages, i);
        const char *parent = o->parent[i] < o->n ? c->ids[o->parent[i]] : NULL;
        e = chatimport_hold(m, &c->record, info);
        e = e == ERR_OK ? chatimport_message(from, parent, m->now, &message, info) : e;
        e = e == ERR_OK ? chatmessage_insert(m->shelf, &c->record, message, &number, info) : e;
        e = e == ERR_OK ? chatsearch_message(m->shelf, &c->record, message, number, info) : e;
        strncpy(c->ids[i], chatmessage_text(message, "id"), VAULT_ID + 1);
        json_decref(message);
    }
    return e;
}

/* The leaf of the file by its new id, or the last message. */
static void chatimport_leaf(struct chatimport_chat *c)
{
    const struct chatorder *o = &c->order;
    const char *leaf = chatmessage_text(c->chat, "leaf");
    size_t at = o->n > 0 ? o->order[o->n - 1] : 0;
    for (size_t i = 0; i < o->n; i++) {
        at = strcmp(chatmessage_text(json_array_get(c->messages, i), "id"), leaf) == 0 ? i : at;
    }
    memcpy(c->record.leaf, c->ids[at], sizeof c->record.leaf); /* of no message: "" */
}

/* One that is known stays out. */
static err chatimport_chat_in(struct chatimport *m, struct chatimport_chat *c, struct errinfo *info)
{
    char id[VAULT_ID + 1];
    bool known;
    TRY(chatimport_hold(m, &c->record, info));
    TRY(chatimport_known(m, c->chat, &known, id, info));
    m->count.already_here += known;
    m->count.chats += !known;
    if (known) {
        return ERR_OK;
    }
    TRY(chatimport_begin(m, c, id, info));
    TRY(chatimport_messages(m, c, info));
    c->record.updated = chatimport_time(c->chat, "updated", c->record.created, m->now);
    chatimport_leaf(c);
    return chatrecord_touch(m->shelf, &c->record, info);
}

static err chatimport_one(struct chatimport *m, const json_t *from, struct errinfo *info)
{
    struct chatimport_chat c = {.chat = json_object_get(from, "chat"),
                                .messages = json_object_get(from, "messages")};
    size_t n = json_array_size(c.messages);
    if (!json_is_object(c.chat) || !json_is_array(c.messages)) {
        return err_set(info, ERR_ARGUMENT, "\"chat\" and \"messages\" were expected");
    }
    if (n > CHATIMPORT_MESSAGES_MAX) {
        return err_set(info, ERR_ARGUMENT, "more than 50000 messages");
    }
    TRY(n > CHATIMPORT_QUICK ? chatimport_let_go(m, ERR_OK, info) : ERR_OK);
    TRY(chatorder_find(c.messages, &c.order, info));
    c.ids = mem_calloc(n + 1, sizeof *c.ids);
    err e = c.ids ? chatimport_chat_in(m, &c, info) : chatrecord_nomem(info);
    chatrecord_deinit(&c.record);
    chatorder_deinit(&c.order);
    mem_free(c.ids);
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

static err chatimport_all(struct chatimport *m, const json_t *chats, struct errinfo *info)
{
    const struct chatrecord none = {0};
    size_t count = json_array_size(chats);
    err e = ERR_OK;
    if (count > CHATIMPORT_CHATS_MAX) {
        return err_set(info, ERR_LIMIT, "the file has %zu chats, at most %d are accepted", count,
                       CHATIMPORT_CHATS_MAX);
    }
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        e = chatimport_one(m, json_array_get(chats, i), info);
        e = e == ERR_ARGUMENT ? err_prefix(info, e, "chat %zu of the file: ", i + 1) : e;
    }
    e = e == ERR_OK ? chatimport_hold(m, &none, info) : e;
    e = e == ERR_OK ? database_run(m->shelf->database, info, "DELETE FROM coming WHERE import = ?1", "i",
                                   m->number)
                    : e; /* from here on everybody sees them */
    return chatimport_let_go(m, e, info);
}

err chatimport_read(struct chatstore *s, const char *owner, const json_t *document, int64_t now,
                    struct chatimport_count *out, struct errinfo *info)
{
    struct chatimport m = {.store = s, .shelf = &s->shelves[CHATSTORE_DISK], .owner = owner, .now = now};
    json_t *chats = NULL;
    TRY(chatimport_chats(document, &chats, info));
    err e = chatimport_all(&m, chats, info);
    json_decref(chats);
    if (e == ERR_OK) {
        *out = m.count;
    } else if (m.number) { /* what cannot go now is seen by nobody, and goes after the next start */
        err left = chatstore_drop_coming(s, m.number, m.number, NULL);
        (void)left;
    }
    return e;
}
