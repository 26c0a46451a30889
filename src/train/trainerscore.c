/* train/trainerscore.c: see trainerscore.h. */
#include "train/trainerscore.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct trainerscore_part {
    struct feed *feed;
    struct feed_state begin;
};

struct trainerscore_set {
    struct trainerscore_part parts[DATASET_SOURCES_MAX];
    size_t n;
};

struct trainerscore_asking {
    struct trainer *trainer;
    bool (*go_on)(void *user);
    void *user;
    struct errinfo *info;
};

double trainerscore_loss(const struct trainerscore *s)
{
    return s->tokens > 0 ? s->nats / s->tokens : 0;
}

double trainerscore_bits_per_byte(const struct trainerscore *s)
{
    return s->bytes > 0 ? s->nats / log(2) / s->bytes : 0;
}

static bool trainerscore_wanted(const struct trainrecipe *r, const struct dataset_source *s)
{
    bool wanted = r->n_mix == 0;
    for (size_t i = 0; i < r->n_mix; i++) {
        wanted = wanted || strcmp(r->mix_names[i], s->name) == 0;
    }
    return wanted && s->parts[DATASET_VAL].n_tokens > 0;
}

static err trainerscore_add(struct trainerscore_set *s, const struct trainrecipe *r, const struct dataset *d,
                            const struct dataset_source *source, struct errinfo *info)
{
    const struct feed_weight alone = {source->name, 1};
    const struct feed_options o = {.part = DATASET_VAL,
                                   .context = r->context,
                                   .in_order = true,
                                   .weights = &alone,
                                   .n_weights = 1};
    struct trainerscore_part *p = &s->parts[s->n];
    TRY(feed_open(d, &o, &p->feed, info));
    feed_save(p->feed, &p->begin);
    s->n++;
    return ERR_OK;
}

err trainerscore_open(const struct trainrecipe *r, const struct dataset *d, struct trainerscore_set **out,
                      struct errinfo *info)
{
    struct trainerscore_set *s = mem_calloc(1, sizeof *s);
    err e = s ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; e == ERR_OK && i < d->n_sources; i++) {
        e = trainerscore_wanted(r, &d->sources[i]) ? trainerscore_add(s, r, d, &d->sources[i], info) : ERR_OK;
    }
    if (e != ERR_OK) {
        trainerscore_close(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void trainerscore_close(struct trainerscore_set *s)
{
    for (size_t i = 0; s && i < s->n; i++) {
        feed_close(s->parts[i].feed);
    }
    mem_free(s);
}

size_t trainerscore_sources(const struct trainerscore_set *s)
{
    return s->n;
}

const char *trainerscore_source(const struct trainerscore_set *s, size_t i)
{
    return feed_source_name(s->parts[i].feed, 0);
}

/* Up to a micro batch of rows; the rest is filled with tokens that predict nothing. */
static size_t trainerscore_rows(const struct trainer *t, struct feed *feed, size_t most)
{
    size_t context = t->recipe->context, n = 0;
    const struct trainer_rows *r = &t->rows;
    while (n < most && feed_next(feed, r->tokens + n * context, r->targets + n * context,
                                 r->positions + n * context)) {
        n++;
    }
    for (size_t i = n * context; i < t->recipe->micro_sequences * context; i++) {
        r->tokens[i] = r->positions[i] = 0;
        r->targets[i] = -1;
    }
    return n;
}

static err trainerscore_part_run(const struct trainerscore_asking *a, struct trainerscore_part *p,
                                 struct trainerscore *out)
{
    struct trainer *t = a->trainer;
    const struct trainrecipe *r = t->recipe;
    size_t left = r->validate_rows, n;
    *out = (struct trainerscore){0};
    TRY(feed_restore(p->feed, &p->begin, a->info));
    while (left > 0 &&
           (n = trainerscore_rows(t, p->feed, left < r->micro_sequences ? left : r->micro_sequences)) > 0) {
        const struct learnmodel_batch b = {t->rows.tokens, t->rows.targets, t->rows.positions};
        struct learnmodel_losses l;
        if (a->go_on && !a->go_on(a->user)) {
            return err_set(a->info, ERR_CANCELLED, "stopped while validating");
        }
        TRY(learnmodel_score(t->model, &b, &l, a->info));
        out->nats += l.sum;
        out->tokens += (double)l.n;
        for (size_t i = 0; i < n * r->context; i++) {
            out->bytes += t->rows.targets[i] >= 0 ? t->bytes[t->rows.targets[i]] : 0;
        }
        left -= n;
    }
    return ERR_OK;
}

err trainerscore_run(struct trainerscore_set *s, struct trainer *t, bool (*go_on)(void *user), void *user,
                     struct trainerscore *out, struct trainerscore *all, struct errinfo *info)
{
    const struct trainerscore_asking a = {t, go_on, user, info};
    err e = ERR_OK;
    *all = (struct trainerscore){0};
    if (t->ema) {
        ema_swap(t->ema);
    }
    for (size_t i = 0; e == ERR_OK && i < s->n; i++) {
        e = trainerscore_part_run(&a, &s->parts[i], &out[i]);
        all->nats += out[i].nats;
        all->tokens += out[i].tokens;
        all->bytes += out[i].bytes;
    }
    if (t->ema) {
        ema_swap(t->ema);
    }
    return e;
}
