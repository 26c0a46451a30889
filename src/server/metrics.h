/* server/metrics.h: what is counted while serving, and its text for Prometheus (exposition format 0.0.4).
 * Numbers alone: nothing of what was said. Thread-safe. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "server/answering.h"

struct metrics;

ERR_MUST_USE err metrics_new(struct metrics **out, struct errinfo *info);
void metrics_free(struct metrics *m); /* NULL is fine */

void metrics_request(struct metrics *m, unsigned status); /* a reply was given */
/* An answer is over; `whole` false: its reader went, or it failed. */
void metrics_answer(struct metrics *m, const struct answering_usage *u, bool whole);

/* Appends the text. ERR_NOMEM. */
ERR_MUST_USE err metrics_text(struct metrics *m, const struct batcher_counts *now, size_t connections,
                              struct strbuf *out);

#endif
