/* engine/stopper.h: stop strings in a stream of text. A stop string may begin in one token and end in
 * another; text that might be its beginning is held back until it is decided, so that no part of a
 * stop string is ever shown. */
#ifndef ENGINE_STOPPER_H
#define ENGINE_STOPPER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

struct stopper {
    const char *const *stops; /* borrowed, none empty */
    size_t n_stops;
    struct strbuf held;  /* not yet decided */
    struct strbuf shown; /* what the last call released */
    const char *found;   /* the stop string that was found; later text is dropped. NULL: none yet */
};

void stopper_init(struct stopper *s, const char *const *stops, size_t n_stops);
void stopper_deinit(struct stopper *s);

/* Adds text; afterwards s->shown is what may be shown now. ERR_NOMEM. */
ERR_MUST_USE err stopper_push(struct stopper *s, const char *text, size_t len);

/* The text has ended: adds what was held to s->shown. */
ERR_MUST_USE err stopper_finish(struct stopper *s);

#endif
