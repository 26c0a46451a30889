/* engine/batcher.h: many generations on one engine. In each step every answer that is being made gets a token,
 * and prompts are read in pieces beside them, all in one pass over the weights.
 *
 *     submit → waits → reads its prompt → makes its answer → done
 *                ↑      (paused)                ↓
 *                +------------------------------+
 *
 * Fairness: a place goes to the owner with the fewest jobs running, among those to whose turn it is (an owner's
 * jobs in order, owners one by one); prompts being read share what a step gives to prompts. That is chosen from
 * measured times (pacer.h) so that answers keep more than half of their pace, unless more prompts than answers
 * wait: a long prompt stalls no answer (chunked prefill).
 * What grammars let come next is worked out within a share of a step (pacer.h), equal parts to each: an answer
 * whose grammar takes longer sits out steps until its token can be chosen, and holds nobody up.
 * Where no place is free, the owner with the most gives one up to an owner with two less, in the very next
 * step: his latest job is paused. Where every owner has but one, an owner with none gets the place of one whose
 * answer has come on by 64 tokens (up to 128: it ends with a page).
 * Who has as many jobs waiting as waiting places are left is refused another.
 *
 * Memory: a job begins when there is room for its prompt and 256 tokens of its answer, and for as many of all
 * that run, what it has in common with them counted once; from there on it takes pages as it grows. Where they
 * run out, the latest job of the owner with the most is paused. The oldest is never paused for that, and no job
 * may come to need more than all memory: so each is done some time.
 *
 * A paused job's keys and values are kept like other prefixes, and given up like them if their memory is
 * needed; when it goes on it reads what is not there any more.
 *
 * Prefixes: keys and values of prompts and answers are kept (prefixtree.h) as long as nobody else needs their
 * memory; a job that begins with the same tokens in the same partition reads only the rest.
 *
 * With a folder on disk (prefixdisk.h) what is given up, and at the end what is left, is written there and
 * found again; pages are read beside the answers, a little in each step.
 *
 * Results: in deterministic mode a job's tokens and probabilities are, bit for bit, those of session_generate
 * on a session of its own, however often it was paused; else they differ by as much as chunks and batches do
 * there (docs/numerics.md). Nothing is guessed ahead (SESSION_SPECULATE_OFF).
 *
 * Thread rule: one thread at a time, but for batcher_fits and batcher_limit. The callbacks are called from
 * within batcher_step, batcher_admit and batcher_free; they may call batcher_cancel, batcher_answer_now and
 * batcher_count, nothing else of the batcher. */
#ifndef ENGINE_BATCHER_H
#define ENGINE_BATCHER_H

#include "engine/prefixdisk.h"
#include "fathom.h"

/* Set in a drawer: nothing of it goes to the disk. */
#define BATCHER_IN_MEMORY (UINT64_C(1) << 63)

enum { BATCHER_RUNNING = 16, BATCHER_RUNNING_MAX = 256, BATCHER_WAITING = 64 };

struct batcher;
struct batcher_job;

struct batcher_options {
    size_t running; /* jobs at a time, up to BATCHER_RUNNING_MAX and the engine's chunk; 0: BATCHER_RUNNING */
    size_t waiting; /* jobs of one owner that may wait beside them, of all owners twice as many at most; 0:
                       BATCHER_WAITING */
    size_t memory;  /* bytes for keys and values; 0: half of what is available now */
    const struct prefixdisk_options *disk; /* NULL: none. Needs sodium_init */
    double write_out_s; /* seconds that batcher_free writes there, but for what is under way; 0: 15 */
};

/* How far a job is before its first token. */
struct batcher_progress {
    size_t ahead;       /* jobs whose turn comes before; they and this one wait */
    size_t done, total; /* the prompt's tokens: read or known, in all */
    size_t cached;      /* of those done: known */
    double seconds;     /* since reading began, without pauses */
};

struct batcher_request {
    const int32_t *tokens; /* [n_tokens] the prompt; copied */
    size_t n_tokens;
    const struct sampling *sampling;        /* NULL: greedy. Borrowed until done */
    const struct generate_options *options; /* likewise; NULL: until the context is full */
    uint64_t owner;                         /* for fairness alone */
    uint64_t partition;                     /* whose prefixes it may use and adds to */
    uint64_t drawer;                        /* where those lie, for batcher_forget: all of a partition in one */
    session_callback token;                 /* every token; false stops the job. May be NULL */
    /* At most once in a step, when something has changed, until the prompt is read. May be NULL. */
    void (*progress)(void *user, const struct batcher_progress *progress);
    /* Once, whatever happens; the job is gone afterwards. e is ERR_OK, also for what was cancelled; else
     * `message` says what is wrong. result's prompt_tokens are those of the prompt that were read or found, all
     * of them if the job has come to a token; `cached` those that were found. */
    void (*done)(void *user, const struct generate_result *result, size_t cached, err e, const char *message);
    void *user;
};

/* The engine must outlive the batcher. ERR_ARGUMENT, ERR_NOMEM; prefixdisk_open's. */
ERR_MUST_USE err batcher_new(struct engine *e, const struct batcher_options *options, struct batcher **out,
                             struct errinfo *info);
/* Jobs that are left end as cancelled. Returns when as many prefixes are on disk as it holds, where there is
 * one, and as its time allows: the newest. */
void batcher_free(struct batcher *b);

/* Do a prompt of so many tokens and one of an answer fit both the model's context and all the memory? From any
 * thread. ERR_CONTEXT, with both numbers. */
ERR_MUST_USE err batcher_fits(const struct batcher *b, size_t n_tokens, struct errinfo *info);
/* Tokens of a prompt and its answer together, at most: what the model's context and all the memory hold. From
 * any thread. */
size_t batcher_limit(const struct batcher *b);
/* Would a job of that owner find a place to wait, or to run? ERR_BUSY as of batcher_submit. */
ERR_MUST_USE err batcher_room(const struct batcher *b, uint64_t owner, struct errinfo *info);
/* Queues a job, whose answer ends at last where the model's context or all the memory does (SESSION_LENGTH).
 * ERR_ARGUMENT; ERR_CONTEXT as of batcher_fits; ERR_BUSY when too many wait,
 * or too many of that owner. Then `done` is not called. */
ERR_MUST_USE err batcher_submit(struct batcher *b, const struct batcher_request *request,
                                struct batcher_job **out, struct errinfo *info);
/* The job ends in the next step. */
void batcher_cancel(struct batcher_job *job);
/* The job stops thinking: with its next token its think block ends, if it has not ended yet; what ends one is
 * in its options (generate_options.think_end; without it nothing happens). */
void batcher_answer_now(struct batcher_job *job);

/* What a step begins with: ends what was cancelled and gives free places to those whose turn it is. */
void batcher_admit(struct batcher *b);
/* One pass. What fails in it fails the jobs concerned, not the batcher. Nothing to do: returns at once. */
void batcher_step(struct batcher *b);

/* Forgets all that was kept in a drawer in memory; what its jobs have read so far or will read is not kept
 * either. */
void batcher_forget(struct batcher *b, uint64_t drawer);
/* And then on disk, from any thread, as it takes its time. ERR_IO: a file could not be removed. */
ERR_MUST_USE err batcher_forget_disk(struct batcher *b, uint64_t drawer, struct errinfo *info);
/* The same two for what nobody used since `before`, in nanoseconds since 1970. */
void batcher_forget_unused(struct batcher *b, int64_t before);
void batcher_forget_unused_disk(struct batcher *b, int64_t before);

struct batcher_counts {
    size_t running, waiting; /* jobs */
    size_t paused;           /* of those that wait: they had begun */
    size_t memory, reserved; /* bytes for keys and values: in all, and of running jobs */
    size_t kept, on_disk;    /* bytes of prefixes; of their files */
};
struct batcher_counts batcher_count(struct batcher *b);

#endif
