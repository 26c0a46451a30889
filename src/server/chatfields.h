/* server/chatfields.h: what may be in the fields of a chat, a preset, a turn: types and sizes. Internal to the
 * store of chats. */
#ifndef SERVER_CHATFIELDS_H
#define SERVER_CHATFIELDS_H

#include "server/chatrecord.h"

/* Puts `fields` into the record. ERR_ARGUMENT names the field that is unknown or wrong, in errinfo.field,
 * too; `leaf` is not looked up. */
ERR_MUST_USE err chatfields_apply(struct chatrecord *r, const json_t *fields, bool creating,
                                  struct errinfo *info);
/* Whether new fields ask for a temporary chat; a wrong type is for chatfields_apply to refuse. */
bool chatfields_temporary(const json_t *fields);

/* A list of presets. */
ERR_MUST_USE err chatfields_presets(const json_t *presets, struct errinfo *info);

/* A turn's attachments, or NULL; adds their bytes to *bytes. */
ERR_MUST_USE err chatfields_attachments(const json_t *attachments, size_t *bytes, struct errinfo *info);
/* Text that came as C strings: UTF-8 of at most `most` bytes. */
ERR_MUST_USE err chatfields_text(const char *name, const char *text, size_t most, struct errinfo *info);

#endif
