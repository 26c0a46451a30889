/* engine/batcherjob.h: what a batcher (batcher.h) is made of: jobs, the lists they are in, and what is theirs
 * together. For the batcher's own files alone: batcherplaces.h says who runs, batcherpages.h where the memory
 * comes from, batcher.c makes the steps. */
#ifndef ENGINE_BATCHERJOB_H
#define ENGINE_BATCHERJOB_H

#include "engine/batcher.h"
#include "engine/generation.h"
#include "engine/pacer.h"
#include "engine/prefixtree.h"

struct batcher_job {
    struct batcher_request is; /* tokens: the job's own */
    size_t context;            /* positions it may come to */
    struct session *session;   /* NULL: has not begun */
    struct generation generation;
    struct generate_result result;
    bool runs, paused; /* paused: it ran, and gave way */
    double since;      /* when reading began; from the first token on, when that was done. While it waits: how
                          long it has been running since */
    size_t reads;      /* tokens in this step */
    bool ready;        /* its next token can be chosen: its logits are there, and what its grammar lets come */
    size_t slice;      /* tokens with which it may give way to an owner of whom nothing runs */
    uint64_t turn;     /* jobs of an owner have different ones, that come first what came first */
    uint64_t born;     /* the order they came in */
    size_t cached;     /* tokens of the prompt that were found */
    size_t rank;       /* jobs of its owner that run, while it waits */
    struct batcher_progress told;
    struct prefixname name;  /* of what was read so far, while more may be on disk */
    bool restoring;          /* it may */
    bool forgotten;          /* nothing of it is kept */
    bool cancelled, hurried; /* hurried: from the next token on */
};

struct batcher {
    struct engine *engine;
    struct batcher_job **running, **waiting; /* [most_running], [most_waiting + most_running] */
    size_t n_running, n_waiting, most_running, most_waiting;
    size_t memory;
    struct kvpool *pool; /* of so many bytes */
    struct prefixtree *prefixes;
    struct prefixname root;
    struct prefixdisk *disk; /* NULL: none */
    double write_out_s;
    uint64_t turn;           /* of the job that got the last place */
    size_t first;            /* whose prompt is served first, modulo those that run: another one in each step */
    uint64_t born;           /* jobs so far */
    struct model_segment *segments; /* [most_running] */
    float *logits;                  /* [most_running, vocab_size] */
    struct pacer pacer;
};

static inline size_t batcherjob_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Of a job in no list. */
void batcherjob_free(struct batcher_job *j);
/* Takes the job out of its list. */
void batcherjob_unlist(struct batcher *b, const struct batcher_job *j);
/* Before its keys and values go: so much of its prompt was read or found. */
void batcherjob_note(struct batcher_job *j);
/* Takes it out and says how it ended; what it has read is kept. */
void batcherjob_end(struct batcher *b, struct batcher_job *j, err e, const char *message);
/* Tokens of a job that runs, without keys and values so far. */
size_t batcherjob_unread(const struct batcher_job *j);

#endif
