/* base/progress.h: one line on stderr for work that takes over two seconds: what, how far, rate,
 * time left. Silent when stderr is no terminal
 * that takes escape sequences (terminal.h). Not thread-safe: one thread reports. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_unit { PROGRESS_BYTES, PROGRESS_TOKENS, PROGRESS_ITEMS };

struct progress {
    const char *label; /* borrowed */
    enum progress_unit unit;
    uint64_t total; /* 0 when unknown */
    uint64_t done;
    uint64_t first; /* done before this run began: counted in the share, not in the rate */
    double started, painted;
    bool visible; /* something was printed */
    bool enabled;
};

void progress_init(struct progress *p, const char *label, enum progress_unit unit, uint64_t total);
void progress_resume(struct progress *p, uint64_t first); /* after init: some of it is done already */
void progress_update(struct progress *p, uint64_t done); /* cheap; paints at most 5 times a second */
void progress_finish(struct progress *p);                /* clears the line */

/* Seconds of a clock that only goes forward. */
double progress_clock(void);

#endif
