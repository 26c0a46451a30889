/* engine/stopper.c: see stopper.h. */
#include "engine/stopper.h"

#include <string.h>

void stopper_init(struct stopper *s, const char *const *stops, size_t n_stops)
{
    *s = (struct stopper){.stops = stops, .n_stops = n_stops};
}

void stopper_deinit(struct stopper *s)
{
    strbuf_deinit(&s->held);
    strbuf_deinit(&s->shown);
}

/* Where the first stop string begins, which is *found, or the end of the text. */
static size_t stopper_find(const struct stopper *s, const char **found)
{
    size_t first = s->held.len;
    for (size_t i = 0; i < s->n_stops; i++) {
        const char *at = memmem(s->held.data, s->held.len, s->stops[i], strlen(s->stops[i]));
        if (at && (size_t)(at - s->held.data) < first) {
            first = (size_t)(at - s->held.data);
            *found = s->stops[i];
        }
    }
    return first;
}

/* Where the longest ending begins that is the beginning of a stop string. */
static size_t stopper_open_end(const struct stopper *s)
{
    size_t best = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = strlen(s->stops[i]) - 1;
        for (n = n < s->held.len ? n : s->held.len; n > best; n--) {
            if (memcmp(s->held.data + s->held.len - n, s->stops[i], n) == 0) {
                best = n;
            }
        }
    }
    return s->held.len - best;
}

err stopper_push(struct stopper *s, const char *text, size_t len)
{
    strbuf_clear(&s->shown);
    if (s->found) {
        return ERR_OK;
    }
    TRY(strbuf_append(&s->held, text, len));
    size_t end = stopper_find(s, &s->found);
    if (!s->found) {
        end = stopper_open_end(s);
    }
    TRY(strbuf_append(&s->shown, s->held.data, end));
    memmove(s->held.data, s->held.data + end, s->held.len - end + 1);
    s->held.len -= end;
    return ERR_OK;
}

err stopper_finish(struct stopper *s)
{
    if (s->found) {
        return ERR_OK;
    }
    TRY(strbuf_append(&s->shown, s->held.data, s->held.len));
    strbuf_clear(&s->held);
    return ERR_OK;
}
