/* engine/batcher.c: see batcher.h. */
#include "engine/batcher.h"

#include <string.h>

#include "base/mem.h"
#include "base/meminfo.h"
#include "base/progress.h"
#include "engine/generation.h"
#include "engine/pacer.h"
#include "engine/prefixtree.h"

#define BATCHER_DISK_S 0.02  /* seconds that a step beside answers reads pages from disk */

/* Tokens of a piece of a prompt at least: each piece reads all keys and values before it again. */
enum { BATCHER_PIECE = 16 };

struct batcher_job {
    struct batcher_request is; /* tokens: the job's own */
    size_t context;            /* positions reserved */
    size_t bytes;              /* and their keys and values */
    struct session *session;   /* NULL: waits */
    struct generation generation;
    struct generate_result result;
    double since; /* when reading began; from the first token on, when that was done */
    size_t reads; /* tokens in this step */
    uint64_t turn; /* jobs of an owner have different ones */
    size_t cached; /* tokens of the prompt that were found */
    size_t rank;   /* jobs of its owner that run, while it waits */
    struct batcher_progress told;
    struct prefixname name; /* of what was read so far, while more may be on disk */
    bool restoring;         /* it may */
    bool forgotten;         /* nothing of it is kept */
    bool cancelled, hurried; /* hurried: from the next token on */
};

struct batcher {
    struct engine *engine;
    struct batcher_job **running, **waiting; /* [most_running], [most_waiting + most_running] */
    size_t n_running, n_waiting, most_running, most_waiting;
    size_t memory, reserved;
    struct kvpool *pool; /* of `memory` bytes */
    struct prefixtree *prefixes;
    struct prefixname root;
    struct prefixdisk *disk; /* NULL: none */
    uint64_t turn; /* of the job that got the last place */
    size_t first;  /* whose prompt is served first, modulo those that run: another one in each step */
    struct model_segment *segments; /* [most_running] */
    float *logits;                  /* [most_running, vocab_size] */
    struct pacer pacer;
};

/* ---- Jobs. ---- */

static void batcher_job_free(struct batcher_job *j)
{
    generation_end(&j->generation);
    session_free(j->session);
    mem_free((void *)j->is.tokens);
    mem_free(j);
}

/* What the job has read becomes a prefix for others. */
static void batcher_keep(struct batcher *b, const struct batcher_job *j)
{
    if (j->session && !j->forgotten) {
        struct kvcache *kv = &j->session->kv;
        prefixtree_add(b->prefixes, j->is.partition, j->session->tokens, kv->held,
                       kv->cache.len / MODEL_CACHE_PAGE);
        kvcache_swapped(kv);
    }
}

/* Takes the job out of its list and says how it ended. */
static void batcher_end(struct batcher *b, struct batcher_job *j, err e, const char *message)
{
    struct batcher_job **list = j->session ? b->running : b->waiting;
    size_t *n = j->session ? &b->n_running : &b->n_waiting, i = 0;
    while (list[i] != j) {
        i++;
    }
    memmove(list + i, list + i + 1, (--*n - i) * sizeof *list);
    b->reserved -= j->session ? j->bytes : 0;
    j->result.finish = j->cancelled ? SESSION_CANCELLED : j->generation.finish;
    j->result.stop = j->generation.stopper.found;
    j->result.completion_tokens = j->generation.made;
    *(j->generation.made ? &j->result.decode_seconds : &j->result.prefill_seconds) =
        j->session ? progress_clock() - j->since : 0;
    batcher_keep(b, j);
    j->is.done(j->is.user, &j->result, j->cached, e, e == ERR_OK ? NULL : message);
    batcher_job_free(j);
}

static size_t batcher_running_of(const struct batcher *b, uint64_t owner)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        n += b->running[i]->is.owner == owner;
    }
    return n;
}

/* A turn after those of the owner's other jobs, and not before what runs already. */
static uint64_t batcher_turn(const struct batcher *b, uint64_t owner)
{
    uint64_t turn = b->turn;
    for (size_t i = 0; i < b->n_waiting; i++) {
        const struct batcher_job *j = b->waiting[i];
        turn = j->is.owner == owner && j->turn > turn ? j->turn : turn;
    }
    return turn + 1;
}

static void batcher_rank(struct batcher *b)
{
    for (size_t i = 0; i < b->n_waiting; i++) {
        b->waiting[i]->rank = batcher_running_of(b, b->waiting[i]->is.owner);
    }
}

/* Of two that wait and are ranked; of equals the earlier one in the list comes first. */
static bool batcher_before(const struct batcher_job *a, const struct batcher_job *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->turn < b->turn);
}

/* The job whose turn it is; NULL: none waits. */
static struct batcher_job *batcher_next(struct batcher *b)
{
    struct batcher_job *next = NULL;
    batcher_rank(b);
    for (size_t i = 0; i < b->n_waiting; i++) {
        next = !next || batcher_before(b->waiting[i], next) ? b->waiting[i] : next;
    }
    return next;
}

static size_t batcher_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static err batcher_check(const struct batcher *b, const struct batcher_job *j, struct errinfo *info)
{
    size_t limit = engine_context_max(b->engine);
    if (j->is.n_tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "nothing to continue: the prompt is empty");
    }
    if (j->is.n_tokens >= limit) {
        return err_set(info, ERR_CONTEXT,
                       "the prompt has %zu tokens; this model's context of %zu must hold it and at least one "
                       "token of an answer",
                       j->is.n_tokens, limit);
    }
    if (j->bytes > b->memory) {
        char need[MEMINFO_TEXT], have[MEMINFO_TEXT];
        return err_set(info, ERR_NOMEM,
                       "a prompt of %zu tokens and an answer of up to %zu need %s for keys and values, and %s "
                       "is all there is; ask for a shorter answer",
                       j->is.n_tokens, j->context - j->is.n_tokens, meminfo_text(j->bytes, need),
                       meminfo_text(b->memory, have));
    }
    if (b->n_waiting >= b->most_waiting + b->most_running - b->n_running) { /* free places count */
        return err_set(info, ERR_LIMIT, "%zu requests are waiting already, as many as may; try again later",
                       b->n_waiting);
    }
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
    size_t limit = engine_context_max(b->engine), made = j->is.options->max_tokens;
    j->context = made && j->is.n_tokens < limit ? j->is.n_tokens + batcher_least(made, limit - j->is.n_tokens)
                                                : limit;
    struct model_cache_shape shape = kvcache_shape_of(b->engine->model, b->engine->kv_dtype);
    if (!kvcache_bytes(&shape, j->context, &j->bytes)) {
        j->bytes = SIZE_MAX;
    }
    err e = batcher_check(b, j, info);
    if (e != ERR_OK) {
        batcher_job_free(j);
        return e;
    }
    j->turn = batcher_turn(b, j->is.owner);
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

/* ---- Places. ---- */

/* What is known of the prompt; its last token is read in any case, for what comes after it. */
static void batcher_find(struct batcher *b, struct batcher_job *j, struct session *s)
{
    struct kvpage **pages = mem_calloc(j->is.n_tokens / MODEL_CACHE_PAGE + 1, sizeof *pages);
    if (pages) {
        size_t n = prefixtree_find(b->prefixes, j->is.partition, j->is.tokens, j->is.n_tokens - 1, pages,
                                   &j->name);
        kvcache_take_filled(&s->kv, pages, n);
        j->cached = n * MODEL_CACHE_PAGE;
        j->restoring = b->disk != NULL;
        mem_free(pages);
    }
}

static err batcher_begin(struct batcher *b, struct batcher_job *j, struct session **out, struct errinfo *info)
{
    TRY(session_make(b->engine, j->context, b->engine->kv_dtype, b->pool, out, info));
    TRY(session_append(*out, j->is.tokens, j->is.n_tokens, info));
    batcher_find(b, j, *out);
    return generation_begin(&j->generation, *out, j->is.sampling, j->is.options, info);
}

/* Who waits gets a free place, in turn; nobody overtakes the one whose memory is not free yet. */
static void batcher_give_places(struct batcher *b)
{
    struct batcher_job *j;
    while (b->n_running < b->most_running && (j = batcher_next(b)) && j->bytes <= b->memory - b->reserved) {
        struct errinfo info = {0};
        struct session *s = NULL;
        err e = batcher_begin(b, j, &s, &info);
        if (e != ERR_OK) {
            session_free(s);
            batcher_end(b, j, e, info.message);
            continue;
        }
        size_t i = 0;
        while (b->waiting[i] != j) {
            i++;
        }
        memmove(b->waiting + i, b->waiting + i + 1, (--b->n_waiting - i) * sizeof *b->waiting);
        j->session = s;
        j->since = progress_clock();
        j->result.prompt_tokens = j->is.n_tokens;
        b->running[b->n_running++] = j;
        b->reserved += j->bytes;
        b->turn = j->turn;
    }
}

/* ---- A step. ---- */

static size_t batcher_unread(const struct batcher_job *j)
{
    return j->session->n_tokens - j->session->kv.cache.len;
}

/* How much of each job's tokens: those that wait for pages none, answers one, prompts equal shares of the
 * budget, what one does not need to the next; where it is small, some get a piece and others do in the next
 * steps. Returns how many are prompts' tokens; *n_answers: jobs that read
 * one token. */
static size_t batcher_share(struct batcher *b, size_t *n_answers)
{
    size_t n_prompts = 0, given = 0;
    *n_answers = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        j->reads = batcher_unread(j) == 1;
        *n_answers += j->reads;
        n_prompts += !j->reads && !j->restoring;
    }
    size_t left = pacer_budget(&b->pacer, *n_answers, n_prompts, b->engine->chunk - *n_answers);
    b->first++;
    for (size_t i = 0; i < b->n_running && left > 0; i++) {
        struct batcher_job *j = b->running[(b->first + i) % b->n_running];
        if (j->reads == 0 && !j->restoring) {
            size_t share = (left + n_prompts - 1) / n_prompts;
            share = batcher_least(left, share < BATCHER_PIECE ? BATCHER_PIECE : share);
            j->reads = batcher_least(batcher_unread(j), share);
            left -= j->reads;
            given += j->reads;
            n_prompts--;
        }
    }
    return given;
}

static void batcher_to_disk(void *user, uint64_t partition, const struct prefixname *name,
                            const struct kvpage *page)
{
    const struct batcher *b = user;
    if (!(partition & BATCHER_IN_MEMORY)) {
        prefixdisk_write(b->disk, partition, name, page->data, false);
    }
}

/* When there is time. */
static void batcher_to_disk_whole(void *user, uint64_t partition, const struct prefixname *name,
                                  const struct kvpage *page)
{
    const struct batcher *b = user;
    if (!(partition & BATCHER_IN_MEMORY)) {
        prefixdisk_write(b->disk, partition, name, page->data, true);
    }
}

/* Room for n tokens more. Running jobs have reserved more than they hold, so there is always a prefix to give
 * up. */
static err batcher_grow(struct batcher *b, struct batcher_job *j, size_t n, struct errinfo *info)
{
    struct kvcache *kv = &j->session->kv;
    err e;
    do {
        e = kvcache_grow(kv, kv->cache.len + n, info);
    } while (e == ERR_LIMIT && prefixtree_evict(b->prefixes, b->disk ? batcher_to_disk : NULL, b));
    return e;
}

/* Ends the jobs that get none. */
static void batcher_grow_all(struct batcher *b)
{
    for (size_t i = b->n_running; i-- > 0;) {
        struct errinfo info = {0};
        err e = batcher_grow(b, b->running[i], b->running[i]->reads, &info);
        if (e != ERR_OK) {
            batcher_end(b, b->running[i], e, info.message);
        }
    }
}

/* The next page of the prompt from disk, if it is there; the last token is read in any case. */
static void batcher_restore_page(struct batcher *b, struct batcher_job *j)
{
    struct model_cache *cache = &j->session->kv.cache;
    size_t at = cache->len;
    j->restoring = false;
    if (at + MODEL_CACHE_PAGE >= j->is.n_tokens) {
        return;
    }
    struct prefixname name = prefixname_next(&b->root, &j->name, j->is.tokens + at);
    if (prefixdisk_has(b->disk, &name) && batcher_grow(b, j, MODEL_CACHE_PAGE, NULL) == ERR_OK &&
        prefixdisk_read(b->disk, &name, cache->pages[at / MODEL_CACHE_PAGE])) {
        cache->len += MODEL_CACHE_PAGE;
        j->cached += MODEL_CACHE_PAGE;
        j->name = name;
        j->restoring = true;
    }
}

static bool batcher_answers(const struct batcher *b)
{
    for (size_t i = 0; i < b->n_running; i++) {
        if (b->running[i]->generation.made > 0) {
            return true;
        }
    }
    return false;
}

/* Pages from disk for prompts: all there are, or while answers are made some in each step, the oldest job's
 * first. */
static void batcher_restore(struct batcher *b)
{
    bool hurry = batcher_answers(b);
    double start = progress_clock();
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        while (j->restoring && (!hurry || progress_clock() - start < BATCHER_DISK_S)) {
            batcher_restore_page(b, j);
        }
    }
}

static size_t batcher_segments(struct batcher *b)
{
    size_t n = 0, rows = 0, vocab = engine_vocab_size(b->engine);
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        struct session *s = j->session;
        if (j->reads > 0) {
            bool last = j->reads == batcher_unread(j);
            b->segments[n++] = (struct model_segment){.cache = &s->kv.cache,
                                                      .tokens = s->tokens + s->kv.cache.len,
                                                      .n_tokens = j->reads,
                                                      .logits = last ? b->logits + rows++ * vocab : NULL};
        }
    }
    return n;
}

/* A token for every job whose logits were made; ends those that are finished. */
static void batcher_sample(struct batcher *b)
{
    struct batcher_job *jobs[BATCHER_RUNNING_MAX];
    size_t n = b->n_running, rows = 0, vocab = engine_vocab_size(b->engine);
    memcpy(jobs, b->running, n * sizeof *jobs);
    for (size_t i = 0; i < n; i++) {
        struct batcher_job *j = jobs[i];
        struct errinfo info = {0};
        if (j->reads == 0 || batcher_unread(j) > 0) {
            continue;
        }
        memcpy(j->session->logits, b->logits + rows++ * vocab, vocab * sizeof *b->logits);
        j->session->has_logits = true;
        if (j->generation.made == 0) {
            j->result.prefill_seconds = progress_clock() - j->since;
            j->since += j->result.prefill_seconds;
            batcher_keep(b, j); /* at once, for those who ask the same at the same time */
        }
        if (j->hurried) {
            generation_answer_now(&j->generation);
            j->hurried = false;
        }
        err e = generation_step(&j->generation, j->is.token, j->is.user, &info);
        if (e != ERR_OK || j->generation.finished) {
            batcher_end(b, j, e, info.message);
        }
    }
}

/* ---- Progress. ---- */

static void batcher_tell(struct batcher_job *j, size_t ahead, size_t done)
{
    const struct batcher_progress now = {ahead, done, j->is.n_tokens};
    if (now.ahead != j->told.ahead || now.done != j->told.done || now.total != j->told.total) {
        j->told = now;
        j->is.progress(j->is.user, &now);
    }
}

/* Jobs whose turn comes before that of waiting[k]. */
static size_t batcher_ahead(const struct batcher *b, size_t k)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_waiting; i++) {
        n += i < k ? !batcher_before(b->waiting[k], b->waiting[i])
                   : batcher_before(b->waiting[i], b->waiting[k]);
    }
    return n;
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
    batcher_rank(b);
    for (size_t i = 0; i < b->n_waiting; i++) {
        struct batcher_job *j = b->waiting[i];
        if (j->is.progress) {
            batcher_tell(j, batcher_ahead(b, i), 0);
        }
    }
}

static void batcher_end_cancelled(struct batcher *b)
{
    for (size_t i = b->n_running; i-- > 0;) {
        if (b->running[i]->cancelled) {
            batcher_end(b, b->running[i], ERR_OK, NULL);
        }
    }
    for (size_t i = b->n_waiting; i-- > 0;) {
        if (b->waiting[i]->cancelled) {
            batcher_end(b, b->waiting[i], ERR_OK, NULL);
        }
    }
}

err batcher_forget(struct batcher *b, uint64_t partition, struct errinfo *info)
{
    for (size_t i = 0; i < b->n_running; i++) {
        b->running[i]->forgotten |= b->running[i]->is.partition == partition;
    }
    for (size_t i = 0; i < b->n_waiting; i++) {
        b->waiting[i]->forgotten |= b->waiting[i]->is.partition == partition;
    }
    prefixtree_forget(b->prefixes, partition);
    return b->disk ? prefixdisk_forget(b->disk, partition, info) : ERR_OK;
}

void batcher_admit(struct batcher *b)
{
    batcher_end_cancelled(b);
    batcher_give_places(b);
}

void batcher_step(struct batcher *b)
{
    struct engine *e = b->engine;
    struct errinfo info = {0};
    batcher_admit(b);
    if (b->n_running == 0) {
        return;
    }
    batcher_restore(b);
    size_t n_answers, n_prompt_tokens = batcher_share(b, &n_answers);
    batcher_grow_all(b);
    size_t n = batcher_segments(b);
    if (n == 0) {
        return;
    }
    double start = progress_clock();
    err result = model_forward(e->model, e->compute, e->work, b->segments, n, NULL, NULL, &info);
    if (result != ERR_OK) {
        while (b->n_running > 0) {
            batcher_end(b, b->running[b->n_running - 1], result, info.message);
        }
        return;
    }
    pacer_learn(&b->pacer, progress_clock() - start, n_answers, n_prompt_tokens);
    batcher_tell_all(b);
    batcher_sample(b);
}

/* ---- Life. ---- */

err batcher_new(struct engine *e, const struct batcher_options *options, struct batcher **out,
                struct errinfo *info)
{
    size_t running = options->running ? options->running : BATCHER_RUNNING;
    size_t most = batcher_least(BATCHER_RUNNING_MAX, e->chunk);
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
    b->most_waiting = options->waiting ? options->waiting : BATCHER_WAITING;
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
    while (b->disk && prefixtree_evict(b->prefixes, batcher_to_disk_whole, b)) {}
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
    return (struct batcher_counts){b->n_running, b->n_waiting, b->memory, b->reserved,
                                   prefixtree_pages(b->prefixes) * kvpool_page_bytes(b->pool),
                                   b->disk ? prefixdisk_bytes(b->disk) : 0};
}
