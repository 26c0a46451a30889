/* server/service.c: see service.h. */
#include "server/service.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "server/api.h"
#include "server/route.h"

extern const unsigned char aliases_text[]; /* models/aliases.txt */

/* ---- Beginning and end. ---- */

static err service_open(struct service *s, struct errinfo *info)
{
    const struct service_options *o = &s->is;
    const struct tokenizer *t = engine_tokenizer(o->engine);
    if (!t) {
        return err_set(info, ERR_UNSUPPORTED,
                       "the model's files have no tokenizer, so nothing can be asked in words");
    }
    if (sodium_init() < 0) {
        return err_set(info, ERR_IO, "libsodium could not be initialised");
    }
    randombytes_buf(s->secret, sizeof s->secret);
    s->started = (int64_t)time(NULL);
    TRY(modelnames_new(o->name, o->aliases ? o->aliases : (const char *)aliases_text,
                       o->aliases ? o->aliases_name : "aliases.txt", &s->names, info));
    TRY(metrics_new(&s->metrics, info));
    TRY(tokentrie_new(t, &s->trie, info));
    s->model = (struct answering_model){.engine = o->engine,
                                        .tokenizer = t,
                                        .trie = s->trie,
                                        .format = o->format,
                                        .max_tokens = o->max_tokens};
    return enginethread_start(o->engine, &o->batcher, &s->model.thread, info);
}

err service_new(const struct service_options *options, struct service **out, struct errinfo *info)
{
    struct service *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return err_set(info, ERR_NOMEM, "out of memory for the server");
    }
    s->is = *options;
    err e = service_open(s, info);
    if (e != ERR_OK) {
        service_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void service_free(struct service *s)
{
    if (s) {
        enginethread_stop(s->model.thread);
        tokentrie_free(s->trie);
        modelnames_free(s->names);
        metrics_free(s->metrics);
        sodium_memzero(s->secret, sizeof s->secret);
        mem_free(s);
    }
}

/* ---- Requests. ---- */

void service_handle(void *user, struct exchange *x, bool whole)
{
    struct service *s = user;
    struct route_match match;
    struct apierror e = {0};
    char allowed[64];
    const char *path = exchange_path(x);
    size_t n_tables;
    const struct route_table *tables = api_tables(&n_tables);
    if (!route_find(tables, n_tables, exchange_method(x), path, &match, allowed, &e)) {
        if (allowed[0]) {
            exchange_add_header(x, "Allow", allowed);
        }
        service_refuse(s, x, &e, false);
    } else if (!whole) {
        if (!guard_admits(&s->is.guard, x, &match.row->need, &e)) {
            service_refuse(s, x, &e, match.row->anthropic);
        }
    } else {
        match.row->handle(s, x, &match);
    }
}

void service_refuse(struct service *s, struct exchange *x, const struct apierror *e, bool anthropic)
{
    metrics_request(s->metrics, e->status);
    apierror_reply(x, e, anthropic);
}

void service_reply(struct service *s, struct exchange *x, unsigned status, json_t *take_document)
{
    struct strbuf body = {0};
    if (wirereply_json(&body, take_document) != ERR_OK) {
        status = 503;
    }
    metrics_request(s->metrics, status);
    exchange_reply(x, status, "application/json", &body);
}

struct question *service_question(const struct service *s, const struct exchange *x,
                                  struct apierror *e)
{
    size_t len;
    const char *body = exchange_body(x, &len);
    struct question *q = question_new(&s->is.sampling);
    if (!q) {
        apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the request");
        return NULL;
    }
    q->think = chat_can_think(s->model.format) ? CHAT_THINKING : CHAT_NO_THINKING;
    if (!question_parse(q, body, len, e)) {
        question_free(q);
        return NULL;
    }
    /* The name may mean a way of thinking, which the request's own fields then change. */
    const char *model = json_string_value(json_object_get(q->document, "model"));
    modelnames_match(s->names, model ? model : "", &q->think);
    return q;
}

bool service_names(const struct service *s, struct question *q, struct apierror *e)
{
    enum chat_thinking think = q->think;
    if (modelnames_match(s->names, q->model, &think)) {
        return true;
    }
    return apierror_set(e, 404, "model_not_found", "model",
                        "there is no model \"%.100s\" here; this server has \"%s\"", q->model,
                        modelnames_own(s->names));
}

static void service_done(void *user, const struct answering_usage *usage, bool whole)
{
    struct service *s = user;
    metrics_answer(s->metrics, usage, whole);
}

void service_answer(struct service *s, struct exchange *x, struct question *take_q,
                    const struct wirereply_format *format)
{
    const struct caller *who = exchange_caller(x);
    const struct wirereply_options o = {.format = format,
                                        .model = &s->model,
                                        .model_id = modelnames_own(s->names),
                                        .owner = caller_number(who, s->secret),
                                        .partition = caller_partition(who, take_q->user, s->secret),
                                        .done = service_done,
                                        .user = s};
    wirereply_give(x, take_q, &o);
}
