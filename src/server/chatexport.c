/* server/chatexport.c: see chatexport.h. */
#include "server/chatexport.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "server/chatstore_data.h"
#include "server/chattree.h"

/* ---- JSON. ---- */

/* What a document is made of. */
struct chatexport {
    json_t *chats;
    size_t damaged, left; /* bytes until it is full */
    char last[VAULT_ID + 1];
    bool more;
};

/* Takes the chats. */
static err chatexport_document(const struct chatexport *x, json_t **document, struct errinfo *info)
{
    *document = json_pack("{s:s, s:i, s:o, s:I}", "format", "fathom-chats", "version", 1, "chats", x->chats,
                          "damaged", (json_int_t)x->damaged);
    if (*document && x->more && json_object_set_new(*document, "next", json_string(x->last)) != 0) {
        json_decref(*document);
        *document = NULL;
    }
    return *document ? ERR_OK : chatrecord_nomem(info);
}

err chatexport_json(struct chatstore *s, const char *owner, const char *id, json_t **document,
                    struct errinfo *info)
{
    struct chatexport x = {0};
    json_t *whole = NULL;
    TRY(chatstore_get(s, owner, id, &whole, info));
    x.chats = json_pack("[o]", whole);
    return x.chats ? chatexport_document(&x, document, info) : chatrecord_nomem(info);
}

/* Adds the chat x->last; one that is damaged, or was deleted since, is only counted. */
static err chatexport_add(struct chatstore *s, const char *owner, struct chatexport *x, struct errinfo *info)
{
    json_t *whole = NULL;
    err e = chatstore_get(s, owner, x->last, &whole, info);
    if (e == ERR_OK) {
        size_t bytes = json_dumpb(whole, NULL, 0, JSON_COMPACT);
        x->left -= bytes < x->left ? bytes : x->left;
        return json_array_append_new(x->chats, whole) == 0 ? ERR_OK : chatrecord_nomem(info);
    }
    x->damaged += e == ERR_CORRUPT;
    return e == ERR_CORRUPT || e == ERR_NOTFOUND ? ERR_OK : e;
}

/* A page of the list, or as much of it as there is room for. */
static err chatexport_page(struct chatstore *s, const char *owner, struct chatexport *x, struct errinfo *info)
{
    const struct chatstore_query query = {.limit = CHATSTORE_LIST_MAX, .before = *x->last ? x->last : NULL};
    json_t *page = NULL;
    TRY(chatstore_list(s, owner, &query, &page, info));
    const json_t *list = json_object_get(page, "chats");
    size_t n = json_array_size(list), i = 0;
    err e = ERR_OK;
    for (; i < n && x->left > 0 && e == ERR_OK; i++) {
        strncpy(x->last, chatmessage_text(json_array_get(list, i), "id"), VAULT_ID);
        e = chatexport_add(s, owner, x, info);
    }
    x->more = i < n || json_is_true(json_object_get(page, "more"));
    json_decref(page);
    return e;
}

err chatexport_part(struct chatstore *s, const char *owner, const char *after, size_t bytes,
                    json_t **document, struct errinfo *info)
{
    struct chatexport x = {.chats = json_array(), .left = bytes, .more = true};
    strncpy(x.last, after ? after : "", VAULT_ID);
    err e = x.chats ? ERR_OK : chatrecord_nomem(info);
    while (e == ERR_OK && x.more && x.left > 0) {
        e = chatexport_page(s, owner, &x, info);
    }
    if (e != ERR_OK) {
        json_decref(x.chats);
        return e;
    }
    return chatexport_document(&x, document, info);
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
