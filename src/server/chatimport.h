/* server/chatimport.h: chats brought back from files: what chatexport_json gave, and what llama.cpp's web page,
 * Open WebUI and ChatGPT (conversations.json) export (foreignchats.h). Chats and messages get new ids. */
#ifndef SERVER_CHATIMPORT_H
#define SERVER_CHATIMPORT_H

#include "server/chatstore.h"

enum {
    CHATIMPORT_BYTES_MAX = 128 << 20, /* of a file, for whoever hands one over */
    CHATIMPORT_CHATS_MAX = 50000,
    CHATIMPORT_MESSAGES_MAX = 50000, /* of a chat */
};

struct chatimport_count {
    size_t chats, already_here;
    size_t settings_left_out; /* those that no turn would take */
};

/* All chats of the document, in portions between which others get their turn; nobody sees one of them before
 * all are in: when one is wrong, the disk is full or the program ends in the middle, it is as if none had
 * come. A chat whose id the file tells stays out when the owner has it already: the chat itself, no older than
 * in the file, or what an import made of it as it is there. *out counts them. ERR_ARGUMENT: none of these
 * formats, or which chat is wrong and why; ERR_LIMIT; others as in chatstore.h. */
ERR_MUST_USE err chatimport_read(struct chatstore *s, const char *owner, const json_t *document, int64_t now,
                                 struct chatimport_count *out, struct errinfo *info);

#endif
