/* engine/batcherpages.h: keys and values of a batcher's jobs: found among prefixes, grown, read from disk,
 * kept. */
#ifndef ENGINE_BATCHERPAGES_H
#define ENGINE_BATCHERPAGES_H

#include "engine/batcherjob.h"

/* What the job has read becomes a prefix for others. */
void batcherpages_keep(struct batcher *b, const struct batcher_job *j);
/* What is known of its text; the last token is read in any case, for what comes after it. */
void batcherpages_find(struct batcher *b, struct batcher_job *j);
/* Room for n tokens more, of prefixes that nobody uses if need be. */
ERR_MUST_USE err batcherpages_grow(struct batcher *b, struct batcher_job *j, size_t n, struct errinfo *info);
/* Pages from disk for prompts: all there are, or while answers are made some in each step, the oldest job's
 * first. */
void batcherpages_restore(struct batcher *b);
/* Of the prefixes that nobody uses, as many as the disk holds and takes in write_out_s go there, where there is
 * one: the newest. */
void batcherpages_write_out(struct batcher *b);

#endif
