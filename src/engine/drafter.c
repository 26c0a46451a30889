/* engine/drafter.c: see drafter.h. A draft is open from the moment it is made until a token differs from
 * it or it is used up. Drafts that were not worth a step stay open too: that costs nothing and shows what
 * they would have been worth. */
#include "engine/drafter.h"

#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "engine/lookup.h"
#include "engine/mtpdraft.h"
#include "engine/speculation.h"

struct drafter {
    struct lookup lookup;
    struct mtpdraft mtp;
    bool has_mtp, use_lookup, use_mtp;
    struct session *session; /* whose it is */
    struct speculation speculation;
    size_t most;  /* guesses at a time */
    bool always;  /* whatever it costs */
    float *rows;  /* [n_rows, vocab_size] logits after the waiting token and after each guess */
    size_t n_rows;

    /* The open draft; n 0: none. */
    int32_t draft[DRAFTER_MOST];
    size_t n, used;  /* guesses, and how many of them are decided */
    size_t right;    /* how many of those were read and right */
    size_t place;    /* position of draft[0] */
    bool is_read;    /* its rows are in the cache and its logits in `rows` */
    enum speculation_source source;
    double seconds;  /* what guessing and reading it took */

    size_t drafted, accepted;
};

void drafter_free(struct drafter *d)
{
    if (d) {
        lookup_deinit(&d->lookup);
        mtpdraft_deinit(&d->mtp);
        mem_free_aligned(d->rows);
        mem_free(d);
    }
}

/* Most rows of a step in which every row has the bits of a single one. */
static size_t drafter_rows(const struct engine *e)
{
    size_t n = e->compute->deterministic ? SPECULATION_ROWS_MAX : DRAFTER_FAST_ROWS;
    return n < e->chunk ? n : e->chunk;
}

static err drafter_make(struct session *s, struct errinfo *info)
{
    struct drafter *d = mem_calloc(1, sizeof *d);
    err e = d ? lookup_init(&d->lookup, session_capacity(s)) : ERR_NOMEM;
    if (e == ERR_OK) {
        d->n_rows = drafter_rows(s->engine);
        d->rows = mem_alloc_aligned(d->n_rows * engine_vocab_size(s->engine) * sizeof *d->rows);
        e = d->rows ? ERR_OK : ERR_NOMEM;
    }
    if (e != ERR_OK) {
        drafter_free(d);
        return err_set(info, e, "out of memory for guessing ahead in a context of %zu tokens",
                       session_capacity(s));
    }
    d->session = s;
    s->drafter = d;
    return ERR_OK;
}

/* The layer's memory, when it is to be used. Where it may be used but need not, too little is no error. */
static err drafter_want_mtp(struct drafter *d, enum session_speculation how, struct errinfo *info)
{
    const struct model *m = d->session->engine->model;
    d->use_mtp = false;
    if (how == SESSION_SPECULATE_LOOKUP || (how == SESSION_SPECULATE_AUTO && !model_has_mtp(m))) {
        return ERR_OK;
    }
    if (!model_has_mtp(m)) {
        return err_set(info, ERR_UNSUPPORTED, "this model has no multi-token-prediction layer to guess "
                       "with; use auto or lookup");
    }
    if (!d->has_mtp) {
        struct errinfo ignored;
        err e = mtpdraft_init(&d->mtp, d->session, how == SESSION_SPECULATE_MTP ? info : &ignored);
        if (e != ERR_OK) {
            return how == SESSION_SPECULATE_MTP ? e : ERR_OK;
        }
    }
    d->has_mtp = d->use_mtp = true;
    return ERR_OK;
}

err drafter_begin(struct session *s, const struct generate_options *options, struct drafter **out,
                  struct errinfo *info)
{
    if (options->draft > DRAFTER_MOST) {
        return err_set(info, ERR_ARGUMENT, "a draft of %zu tokens; at most %d are guessed at a time",
                       options->draft, DRAFTER_MOST);
    }
    *out = NULL;
    if (options->speculation == SESSION_SPECULATE_OFF || drafter_rows(s->engine) < 2) {
        return ERR_OK;
    }
    if (!s->drafter) {
        TRY(drafter_make(s, info));
    }
    struct drafter *d = s->drafter;
    TRY(drafter_want_mtp(d, options->speculation, info));
    d->use_lookup = options->speculation != SESSION_SPECULATE_MTP;
    d->most = d->n_rows - 1;
    d->most = options->draft && options->draft < d->most ? options->draft : d->most;
    d->always = options->draft_always;
    d->n = d->drafted = d->accepted = 0;
    *out = d;
    return ERR_OK;
}

void drafter_counts(const struct drafter *d, size_t *drafted, size_t *accepted)
{
    *drafted = d->drafted;
    *accepted = d->accepted;
}

void drafter_rewind(struct drafter *d, const int32_t *tokens, size_t n)
{
    d->n = 0;
    lookup_truncate(&d->lookup, tokens, n);
    if (d->has_mtp) {
        mtpdraft_rewind(&d->mtp, n);
    }
}

/* A model_observer: see drafter_observer. */
static void drafter_observe(void *user, int layer, const float *x, size_t n)
{
    struct drafter *d = user;
    if (layer == (int)model_config(d->session->engine->model)->num_hidden_layers) {
        mtpdraft_look(&d->mtp, d->session->kv.cache.len, x, n);
    }
}

model_observer drafter_observer(const struct drafter *d)
{
    return d && d->use_mtp ? drafter_observe : NULL;
}

/* ---- the open draft ---- */

static void drafter_close(struct drafter *d, const struct session *s)
{
    if (d->n > 0 && d->is_read) {
        speculation_settle(&d->speculation, &s->engine->costs, d->place, d->seconds, d->n + 1,
                           d->right + 1);
    }
    d->n = 0;
}

/* Compares the token that waits with the open draft. True when the model has read it already: then the
 * logits after it are in place. */
static bool drafter_decide(struct drafter *d, struct session *s)
{
    size_t at = s->kv.cache.len, vocab = engine_vocab_size(s->engine);
    if (d->n == 0 || at != d->place + d->used) {
        drafter_close(d, s);
        return false;
    }
    bool right = s->tokens[at] == d->draft[d->used];
    speculation_outcome(&d->speculation, d->source, d->used, right);
    d->used++;
    bool ready = right && d->is_read;
    if (ready) {
        memcpy(s->logits, d->rows + d->used * vocab, vocab * sizeof *s->logits);
        s->kv.cache.len++;
        d->right++;
        d->accepted++;
    }
    if (!right || d->used == d->n) {
        drafter_close(d, s);
    }
    return ready;
}

/* ---- reading ---- */

static err drafter_read_single(struct drafter *d, struct session *s, struct errinfo *info)
{
    struct engine *e = s->engine;
    size_t at = s->kv.cache.len;
    double start = progress_clock();
    TRY(session_read(s, NULL, NULL, info));
    double seconds = progress_clock() - start;
    speculation_measured(&e->costs, 1, at, model_workspace_experts(e->work), seconds);
    speculation_single(&d->speculation, &e->costs, at, seconds);
    return ERR_OK;
}

/* The waiting token and the draft in one step. */
static err drafter_read_draft(struct drafter *d, struct session *s, struct errinfo *info)
{
    struct engine *e = s->engine;
    size_t at = s->kv.cache.len, vocab = engine_vocab_size(e);
    memcpy(s->tokens + at + 1, d->draft, d->n * sizeof *s->tokens);
    struct model_segment segment = {.cache = &s->kv.cache,
                                    .tokens = s->tokens + at,
                                    .n_tokens = d->n + 1,
                                    .logits = d->rows,
                                    .all_logits = true};
    double start = progress_clock();
    s->has_logits = false;
    TRY(model_forward(e->model, e->compute, e->work, &segment, 1, drafter_observer(d), d, info));
    double seconds = progress_clock() - start;
    s->kv.cache.len = at + 1; /* the draft's rows stay behind it until they are claimed */
    memcpy(s->logits, d->rows, vocab * sizeof *s->logits);
    s->has_logits = true;
    speculation_measured(&e->costs, d->n + 1, at, model_workspace_experts(e->work), seconds);
    d->seconds += seconds;
    d->drafted += d->n;
    return ERR_OK;
}

static void drafter_open(struct drafter *d, const struct session *s, enum speculation_source source,
                         size_t n, bool is_read, double seconds)
{
    d->n = n;
    d->used = d->right = 0;
    d->place = s->n_tokens;
    d->source = source;
    d->is_read = is_read;
    d->seconds = seconds;
}

/* A draft from the sequence itself. True when it is worth a step. */
static bool drafter_look_up(struct drafter *d, const struct session *s, size_t most)
{
    int32_t draft[DRAFTER_MOST];
    size_t matched;
    lookup_extend(&d->lookup, s->tokens, s->n_tokens);
    size_t n = lookup_guess(&d->lookup, s->tokens, most, draft, &matched);
    if (n == 0) {
        return false;
    }
    enum speculation_source source = speculation_of_match(matched);
    size_t k = speculation_choose(&d->speculation, &s->engine->costs, source, n, s->kv.cache.len, 0);
    k = d->always ? n : k;
    if (k > 0 || d->n == 0) { /* one that is being watched goes on */
        drafter_open(d, s, source, k ? k : n, k > 0, 0);
        memcpy(d->draft, draft, d->n * sizeof *draft);
    }
    return k > 0;
}

/* A draft by the model's own layer. *worth: is there one, and worth a step? */
static err drafter_predict(struct drafter *d, struct session *s, const struct sampling *sampling,
                           size_t most, bool *worth, struct errinfo *info)
{
    struct speculation_costs *costs = &s->engine->costs;
    size_t n, caught_up, at = s->kv.cache.len;
    int32_t draft[DRAFTER_MOST];
    size_t k = speculation_choose(&d->speculation, costs, SPECULATION_MTP, most, at,
                                  speculation_guess_seconds(costs));
    k = d->always ? most : k;
    *worth = false;
    if (k == 0) {
        return ERR_OK;
    }
    double start = progress_clock();
    TRY(mtpdraft_guess(&d->mtp, s, sampling, k, draft, &n, &caught_up, info));
    double seconds = progress_clock() - start;
    if (n > 0) {
        if (caught_up <= DRAFTER_FAST_ROWS) { /* not after a pause */
            speculation_guessed(costs, n, seconds);
        }
        drafter_open(d, s, SPECULATION_MTP, n, true, seconds);
        memcpy(d->draft, draft, n * sizeof *draft);
        *worth = true;
    }
    return ERR_OK;
}

err drafter_read(struct drafter *d, struct session *s, const struct sampling *sampling, size_t room,
                 struct errinfo *info)
{
    if (s->n_tokens != s->kv.cache.len + 1 || !s->has_logits) {
        d->n = 0;
        return session_read(s, NULL, NULL, info);
    }
    if (drafter_decide(d, s)) {
        return ERR_OK;
    }
    size_t most = room - 1 < d->most ? room - 1 : d->most;
    bool worth = most > 0 && d->use_lookup && drafter_look_up(d, s, most);
    if (most > 0 && !worth && d->use_mtp) {
        TRY(drafter_predict(d, s, sampling, most, &worth, info));
    }
    if (!worth) {
        return drafter_read_single(d, s, info);
    }
    err e = drafter_read_draft(d, s, info);
    d->n = e == ERR_OK ? d->n : 0;
    return e;
}
