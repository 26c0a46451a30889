/* server/chattree.h: the messages of a chat: a tree, because a question can be asked anew and an answer made
 * again. A person's turn and the answer to it are stored in one step; the answer is in state "writing" until it
 * ends. Owners, documents, errors and threads as in chatstore.h. Text is UTF-8 without NUL: else ERR_ARGUMENT.
 */
#ifndef SERVER_CHATTREE_H
#define SERVER_CHATTREE_H

#include "server/chatstore.h"

enum {
    CHATTREE_CONTENT_MAX = 16 << 20, /* bytes of a turn with its attachments, and of an answer */
    CHATTREE_ATTACHMENTS_MAX = 64,
    CHATTREE_NAME_MAX = 300,
};

enum chattree_state { /* "done", "writing" … in MESSAGE */
                      CHATTREE_DONE,
                      CHATTREE_WRITING,
                      CHATTREE_STOPPED,
                      CHATTREE_INTERRUPTED,
                      CHATTREE_FAILED,
                      CHATTREE_LENGTH,
};

struct chattree_turn {
    const char *parent; /* an answer of this chat that is over; NULL: a first turn */
    const char *content;
    const json_t *attachments; /* [{"name","text"} …]; NULL: none */
    const char *think;         /* "off", "on", "max" */
};

/* A turn and the beginning of its answer: {"message":MESSAGE,"answer":MESSAGE}; the answer becomes the chat's
 * leaf. ERR_NOTFOUND: no such chat, or no such parent in it. ERR_ARGUMENT: what is above, violated. */
ERR_MUST_USE err chattree_ask(struct chatstore *s, const char *owner, const char *chat,
                              const struct chattree_turn *turn, int64_t now, json_t **out,
                              struct errinfo *info);
/* Another answer to a turn that is there: {"answer":MESSAGE}. */
ERR_MUST_USE err chattree_answer(struct chatstore *s, const char *owner, const char *chat, const char *parent,
                                 const char *think, int64_t now, json_t **out, struct errinfo *info);

/* The text of an answer so far, all of it. ERR_NOTFOUND when it was deleted, ERR_ARGUMENT when it is over. */
ERR_MUST_USE err chattree_write(struct chatstore *s, const char *owner, const char *id, const char *content,
                                const char *reasoning, struct errinfo *info);

struct chattree_ending {
    enum chattree_state state; /* not CHATTREE_WRITING */
    const char *content, *reasoning;
    const char *error;   /* NULL: none */
    const json_t *stats; /* as MESSAGE has them; NULL: none */
};
/* Its end; *message is the MESSAGE as stored. */
ERR_MUST_USE err chattree_end(struct chatstore *s, const char *owner, const char *id,
                              const struct chattree_ending *ending, int64_t now, json_t **message,
                              struct errinfo *info);

/* One message, and the id of its chat (may be NULL). */
ERR_MUST_USE err chattree_message(struct chatstore *s, const char *owner, const char *id, json_t **message,
                                  char chat[VAULT_ID + 1], struct errinfo *info);
/* Will the text of MESSAGE stay as it is? ERR_ARGUMENT: it is an answer still being written. */
ERR_MUST_USE err chattree_over(const json_t *message, struct errinfo *info);
/* [MESSAGE …] from the first turn to `leaf` (NULL: the chat's leaf; no leaf: []). */
ERR_MUST_USE err chattree_branch(struct chatstore *s, const char *owner, const char *chat, const char *leaf,
                                 json_t **messages, struct errinfo *info);

#endif
