/* server/chatexport.c: see chatexport.h. */
#include "server/chatexport.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "server/chatstore_data.h"
#include "server/chattree.h"

/* ---- JSON. ---- */

/* Adds the chat; one that is damaged, or was deleted since, is only counted. */
static err chatexport_add(struct chatstore *s, const char *owner, const char *id, json_t *chats,
                          size_t *damaged, struct errinfo *info)
{
    json_t *whole = NULL;
    err e = chatstore_get(s, owner, id, &whole, info);
    if (e == ERR_OK) {
        return json_array_append_new(chats, whole) == 0 ? ERR_OK : chatrecord_nomem(info);
    }
    *damaged += e == ERR_CORRUPT;
    return e == ERR_CORRUPT || e == ERR_NOTFOUND ? ERR_OK : e;
}

/* All of the owner's, page by page. */
static err chatexport_all(struct chatstore *s, const char *owner, json_t *chats, size_t *damaged,
                          struct errinfo *info)
{
    struct chatstore_query query = {.limit = CHATSTORE_LIST_MAX};
    char last[VAULT_ID + 1] = "";
    bool more = true;
    while (more) {
        json_t *page = NULL;
        TRY(chatstore_list(s, owner, &query, &page, info));
        const json_t *list = json_object_get(page, "chats");
        err e = ERR_OK;
        more = json_is_true(json_object_get(page, "more"));
        for (size_t i = 0; i < json_array_size(list) && e == ERR_OK; i++) {
            strncpy(last, chatmessage_text(json_array_get(list, i), "id"), VAULT_ID);
            e = chatexport_add(s, owner, last, chats, damaged, info);
        }
        json_decref(page);
        TRY(e);
        query.before = last;
    }
    return ERR_OK;
}

err chatexport_json(struct chatstore *s, const char *owner, const char *id, json_t **document,
                    struct errinfo *info)
{
    size_t damaged = 0;
    json_t *chats = json_array(), *whole = NULL;
    err e = chats ? ERR_OK : chatrecord_nomem(info);
    if (e == ERR_OK && id) {
        e = chatstore_get(s, owner, id, &whole, info);
        e = e == ERR_OK && json_array_append_new(chats, whole) != 0 ? chatrecord_nomem(info) : e;
    } else if (e == ERR_OK) {
        e = chatexport_all(s, owner, chats, &damaged, info);
    }
    json_t *made = e == ERR_OK ? json_pack("{s:s, s:i, s:O, s:I}", "format", "fathom-chats", "version", 1,
                                           "chats", chats, "damaged", (json_int_t)damaged)
                               : NULL;
    json_decref(chats);
    if (e == ERR_OK && !made) {
        e = chatrecord_nomem(info);
    }
    if (e == ERR_OK) {
        *document = made;
    }
    return e;
}

/* ---- Markdown. ---- */

/* Text in a fence that is longer than any row of backticks in it. */
static err chatexport_fenced(struct strbuf *out, const char *text)
{
    char fence[] = "````````````````````````````````"; /* longer rows break it: it is text, still */
    size_t longest = 2, row = 0;
    for (const char *p = text; *p; p++) {
        row = *p == '`' ? row + 1 : 0;
        longest = row > longest ? row : longest;
    }
    fence[longest + 1 < sizeof fence ? longest + 1 : sizeof fence - 1] = '\0';
    return strbuf_printf(out, "%s\n%s\n%s\n\n", fence, text, fence);
}

static err chatexport_message(struct strbuf *out, const json_t *m)
{
    const json_t *attachments = json_object_get(m, "attachments");
    const char *reasoning = chatmessage_text(m, "reasoning");
    bool user = strcmp(chatmessage_text(m, "role"), "user") == 0;
    TRY(strbuf_printf(out, "## %s\n\n", user ? "User" : "Assistant"));
    if (*reasoning) {
        TRY(strbuf_printf(out, "<details><summary>Reasoning</summary>\n\n%s\n\n</details>\n\n", reasoning));
    }
    for (size_t i = 0; i < json_array_size(attachments); i++) {
        const json_t *a = json_array_get(attachments, i);
        TRY(strbuf_printf(out, "Attached: %s\n\n", chatmessage_text(a, "name")));
        TRY(chatexport_fenced(out, chatmessage_text(a, "text")));
    }
    return strbuf_printf(out, "%s\n\n", chatmessage_text(m, "content"));
}

static err chatexport_write(struct strbuf *out, const json_t *chat, const json_t *branch)
{
    const char *title = chatmessage_text(chat, "title"), *system = chatmessage_text(chat, "system");
    TRY(strbuf_printf(out, "# %s\n\n", *title ? title : "Chat"));
    if (*system) {
        TRY(strbuf_printf(out, "## System\n\n%s\n\n", system));
    }
    for (size_t i = 0; i < json_array_size(branch); i++) {
        TRY(chatexport_message(out, json_array_get(branch, i)));
    }
    return ERR_OK;
}

err chatexport_markdown(struct chatstore *s, const char *owner, const char *id, char **text,
                        struct errinfo *info)
{
    json_t *chat = NULL, *branch = NULL;
    struct strbuf out = {0};
    err e = chatstore_chat(s, owner, id, &chat, info);
    e = e == ERR_OK ? chattree_branch(s, owner, id, NULL, &branch, info) : e;
    if (e == ERR_OK && (chatexport_write(&out, chat, branch) != ERR_OK || strbuf_take(&out, text) != ERR_OK)) {
        e = chatrecord_nomem(info);
    }
    strbuf_deinit(&out);
    json_decref(chat);
    json_decref(branch);
    return e;
}
