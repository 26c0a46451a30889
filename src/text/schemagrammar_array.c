/* text/schemagrammar_array.c: arrays: items with schemas of their own first, then any number of
 * alike ones. */
#include <stdio.h>

#include "text/schemagrammar_data.h"

struct schemagrammar_array {
    const json_t *first;      /* prefixItems; NULL: none */
    const json_t *others;     /* the schema of the rest; NULL: there is none */
    size_t n_first, min, max; /* max SIZE_MAX: no end */
};

static err schemagrammar_array_read(struct schemagrammar *s, const json_t *schema,
                                    struct schemagrammar_array *a)
{
    const json_t *items = json_object_get(schema, "items");
    a->first = json_object_get(schema, "prefixItems");
    if (a->first && !json_is_array(a->first)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT,
                                    "\"prefixItems\" is %s; expected a list of schemas",
                                    json_type_name(a->first));
    }
    if (json_is_array(items)) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                    "\"items\" as a list is not supported; \"prefixItems\" is");
    }
    a->n_first = json_array_size(a->first);
    TRY(schemagrammar_count(s, schema, "minItems", 0, &a->min));
    TRY(schemagrammar_count(s, schema, "maxItems", SIZE_MAX, &a->max));
    bool wanted =
        !a->first || a->min > a->n_first; /* of what is left open only as much as must be */
    a->others = json_is_false(items) ? NULL : items ? items : wanted ? json_true() : NULL;
    if (!items && a->first && wanted) {
        a->max = a->min < a->max ? a->min : a->max;
    }
    if (!a->others) {
        a->max = a->n_first < a->max ? a->n_first : a->max;
    }
    return a->min <= a->max
               ? ERR_OK
               : schemagrammar_refuse(s, ERR_ARGUMENT, "at least %zu items and at most %zu", a->min,
                                      a->max);
}

/* Items from number n_first on. */
static err schemagrammar_array_others(struct schemagrammar *s, const struct schemagrammar_array *a,
                                      struct strbuf *out)
{
    size_t from = a->n_first, back;
    struct strbuf item = {0};
    if (!a->others || a->max <= from) {
        return strbuf_puts(out, "\"\"");
    }
    err e = schemagrammar_enter(s, "items", &back);
    e = e == ERR_OK ? schemagrammar_visit(s, a->others, &item) : e;
    schemagrammar_leave(s, back);
    size_t min = a->min > from ? a->min - from : 0, max = a->max == SIZE_MAX ? 0 : a->max - from;
    bool open = a->max == SIZE_MAX, alone = from == 0; /* alone: the first has no comma before it */
    char upto[32] = "";
    if (!open) {
        snprintf(upto, sizeof upto, "%zu", max - alone);
    }
    if (e == ERR_OK && alone) {
        e = strbuf_printf(out, "(%s (\",\" space %s){%zu,%s})%s", item.data, item.data,
                          min > 0 ? min - 1 : 0, upto, min == 0 ? "?" : "");
    } else if (e == ERR_OK) {
        e = strbuf_printf(out, "(\",\" space %s){%zu,%s}", item.data, min, upto);
    }
    strbuf_deinit(&item);
    return e;
}

/* Item i of prefixItems and what follows, as a rule; *rest is replaced. */
static err schemagrammar_array_first(struct schemagrammar *s, const struct schemagrammar_array *a,
                                     size_t i, struct strbuf *rest)
{
    struct strbuf body = {0}, name = {0};
    char number[24];
    size_t back;
    snprintf(number, sizeof number, "%zu", i);
    err e = strbuf_puts(&body, i > 0 ? "\",\" space " : "");
    err entered = schemagrammar_enter(s, number, &back);
    e = e == ERR_OK ? entered : e;
    e = e == ERR_OK ? schemagrammar_visit(s, json_array_get(a->first, i), &body) : e;
    schemagrammar_leave(s, back);
    e = e == ERR_OK ? strbuf_printf(&body, " %s%s", rest->data, i >= a->min ? " | \"\"" : "") : e;
    e = e == ERR_OK ? schemagrammar_rule(s, &body, &name) : e;
    strbuf_deinit(&body);
    strbuf_deinit(rest);
    *rest = name;
    return e;
}

err schemagrammar_array(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    struct schemagrammar_array a = {0};
    struct strbuf rest = {0};
    size_t back;
    TRY(schemagrammar_array_read(s, schema, &a));
    err e = schemagrammar_array_others(s, &a, &rest);
    err entered = schemagrammar_enter(s, "prefixItems", &back);
    e = e == ERR_OK ? entered : e;
    for (size_t i = a.n_first < a.max ? a.n_first : a.max; i-- > 0 && e == ERR_OK;) {
        e = schemagrammar_array_first(s, &a, i, &rest);
    }
    schemagrammar_leave(s, back);
    e = e == ERR_OK ? strbuf_printf(out, "\"[\" space %s space \"]\"", rest.data) : e;
    strbuf_deinit(&rest);
    return e;
}
