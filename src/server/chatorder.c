/* server/chatorder.c: see chatorder.h. */
#include "server/chatorder.h"

#include "base/mem.h"
#include "server/chatrecord.h"

static err chatorder_new(size_t n, struct chatorder *out, struct errinfo *info)
{
    size_t *memory = mem_calloc(4 * (n + 1), sizeof *memory);
    if (!memory) {
        return chatrecord_nomem(info);
    }
    *out = (struct chatorder){memory, memory + (n + 1), memory + 2 * (n + 1), memory + 3 * (n + 1), n};
    return ERR_OK;
}

/* Who is whose parent, by the ids of the file. */
static err chatorder_parents(const json_t *messages, struct chatorder *o, struct errinfo *info)
{
    json_t *by_id = json_object();
    err e = by_id ? ERR_OK : chatrecord_nomem(info);
    for (size_t i = 0; i < o->n && e == ERR_OK; i++) {
        const json_t *m = json_array_get(messages, i);
        const char *id = json_string_value(json_object_get(m, "id"));
        if (!id || json_object_get(by_id, id)) {
            e = err_set(info, ERR_ARGUMENT, "a message without an id, or two with one");
        } else if (json_object_set_new(by_id, id, json_integer((json_int_t)i)) != 0) {
            e = chatrecord_nomem(info);
        }
    }
    for (size_t i = 0; i < o->n && e == ERR_OK; i++) {
        const char *parent = json_string_value(json_object_get(json_array_get(messages, i), "parent"));
        const json_t *at = parent ? json_object_get(by_id, parent) : NULL;
        o->parent[i] = at ? (size_t)json_integer_value(at) : o->n;
    }
    json_decref(by_id);
    return e;
}

/* The order of the file where it serves, else parents before children, each with all that hangs on it. */
static bool chatorder_sort(struct chatorder *o)
{
    size_t n = o->n, done = 0;
    for (size_t i = 0; i < n; i++) {
        o->order[i] = i;
        done += o->parent[i] == n || o->parent[i] < i;
    }
    if (done == n) {
        return true;
    }
    for (size_t i = 0; i <= n; i++) {
        o->first[i] = n;
    }
    for (size_t i = n; i-- > 0;) { /* from behind: siblings keep their order */
        o->next[i] = o->first[o->parent[i]];
        o->first[o->parent[i]] = i;
    }
    done = 0;
    for (size_t at = o->first[n]; at != n;) {
        o->order[done++] = at;
        size_t down = o->first[at];
        while (down == n && at != n) { /* nothing below: on beside it, or beside what is above */
            down = o->next[at];
            at = down == n ? o->parent[at] : at;
        }
        at = down;
    }
    return done == n; /* else some hang in a circle */
}

err chatorder_find(const json_t *messages, struct chatorder *out, struct errinfo *info)
{
    struct chatorder o = {0};
    TRY(chatorder_new(json_array_size(messages), &o, info));
    err e = chatorder_parents(messages, &o, info);
    if (e == ERR_OK && !chatorder_sort(&o)) {
        e = err_set(info, ERR_ARGUMENT, "messages are each other's parents");
    }
    if (e != ERR_OK) {
        chatorder_deinit(&o);
        return e;
    }
    *out = o;
    return ERR_OK;
}

void chatorder_deinit(struct chatorder *o)
{
    mem_free(o->parent);
    o->parent = NULL;
}
