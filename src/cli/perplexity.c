/* cli/perplexity.c: see perplexity.h. */
#include "cli/perplexity.h"

#include <math.h>

#include "base/mem.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "text/tokenizer.h"

struct perplexity_run {
    struct engine *engine;
    struct session *session;
    const int32_t *ids;
    float *scores; /* [window] */
    struct perplexity *sum;
    struct progress progress;
    size_t before; /* tokens of finished windows, for the progress line */
};

static bool perplexity_progress(void *user, size_t done, size_t total)
{
    struct perplexity_run *r = user;
    (void)total;
    progress_update(&r->progress, r->before + done);
    return !interrupt_pending();
}

int32_t perplexity_first(const struct tokenizer *t, const int32_t *ids, size_t start)
{
    return start > 0 && tokenizer_add_bos(t) ? tokenizer_bos(t) : ids[start];
}

/* Reads ids[start … scored) and appends the rest. A context of one token is left to the scoring, which gives it
 * 0: read by itself it would go through the kernels that answers go through. */
static err perplexity_context(struct perplexity_run *r, size_t start, size_t scored, size_t end,
                              struct errinfo *info)
{
    struct session *s = r->session;
    int32_t first = perplexity_first(engine_tokenizer(r->engine), r->ids, start);
    TRY(session_rewind(s, 0, info));
    TRY(session_append(s, &first, 1, info));
    TRY(session_append(s, r->ids + start + 1, scored - start - 1, info));
    if (scored - start > 1) {
        TRY(session_prefill(s, perplexity_progress, r, info));
        r->before += scored - start;
    }
    return session_append(s, r->ids + scored, end - scored, info);
}

static err perplexity_window(void *user, size_t start, size_t scored, size_t end,
                             struct errinfo *info)
{
    struct perplexity_run *r = user;
    const struct tokenizer *t = engine_tokenizer(r->engine);
    size_t unread = scored - start > 1 ? 0 : 1; /* of the context */
    TRY(perplexity_context(r, start, scored, end, info));
    TRY(session_score(r->session, r->scores, perplexity_progress, r, info));
    r->before += unread + end - scored;
    for (size_t i = scored; i < end; i++) {
        r->sum->nats -= (double)r->scores[unread + i - scored];
        r->sum->bytes += tokenizer_bytes(t, r->ids[i]).len;
    }
    r->sum->tokens += end - scored;
    return ERR_OK;
}

err perplexity_walk(size_t n, size_t window, size_t stride, perplexity_visitor visit, void *user,
                    struct errinfo *info)
{
    if (n < 4) {
        return err_set(info, ERR_ARGUMENT, "the text has %zu tokens; at least 4 are needed", n);
    }
    if (window < 4 || stride >= window) {
        return err_set(info, ERR_ARGUMENT,
                       window < 4 ? "windows of %zu tokens are too small; at least 4 are needed"
                                  : "windows of %zu tokens, a new one every %zu: the stride must be "
                                    "below the window",
                       window, stride);
    }
    window = window < n ? window : n;
    for (size_t start = 0; stride == 0 && start + window <= n; start += window) {
        TRY(visit(user, start, start + window / 2 + 1, start + window, info));
    }
    size_t scored = 1; /* the first token of all has nothing before it */
    for (size_t start = 0; stride > 0 && scored < n; start += stride) {
        size_t end = n - start < window ? n : start + window;
        TRY(visit(user, start, scored, end, info));
        scored = end;
    }
    return ERR_OK;
}

size_t perplexity_total(size_t n, size_t window, size_t stride)
{
    window = window < n ? window : n;
    if (n < 4 || window < 4 || stride >= window) {
        return 0;
    }
    return window * (stride == 0 ? n / window : (n - window + stride - 1) / stride + 1);
}

void perplexity_stopped(const struct progress *p, size_t window, struct errinfo *info)
{
    err_set(info, ERR_CANCELLED, "stopped after %llu of the %llu tokens in all windows of %zu",
            (unsigned long long)p->done, (unsigned long long)p->total, window);
}

err perplexity_of(struct engine *e, const int32_t *ids, size_t n, size_t window, size_t stride,
                  struct perplexity *out, struct errinfo *info)
{
    struct perplexity sum = {0};
    struct perplexity_run r = {.engine = e, .ids = ids, .sum = &sum};
    const struct session_options options = {.context = window < n ? window : n};
    TRY(session_new(e, &options, &r.session, info));
    r.scores = mem_calloc(options.context, sizeof *r.scores);
    progress_init(&r.progress, "scoring", PROGRESS_TOKENS, perplexity_total(n, window, stride));
    interrupt_watch();
    err result = r.scores ? perplexity_walk(n, window, stride, perplexity_window, &r, info)
                          : err_set(info, ERR_NOMEM, "out of memory for %zu scores", options.context);
    interrupt_restore();
    if (result == ERR_CANCELLED) {
        perplexity_stopped(&r.progress, window < n ? window : n, info);
    }
    progress_finish(&r.progress);
    mem_free(r.scores);
    session_free(r.session);
    TRY(result);
    *out = sum;
    return ERR_OK;
}

double perplexity_value(const struct perplexity *p)
{
    return exp(p->nats / (double)p->tokens);
}

double perplexity_bits_per_byte(const struct perplexity *p)
{
    return p->bytes > 0 ? p->nats / log(2) / (double)p->bytes : 0;
}
