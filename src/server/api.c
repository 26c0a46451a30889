/* server/api.c: see api.h. */
#include "server/api.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "model/model.h"
#include "server/anthropic.h"
#include "server/anthropicreply.h"
#include "server/fields.h"
#include "server/openaichat.h"
#include "server/openaireply.h"
#include "server/openaitext.h"
#include "server/pageanswers.h"
#include "server/pagechats.h"
#include "server/pagekeys.h"
#include "server/pagepdf.h"
#include "server/pagesession.h"
#include "server/responses.h"
#include "server/responsesreply.h"
#include "server/service.h"

/* ---- Answers. ---- */

static void api_chat(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    struct question *q = service_question(s, x, true, &e);
    if (!q || !openaichat_read(q, m->beta, &e) || !service_names(s, q, &e)) {
        question_free(q);
        service_refuse(s, x, &e, false);
        return;
    }
    service_answer(s, x, q, &openaireply_chat);
}

static void api_completions(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    struct question *q = service_question(s, x, true, &e);
    (void)m;
    if (!q || !openaitext_read(q, &e) || !service_names(s, q, &e)) {
        question_free(q);
        service_refuse(s, x, &e, false);
        return;
    }
    service_answer(s, x, q, &openaitext_format);
}

static void api_messages(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    struct question *q = service_question(s, x, false, &e);
    (void)m;
    if (!q || !anthropic_read(q, false, &e) || !service_names(s, q, &e)) {
        question_free(q);
        service_refuse(s, x, &e, true);
        return;
    }
    service_answer(s, x, q, &anthropicreply_messages);
}

static void api_responses(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    struct question *q = service_question(s, x, true, &e);
    (void)m;
    if (!q || !responses_read(q, &e) || !service_names(s, q, &e)) {
        question_free(q);
        service_refuse(s, x, &e, false);
        return;
    }
    service_answer(s, x, q, &responsesreply_format);
}

/* Counting is a request like others, but costs nothing. What it may take at once is bounded. */
static bool api_may_count(struct service *s, const struct exchange *x, struct claim *claim, struct apierror *e)
{
    size_t len;
    exchange_body(x, &len);
    if (len > SERVICE_COUNTED_MAX) {
        return apierror_set(e, 413, "too_large", NULL,
                            "the request has %zu bytes; tokens are counted in at most %d at once: send it in "
                            "parts",
                            len, SERVICE_COUNTED_MAX);
    }
    return service_admit(s, exchange_caller(x), 1, claim, e);
}

/* The reply, with the fields of the request that had no effect. */
static void api_give(struct service *s, struct exchange *x, const struct question *q, json_t *take_document)
{
    if (q->unknown.len > 0) {
        exchange_add_header(x, "X-Fathom-Ignored", q->unknown.data);
    }
    service_reply(s, x, 200, take_document);
}

static void api_count_tokens(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    struct tokenizer_ids ids = {0};
    struct claim claim;
    bool may = api_may_count(s, x, &claim, &e);
    struct question *q = may ? service_question(s, x, false, &e) : NULL;
    (void)m;
    if (q && anthropic_read(q, true, &e) && service_names(s, q, &e) &&
        answering_encode(&s->model, q, &ids, &e)) {
        api_give(s, x, q, json_pack("{s:I}", "input_tokens", (json_int_t)ids.len));
    } else {
        service_refuse(s, x, &e, true);
    }
    tokenizer_ids_deinit(&ids);
    question_free(q);
    if (may) {
        claim_end(s->claims, &claim);
    }
}

static void api_embeddings(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e;
    (void)m;
    apierror_set(&e, 400, "unsupported", "model", "%s writes text; it makes no embeddings",
                 modelnames_own(s->names));
    service_refuse(s, x, &e, false);
}

/* ---- Models. ---- */

/* As OpenAI's and as Anthropic's clients read it: each has its own words for kind, name and time. */
static json_t *api_model_object(const struct service *s, const char *id)
{
    char created[24] = "";
    time_t at = (time_t)s->started;
    struct tm t;
    if (gmtime_r(&at, &t)) {
        strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &t);
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:b, s:b, s:b}", "id", id, "object", "model",
                     "type", "model", "display_name", id, "created", (json_int_t)s->started, "created_at",
                     created, "owned_by", "fathom", "context_length",
                     (json_int_t)engine_context_max(s->model.engine), "can_think",
                     chat_can_think(s->model.format), "can_skip_thinking",
                     chat_can_skip_thinking(s->model.format), "can_call_tools",
                     chat_can_call(s->model.format));
}

static void api_models(struct service *s, struct exchange *x, const struct route_match *m)
{
    json_t *list = json_array();
    (void)m;
    const char *alias, *own = modelnames_own(s->names), *last = own;
    json_array_append_new(list, api_model_object(s, own));
    for (size_t i = 0; (alias = modelnames_alias(s->names, i)); i++) {
        json_array_append_new(list, api_model_object(s, alias));
        last = alias;
    }
    service_reply(s, x, 200,
                  json_pack("{s:s, s:o, s:b, s:s, s:s}", "object", "list", "data", list, "has_more", 0,
                            "first_id", own, "last_id", last));
}

static void api_model(struct service *s, struct exchange *x, const struct route_match *m)
{
    enum chat_thinking think = CHAT_NO_THINKING;
    if (modelnames_match(s->names, m->parts[0], &think)) {
        service_reply(s, x, 200, api_model_object(s, m->parts[0]));
        return;
    }
    struct apierror e;
    apierror_set(&e, 404, "model_not_found", "model",
                 "there is no model \"%.100s\" here; this server has \"%s\"", m->parts[0],
                 modelnames_own(s->names));
    service_refuse(s, x, &e, false);
}

/* ---- Tokens. ---- */

struct api_tokenize {
    const char *content, *model;
    bool special, parse;
};

static const struct fields_row api_tokenize_rows[] = {
    {"content", .type = FIELDS_STRING, .offset = offsetof(struct api_tokenize, content)},
    {"prompt", .type = FIELDS_STRING, .offset = offsetof(struct api_tokenize, content)},
    {"model", .type = FIELDS_STRING, .offset = offsetof(struct api_tokenize, model)},
    {"add_special", .type = FIELDS_BOOL, .offset = offsetof(struct api_tokenize, special)},
    {"add_special_tokens", .type = FIELDS_BOOL, .offset = offsetof(struct api_tokenize, special)},
    {"parse_special", .type = FIELDS_BOOL, .offset = offsetof(struct api_tokenize, parse)},
    {"with_pieces", .type = FIELDS_REFUSED, .why = "tokens are given as numbers"},
    {"return_token_strs", .type = FIELDS_REFUSED, .why = "tokens are given as numbers"},
};

/* Is it for the model here, where it says which? */
static bool api_names(const struct service *s, struct question *q, const char *model, struct apierror *e)
{
    q->model = model;
    return !model || service_names(s, q, e);
}

static bool api_tokenize_read(const struct service *s, struct question *q, struct api_tokenize *r,
                              struct apierror *e)
{
    return fields_read(&FIELDS_OF(api_tokenize_rows), q->document, "", r, &q->unknown, e) &&
           (r->content || apierror_set(e, 400, "missing", "content", "content is missing: the text")) &&
           api_names(s, q, r->model, e);
}

static json_t *api_ids(const struct tokenizer_ids *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ids->len; i++) {
        if (json_array_append_new(list, json_integer(ids->data[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static void api_tokenize(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    struct api_tokenize r = {0};
    struct tokenizer_ids ids = {0};
    struct errinfo info = {0};
    const struct tokenizer *t = s->model.tokenizer;
    struct claim claim;
    bool may = api_may_count(s, x, &claim, &e);
    struct question *q = may ? service_question(s, x, true, &e) : NULL;
    (void)m;
    if (q && api_tokenize_read(s, q, &r, &e)) {
        err result = r.special && tokenizer_bos(t) >= 0 ? tokenizer_ids_push(&ids, tokenizer_bos(t))
                                                        : ERR_OK;
        result = result == ERR_OK
                     ? tokenizer_encode(t, r.content, strlen(r.content), r.parse, &ids, &info)
                     : result;
        if (result != ERR_OK) {
            apierror_from(&e, result, &info);
        }
    }
    if (e.status) {
        service_refuse(s, x, &e, false);
    } else {
        api_give(s, x, q,
                 json_pack("{s:o, s:I, s:I}", "tokens", api_ids(&ids), "count", (json_int_t)ids.len,
                           "max_model_len", (json_int_t)engine_context_max(s->model.engine)));
    }
    tokenizer_ids_deinit(&ids);
    question_free(q);
    if (may) {
        claim_end(s->claims, &claim);
    }
}

struct api_detokenize {
    const json_t *tokens;
    const char *model;
};

static const struct fields_row api_detokenize_rows[] = {
    {"tokens", .type = FIELDS_ARRAY, .offset = offsetof(struct api_detokenize, tokens), .max = 1 << 20,
     .required = true},
    {"model", .type = FIELDS_STRING, .offset = offsetof(struct api_detokenize, model)},
};

/* The text of ids; control tokens as their spelling. */
static bool api_spell(const struct service *s, const json_t *list, struct strbuf *out,
                      struct apierror *e)
{
    struct tokenizer_stream stream = {0};
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)list, i, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || (size_t)id >= tokenizer_size(s->model.tokenizer)) {
            return apierror_set(e, 422, "out_of_range", "tokens",
                                "tokens[%zu] is no token; expected 0 to %zu", i,
                                tokenizer_size(s->model.tokenizer) - 1);
        }
        char piece[3 * 1024];
        size_t len = 0;
        err result = tokenizer_stream_push(s->model.tokenizer, &stream, (int32_t)id, true, piece,
                                           sizeof piece, &len);
        if (result != ERR_OK || strbuf_append(out, piece, len) != ERR_OK) {
            return apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the text");
        }
    }
    char rest[16];
    size_t len = 0;
    return (tokenizer_stream_finish(&stream, rest, sizeof rest, &len) == ERR_OK &&
            strbuf_append(out, rest, len) == ERR_OK) ||
           apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the text");
}

static void api_detokenize(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct apierror e = {0};
    struct api_detokenize r = {0};
    struct strbuf text = {0};
    struct claim claim;
    bool may = api_may_count(s, x, &claim, &e);
    struct question *q = may ? service_question(s, x, true, &e) : NULL;
    (void)m;
    if (q && fields_read(&FIELDS_OF(api_detokenize_rows), q->document, "", &r, &q->unknown, &e) &&
        api_names(s, q, r.model, &e) && api_spell(s, r.tokens, &text, &e)) {
        const char *spelt = text.data ? text.data : "";
        api_give(s, x, q, json_pack("{s:s%, s:s%}", "content", spelt, text.len, "prompt", spelt, text.len));
    } else {
        service_refuse(s, x, &e, false);
    }
    strbuf_deinit(&text);
    question_free(q);
    if (may) {
        claim_end(s->claims, &claim);
    }
}

/* ---- The server itself. ---- */

static void api_health(struct service *s, struct exchange *x, const struct route_match *m)
{
    (void)m;
    service_reply(s, x, 200, json_pack("{s:s}", "status", "ok"));
}

static void api_metrics(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct strbuf text = {0};
    struct batcher_counts now = enginethread_counts(s->model.thread);
    size_t connections = s->http ? httpserver_connections(s->http) : 0;
    unsigned status = metrics_text(s->metrics, &now, connections, &text) == ERR_OK ? 200 : 503;
    (void)m;
    metrics_request(s->metrics, status);
    exchange_reply(x, status, "text/plain; version=0.0.4; charset=utf-8", &text);
}

#define API_CHAT                                                                                   \
    {                                                                                              \
        .scope = CALLER_CHAT                                                                       \
    }

static const struct route_row api_rows[] = {
    {"POST", "/chat/completions", API_CHAT, .api = true, .handle = api_chat},
    {"POST", "/completions", API_CHAT, .api = true, .handle = api_completions},
    {"POST", "/responses", API_CHAT, .api = true, .handle = api_responses},
    {"POST", "/messages", API_CHAT, .api = true, .anthropic = true, .handle = api_messages},
    {"POST", "/messages/count_tokens", API_CHAT, .api = true, .anthropic = true,
     .handle = api_count_tokens},
    {"POST", "/embeddings", API_CHAT, .quick = true, .api = true, .handle = api_embeddings},
    {"GET", "/models", API_CHAT, .quick = true, .api = true, .handle = api_models},
    {"GET", "/models/*", API_CHAT, .quick = true, .api = true, .handle = api_model},
    {"POST", "/tokenize", API_CHAT, .api = true, .handle = api_tokenize},
    {"POST", "/detokenize", API_CHAT, .api = true, .handle = api_detokenize},
    {"GET", "/health", {.scope = CALLER_NOTHING}, .quick = true, .api = true, .handle = api_health},
    {"GET", "/ready", {.scope = CALLER_NOTHING}, .quick = true, .handle = api_health},
    {"GET", "/metrics", {.scope = CALLER_METRICS}, .quick = true, .handle = api_metrics},
};

const struct route_table *const *api_tables(size_t *n)
{
    static const struct route_table routes = {api_rows, sizeof api_rows / sizeof *api_rows};
    static const struct route_table *const tables[] = {
        &routes,
        &pagesession_routes,
        &pagechats_routes,
        &pageanswers_routes,
        &pagekeys_routes,
        &pagepdf_routes,
    };
    *n = sizeof tables / sizeof *tables;
    return tables;
}
