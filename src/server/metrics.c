/* server/metrics.c: see metrics.h. */
#include "server/metrics.h"

#include <pthread.h>

#include "base/mem.h"

enum { METRICS_BUCKETS = 20, METRICS_CLASSES = 6 };

/* Upper bounds in seconds. */
static const double metrics_bounds[METRICS_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                       0.25,  0.5,    1,     2.5,  5,     10,   20,
                                                       30,    60,     120,   300,  600,   1800};

struct metrics_histogram {
    uint64_t counts[METRICS_BUCKETS + 1];
    double sum;
};

struct metrics {
    pthread_mutex_t lock;
    uint64_t replies[METRICS_CLASSES]; /* by hundreds of the status */
    uint64_t answers, broken;
    uint64_t prompt, cached, completion, reasoning; /* tokens */
    struct metrics_histogram first, between, whole;
};

err metrics_new(struct metrics **out, struct errinfo *info)
{
    struct metrics *m = mem_calloc(1, sizeof *m);
    if (!m) {
        return err_set(info, ERR_NOMEM, "out of memory for metrics");
    }
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return ERR_OK;
}

void metrics_free(struct metrics *m)
{
    if (m) {
        pthread_mutex_destroy(&m->lock);
        mem_free(m);
    }
}

void metrics_request(struct metrics *m, unsigned status)
{
    pthread_mutex_lock(&m->lock);
    m->replies[status / 100 < METRICS_CLASSES ? status / 100 : 0]++;
    pthread_mutex_unlock(&m->lock);
}

static void metrics_add(struct metrics_histogram *h, double seconds)
{
    size_t i = 0;
    while (i < METRICS_BUCKETS && seconds > metrics_bounds[i]) {
        i++;
    }
    h->counts[i]++;
    h->sum += seconds;
}

void metrics_answer(struct metrics *m, const struct answering_usage *u, bool whole)
{
    pthread_mutex_lock(&m->lock);
    m->answers++;
    m->broken += !whole;
    m->prompt += u->prompt;
    m->cached += u->cached;
    m->completion += u->completion;
    m->reasoning += u->reasoning;
    if (u->completion > 0) {
        metrics_add(&m->first, u->first_s);
        metrics_add(&m->whole, u->total_s);
    }
    if (u->completion > u->begun) {
        metrics_add(&m->between, u->between_s / (double)(u->completion - u->begun));
    }
    pthread_mutex_unlock(&m->lock);
}

static err metrics_one(struct strbuf *out, const char *name, const char *type, const char *help,
                       double value)
{
    return strbuf_printf(out, "# HELP fathom_%s %s\n# TYPE fathom_%s %s\nfathom_%s %.15g\n", name,
                         help, name, type, name, value);
}

static err metrics_histogram(struct strbuf *out, const char *name, const char *help,
                             const struct metrics_histogram *h)
{
    uint64_t n = 0;
    TRY(strbuf_printf(out, "# HELP fathom_%s %s\n# TYPE fathom_%s histogram\n", name, help, name));
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        n += h->counts[i];
        TRY(strbuf_printf(out, "fathom_%s_bucket{le=\"%g\"} %llu\n", name, metrics_bounds[i],
                          (unsigned long long)n));
    }
    n += h->counts[METRICS_BUCKETS];
    return strbuf_printf(
        out, "fathom_%s_bucket{le=\"+Inf\"} %llu\nfathom_%s_sum %.9g\nfathom_%s_count %llu\n", name,
        (unsigned long long)n, name, h->sum, name, (unsigned long long)n);
}

static err metrics_counters(const struct metrics *m, struct strbuf *out)
{
    TRY(strbuf_puts(out, "# HELP fathom_replies_total Replies by class of status.\n"
                         "# TYPE fathom_replies_total counter\n"));
    for (unsigned i = 2; i < METRICS_CLASSES; i++) {
        TRY(strbuf_printf(out, "fathom_replies_total{class=\"%uxx\"} %llu\n", i,
                          (unsigned long long)m->replies[i]));
    }
    TRY(metrics_one(out, "answers_total", "counter", "Answers asked for.", (double)m->answers));
    TRY(metrics_one(out, "answers_broken_total", "counter",
                    "Of these: failed, or their reader went.", (double)m->broken));
    TRY(metrics_one(out, "prompt_tokens_total", "counter", "Tokens of prompts.",
                    (double)m->prompt));
    TRY(metrics_one(out, "prompt_tokens_cached_total", "counter",
                    "Of these: found in the prefix cache.", (double)m->cached));
    TRY(metrics_one(out, "completion_tokens_total", "counter", "Tokens made.",
                    (double)m->completion));
    return metrics_one(out, "reasoning_tokens_total", "counter", "Of these: reasoning.",
                       (double)m->reasoning);
}

static err metrics_gauges(const struct batcher_counts *now, size_t connections, struct strbuf *out)
{
    TRY(metrics_one(out, "running", "gauge", "Answers being made.", (double)now->running));
    TRY(metrics_one(out, "waiting", "gauge", "Requests that wait for a place.",
                    (double)now->waiting));
    TRY(metrics_one(out, "paused", "gauge", "Of these: begun, and gave way to others.", (double)now->paused));
    TRY(metrics_one(out, "cache_bytes", "gauge", "Memory for keys and values.",
                    (double)now->memory));
    TRY(metrics_one(out, "cache_reserved_bytes", "gauge", "Of these: of running answers.",
                    (double)now->reserved));
    TRY(metrics_one(out, "cache_prefix_bytes", "gauge", "Of these: kept prefixes.",
                    (double)now->kept));
    return metrics_one(out, "connections", "gauge", "Open connections.", (double)connections);
}

err metrics_text(struct metrics *m, const struct batcher_counts *now, size_t connections,
                 struct strbuf *out)
{
    pthread_mutex_lock(&m->lock);
    struct metrics copy = *m;
    pthread_mutex_unlock(&m->lock);
    TRY(metrics_counters(&copy, out));
    TRY(metrics_gauges(now, connections, out));
    TRY(metrics_histogram(out, "first_token_seconds", "From the request to the first token.",
                          &copy.first));
    TRY(metrics_histogram(out, "between_tokens_seconds", "Mean time between tokens of an answer.",
                          &copy.between));
    return metrics_histogram(out, "answer_seconds", "From the request to the end of the answer.",
                             &copy.whole);
}
