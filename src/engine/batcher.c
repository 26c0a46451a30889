/* engine/batcher.c: see batcher.h. */
#include "engine/batcher.h"

#include <string.h>

#include "base/mem.h"
#include "base/meminfo.h"
#include "base/progress.h"
#include "engine/generation.h"
#include "engine/pacer.h"
#include "engine/prefixtree.h"

#define BATCHER_DISK_S 0.02 /* seconds that a step beside answers reads pages from disk */
enum {
    BATCHER_PIECE = 16,  /* tokens of a piece of a prompt at least: each reads all keys and values before it */
    BATCHER_AHEAD = 256, /* tokens that everybody has room for when a job begins */
    BATCHER_SLICE = MODEL_CACHE_PAGE, /* tokens of an answer that nobody interrupts for another owner */
};

struct batcher_job {
    struct batcher_request is; /* tokens: the job's own */
    size_t context;            /* positions it may come to */
    struct session *session;   /* NULL: has not begun */
    struct generation generation;
    struct generate_result result;
    bool runs, paused; /* paused: it ran, and gave way */
    double since;  /* when reading began; from the first token on, when that was done. While it waits: how
                      long it has been running since */
    size_t reads;  /* tokens in this step */
    size_t slice;  /* tokens with which it may give way to an owner of whom nothing runs */
    uint64_t turn; /* jobs of an owner have different ones, that come first what came first */
    uint64_t born; /* the order they came in */
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
    size_t memory;
    struct kvpool *pool; /* of so many bytes */
    struct prefixtree *prefixes;
    struct prefixname root;
    struct prefixdisk *disk; /* NULL: none */
    uint64_t turn; /* of the job that got the last place */
    size_t first;  /* whose prompt is served first, modulo those that run: another one in each step */
    uint64_t born; /* jobs so far */
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

/* Takes the job out of its list. */
static void batcher_unlist(struct batcher *b, const struct batcher_job *j)
{
    struct batcher_job **list = j->runs ? b->running : b->waiting;
    size_t *n = j->runs ? &b->n_running : &b->n_waiting, i = 0;
    while (list[i] != j) {
        i++;
    }
    memmove(list + i, list + i + 1, (--*n - i) * sizeof *list);
}

/* And says how it ended. */
static void batcher_end(struct batcher *b, struct batcher_job *j, err e, const char *message)
{
    batcher_unlist(b, j);
    j->result.finish = j->cancelled ? SESSION_CANCELLED : j->generation.finish;
    j->result.stop = j->generation.stopper.found;
    j->result.completion_tokens = j->generation.made;
    *(j->generation.made ? &j->result.decode_seconds : &j->result.prefill_seconds) =
        j->runs ? progress_clock() - j->since : j->since;
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

/* Tokens of a job, at most: the model's context, or what the memory holds of one. */
static size_t batcher_limit(const struct batcher *b)
{
    return batcher_least(engine_context_max(b->engine), kvpool_pages(b->pool) * MODEL_CACHE_PAGE);
}

/* Who waits leaves as many waiting places free as he has: alone half of them, beside another a third, so that
 * there is one for whoever comes. A free running place is none of them. */
static err batcher_check_queue(const struct batcher *b, uint64_t owner, struct errinfo *info)
{
    size_t free = b->most_running - b->n_running, mine = 0;
    for (size_t i = 0; i < b->n_waiting; i++) {
        mine += b->waiting[i]->is.owner == owner;
    }
    size_t all = b->n_waiting - batcher_least(b->n_waiting, free), left = b->most_waiting - all;
    if (b->n_waiting < free || mine - batcher_least(mine, free) < left) {
        return ERR_OK;
    }
    return left == 0
               ? err_set(info, ERR_BUSY, "%zu requests are waiting already, as many as may; try again later",
                         b->n_waiting)
               : err_set(info, ERR_BUSY,
                         "%zu requests of yours are waiting already; the %zu places that are left are for "
                         "others; try again later",
                         mine, left);
}

static err batcher_check(const struct batcher *b, const struct batcher_job *j, struct errinfo *info)
{
    size_t limit = engine_context_max(b->engine), holds = batcher_limit(b);
    if (j->is.n_tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "nothing to continue: the prompt is empty");
    }
    if (j->is.n_tokens >= limit) {
        return err_set(info, ERR_CONTEXT,
                       "the prompt has %zu tokens; this model's context of %zu must hold it and at least one "
                       "token of an answer",
                       j->is.n_tokens, limit);
    }
    if (j->is.n_tokens >= holds) {
        char have[MEMINFO_TEXT];
        return err_set(info, ERR_CONTEXT,
                       "the prompt has %zu tokens; the memory for keys and values, %s, holds %zu, which must "
                       "do for it and at least one token of an answer",
                       j->is.n_tokens, meminfo_text(b->memory, have), holds);
    }
    TRY(batcher_check_queue(b, j->is.owner, info));
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
    j->context = made && j->is.n_tokens < limit ? j->is.n_tokens + batcher_least(made, limit - j->is.n_tokens)
                                                : limit;
    err e = batcher_check(b, j, info);
    if (e != ERR_OK) {
        batcher_job_free(j);
        return e;
    }
    j->turn = batcher_turn(b, j->is.owner);
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

/* ---- Places. ---- */

/* Pages a job should find room for: what it has to read, and a while of its answer. */
static size_t batcher_need(const struct batcher_job *j)
{
    size_t n = (j->session ? j->session->n_tokens : j->is.n_tokens) + BATCHER_AHEAD;
    return (batcher_least(n, j->context) - 1) / MODEL_CACHE_PAGE + 1;
}

/* Is there a place, and memory for a while of everybody, `without` one of those that run (NULL: with all)? A
 * job alone always fits. */
static bool batcher_fits(const struct batcher *b, const struct batcher_job *j,
                         const struct batcher_job *without)
{
    size_t n = b->n_running - (without != NULL), pages = kvpool_held(b->pool) + batcher_need(j);
    for (size_t i = 0; i < b->n_running; i++) {
        const struct batcher_job *r = b->running[i];
        size_t held = r->session->kv.n_held, need = r == without ? 0 : batcher_need(r);
        pages = r == without ? pages - batcher_least(held, pages) : pages + (need > held ? need - held : 0);
    }
    return n == 0 || (n < b->most_running && pages <= kvpool_pages(b->pool));
}

/* Of those that run, the one that came last of the owner with the most, or of several such owners; so the
 * oldest of all is it only when it is alone. */
static struct batcher_job *batcher_last(const struct batcher *b)
{
    struct batcher_job *last = NULL;
    size_t most = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        size_t n = batcher_running_of(b, b->running[i]->is.owner);
        if (n > most || (n == most && b->running[i]->born > last->born)) {
            last = b->running[i];
            most = n;
        }
    }
    return last;
}

/* Who makes room for a job that waits; NULL: nobody. Of an owner with two more places than the waiting one has,
 * one is too many; and an owner who has none gets that of whoever had a slice. Who has places already waits for
 * memory. */
static struct batcher_job *batcher_yielding(const struct batcher *b, const struct batcher_job *j)
{
    struct batcher_job *last = batcher_last(b);
    if (last && batcher_running_of(b, last->is.owner) >= j->rank + 2) {
        return j->rank == 0 || batcher_fits(b, j, last) ? last : NULL;
    }
    for (size_t i = 0; i < b->n_running && j->rank == 0; i++) {
        if (b->running[i]->session->n_tokens >= b->running[i]->slice) {
            return b->running[i];
        }
    }
    return NULL;
}

/* The job waits again, before all others of its owner, and after the one whose turn it is. What it has read
 * becomes a prefix like others: it finds it again when it goes on, or reads it again if the memory was
 * needed. */
static void batcher_pause(struct batcher *b, struct batcher_job *j, uint64_t turn)
{
    batcher_keep(b, j);
    kvcache_empty(&j->session->kv);
    batcher_unlist(b, j);
    j->runs = j->restoring = false;
    j->paused = true;
    j->since = progress_clock() - j->since;
    j->turn = 0;
    memmove(b->waiting + 1, b->waiting, b->n_waiting++ * sizeof *b->waiting);
    b->waiting[0] = j;
    for (size_t i = 0; i < b->n_waiting; i++) {
        struct batcher_job *w = b->waiting[i];
        if (w->is.owner == j->is.owner) {
            turn = w->turn > turn ? w->turn : turn + 1;
            w->turn = turn;
        }
    }
}

/* What is known of its text; the last token is read in any case, for what comes after it. */
static void batcher_find(struct batcher *b, struct batcher_job *j)
{
    struct session *s = j->session;
    struct kvpage **pages = mem_calloc(s->n_tokens / MODEL_CACHE_PAGE + 1, sizeof *pages);
    if (pages) {
        size_t n = prefixtree_find(b->prefixes, j->is.partition, s->tokens, s->n_tokens - 1, pages, &j->name);
        kvcache_take_filled(&s->kv, pages, n);
        j->cached = j->paused ? j->cached : n * MODEL_CACHE_PAGE;
        j->restoring = b->disk != NULL;
        mem_free(pages);
    }
}

static err batcher_open(struct batcher *b, struct batcher_job *j, struct errinfo *info)
{
    TRY(session_make(b->engine, j->context, b->engine->kv_dtype, b->pool, &j->session, info));
    TRY(session_append(j->session, j->is.tokens, j->is.n_tokens, info));
    return generation_begin(&j->generation, j->session, j->is.sampling, j->is.options, info);
}

/* A waiting job runs, or goes on; its slice ends where a page does, so that nothing is read again. */
static void batcher_start(struct batcher *b, struct batcher_job *j)
{
    struct errinfo info = {0};
    err e = j->session ? ERR_OK : batcher_open(b, j, &info);
    if (e != ERR_OK) {
        batcher_end(b, j, e, info.message);
        return;
    }
    batcher_find(b, j);
    batcher_unlist(b, j);
    b->running[b->n_running++] = j;
    b->turn = j->turn;
    size_t n = j->session->n_tokens, again = j->paused ? n - j->session->kv.cache.len : 0;
    n += again > BATCHER_SLICE ? again : BATCHER_SLICE; /* what was read again should be worth it */
    j->slice = (n - 1) / MODEL_CACHE_PAGE * MODEL_CACHE_PAGE + MODEL_CACHE_PAGE + 1;
    j->runs = true;
    j->result.prompt_tokens = j->is.n_tokens;
    j->since = progress_clock() - j->since;
}

/* Who waits gets a place, in turn; nobody overtakes the one whose place or memory is not free yet. */
static void batcher_give_places(struct batcher *b)
{
    struct batcher_job *j, *yielding;
    while ((j = batcher_next(b))) {
        while (!batcher_fits(b, j, NULL) && (yielding = batcher_yielding(b, j))) {
            batcher_pause(b, yielding, j->turn);
        }
        if (!batcher_fits(b, j, NULL)) {
            return;
        }
        batcher_start(b, j);
    }
}

/* ---- A step. ---- */

static size_t batcher_unread(const struct batcher_job *j)
{
    return j->session->n_tokens - j->session->kv.cache.len;
}

/* How much of each job's tokens: those that wait for pages none, answers one, prompts equal shares of the
 * budget, what one does not need to the next; where it is small, some get a piece and others do in the next
 * steps. */
static void batcher_share(struct batcher *b)
{
    size_t n_prompts = 0, n_answers = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        j->reads = batcher_unread(j) == 1;
        n_answers += j->reads;
        n_prompts += !j->reads && !j->restoring;
    }
    size_t left = pacer_budget(&b->pacer, n_answers, n_prompts, b->engine->chunk - n_answers);
    b->first++;
    for (size_t i = 0; i < b->n_running && left > 0; i++) {
        struct batcher_job *j = b->running[(b->first + i) % b->n_running];
        if (j->reads == 0 && !j->restoring) {
            size_t share = (left + n_prompts - 1) / n_prompts;
            share = batcher_least(left, share < BATCHER_PIECE ? BATCHER_PIECE : share);
            j->reads = batcher_least(batcher_unread(j), share);
            left -= j->reads;
            n_prompts--;
        }
    }
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

/* Room for n tokens more, of prefixes that nobody uses if need be. */
static err batcher_grow(struct batcher *b, struct batcher_job *j, size_t n, struct errinfo *info)
{
    struct kvcache *kv = &j->session->kv;
    err e;
    do {
        e = kvcache_grow(kv, kv->cache.len + n, info);
    } while (e != ERR_OK && prefixtree_evict(b->prefixes, b->disk ? batcher_to_disk : NULL, b));
    return e;
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
        while (j->runs && (e = batcher_grow(b, j, j->reads, &info)) != ERR_OK && b->n_running > 1) {
            batcher_pause(b, batcher_last(b), b->turn);
        }
        if (j->runs && e != ERR_OK) { /* the system refused it */
            batcher_end(b, j, e, info.message);
        }
    }
}

/* The next page of its text from disk, if it is there; the last token is read in any case. */
static void batcher_restore_page(struct batcher *b, struct batcher_job *j)
{
    const struct session *s = j->session;
    struct model_cache *cache = &j->session->kv.cache;
    size_t at = cache->len;
    j->restoring = false;
    if (at + MODEL_CACHE_PAGE >= s->n_tokens) {
        return;
    }
    struct prefixname name = prefixname_next(&b->root, &j->name, s->tokens + at);
    if (prefixdisk_has(b->disk, &name) && batcher_grow(b, j, MODEL_CACHE_PAGE, NULL) == ERR_OK &&
        prefixdisk_read(b->disk, &name, cache->pages[at / MODEL_CACHE_PAGE])) {
        cache->len += MODEL_CACHE_PAGE;
        j->cached += j->paused ? 0 : MODEL_CACHE_PAGE;
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

/* Returns how many; *n_answers: of one token, the last of its text; *n_prompt_tokens: in the others. */
static size_t batcher_segments(struct batcher *b, size_t *n_answers, size_t *n_prompt_tokens)
{
    *n_answers = *n_prompt_tokens = 0;
    size_t n = 0, rows = 0, vocab = engine_vocab_size(b->engine);
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        struct session *s = j->session;
        if (j->reads > 0) {
            bool last = j->reads == batcher_unread(j), answer = last && j->reads == 1;
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
        if (j->is.progress && j->generation.made == 0) {
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

void batcher_forget(struct batcher *b, uint64_t partition)
{
    for (size_t i = 0; i < b->n_running; i++) {
        b->running[i]->forgotten |= b->running[i]->is.partition == partition;
    }
    for (size_t i = 0; i < b->n_waiting; i++) {
        b->waiting[i]->forgotten |= b->waiting[i]->is.partition == partition;
    }
    prefixtree_forget(b->prefixes, partition);
}

err batcher_forget_disk(struct batcher *b, uint64_t partition, struct errinfo *info)
{
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
    batcher_share(b);
    batcher_grow_all(b);
    size_t n_answers, n_prompt_tokens, n = batcher_segments(b, &n_answers, &n_prompt_tokens);
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
    b->most_waiting = 2 * (options->waiting ? options->waiting : BATCHER_WAITING);
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
    size_t paused = 0;
    for (size_t i = 0; i < b->n_waiting; i++) {
        paused += b->waiting[i]->paused;
    }
    return (struct batcher_counts){b->n_running, b->n_waiting, paused, b->memory,
                                   kvpool_held(b->pool) * kvpool_page_bytes(b->pool),
                                   prefixtree_pages(b->prefixes) * kvpool_page_bytes(b->pool),
                                   b->disk ? prefixdisk_bytes(b->disk) : 0};
}
