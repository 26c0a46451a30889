/* cli/conversation.h: the messages of a chat, the prompt they make, and their file.
 *
 * The file of /save is one JSON document a person can read and edit:
 *   {"fathom_chat": 1, "model": "…", "seed": 5, "think": false, "system": "…",
 *    "messages": [{"role": "user", "content": "…"},
 *                 {"role": "assistant", "content": "…", "reasoning": "…"}, …]}
 * Tokens follow from messages, and draws from seed and position; so a chat that was saved and loaded goes
 * on as it would have gone on. */
#ifndef CLI_CONVERSATION_H
#define CLI_CONVERSATION_H

#include <stdint.h>

#include "text/chat.h"

struct conversation {
    char *system; /* NULL: none */
    struct chat_message *messages; /* [0] is kept free for the system text; owned strings */
    size_t n, cap;                 /* messages in use, the free place not counted */
    bool think;
    int64_t seed;
};

void conversation_deinit(struct conversation *c); /* a zeroed struct is fine */
void conversation_clear(struct conversation *c);  /* messages only */

/* Copies the text; NULL or "" removes it. */
ERR_MUST_USE err conversation_set_system(struct conversation *c, const char *text,
                                         struct errinfo *info);
/* Copies; reasoning may be NULL. */
ERR_MUST_USE err conversation_add(struct conversation *c, enum chat_role role, const char *content,
                                  const char *reasoning, struct errinfo *info);
void conversation_drop_last(struct conversation *c);

/* The prompt for the next answer. */
ERR_MUST_USE err conversation_encode(struct conversation *c, const struct tokenizer *t,
                                     enum chat_format f, struct tokenizer_ids *out,
                                     struct errinfo *info);

ERR_MUST_USE err conversation_save(const struct conversation *c, const char *model, const char *path,
                                   struct errinfo *info);
/* Replaces *c only when the whole file is good: user and assistant in turn, beginning with the user and
 * ending with the assistant. */
ERR_MUST_USE err conversation_load(struct conversation *c, const char *path, struct errinfo *info);

#endif
