/* engine/batcher.c: see batcher.h. */
#include "engine/batcher.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/meminfo.h"
#include "base/progress.h"
#include "engine/batcherpages.h"
#include "engine/batcherplaces.h"

/* Tokens of a piece of a prompt at least: each reads all keys and values before it. */
enum { BATCHER_PIECE = 16 };
#define BATCHER_WRITE_OUT_S 15 /* a service manager gives 30 for all of a stop (packaging/fathom.service) */

/* ---- Jobs. ---- */

size_t batcher_limit(const struct batcher *b)
{
    return batcherjob_least(engine_context_max(b->engine), kvpool_pages(b->pool) * MODEL_CACHE_PAGE);
}

err batcher_fits(const struct batcher *b, size_t n_tokens, struct errinfo *info)
{
    size_t limit = engine_context_max(b->engine), holds = batcher_limit(b);
    if (n_tokens >= limit) {
        return err_set(info, ERR_CONTEXT,
                       "the prompt has %zu tokens; this model's context of %zu must hold it and at least one "
                       "token of an answer",
                       n_tokens, limit);
    }
    if (n_tokens >= holds) {
        char have[MEMINFO_TEXT];
        return err_set(info, ERR_CONTEXT,
                       "the prompt has %zu tokens; the memory for keys and values, %s, holds %zu, which must "
                       "do for it and at least one token of an answer",
                       n_tokens, meminfo_text(b->memory, have), holds);
    }
    return ERR_OK;
}

err batcher_room(const struct batcher *b, uint64_t owner, struct errinfo *info)
{
    return batcherplaces_check(b, owner, info);
}

static err batcher_check(const struct batcher *b, const struct batcher_job *j, struct errinfo *info)
{
    if (j->is.n_tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "nothing to continue: the prompt is empty");
    }
    TRY(batcher_fits(b, j->is.n_tokens, info));
    TRY(batcher_room(b, j->is.owner, info));
    return sampling_check(j->is.sampling, engine_vocab_size(b->engine), info);
}

err batcher_submit(struct batcher *b, const struct batcher_request *request, struct batcher_job **out,
                   struct errinfo *info)
{
    static const struct sampling greedy;
    static const struct generate_options defaults;
    struct batcher_job *j = mem_calloc(1, sizeof *j);
    int32_t *tokens = mem_calloc(request->n_tokens ? request->n_tokens : 1, sizeof *tokens);
    if (!j || !tokens) {
        mem_free(j);
        mem_free(tokens);
        return err_set(info, ERR_NOMEM, "out of memory for a request of %zu tokens", request->n_tokens);
    }
    j->is = *request;
    j->is.tokens = tokens;
    for (size_t i = 0; i < request->n_tokens; i++) {
        tokens[i] = request->tokens[i];
    }
    j->is.sampling = request->sampling ? request->sampling : &greedy;
    j->is.options = request->options ? request->options : &defaults;
    size_t limit = batcher_limit(b), made = j->is.options->max_tokens;
    j->context = made && j->is.n_tokens < limit
                     ? j->is.n_tokens + batcherjob_least(made, limit - j->is.n_tokens)
                     : limit;
    err e = batcher_check(b, j, info);
    if (e != ERR_OK) {
        batcherjob_free(j);
        return e;
    }
    j->turn = batcherplaces_turn(b, j->is.owner);
    j->born = b->born++;
    b->waiting[b->n_waiting++] = j;
    *out = j;
    return ERR_OK;
}

void batcher_cancel(struct batcher_job *job)
{
    job->cancelled = true;
}

void batcher_answer_now(struct batcher_job *job)
{
    job->hurried = true;
}

/* ---- A step. ---- */

/* How much of each job's tokens: those that wait for pages or for their grammar none, answers one, prompts
 * equal shares of the budget, what one does not need to the next; where it is small, some get a piece and
 * others do in the next steps. */
static void batcher_share(struct batcher *b)
{
    size_t n_prompts = 0, n_answers = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        size_t unread = batcherjob_unread(j);
        j->reads = unread == 1;
        n_answers += unread <= 1;
        n_prompts += unread > 1 && !j->restoring;
    }
    size_t left = pacer_budget(&b->pacer, n_answers, n_prompts, b->engine->chunk - n_answers);
    b->first++;
    for (size_t i = 0; i < b->n_running && left > 0; i++) {
        struct batcher_job *j = b->running[(b->first + i) % b->n_running];
        if (batcherjob_unread(j) > 1 && !j->restoring) {
            size_t share = (left + n_prompts - 1) / n_prompts;
            share = batcherjob_least(left, share < BATCHER_PIECE ? BATCHER_PIECE : share);
            j->reads = batcherjob_least(batcherjob_unread(j), share);
            left -= j->reads;
            n_prompts--;
        }
    }
}

/* For everybody who runs; where it does not suffice, others give way. The oldest never does, and alone it has
 * all that it may come to need: so every job is done some time. */
static void batcher_grow_all(struct batcher *b)
{
    struct batcher_job *jobs[BATCHER_RUNNING_MAX];
    size_t n = b->n_running;
    memcpy(jobs, b->running, n * sizeof *jobs);
    for (size_t i = 0; i < n; i++) {
        struct batcher_job *j = jobs[i];
        struct errinfo info = {0};
        err e = ERR_OK;
        while (j->runs && (e = batcherpages_grow(b, j, j->reads, &info)) != ERR_OK && b->n_running > 1) {
            batcherplaces_pause(b, batcherplaces_last(b), b->turn);
        }
        if (j->runs && e != ERR_OK) { /* the system refused it */
            batcherjob_end(b, j, e, info.message);
        }
    }
}

/* Returns how many; *n_answers: of one token, the last of its text, and what waits for its grammar;
 * *n_prompt_tokens: in the others. */
static size_t batcher_segments(struct batcher *b, size_t *n_answers, size_t *n_prompt_tokens)
{
    *n_answers = *n_prompt_tokens = 0;
    size_t n = 0, rows = 0, vocab = engine_vocab_size(b->engine);
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        struct session *s = j->session;
        *n_answers += batcherjob_unread(j) == 0;
        if (j->reads > 0) {
            bool last = j->reads == batcherjob_unread(j), answer = last && j->reads == 1;
            *n_answers += answer;
            *n_prompt_tokens += answer ? 0 : j->reads;
            b->segments[n++] = (struct model_segment){.cache = &s->kv.cache,
                                                      .tokens = s->tokens + s->kv.cache.len,
                                                      .n_tokens = j->reads,
                                                      .logits = last ? b->logits + rows++ * vocab : NULL};
        }
    }
    return n;
}

/* The logits that were made; the first of a job are the end of its prompt. */
static void batcher_hand_out(struct batcher *b)
{
    size_t rows = 0, vocab = engine_vocab_size(b->engine);
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        if (j->reads == 0 || batcherjob_unread(j) > 0) {
            continue;
        }
        memcpy(j->session->logits, b->logits + rows++ * vocab, vocab * sizeof *b->logits);
        j->session->has_logits = true;
        if (j->generation.made == 0) {
            j->result.prefill_seconds = progress_clock() - j->since;
            j->since += j->result.prefill_seconds;
            batcherpages_keep(b, j); /* at once, for those who ask the same at the same time */
        }
    }
}

/* Which of those that have logits can choose a token, with so much time for grammars, shared equally, another
 * one first in each step. Returns how many. */
static size_t batcher_ready(struct batcher *b, double seconds)
{
    double end = progress_clock() + seconds;
    size_t n = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[(b->first + i) % b->n_running];
        double now = progress_clock(), share = (end - now) / (double)(b->n_running - i);
        if (j->hurried) {
            generation_answer_now(&j->generation);
            j->hurried = false;
        }
        j->ready = batcherjob_unread(j) == 0 && generation_ready(&j->generation, now + share);
        n += j->ready;
    }
    return n;
}

/* A token for every job whose logits are there; ends those that are finished. Where nobody else goes on
 * meanwhile, grammars take the time they need. */
static void batcher_sample(struct batcher *b, double pass_s, bool prompts)
{
    struct batcher_job *jobs[BATCHER_RUNNING_MAX];
    size_t n = b->n_running;
    memcpy(jobs, b->running, n * sizeof *jobs);
    double start = progress_clock();
    size_t n_ready = batcher_ready(b, pacer_masks(&b->pacer, pass_s));
    pacer_masked(&b->pacer, progress_clock() - start);
    if (n_ready == 0 && !prompts) {
        batcher_ready(b, INFINITY);
    }
    for (size_t i = 0; i < n; i++) {
        struct batcher_job *j = jobs[i];
        struct errinfo info = {0};
        if (j->ready) {
            err e = generation_step(&j->generation, j->is.token, j->is.user, &info);
            if (e != ERR_OK || j->generation.finished) {
                batcherjob_end(b, j, e, info.message);
            }
        }
    }
}

/* ---- Progress. ---- */

static void batcher_tell(struct batcher_job *j, size_t ahead, size_t done)
{
    const struct batcher_progress now = {.ahead = ahead,
                                         .done = done,
                                         .total = j->is.n_tokens,
                                         .cached = j->runs ? j->cached : 0,
                                         .seconds = j->runs ? progress_clock() - j->since : 0};
    if (now.ahead != j->told.ahead || now.done != j->told.done || now.total != j->told.total) {
        j->told = now;
        j->is.progress(j->is.user, &now);
    }
}

/* To those that have no token yet. */
static void batcher_tell_all(struct batcher *b)
{
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        if (j->is.progress && j->generation.made == 0) {
            batcher_tell(j, 0, j->session->kv.cache.len);
        }
    }
    batcherplaces_rank(b);
    for (size_t i = 0; i < b->n_waiting; i++) {
        struct batcher_job *j = b->waiting[i];
        if (j->is.progress && j->generation.made == 0) {
            batcher_tell(j, batcherplaces_ahead(b, i), 0);
        }
    }
}

static void batcher_end_cancelled(struct batcher *b)
{
    for (size_t i = b->n_running; i-- > 0;) {
        if (b->running[i]->cancelled) {
            batcherjob_end(b, b->running[i], ERR_OK, NULL);
        }
    }
    for (size_t i = b->n_waiting; i-- > 0;) {
        if (b->waiting[i]->cancelled) {
            batcherjob_end(b, b->waiting[i], ERR_OK, NULL);
        }
    }
}

void batcher_forget(struct batcher *b, uint64_t drawer)
{
    for (size_t i = 0; i < b->n_running; i++) {
        b->running[i]->forgotten |= b->running[i]->is.drawer == drawer;
    }
    for (size_t i = 0; i < b->n_waiting; i++) {
        b->waiting[i]->forgotten |= b->waiting[i]->is.drawer == drawer;
    }
    prefixtree_forget(b->prefixes, drawer);
}

err batcher_forget_disk(struct batcher *b, uint64_t drawer, struct errinfo *info)
{
    return b->disk ? prefixdisk_forget(b->disk, drawer, info) : ERR_OK;
}

void batcher_forget_unused(struct batcher *b, int64_t before)
{
    prefixtree_forget_unused(b->prefixes, before);
}

void batcher_forget_unused_disk(struct batcher *b, int64_t before)
{
    if (b->disk) {
        prefixdisk_forget_unused(b->disk, before);
    }
}

void batcher_admit(struct batcher *b)
{
    batcher_end_cancelled(b);
    batcherplaces_give(b);
}

void batcher_step(struct batcher *b)
{
    struct engine *e = b->engine;
    struct errinfo info = {0};
    batcher_admit(b);
    if (b->n_running == 0) {
        return;
    }
    batcherpages_restore(b);
    batcher_share(b);
    batcher_grow_all(b);
    size_t n_answers, n_prompt_tokens, n = batcher_segments(b, &n_answers, &n_prompt_tokens);
    double start = progress_clock();
    err result = ERR_OK;
    if (n > 0) {
        result = model_forward(e->model, e->compute, e->work, b->segments, n, NULL, NULL, &info);
    }
    if (result != ERR_OK) {
        while (b->n_running > 0) {
            batcherjob_end(b, b->running[b->n_running - 1], result, info.message);
        }
        return;
    }
    double seconds = progress_clock() - start;
    if (n > 0) {
        pacer_learn(&b->pacer, seconds, n_answers, n_prompt_tokens);
    }
    batcher_tell_all(b);
    batcher_hand_out(b);
    batcher_sample(b, seconds, n_prompt_tokens > 0);
}

/* ---- Life. ---- */

err batcher_new(struct engine *e, const struct batcher_options *options, struct batcher **out,
                struct errinfo *info)
{
    size_t running = options->running ? options->running : BATCHER_RUNNING;
    size_t most = batcherjob_least(BATCHER_RUNNING_MAX, e->chunk);
    if (running > most) {
        return err_set(info, ERR_ARGUMENT, "%zu answers at a time; it must be between 1 and %zu", running,
                       most);
    }
    struct batcher *b = mem_calloc(1, sizeof *b);
    if (!b) {
        return err_set(info, ERR_NOMEM, "out of memory for a batch");
    }
    b->engine = e;
    b->most_running = running;
    b->most_waiting = 2 * (options->waiting ? options->waiting : BATCHER_WAITING);
    b->write_out_s = options->write_out_s > 0 ? options->write_out_s : BATCHER_WRITE_OUT_S;
    b->memory = options->memory ? options->memory : meminfo_available() / 2;
    struct model_cache_shape shape = kvcache_shape_of(e->model, e->kv_dtype);
    err result = kvpool_new(&shape, b->memory, &b->pool, info);
    if (options->disk) {
        b->root = prefixname_root(e, options->disk->key);
    }
    result = result == ERR_OK ? prefixtree_new(b->pool, &b->root, &b->prefixes, info) : result;
    if (result == ERR_OK && options->disk) {
        result = prefixdisk_open(options->disk, &b->root, kvpool_page_bytes(b->pool), &b->disk, info);
    }
    if (result != ERR_OK) {
        batcher_free(b);
        return result;
    }
    b->running = mem_calloc(b->most_running, sizeof *b->running);
    b->waiting = mem_calloc(b->most_waiting + b->most_running, sizeof *b->waiting);
    b->segments = mem_calloc(b->most_running, sizeof *b->segments);
    b->logits = mem_alloc_aligned(b->most_running * engine_vocab_size(e) * sizeof *b->logits);
    if (!b->running || !b->waiting || !b->segments || !b->logits) {
        batcher_free(b);
        return err_set(info, ERR_NOMEM, "out of memory for a batch of %zu", running);
    }
    *out = b;
    return ERR_OK;
}

void batcher_free(struct batcher *b)
{
    if (!b) {
        return;
    }
    for (size_t i = 0; i < b->n_running; i++) {
        b->running[i]->cancelled = true;
    }
    for (size_t i = 0; i < b->n_waiting; i++) {
        b->waiting[i]->cancelled = true;
    }
    batcher_end_cancelled(b);
    batcherpages_write_out(b);
    prefixdisk_close(b->disk);
    prefixtree_free(b->prefixes);
    kvpool_free(b->pool);
    mem_free(b->running);
    mem_free(b->waiting);
    mem_free(b->segments);
    mem_free_aligned(b->logits);
    mem_free(b);
}

struct batcher_counts batcher_count(struct batcher *b)
{
    size_t paused = 0;
    for (size_t i = 0; i < b->n_waiting; i++) {
        paused += b->waiting[i]->paused;
    }
    return (struct batcher_counts){b->n_running, b->n_waiting, paused, b->memory,
                                   kvpool_held(b->pool) * kvpool_page_bytes(b->pool),
                                   prefixtree_pages(b->prefixes) * kvpool_page_bytes(b->pool),
                                   b->disk ? prefixdisk_bytes(b->disk) : 0};
}
