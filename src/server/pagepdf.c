/* server/pagepdf.c: see pagepdf.h. */
#include "server/pagepdf.h"

#include <pthread.h>

#include "base/mem.h"
#include "server/service.h"

enum { PAGEPDF_RETRY_S = 5 };

struct pagepdf {
    struct service *service;
    struct exchange *exchange;
    struct worker_job job;
    struct strbuf pdf;
    char *text;
    size_t len;
    err result;
    struct errinfo info;
    pthread_mutex_t lock;
    bool ready, left; /* left: the exchange is closed */
};

err pagepdf_start(struct worker **out, struct errinfo *info)
{
    static const struct worker_limits limits = {.threads = PDFTEXT_WORKERS,
                                                .heavy = PDFTEXT_WORKERS,
                                                .owner_heavy = 1,
                                                .owner_waiting = PAGEPDF_WAITING};
    return worker_start(&limits, out, info);
}

static void pagepdf_free(struct pagepdf *p)
{
    pthread_mutex_destroy(&p->lock);
    strbuf_deinit(&p->pdf);
    mem_free(p->text);
    mem_free(p);
}

/* On a thread of the readers. */
static void pagepdf_work(void *user)
{
    struct pagepdf *p = user;
    p->result =
        pdftext_read(p->service->is.pdf, p->pdf.data, p->pdf.len, &p->text, &p->len, &p->info);
    pthread_mutex_lock(&p->lock);
    p->ready = true;
    bool left = p->left;
    if (!left) {
        exchange_wake(p->exchange);
    }
    pthread_mutex_unlock(&p->lock);
    if (left) {
        pagepdf_free(p);
    }
}

static enum exchange_more pagepdf_pull(void *user, struct exchange *x, struct strbuf *out)
{
    struct pagepdf *p = user;
    struct apierror e;
    pthread_mutex_lock(&p->lock);
    bool ready = p->ready;
    pthread_mutex_unlock(&p->lock);
    if (!ready) {
        return EXCHANGE_WAIT;
    }
    if (p->result == ERR_OK) {
        p->result = wirereply_json(out, json_pack("{s:s%}", "text", p->text, p->len));
    } else {
        bool busy = p->result == ERR_BUSY;
        apierror_set(&e, busy ? 429 : p->result == ERR_LIMIT ? 413 : 415, busy ? "overloaded" : "no_text", NULL,
                     "%s", p->info.message);
        exchange_fail(x, e.status, "application/json");
        p->result = apierror_text(&e, false, out);
    }
    return EXCHANGE_END;
}

static void pagepdf_close(void *user)
{
    struct pagepdf *p = user;
    if (worker_withdraw(p->service->readers, &p->job)) {
        pagepdf_free(p);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->left = true;
    bool ready = p->ready;
    pthread_mutex_unlock(&p->lock);
    if (ready) {
        pagepdf_free(p);
    }
}

static const struct exchange_source pagepdf_source = {.pull = pagepdf_pull,
                                                      .close = pagepdf_close,
                                                      .type = "application/json",
                                                      .keepalive = "\n",
                                                      .whole = true};

static bool pagepdf_begin(struct service *s, struct exchange *x, struct apierror *e)
{
    struct pagepdf *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the file");
    }
    struct exchange_source source = pagepdf_source;
    source.user = p;
    p->service = s;
    p->exchange = x;
    p->job = (struct worker_job){
        .owner = exchange_caller(x)->owner, .heavy = true, .work = pagepdf_work, .user = p};
    pthread_mutex_init(&p->lock, NULL);
    exchange_take_body(x, &p->pdf);
    if (!worker_give(s->readers, &p->job)) {
        pagepdf_free(p);
        apierror_set(e, 429, "overloaded", NULL,
                     "%d PDF files wait to be read already; send this one when some of them are",
                     PAGEPDF_WAITING);
        e->retry_after = PAGEPDF_RETRY_S;
        return false;
    }
    exchange_stream(x, &source);
    return true;
}

static void pagepdf_extract(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    (void)m;
    if (!s->readers) {
        apierror_set(&e, 415, "unsupported", NULL, "this server reads no PDF files: it has no pdftotext");
    }
    if (e.status || !pagepdf_begin(s, x, &e)) {
        service_refuse(s, x, &e, false);
    }
}

static const struct route_row pagepdf_rows[] = {
    {"POST",
     "/api/extract",
     {.scope = CALLER_CHAT, .type = "application/pdf"},
     .quick = true,
     .handle = pagepdf_extract},
};

const struct route_table pagepdf_routes = {pagepdf_rows, sizeof pagepdf_rows / sizeof *pagepdf_rows};
