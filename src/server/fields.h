/* server/fields.h: the fields of a request, by table: type, range, where the value goes. What a table does not
 * name is reported, not passed over in silence.
 *
 *     static const struct fields_row rows[] = {
 *         {"temperature", .type = FIELDS_NUMBER, .offset = offsetof(struct q, temperature), .max = 2},
 *         {"store", .type = FIELDS_IGNORED},
 *         {"audio", .type = FIELDS_REFUSED, .why = "this server makes text alone"},
 *     };
 *
 * null is as if the field were absent. Thread rule: none of its own. */
#ifndef SERVER_FIELDS_H
#define SERVER_FIELDS_H

#include "base/json.h"
#include "server/apierror.h"

enum fields_type {
    FIELDS_BOOL,    /* bool */
    FIELDS_INT,     /* int64_t; whole numbers, also as 3.0 */
    FIELDS_NUMBER,  /* double */
    FIELDS_STRING,  /* const char *; max: bytes (0: any); borrowed from the request */
    FIELDS_WORD,    /* int: index into `words` */
    FIELDS_ARRAY,   /* const json_t *; min, max: items */
    FIELDS_OBJECT,  /* const json_t * */
    FIELDS_ANY,     /* const json_t * */
    FIELDS_IGNORED, /* known, without effect on the answer; reported like unknown ones */
    FIELDS_REFUSED, /* known; `why` it cannot be had. null asks for nothing; so do false, "", empty lists and
                       objects, or, instead of these, what `neutral` says, or a list of it */
};

struct fields_row {
    const char *name;
    enum fields_type type;
    size_t offset;
    double min, max; /* inclusive; both 0: any */
    const char *const *words; /* NULL-terminated */
    const char *why, *neutral; /* "1", "true", "auto|deepseek": numbers, truths, strings */
    bool required;
};

struct fields {
    const struct fields_row *rows;
    size_t n;
    const struct fields *also; /* names that the rows lack: FIELDS_IGNORED, FIELDS_REFUSED. May be NULL */
};
#define FIELDS_OF(table) FIELDS_AND(table, NULL)
#define FIELDS_AND(table, also) ((struct fields){(table), sizeof(table) / sizeof *(table), (also)})

/* The request's body as JSON, of any type (json_decref). False: *e. */
bool fields_body(const struct exchange *x, json_t **out, struct apierror *e);

/* Values of `object` go to `into`, which holds the defaults. `where` ("messages[2]"; "" for the request) goes
 * before the field's name in errors. Names that no row has are added to `unknown`, separated by ", " (NULL:
 * they are refused). False: *e says why; 400 for a wrong type or what is missing, 422 for a value out of
 * range. */
bool fields_read(const struct fields *f, const json_t *object, const char *where, void *into,
                 struct strbuf *unknown, struct apierror *e);

/* Adds a path to `unknown`, which becomes a header; NULL: it is refused. False: *e. */
bool fields_ignore(const char *path, struct strbuf *unknown, struct apierror *e);

/* "messages" and 2 → "messages[2]" in `out`, cut where it is too long. */
enum { FIELDS_PATH = 192 };
const char *fields_item(char out[FIELDS_PATH], const char *where, size_t i);
const char *fields_path(char out[FIELDS_PATH], const char *where, const char *name);

#endif
