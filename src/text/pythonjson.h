/* text/pythonjson.h: JSON text as Python's json.dumps(value, ensure_ascii=False) writes it: ", " and ": "
 * between the parts, characters beyond ASCII as they are, numbers as Python prints them. Models saw tools
 * and calls in this spelling, and a prompt's cache is only found again byte for byte. Text is rewritten
 * as text, so that numbers of any length keep their digits. Thread-safe. */
#ifndef TEXT_PYTHONJSON_H
#define TEXT_PYTHONJSON_H

#include <stdbool.h>

#include "base/strbuf.h"

/* Appends the one value that `json` [len] holds. `name` says in messages what it is. ERR_ARGUMENT or ERR_LIMIT,
 * as json_parse_text (base/json.h), for what is no JSON; ERR_NOMEM. What was appended before an error stays. */
ERR_MUST_USE err pythonjson_append(struct strbuf *out, const char *json, size_t len, const char *name,
                                   struct errinfo *info);

/* Appends the inside of a string that says `text`: what stands between the quotes. ERR_NOMEM. */
ERR_MUST_USE err pythonjson_escape(struct strbuf *out, const char *text, size_t len);

/* A member of an object, as pythonjson_append wrote it; strings with their quotes. Borrowed from that
 * text. */
struct pythonjson_member {
    const char *key, *value;
    size_t key_len, value_len;
};
/* Walks the members: *pos begins at the object's '{' and goes on behind each member; false after the
 * last. */
bool pythonjson_next(const char **pos, struct pythonjson_member *out);

/* Appends what a string, given with its quotes, says. ERR_NOMEM. */
ERR_MUST_USE err pythonjson_unescape(struct strbuf *out, const char *string, size_t len);

#endif
