/* engine/batcherjob.c: see batcherjob.h. */
#include "engine/batcherjob.h"

#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "engine/batcherpages.h"

void batcherjob_free(struct batcher_job *j)
{
    generation_end(&j->generation);
    session_free(j->session);
    mem_free((void *)j->is.tokens);
    mem_free(j);
}

void batcherjob_unlist(struct batcher *b, const struct batcher_job *j)
{
    struct batcher_job **list = j->runs ? b->running : b->waiting;
    size_t *n = j->runs ? &b->n_running : &b->n_waiting, i = 0;
    while (list[i] != j) {
        i++;
    }
    memmove(list + i, list + i + 1, (--*n - i) * sizeof *list);
}

void batcherjob_note(struct batcher_job *j)
{
    size_t n = j->session ? batcherjob_least(j->is.n_tokens, j->session->kv.cache.len) : 0;
    j->result.prompt_tokens = n > j->result.prompt_tokens ? n : j->result.prompt_tokens;
}

void batcherjob_end(struct batcher *b, struct batcher_job *j, err e, const char *message)
{
    batcherjob_unlist(b, j);
    batcherjob_note(j);
    j->result.finish = j->cancelled ? SESSION_CANCELLED : j->generation.finish;
    j->result.stop = j->generation.stopper.found;
    j->result.completion_tokens = j->generation.made;
    *(j->generation.made ? &j->result.decode_seconds : &j->result.prefill_seconds) =
        j->runs ? progress_clock() - j->since : j->since;
    batcherpages_keep(b, j);
    j->is.done(j->is.user, &j->result, j->cached, e, e == ERR_OK ? NULL : message);
    batcherjob_free(j);
}

size_t batcherjob_unread(const struct batcher_job *j)
{
    return j->session->n_tokens - j->session->kv.cache.len;
}
