/* base/json.h: JSON that comes from files, requests and people, over jansson (whose own headers
 * name everything else: building and walking). Linking this file routes jansson's allocations
 * through base/mem.h from the start of the program, so every json_t counts in mem_alive. Make text
 * with json_text, not with json_dumps, which can leave pieces out when memory is short and not say
 * so.
 *
 * Thread rule: parsing is thread-safe; one json_t belongs to one thread at a time, or to all of
 * them once nobody writes to it (json_incref and json_decref are atomic). */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Deeper nesting is ERR_LIMIT: no file of ours needs it, and parsing is recursive. So are more
 * values (each number, string, array … is one), because two bytes of text can cost 250 bytes of
 * memory. */
enum { JSON_DEPTH_MAX = 64, JSON_VALUES_MAX = 4 << 20 };

/* Parses one JSON value (any type) of `len` bytes that need no NUL after them. `name` says in
 * messages what is being read ("config.json", "request"). Refused: invalid UTF-8, \u0000, duplicate
 * keys, anything after the value (ERR_CORRUPT with line and column), nesting over JSON_DEPTH_MAX or
 * more than JSON_VALUES_MAX values (ERR_LIMIT). An integer that does not fit 64 bits
 * (tokenizer_config.json files hold 1e30 written out) becomes a real. *out is a new reference:
 * json_decref. */
ERR_MUST_USE err json_parse(const char *data, size_t len, const char *name, json_t **out,
                            struct errinfo *info);

/* The same for one line of many, whose number is part of `name`: messages add the column alone. */
ERR_MUST_USE err json_parse_line(const char *data, size_t len, const char *name, json_t **out,
                                 struct errinfo *info);

/* The same for what goes on as text, such as a tool's arguments: all that RFC 8259 calls JSON in these two
 * respects, too: names may repeat (the last one's value is in *out) and strings may hold \u0000 (so
 * json_string_length counts, not a NUL). */
ERR_MUST_USE err json_parse_text(const char *data, size_t len, const char *name, json_t **out,
                                 struct errinfo *info);

/* The same as json_parse for a file of at most `cap` bytes; the file name in messages is `path`. */
ERR_MUST_USE err json_parse_file(const char *path, size_t cap, json_t **out, struct errinfo *info);

/* The value as text with a NUL, owned by the caller (mem_free); `flags` are jansson's (JSON_COMPACT
 * …). ERR_NOMEM, or ERR_ARGUMENT for what has no text (NULL, an infinite number, a value inside
 * itself). */
ERR_MUST_USE err json_text(const json_t *value, size_t flags, char **out);
/* The same, with NULL for every failure and for no value: for documents built step by step. */
char *json_text_dup(const json_t *value, size_t flags) __attribute__((warn_unused_result));
/* The text and a newline as a file (file_write's errors); ERR_NOMEM for no value (NULL), too. */
ERR_MUST_USE err json_write(const json_t *value, size_t flags, const char *path, struct errinfo *info);

/* Typed reads of obj[key]; `name` as above. ERR_NOTFOUND when the key is absent or null,
 * ERR_CORRUPT when obj is no object or the value has another type, sign or range; the message names
 * file, key, what was found and what was expected. *out is untouched on error. Integers accept
 * whole-valued reals (128.0, 1e6) below 2^53. Doubles accept any finite number. Strings and
 * children are borrowed from obj. */
ERR_MUST_USE err json_get_u64(const json_t *obj, const char *name, const char *key, uint64_t *out,
                              struct errinfo *info);
ERR_MUST_USE err json_get_size(const json_t *obj, const char *name, const char *key, size_t *out,
                               struct errinfo *info);
ERR_MUST_USE err json_get_double(const json_t *obj, const char *name, const char *key, double *out,
                                 struct errinfo *info);
ERR_MUST_USE err json_get_bool(const json_t *obj, const char *name, const char *key, bool *out,
                               struct errinfo *info);
ERR_MUST_USE err json_get_string(const json_t *obj, const char *name, const char *key,
                                 const char **out, struct errinfo *info);
ERR_MUST_USE err json_get_object(const json_t *obj, const char *name, const char *key,
                                 const json_t **out, struct errinfo *info);
ERR_MUST_USE err json_get_array(const json_t *obj, const char *name, const char *key,
                                const json_t **out, struct errinfo *info);

/* A single value as a count: the rule json_get_u64 follows. False for anything else. */
bool json_as_u64(const json_t *value, uint64_t *out);

/* "a string", "an array" … for messages; "nothing" for NULL. */
const char *json_type_name(const json_t *value);

#endif
