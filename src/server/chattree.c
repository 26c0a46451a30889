/* server/chattree.c: see chattree.h. */
#include "server/chattree.h"

#include <string.h>

#include "base/progress.h"
#include "server/chatfields.h"
#include "server/chatsearch.h"
#include "server/chatstore_data.h"

static err chattree_check_turn(const struct chattree_turn *turn, struct errinfo *info)
{
    size_t bytes = strlen(turn->content);
    TRY(chatfields_text("content", turn->content, CHATTREE_CONTENT_MAX, info));
    TRY(chatfields_attachments(turn->attachments, &bytes, info));
    if (bytes > CHATTREE_CONTENT_MAX) {
        return err_set(info, ERR_ARGUMENT,
                       "the message and its attachments have %zu bytes, at most %d are accepted", bytes,
                       CHATTREE_CONTENT_MAX);
    }
    return ERR_OK;
}

static err chattree_check_think(const char *think, struct errinfo *info)
{
    if (strcmp(think, "off") != 0 && strcmp(think, "on") != 0 && strcmp(think, "max") != 0) {
        return err_set(info, ERR_ARGUMENT, "\"think\": found \"%.20s\", expected off, on or max", think);
    }
    return ERR_OK;
}

err chattree_over(const json_t *message, struct errinfo *info)
{
    return strcmp(chatmessage_text(message, "state"), "writing") == 0
               ? err_set(info, ERR_ARGUMENT,
                         "the answer before is still being written: stop it, or wait for its end")
               : ERR_OK;
}

/* The parent is there, of the role it must have, and over. */
static err chattree_check_parent(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                 const char *parent, const char *role, struct errinfo *info)
{
    json_t *message = NULL;
    TRY(chatmessage_find(shelf, chat, parent, &message, NULL, info));
    err e = strcmp(chatmessage_text(message, "role"), role) != 0
                ? err_set(info, ERR_ARGUMENT, "the parent must be a message of the %s", role)
                : chattree_over(message, info);
    json_decref(message);
    return e;
}

/* An answer to `parent`, begun; the chat's leaf. */
static err chattree_begin_answer(struct chatrecord_shelf *shelf, struct chatrecord *chat, const char *parent,
                                 const char *think, int64_t now, json_t **answer, struct errinfo *info)
{
    int64_t number = 0;
    TRY(chatmessage_new(parent, false, "", NULL, think, now, answer, info));
    TRY(chatmessage_insert(shelf, chat, *answer, &number, info));
    memcpy(chat->leaf, chatmessage_text(*answer, "id"), VAULT_ID);
    chat->updated = now;
    return chatrecord_touch(shelf, chat, info);
}

static err chattree_ask_in(struct chatrecord_shelf *shelf, struct chatrecord *chat,
                           const struct chattree_turn *turn, int64_t now, json_t **message, json_t **answer,
                           struct errinfo *info)
{
    int64_t number = 0;
    if (turn->parent) {
        TRY(chattree_check_parent(shelf, chat, turn->parent, "assistant", info));
    }
    TRY(chatmessage_new(turn->parent, true, turn->content, turn->attachments, turn->think, now, message, info));
    TRY(chatmessage_insert(shelf, chat, *message, &number, info));
    TRY(chatsearch_message(shelf, chat, *message, number, info));
    return chattree_begin_answer(shelf, chat, chatmessage_text(*message, "id"), turn->think, now, answer, info);
}

err chattree_ask(struct chatstore *s, const char *owner, const char *chat, const struct chattree_turn *turn,
                 int64_t now, json_t **out, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord record = {0};
    json_t *message = NULL, *answer = NULL, *both = NULL;
    TRY(chattree_check_turn(turn, info));
    TRY(chattree_check_think(turn->think, info));
    TRY(chatstore_enter(s, owner, chat, &shelf, &record, info));
    err e = chattree_ask_in(shelf, &record, turn, now, &message, &answer, info);
    if (e == ERR_OK && !(both = json_pack("{s:O, s:O}", "message", message, "answer", answer))) {
        e = chatrecord_nomem(info);
    }
    json_decref(message);
    json_decref(answer);
    return chatstore_leave(shelf, &record, e, both, out, info);
}

err chattree_answer(struct chatstore *s, const char *owner, const char *chat, const char *parent,
                    const char *think, int64_t now, json_t **out, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord record = {0};
    json_t *answer = NULL, *document = NULL;
    TRY(chattree_check_think(think, info));
    TRY(chatstore_enter(s, owner, chat, &shelf, &record, info));
    err e = chattree_check_parent(shelf, &record, parent, "user", info);
    e = e == ERR_OK ? chattree_begin_answer(shelf, &record, parent, think, now, &answer, info) : e;
    if (e == ERR_OK && !(document = json_pack("{s:O}", "answer", answer))) {
        e = chatrecord_nomem(info);
    }
    json_decref(answer);
    return chatstore_leave(shelf, &record, e, document, out, info);
}

/* ---- While an answer is written. ---- */

static err chattree_put(json_t *message, const char *field, json_t *value, struct errinfo *info)
{
    return json_object_set_new(message, field, value) == 0 ? ERR_OK : chatrecord_nomem(info);
}

/* The answer `id`, still being written, with its new text. */
static err chattree_rewrite(struct chatrecord_shelf *shelf, struct chatrecord *chat, const char *id,
                            const char *content, const char *reasoning, json_t **message, int64_t *number,
                            struct errinfo *info)
{
    TRY(chatmessage_find(shelf, chat, id, message, number, info));
    if (strcmp(chatmessage_text(*message, "state"), "writing") != 0) {
        return err_set(info, ERR_ARGUMENT, "message %.40s is not being written any more", id);
    }
    TRY(chattree_put(*message, "content", json_string(content), info));
    return chattree_put(*message, "reasoning", json_string(reasoning), info);
}

static err chattree_check_answer(const char *content, const char *reasoning, struct errinfo *info)
{
    TRY(chatfields_text("content", content, CHATTREE_CONTENT_MAX, info));
    return chatfields_text("reasoning", reasoning, CHATTREE_CONTENT_MAX, info);
}

err chattree_write(struct chatstore *s, const char *owner, const char *id, const char *content,
                   const char *reasoning, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord record = {0};
    json_t *message = NULL;
    TRY(chattree_check_answer(content, reasoning, info));
    TRY(chatstore_enter_message(s, owner, id, &shelf, &record, info));
    err e = chattree_rewrite(shelf, &record, id, content, reasoning, &message, NULL, info);
    e = e == ERR_OK ? chatmessage_update(shelf, &record, message, info) : e;
    json_decref(message);
    return chatstore_leave(shelf, &record, e, NULL, NULL, info);
}

static err chattree_end_in(struct chatrecord_shelf *shelf, struct chatrecord *chat, const char *id,
                           const struct chattree_ending *ending, int64_t now, json_t **message,
                           struct errinfo *info)
{
    int64_t number = 0;
    TRY(chattree_rewrite(shelf, chat, id, ending->content, ending->reasoning, message, &number, info));
    TRY(chattree_put(*message, "state", json_string(chatmessage_state_name(ending->state)), info));
    TRY(chattree_put(*message, "error", ending->error ? json_string(ending->error) : json_null(), info));
    TRY(chattree_put(*message, "stats", ending->stats ? json_deep_copy(ending->stats) : json_null(), info));
    TRY(chatmessage_update(shelf, chat, *message, info));
    TRY(chatsearch_message(shelf, chat, *message, number, info));
    chat->updated = now;
    return chatrecord_touch(shelf, chat, info);
}

err chattree_end(struct chatstore *s, const char *owner, const char *id, const struct chattree_ending *ending,
                 int64_t now, json_t **message, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord record = {0};
    json_t *document = NULL;
    TRY(chattree_check_answer(ending->content, ending->reasoning, info));
    if (ending->error) {
        TRY(chatfields_text("error", ending->error, CHATTREE_CONTENT_MAX, info));
    }
    TRY(chatstore_enter_message(s, owner, id, &shelf, &record, info));
    err e = chattree_end_in(shelf, &record, id, ending, now, &document, info);
    return chatstore_leave(shelf, &record, e, document, message, info);
}

/* ---- Reading. ---- */

err chattree_message(struct chatstore *s, const char *owner, const char *id, json_t **message,
                     char chat[VAULT_ID + 1], struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord record = {0};
    json_t *document = NULL;
    TRY(chatstore_enter_message(s, owner, id, &shelf, &record, info));
    err e = chatmessage_find(shelf, &record, id, &document, NULL, info);
    if (e == ERR_OK && chat) {
        memcpy(chat, record.id, sizeof record.id);
    }
    return chatstore_leave(shelf, &record, e, document, message, info);
}

/* The way from a message to its root. */
struct chattree_climb {
    const char *at; /* the next message; "": it was the root */
    char parent[VAULT_ID + 1];
    int64_t below;    /* the number of the message before */
    json_t *messages; /* [MESSAGE …], the leaf first */
};

/* Messages have parents that were there before them: else rows are damaged, and might go in a circle. */
static err chattree_climb_one(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                              struct chattree_climb *c, struct errinfo *info)
{
    int64_t number = 0;
    json_t *message = NULL;
    TRY(chatmessage_find(shelf, chat, c->at, &message, &number, info));
    memset(c->parent, 0, sizeof c->parent);
    strncpy(c->parent, chatmessage_text(message, "parent"), VAULT_ID);
    c->at = c->parent;
    if (json_array_append_new(c->messages, message) != 0) {
        return chatrecord_nomem(info);
    }
    if (number >= c->below) {
        return err_set(info, ERR_CORRUPT, "the chat is damaged: a message comes before its parent");
    }
    c->below = number;
    return ERR_OK;
}

/* A portion of the way; it begins at `c->at`, or, where that is NULL, at the chat's leaf. */
static err chattree_climb_some(struct chatstore *s, const char *owner, const char *id, struct chattree_climb *c,
                               struct errinfo *info)
{
    const double until = progress_clock() + CHATRECORD_PORTION_S;
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord chat = {0};
    TRY(chatstore_enter(s, owner, id, &shelf, &chat, info));
    if (!c->at) {
        memcpy(c->parent, chat.leaf, sizeof c->parent);
        c->at = c->parent;
    }
    err e = ERR_OK;
    for (bool more = true; *c->at && more && e == ERR_OK; more = progress_clock() < until) {
        e = chattree_climb_one(shelf, &chat, c, info);
    }
    return chatstore_leave(shelf, &chat, e, NULL, NULL, info);
}

err chattree_branch(struct chatstore *s, const char *owner, const char *chat, const char *leaf,
                    json_t **messages, struct errinfo *info)
{
    struct chattree_climb c = {.at = leaf, .below = INT64_MAX, .messages = json_array()};
    json_t *branch = json_array();
    err e = c.messages && branch ? ERR_OK : chatrecord_nomem(info);
    do {
        e = e == ERR_OK ? chattree_climb_some(s, owner, chat, &c, info) : e;
    } while (e == ERR_OK && *c.at);
    for (size_t i = json_array_size(c.messages); i-- > 0 && e == ERR_OK;) {
        e = json_array_append(branch, json_array_get(c.messages, i)) == 0 ? ERR_OK : chatrecord_nomem(info);
    }
    json_decref(c.messages);
    if (e != ERR_OK) {
        json_decref(branch);
        return e;
    }
    *messages = branch;
    return ERR_OK;
}
