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
    size_t n, window;
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

/* Reads ids[start … end) and scores those from `scored` on. */
static err perplexity_window(struct perplexity_run *r, size_t start, size_t scored, size_t end,
                             struct errinfo *info)
{
    const struct tokenizer *t = engine_tokenizer(r->engine);
    struct session *s = r->session;
    size_t read = scored > start ? scored - start : 0;
    TRY(session_rewind(s, 0, info));
    TRY(session_append(s, r->ids + start, read, info));
    if (read > 0 && start > 0 && tokenizer_add_bos(t)) {
        int32_t bos = tokenizer_bos(t);
        TRY(session_rewind(s, 0, info));
        TRY(session_append(s, &bos, 1, info));
        TRY(session_append(s, r->ids + start + 1, read - 1, info));
    }
    TRY(session_prefill(s, perplexity_progress, r, info));
    TRY(session_append(s, r->ids + scored, end - scored, info));
    r->before += read;
    TRY(session_score(s, r->scores, perplexity_progress, r, info));
    r->before += end - scored;
    for (size_t i = scored; i < end; i++) {
        r->sum->nats -= (double)r->scores[i - scored];
        r->sum->bytes += tokenizer_bytes(t, r->ids[i]).len;
    }
    r->sum->tokens += end - scored;
    return ERR_OK;
}

static err perplexity_windows(struct perplexity_run *r, size_t stride, struct errinfo *info)
{
    size_t window = r->window;
    if (stride == 0) {
        for (size_t start = 0; start + window <= r->n; start += window) {
            TRY(perplexity_window(r, start, start + window / 2 + 1, start + window, info));
        }
        return ERR_OK;
    }
    size_t scored = 1; /* the first token of all has nothing before it */
    for (size_t start = 0; scored < r->n; start += stride) {
        size_t end = r->n - start < window ? r->n : start + window;
        TRY(perplexity_window(r, start, scored, end, info));
        scored = end;
    }
    return ERR_OK;
}

err perplexity_of(struct engine *e, const int32_t *ids, size_t n, size_t window, size_t stride,
                  struct perplexity *out, struct errinfo *info)
{
    struct perplexity sum = {0};
    struct perplexity_run r = {.engine = e, .ids = ids, .n = n, .sum = &sum};
    r.window = window < n ? window : n;
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
    const struct session_options options = {.context = r.window};
    TRY(session_new(e, &options, &r.session, info));
    r.scores = mem_calloc(r.window, sizeof *r.scores);
    size_t windows = stride == 0 ? n / r.window : (n - r.window + stride - 1) / stride + 1;
    progress_init(&r.progress, "scoring", PROGRESS_TOKENS, windows * r.window);
    interrupt_watch();
    err result = r.scores ? perplexity_windows(&r, stride, info)
                          : err_set(info, ERR_NOMEM, "out of memory for %zu scores", r.window);
    interrupt_restore();
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
