/* tests/engine/batcherfixture.h: jobs of a batch, and what came of them. */
#ifndef TESTS_ENGINE_BATCHERFIXTURE_H
#define TESTS_ENGINE_BATCHERFIXTURE_H

#include "engine/batcher.h"
#include "engine/enginefixture.h"

enum { MOST = 512 };

struct answer {
    struct batcher_job *job;
    int32_t ids[MOST];
    float logprobs[MOST];
    size_t n, stop_after; /* 0: never */
    int done;
    err e;
    char message[256];
    struct generate_result result;
    size_t *order, place; /* counts ends */
    size_t cached;
    struct batcher_progress progress[MOST];
    size_t n_progress;
    size_t hurry_after; /* tokens; 0: never */
};

static bool on_token(void *user, const struct session_token *t)
{
    struct answer *a = user;
    assert_true(a->n < MOST);
    a->ids[a->n] = t->id;
    a->logprobs[a->n++] = t->logprob;
    if (a->n == a->hurry_after) {
        batcher_answer_now(a->job);
    }
    return a->n != a->stop_after;
}

static void on_done(void *user, const struct generate_result *r, size_t cached, err e, const char *message)
{
    struct answer *a = user;
    a->done++;
    a->e = e;
    a->result = *r;
    a->cached = cached;
    snprintf(a->message, sizeof a->message, "%s", message ? message : "");
    if (a->order) {
        a->place = ++*a->order;
    }
}

static void on_progress(void *user, const struct batcher_progress *progress)
{
    struct answer *a = user;
    assert_true(a->n == 0 && a->done == 0 && a->n_progress < MOST);
    a->progress[a->n_progress++] = *progress;
}

static struct batcher *batcher(struct engine *e, size_t running, size_t waiting, size_t memory)
{
    struct errinfo info = {0};
    struct batcher *b = NULL;
    must(batcher_new(e, &(struct batcher_options){.running = running, .waiting = waiting, .memory = memory}, &b, &info), &info);
    return b;
}

static err submit(struct batcher *b, struct answer *a, const int32_t *ids, size_t n,
                  const struct sampling *sampling, const struct generate_options *o, uint64_t owner,
                  struct errinfo *info)
{
    return batcher_submit(b,
                          &(struct batcher_request){.tokens = ids,
                                                    .n_tokens = n,
                                                    .sampling = sampling,
                                                    .options = o,
                                                    .owner = owner,
                                                    .token = on_token,
                                                    .done = on_done,
                                                    .user = a},
                          &a->job, info);
}

static void run_all(struct batcher *b)
{
    for (int i = 0; i < 10000; i++) {
        struct batcher_counts c = batcher_count(b);
        if (c.running + c.waiting == 0) {
            assert_int_equal(c.reserved, 0);
            return;
        }
        batcher_step(b);
    }
    fail_msg("the batch does not end");
}

#endif
