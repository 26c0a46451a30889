/* train/feed.c: see feed.h. */
#include "train/feed.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { FEED_CONTEXT_MAX = 1 << 20, FEED_ROUNDS = 4 };

/* Pieces of a document are numbered on from `piece`. */
struct feed_document {
    uint64_t piece;
    uint64_t begin; /* tokens of the source before it */
};

struct feed_source {
    char name[DATASET_NAME];
    struct tokenshard *shards;
    uint64_t *shard_begin; /* [n_shards + 1], tokens of the source before a shard */
    size_t n_shards;
    struct feed_document *documents; /* [n_documents + 1] */
    size_t n_documents;
    uint64_t n_pieces;
    double share;
    struct feed_place place;
};

struct feed {
    struct feed_options options; /* its weights are not kept */
    struct feed_source *sources;
    size_t n_sources;
    size_t source; /* of the piece that goes on */
    uint64_t at, end;
    size_t n_tokens;
};

/* ---- Opening. ---- */

static err feed_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory opening the dataset");
}

static err feed_open_shards(struct feed_source *s, const struct dataset *d, const struct dataset_shards *shards,
                            struct errinfo *info)
{
    s->shards = mem_calloc(shards->n, sizeof *s->shards);
    s->shard_begin = mem_calloc(shards->n + 1, sizeof *s->shard_begin);
    s->documents = mem_resize(NULL, shards->n_documents + 1, sizeof *s->documents);
    if (!s->shards || !s->shard_begin || !s->documents) {
        return feed_nomem(info);
    }
    for (size_t i = 0; i < shards->n; i++) {
        TRY(tokenshard_open(d->dir, &shards->entries[i], d->token_bytes, d->vocab_size, &s->shards[i], info));
        s->n_shards = i + 1;
        s->shard_begin[i + 1] = s->shard_begin[i] + s->shards[i].n_tokens;
    }
    return ERR_OK;
}

/* Documents of fewer than two tokens predict nothing: they have no piece. */
static void feed_number_pieces(struct feed_source *s, size_t context)
{
    uint64_t piece = 0;
    for (size_t i = 0; i < s->n_shards; i++) {
        for (size_t k = 0; k < s->shards[i].n_documents; k++) {
            size_t begin = tokenshard_begin(&s->shards[i], k), n = tokenshard_end(&s->shards[i], k) - begin;
            s->documents[s->n_documents++] = (struct feed_document){piece, s->shard_begin[i] + begin};
            piece += n > 1 ? (n - 2) / context + 1 : 0;
        }
    }
    s->documents[s->n_documents] = (struct feed_document){piece, s->shard_begin[s->n_shards]};
    s->n_pieces = piece;
}

static err feed_add_source(struct feed *f, const struct dataset *d, const struct dataset_source *from,
                           double weight, struct errinfo *info)
{
    const struct dataset_shards *shards = &from->parts[f->options.part];
    struct feed_source *s = &f->sources[f->n_sources++];
    strcpy(s->name, from->name);
    TRY(feed_open_shards(s, d, shards, info));
    feed_number_pieces(s, f->options.context);
    if (s->n_pieces == 0 && f->options.weights) {
        return err_set(info, ERR_ARGUMENT, "the source %s has no tokens for %s", from->name,
                       dataset_part_name(f->options.part));
    }
    size_t predicted = shards->n_tokens - shards->n_documents;
    f->n_tokens += predicted;
    s->share = f->options.weights ? weight : (double)predicted;
    return ERR_OK;
}

static err feed_add_weighted(struct feed *f, const struct dataset *d, const struct feed_weight *w,
                             struct errinfo *info)
{
    if (!(w->weight > 0) || isinf(w->weight)) {
        return err_set(info, ERR_ARGUMENT, "the weight of %s is %g; it must be a number above 0", w->source,
                       w->weight);
    }
    for (size_t i = 0; i < f->n_sources; i++) {
        if (strcmp(f->sources[i].name, w->source) == 0) {
            return err_set(info, ERR_ARGUMENT, "the source %s has two weights", w->source);
        }
    }
    for (size_t i = 0; i < d->n_sources; i++) {
        if (strcmp(d->sources[i].name, w->source) == 0) {
            return feed_add_source(f, d, &d->sources[i], w->weight, info);
        }
    }
    return err_set(info, ERR_ARGUMENT, "the dataset %s has no source %s", d->dir, w->source);
}

static err feed_add_sources(struct feed *f, const struct dataset *d, const struct feed_options *o,
                            struct errinfo *info)
{
    double sum = 0;
    size_t n = o->weights ? o->n_weights : d->n_sources;
    f->sources = n <= DATASET_SOURCES_MAX ? mem_calloc(n, sizeof *f->sources) : NULL;
    if (!f->sources) {
        return feed_nomem(info);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(o->weights ? feed_add_weighted(f, d, &o->weights[i], info)
                       : feed_add_source(f, d, &d->sources[i], 0, info));
        sum += f->sources[i].share;
    }
    if (f->n_tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "the dataset %s has no tokens for %s", d->dir,
                       dataset_part_name(o->part));
    }
    for (size_t i = 0; i < n; i++) {
        f->sources[i].share /= sum;
    }
    return ERR_OK;
}

err feed_open(const struct dataset *d, const struct feed_options *options, struct feed **out,
              struct errinfo *info)
{
    if (options->context == 0 || options->context > FEED_CONTEXT_MAX) {
        return err_set(info, ERR_ARGUMENT, "a context of %zu tokens; 1 to %d are possible", options->context,
                       FEED_CONTEXT_MAX);
    }
    struct feed *f = mem_calloc(1, sizeof *f);
    if (!f) {
        return feed_nomem(info);
    }
    f->options = *options;
    err e = feed_add_sources(f, d, options, info);
    if (e != ERR_OK) {
        feed_close(f);
        return e;
    }
    *out = f;
    return ERR_OK;
}

void feed_close(struct feed *f)
{
    if (!f) {
        return;
    }
    for (size_t i = 0; i < f->n_sources; i++) {
        struct feed_source *s = &f->sources[i];
        for (size_t k = 0; k < s->n_shards; k++) {
            tokenshard_close(&s->shards[k]);
        }
        mem_free(s->shards);
        mem_free(s->shard_begin);
        mem_free(s->documents);
    }
    mem_free(f->sources);
    mem_free(f);
}

/* ---- The order of pieces. ---- */

static uint64_t feed_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64's finaliser */
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Number `i` of a permutation of 0 … n - 1. */
static uint64_t feed_permute(uint64_t key, uint64_t i, uint64_t n)
{
    unsigned half = 1;
    while (half < 32 && (UINT64_C(1) << 2 * half) < n) {
        half++;
    }
    const uint64_t mask = (UINT64_C(1) << half) - 1;
    do { /* values past the end are permuted again: at most three of four */
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < FEED_ROUNDS; round++) {
            uint64_t next = left ^ (feed_mix(feed_mix(key + round) ^ right) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

/* Tokens [at, end] of the source are the piece's: those before the last are read, those after the first
 * predicted. */
static void feed_piece(const struct feed_source *s, uint64_t piece, size_t context, uint64_t *at, uint64_t *end)
{
    size_t low = 0, high = s->n_documents; /* documents[low].piece <= piece < documents[high].piece */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        *(s->documents[middle].piece <= piece ? &low : &high) = middle;
    }
    uint64_t last = s->documents[low + 1].begin - 1;
    *at = s->documents[low].begin + (piece - s->documents[low].piece) * context;
    *end = last - *at < context ? last : *at + context;
}

static void feed_copy(const struct feed_source *s, uint64_t from, size_t n, bool targets, int32_t *out)
{
    size_t i = 0;
    while (n > 0) {
        while (s->shard_begin[i + 1] <= from) {
            i++;
        }
        size_t k = (size_t)(s->shard_begin[i + 1] - from);
        k = k < n ? k : n;
        (targets ? tokenshard_copy_targets : tokenshard_copy)(&s->shards[i], (size_t)(from - s->shard_begin[i]),
                                                               k, out);
        from += k;
        out += k;
        n -= k;
    }
}

/* ---- Rows. ---- */

/* The source whose turn it is; n_sources when in_order has come to the end. */
static size_t feed_turn(const struct feed *f)
{
    uint64_t all = 0;
    size_t best = f->n_sources;
    double most = -INFINITY;
    for (size_t i = 0; i < f->n_sources; i++) {
        const struct feed_source *s = &f->sources[i];
        all += s->place.tokens;
        if (f->options.in_order && s->place.epoch == 0 && s->n_pieces > 0) {
            return i;
        }
    }
    for (size_t i = 0; i < f->n_sources && !f->options.in_order; i++) {
        const struct feed_source *s = &f->sources[i];
        double behind = s->share * (double)all - (double)s->place.tokens;
        if (s->n_pieces > 0 && behind > most) {
            most = behind;
            best = i;
        }
    }
    return best;
}

static bool feed_begin_piece(struct feed *f)
{
    f->source = feed_turn(f);
    if (f->source == f->n_sources) {
        return false;
    }
    struct feed_source *s = &f->sources[f->source];
    uint64_t key = feed_mix(f->options.seed ^ feed_mix(s->place.epoch * DATASET_SOURCES_MAX + f->source + 1));
    uint64_t piece = f->options.in_order ? s->place.index : feed_permute(key, s->place.index, s->n_pieces);
    feed_piece(s, piece, f->options.context, &f->at, &f->end);
    if (++s->place.index == s->n_pieces) {
        s->place.index = 0;
        s->place.epoch++;
    }
    return true;
}

bool feed_next(struct feed *f, int32_t *inputs, int32_t *targets, int32_t *positions)
{
    const size_t context = f->options.context;
    size_t n = 0;
    while (n < context && (f->at < f->end || feed_begin_piece(f))) {
        struct feed_source *s = &f->sources[f->source];
        size_t k = context - n;
        k = f->end - f->at < k ? (size_t)(f->end - f->at) : k;
        feed_copy(s, f->at, k, false, inputs + n);
        feed_copy(s, f->at + 1, k, true, targets + n);
        for (size_t i = 0; i < k; i++) {
            positions[n + i] = (int32_t)i;
        }
        s->place.tokens += k;
        f->at += k;
        n += k;
    }
    for (size_t i = n; i < context && n > 0; i++) {
        inputs[i] = positions[i] = 0;
        targets[i] = -1;
    }
    return n > 0;
}

/* ---- Going on. ---- */

void feed_save(const struct feed *f, struct feed_state *out)
{
    *out = (struct feed_state){.source = f->source, .at = f->at, .end = f->end, .n_places = f->n_sources};
    for (size_t i = 0; i < f->n_sources; i++) {
        out->places[i] = f->sources[i].place;
    }
}

err feed_restore(struct feed *f, const struct feed_state *state, struct errinfo *info)
{
    bool good = state->n_places == f->n_sources && state->at <= state->end &&
                state->end - state->at <= f->options.context;
    if (good && state->at < state->end) {
        good = state->source < f->n_sources;
        const struct feed_source *s = &f->sources[good ? state->source : 0];
        good = good && state->end < s->shard_begin[s->n_shards];
    }
    for (size_t i = 0; good && i < f->n_sources; i++) {
        good = state->places[i].index < f->sources[i].n_pieces || state->places[i].index == 0;
    }
    if (!good) {
        return err_set(info, ERR_CORRUPT, "the place to go on at is none of this data: it was saved with "
                       "another dataset, other sources or another context");
    }
    f->source = (size_t)state->source;
    f->at = state->at;
    f->end = state->end;
    for (size_t i = 0; i < f->n_sources; i++) {
        f->sources[i].place = state->places[i];
    }
    return ERR_OK;
}

size_t feed_sources(const struct feed *f)
{
    return f->n_sources;
}

const char *feed_source_name(const struct feed *f, size_t i)
{
    return f->sources[i].name;
}

double feed_epochs(const struct feed *f, size_t i)
{
    const struct feed_source *s = &f->sources[i];
    return s->n_pieces ? (double)s->place.epoch + (double)s->place.index / (double)s->n_pieces : 0;
}

size_t feed_tokens(const struct feed *f)
{
    return f->n_tokens;
}
