/* text/schemagrammar.h: a JSON schema (draft 2020-12) as a grammar: every text that matches it is
 * JSON that the schema accepts. The grammar may accept less, never more:
 *   - properties come in the schema's order; what is left open is closed: no other properties
 * beside `properties` unless additionalProperties says so, no items behind `prefixItems` unless
 * `items` does
 *   - between values at most one space, or a newline and up to 16 spaces; nothing around the whole
 *   - numbers have at most 16 digits before the point; between bounds, up to 6 behind it and no
 * exponent
 *   - names of additional properties beside named ones have no escapes
 *
 * Known: type (one or a list), properties, required, additionalProperties, items, prefixItems,
 * minItems, maxItems, enum, const, anyOf, oneOf (of schemas that exclude each other), allOf, $ref
 * to "#/…", $defs, minLength, maxLength, pattern (text/schemagrammar_pattern.c), format (date,
 * time, date-time, uuid, email, hostname, ipv4, ipv6), minimum, maximum, exclusiveMinimum,
 * exclusiveMaximum. Everything else that could change what is valid is ERR_UNSUPPORTED, by name and
 * JSON pointer; title, description, default, examples and their like are passed over. */
#ifndef TEXT_SCHEMAGRAMMAR_H
#define TEXT_SCHEMAGRAMMAR_H

#include "base/json.h"
#include "text/grammar.h"

/* Caps: schemas inside schemas, schemas looked at, allOf and $ref joined. */
enum {
    SCHEMAGRAMMAR_DEPTH_MAX = 64,
    SCHEMAGRAMMAR_VISITS_MAX = 1 << 14,
    SCHEMAGRAMMAR_MERGES_MAX = 1 << 10,
};

/* `schema` NULL: any JSON object. ERR_ARGUMENT for what is no schema or has no valid value. */
ERR_MUST_USE err schemagrammar_new(const json_t *schema, struct grammar **out,
                                   struct errinfo *info);
/* The same as GBNF, to read: owned, mem_free. */
ERR_MUST_USE err schemagrammar_text(const json_t *schema, char **out, struct errinfo *info);

#endif
