/* cli/divergence.c: see divergence.h. */
#include "cli/divergence.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "text/tokenizer.h"

static const size_t DIVERGENCE_ROWS_BYTES = (size_t)32 << 20; /* of one model's logits, kept */
enum { DIVERGENCE_PIECE = 512 };

struct divergence_run {
    struct engine *engine, *reference;
    struct session *session, *reference_session;
    const int32_t *ids;
    size_t vocab_size, piece; /* tokens read by one, then by the other */
    float *rows;              /* [piece, vocab_size]: the reference's */
    int32_t *window;          /* its tokens */
    size_t at, scored;        /* ids[at] is what the first row of a piece predicts */
    struct divergence *sum;
    struct progress progress;
    size_t before;
};

/* ---- two rows ---- */

static size_t divergence_best(const float *row, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

static double divergence_logsum(const float *row, size_t n, double top)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)row[i] - top);
    }
    return top + log(sum);
}

void divergence_add(struct divergence *d, const float *logits, const float *reference, size_t n,
                    int32_t id)
{
    size_t best = divergence_best(logits, n), best_ref = divergence_best(reference, n);
    double lq = divergence_logsum(logits, n, (double)logits[best]);
    double lp = divergence_logsum(reference, n, (double)reference[best_ref]);
    double kl = 0;
    for (size_t i = 0; i < n; i++) {
        double p = (double)reference[i] - lp, q = (double)logits[i] - lq, share = exp(p);
        kl += share == 0 ? 0 : share * (p - q); /* a NaN stays one */
    }
    kl = kl < 0 ? 0 : kl; /* rounding of a sum that is never negative */
    double p = (double)reference[id] - lp, q = (double)logits[id] - lq;
    d->kl += kl;
    d->kl_squared += kl * kl;
    d->kl_max = kl > d->kl_max ? kl : d->kl_max;
    d->difference += p - q;
    d->difference_squared += (p - q) * (p - q);
    d->same_best += best == best_ref;
    d->model.nats -= q;
    d->reference.nats -= p;
    d->model.tokens++;
    d->reference.tokens++;
}

/* ---- the windows ---- */

static bool divergence_keep(void *user, size_t first, size_t n, const float *logits)
{
    struct divergence_run *r = user;
    memcpy(r->rows + first * r->vocab_size, logits, n * r->vocab_size * sizeof *logits);
    return !interrupt_pending();
}

static void divergence_compare(struct divergence_run *r, size_t at, const float *logits,
                               const float *reference)
{
    size_t bytes = tokenizer_bytes(engine_tokenizer(r->engine), r->ids[at]).len;
    divergence_add(r->sum, logits, reference, r->vocab_size, r->ids[at]);
    r->sum->model.bytes += bytes;
    r->sum->reference.bytes += bytes;
}

/* Row i of a piece predicts ids[at + i]; what lies before `scored` is context. */
static bool divergence_rows(void *user, size_t first, size_t n, const float *logits)
{
    struct divergence_run *r = user;
    for (size_t i = 0; i < n; i++) {
        if (r->at + first + i >= r->scored) {
            divergence_compare(r, r->at + first + i, logits + i * r->vocab_size,
                               r->rows + (first + i) * r->vocab_size);
        }
    }
    progress_update(&r->progress, r->before + first + n);
    return !interrupt_pending();
}

/* ids[at - 1 …) read by one model, then by the other. */
static err divergence_piece(struct divergence_run *r, const int32_t *ids, size_t n,
                            struct errinfo *info)
{
    TRY(session_append(r->reference_session, ids, n, info));
    TRY(session_prefill_rows(r->reference_session, divergence_keep, r, info));
    TRY(session_append(r->session, ids, n, info));
    return session_prefill_rows(r->session, divergence_rows, r, info);
}

/* Everything but the window's last token, whose own prediction is not scored, in pieces of nearly one size:
 * a small rest would go through the kernels that answers go through. */
static err divergence_window(void *user, size_t start, size_t scored, size_t end,
                             struct errinfo *info)
{
    struct divergence_run *r = user;
    size_t total = end - 1 - start, pieces = (total + r->piece - 1) / r->piece;
    TRY(session_rewind(r->session, 0, info));
    TRY(session_rewind(r->reference_session, 0, info));
    memcpy(r->window, r->ids + start, total * sizeof *r->window);
    r->window[0] = perplexity_first(engine_tokenizer(r->engine), r->ids, start);
    r->scored = scored;
    for (size_t i = 0; i < pieces; i++) {
        size_t from = total * i / pieces, n = total * (i + 1) / pieces - from;
        r->at = start + from + 1;
        TRY(divergence_piece(r, r->window + from, n, info));
        r->before += n;
    }
    r->before++;
    return ERR_OK;
}

static err divergence_prepare(struct divergence_run *r, size_t window, struct errinfo *info)
{
    const struct session_options options = {.context = window};
    size_t vocab = r->vocab_size = engine_vocab_size(r->engine);
    if (engine_vocab_size(r->reference) != vocab) {
        return err_set(info, ERR_ARGUMENT,
                       "the reference has a vocabulary of %zu tokens and the model one of %zu: only models "
                       "with the same tokens can be compared", engine_vocab_size(r->reference), vocab);
    }
    r->piece = DIVERGENCE_ROWS_BYTES / (vocab * sizeof *r->rows);
    r->piece = r->piece < 1 ? 1 : r->piece > DIVERGENCE_PIECE ? DIVERGENCE_PIECE : r->piece;
    TRY(session_new(r->engine, &options, &r->session, info));
    TRY(session_new(r->reference, &options, &r->reference_session, info));
    r->rows = mem_alloc_aligned(r->piece * vocab * sizeof *r->rows);
    r->window = mem_calloc(window, sizeof *r->window);
    return r->rows && r->window
               ? ERR_OK
               : err_set(info, ERR_NOMEM, "out of memory for the logits of %zu tokens", r->piece);
}

err divergence_of(struct engine *e, struct engine *reference, const int32_t *ids, size_t n,
                  size_t window, size_t stride, struct divergence *out, struct errinfo *info)
{
    struct divergence sum = {0};
    struct divergence_run r = {.engine = e, .reference = reference, .ids = ids, .sum = &sum};
    err result = divergence_prepare(&r, window < n ? window : n, info);
    if (result == ERR_OK) {
        progress_init(&r.progress, "comparing", PROGRESS_TOKENS, perplexity_total(n, window, stride));
        interrupt_watch();
        result = perplexity_walk(n, window, stride, divergence_window, &r, info);
        interrupt_restore();
        if (result == ERR_CANCELLED) {
            perplexity_stopped(&r.progress, window < n ? window : n, info);
        }
        progress_finish(&r.progress);
    }
    mem_free_aligned(r.rows);
    mem_free(r.window);
    session_free(r.session);
    session_free(r.reference_session);
    TRY(result);
    *out = sum;
    return ERR_OK;
}

/* ---- what it comes to ---- */

/* Standard error of the mean of n values of which the sum and the sum of squares are known. */
static double divergence_error(double sum, double squared, size_t n)
{
    double mean = sum / (double)n, variance = squared / (double)n - mean * mean;
    return n > 1 && variance > 0 ? sqrt(variance / (double)(n - 1)) : 0;
}

double divergence_kl(const struct divergence *d)
{
    return d->kl / (double)d->model.tokens;
}

double divergence_kl_error(const struct divergence *d)
{
    return divergence_error(d->kl, d->kl_squared, d->model.tokens);
}

double divergence_ratio(const struct divergence *d)
{
    return exp(d->difference / (double)d->model.tokens);
}

double divergence_ratio_error(const struct divergence *d)
{
    return divergence_ratio(d) *
           divergence_error(d->difference, d->difference_squared, d->model.tokens);
}

double divergence_rms(const struct divergence *d)
{
    return sqrt(d->difference_squared / (double)d->model.tokens);
}

double divergence_same_best(const struct divergence *d)
{
    return (double)d->same_best / (double)d->model.tokens;
}
