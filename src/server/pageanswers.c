/* server/pageanswers.c: see pageanswers.h. A turn is stored before its answer begins; the prompt is
 * made of the branch that ends with it. */
#include "server/pageanswers.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/chatsettings.h"
#include "server/chattree.h"
#include "server/fields.h"
#include "server/liveanswer.h"
#include "server/service.h"

/* The temperature of another answer where the first was the likeliest, as the terminal's /retry has it. */
#define PAGEANSWERS_AGAIN 0.7f

/* ---- What is asked. ---- */

struct pageanswers_turn {
    const char *parent, *content;
    const json_t *attachments, *settings;
    int think;
};

static const char *const pageanswers_thinks[] = {"off", "on", "max", NULL};

#define PAGEANSWERS_IN(field) offsetof(struct pageanswers_turn, field)

static const struct fields_row pageanswers_rows[] = {
    {"parent", .type = FIELDS_STRING, .offset = PAGEANSWERS_IN(parent), .max = 64},
    {"content", .type = FIELDS_STRING, .offset = PAGEANSWERS_IN(content)},
    {"attachments", .type = FIELDS_ARRAY, .offset = PAGEANSWERS_IN(attachments),
     .max = CHATTREE_ATTACHMENTS_MAX},
    {"settings", .type = FIELDS_OBJECT, .offset = PAGEANSWERS_IN(settings)},
    {"think", .type = FIELDS_WORD, .offset = PAGEANSWERS_IN(think), .words = pageanswers_thinks},
};

/* ---- A branch as a question. ---- */

static const char *pageanswers_string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* What a person said, behind the files that came with it, laid out as DeepSeek publishes it for its
 * own app (the model card of R1, "file uploading"). */
static const char *pageanswers_said(struct question *q, const char *content,
                                    const json_t *attachments, struct apierror *e)
{
    struct strbuf text = {0};
    char *joined = NULL;
    size_t i;
    json_t *file;
    err result = ERR_OK;
    if (json_array_size(attachments) == 0) {
        return content;
    }
    json_array_foreach((json_t *)attachments, i, file)
    {
        result = result == ERR_OK
                     ? strbuf_printf(
                           &text, "[file name]: %s\n[file content begin]\n%s\n[file content end]\n",
                           pageanswers_string(file, "name"), pageanswers_string(file, "text"))
                     : result;
    }
    result = result == ERR_OK ? strbuf_puts(&text, content) : result;
    result = result == ERR_OK ? strbuf_take(&text, &joined) : result;
    strbuf_deinit(&text);
    return question_keep(q, joined, e);
}

/* `extra` messages more than the branch's will follow. */
static bool pageanswers_messages(struct question *q, const char *system, const json_t *branch,
                                 size_t extra, struct apierror *e)
{
    size_t n = json_array_size(branch), i;
    json_t *message;
    q->messages = question_alloc(q, n + extra + 1, sizeof *q->messages, e);
    if (!q->messages) {
        return false;
    }
    if (*system) {
        q->messages[q->n_messages++] =
            (struct chat_message){.role = CHAT_SYSTEM, .content = system};
    }
    json_array_foreach((json_t *)branch, i, message)
    {
        struct chat_message *m = &q->messages[q->n_messages++];
        m->content = pageanswers_string(message, "content");
        if (strcmp(pageanswers_string(message, "role"), "assistant") == 0) {
            m->role = CHAT_ASSISTANT;
            m->reasoning = pageanswers_string(message, "reasoning");
            m->reasoning = *m->reasoning ? m->reasoning : NULL;
        } else {
            m->role = CHAT_USER;
            m->content =
                pageanswers_said(q, m->content, json_object_get(message, "attachments"), e);
            if (!m->content) {
                return false;
            }
        }
    }
    return true;
}

/* No wish, as it is of the API: who asks here was told what the model can do. */
static bool pageanswers_think(const struct service *s, struct question *q, int think, struct apierror *e)
{
    static const enum chat_thinking meant[] = {CHAT_NO_THINKING, CHAT_THINKING, CHAT_THINKING_MAX};
    bool off = meant[think] == CHAT_NO_THINKING;
    q->think = meant[think];
    return (off ? question_may_skip(s->model.format) : chat_can_think(s->model.format)) ||
           apierror_set(e, 400, "unsupported", "think", "think is \"%s\"; this model %s: say \"%s\"",
                        pageanswers_thinks[think], off ? "always thinks" : "cannot think",
                        pageanswers_thinks[off]);
}

/* A question whose document holds the chat and its branch to `leaf` (NULL: none yet). NULL: *e. */
static struct question *pageanswers_question(struct service *s, const char *owner, const char *chat,
                                             const char *leaf, const json_t *settings, size_t extra,
                                             struct apierror *e)
{
    struct errinfo info = {0};
    json_t *record = NULL, *branch = NULL;
    struct question *q = question_new(&s->is.sampling, s->model.format);
    err result = q ? chatstore_chat(s->chats, owner, chat, &record, &info) : ERR_NOMEM;
    if (result == ERR_OK && leaf) {
        result = chattree_branch(s->chats, owner, chat, leaf, &branch, &info);
    }
    if (result != ERR_OK) {
        apierror_from(e, result, &info);
    } else {
        q->document =
            json_pack("{s:O, s:O?, s:O?}", "chat", record, "branch", branch, "settings", settings);
        if (!q->document) {
            apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the prompt");
        } else if (pageanswers_messages(q, pageanswers_string(record, "system"), branch, extra,
                                        e)) {
            chatsettings_apply(q, json_object_get(record, "settings"), settings, e);
        }
    }
    json_decref(record);
    json_decref(branch);
    if (e->status) {
        question_free(q);
        return NULL;
    }
    return q;
}

/* ---- Turns and answers. ---- */

/* An answer that is to be made, or is. */
struct pageanswers_answer {
    struct service *service;
    struct claim claim;
};

static void pageanswers_used(void *user, const struct answering_usage *usage, bool whole)
{
    struct pageanswers_answer *a = user;
    service_meter(a->service, &a->claim, usage, whole);
    mem_free(a);
}

static void pageanswers_begin(struct pageanswers_answer *take_a, const struct exchange *x,
                              struct question *take_q, const char *id)
{
    struct service *s = take_a->service;
    const struct caller *who = exchange_caller(x);
    const json_t *chat = json_object_get(take_q->document, "chat");
    bool temporary = json_is_true(json_object_get(chat, "temporary"));
    const struct liveanswer_options o = {.owner = who->owner,
                                         .id = id,
                                         .chat = pageanswers_string(chat, "id"),
                                         .number = caller_number(who, s->secret),
                                         .drawer = service_page_drawer(s, who->owner, temporary),
                                         .short_of = take_a->claim.short_of,
                                         .used = pageanswers_used,
                                         .user = take_a};
    if (!liveanswer_begin(s->live, take_q, &o)) {
        service_forget(s, who->owner);
    }
}

/* The request's body, over what a turn that says nothing means; NULL: the reply says what is wrong. */
static json_t *pageanswers_body(struct service *s, struct exchange *x, struct pageanswers_turn *out)
{
    struct apierror e = {0};
    json_t *body = NULL;
    *out = (struct pageanswers_turn){.think = !question_may_skip(s->model.format)};
    if (fields_body(x, &body, &e) && fields_read(&FIELDS_OF(pageanswers_rows), body, "", out, NULL, &e)) {
        return body;
    }
    json_decref(body);
    service_refuse(s, x, &e, false);
    return NULL;
}

/* How many of a line's first `most` bytes are whole words, or, where a word is longer, whole letters. */
static size_t pageanswers_words(const char *line, size_t most)
{
    size_t n = most;
    for (; n > 0 && line[n] != ' '; n--) {}
    for (; n > 0 && line[n - 1] == ' '; n--) {}
    if (n < most / 2) {
        for (n = most; n > 0 && ((unsigned char)line[n] & 0xc0) == 0x80; n--) {}
    }
    return n;
}

/* A chat without a name gets its first words as one. */
static void pageanswers_name(struct service *s, const char *owner, const char *chat,
                             const struct question *q, const char *content)
{
    enum { PAGEANSWERS_NAME = 60 };
    const json_t *record = json_object_get(q->document, "chat");
    size_t n = strcspn(content + strspn(content, " \r\n\t"), "\r\n");
    struct errinfo info = {0};
    if (*pageanswers_string(record, "title") || n == 0) {
        return;
    }
    const char *from = content + strspn(content, " \r\n\t");
    bool whole = n <= PAGEANSWERS_NAME;
    n = whole ? n : pageanswers_words(from, PAGEANSWERS_NAME);
    json_t *fields = json_pack("{s:s%+}", "title", from, n, whole ? "" : "…"), *out = NULL;
    err e = chatstore_patch(s->chats, owner, chat, fields, &out, &info);
    (void)e; /* it stays without a name then */
    json_decref(fields);
    json_decref(out);
}

/* A turn or another answer to one that is there: how it is stored differs. Appends nothing to the chat when it
 * fails. */
typedef err (*pageanswers_store)(struct service *s, const struct exchange *x, const char *chat,
                                 const struct pageanswers_turn *t, json_t **out, struct errinfo *info);

static err pageanswers_store_turn(struct service *s, const struct exchange *x, const char *chat,
                                  const struct pageanswers_turn *t, json_t **out, struct errinfo *info)
{
    const struct chattree_turn turn = {t->parent, t->content, t->attachments, pageanswers_thinks[t->think]};
    return chattree_ask(s->chats, exchange_caller(x)->owner, chat, &turn, service_now(), out, info);
}

static err pageanswers_store_answer(struct service *s, const struct exchange *x, const char *chat,
                                    const struct pageanswers_turn *t, json_t **out, struct errinfo *info)
{
    return chattree_answer(s->chats, exchange_caller(x)->owner, chat, t->parent, pageanswers_thinks[t->think],
                           service_now(), out, info);
}

/* What is stored of an answer under way is older than what it says: no prompt is made of that. */
static bool pageanswers_over(const struct question *q, struct apierror *e)
{
    const json_t *branch = json_object_get(q->document, "branch");
    size_t n = json_array_size(branch);
    struct errinfo info = {0};
    err result = n > 0 ? chattree_over(json_array_get(branch, n - 1), &info) : ERR_OK;
    return result == ERR_OK || apierror_from(e, result, &info);
}

/* The question with the turn's own words, if it has some, at its end; without, it was answered before, and the
 * likeliest answer is known: another one is drawn. NULL: *e. */
static struct question *pageanswers_whole(struct service *s, const struct exchange *x, const char *chat,
                                          const struct pageanswers_turn *t, json_t *body, struct apierror *e)
{
    struct question *q = pageanswers_question(s, exchange_caller(x)->owner, chat, t->parent, t->settings, 1, e);
    if (q && !t->content && q->sampling.temperature <= 0) {
        q->sampling.temperature = PAGEANSWERS_AGAIN;
    }
    if (q && pageanswers_over(q, e) && pageanswers_think(s, q, t->think, e) && t->content) {
        struct chat_message *last = &q->messages[q->n_messages++];
        last->role = CHAT_USER;
        last->content = json_object_set(q->document, "turn", body) == 0 /* whose text it is */
                            ? pageanswers_said(q, t->content, t->attachments, e)
                            : NULL;
        if (!last->content) {
            apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the prompt");
        }
    }
    if (e->status) {
        question_free(q);
        return NULL;
    }
    return q;
}

/* Whether the question may be asked, is short enough to be answered, and finds a place; then the turn is
 * stored. Where others are faster, the place is gone meanwhile: that becomes the answer's error. */
static bool pageanswers_keep(struct pageanswers_answer *a, const struct exchange *x, const char *chat,
                             const struct pageanswers_turn *t, pageanswers_store store, struct question *q,
                             json_t **out, struct apierror *e)
{
    struct service *s = a->service;
    const struct caller *who = exchange_caller(x);
    struct errinfo info = {0};
    if (!service_admit(s, who, 1, &a->claim, e)) {
        return false;
    }
    if (service_claim(s, q, &a->claim, e)) {
        err result = enginethread_room(s->model.thread, caller_number(who, s->secret), &info);
        result = result == ERR_OK ? store(s, x, chat, t, out, &info) : result;
        if (result == ERR_OK) {
            return true;
        }
        apierror_from(e, result, &info);
    }
    claim_end(s->claims, &a->claim);
    return false;
}

/* Stores, then begins the answer and replies with what was stored. Takes body. */
static void pageanswers_give(struct service *s, struct exchange *x, const char *chat,
                             const struct pageanswers_turn *t, pageanswers_store store, json_t *take_body)
{
    struct apierror e = {0};
    json_t *out = NULL;
    struct pageanswers_answer *a = mem_calloc(1, sizeof *a);
    struct question *q = a ? pageanswers_whole(s, x, chat, t, take_body, &e) : NULL;
    if (a) {
        a->service = s;
    } else {
        apierror_set(&e, 503, "out_of_memory", NULL, "out of memory for the answer");
    }
    if (!q || !pageanswers_keep(a, x, chat, t, store, q, &out, &e)) {
        mem_free(a);
        question_free(q);
        service_refuse(s, x, &e, false);
    } else {
        if (t->content) {
            pageanswers_name(s, exchange_caller(x)->owner, chat, q, t->content);
        }
        pageanswers_begin(a, x, q, pageanswers_string(json_object_get(out, "answer"), "id"));
        service_reply(s, x, 201, json_incref(out));
    }
    json_decref(out);
    json_decref(take_body);
}

static void pageanswers_missing(struct service *s, struct exchange *x, const char *field)
{
    struct apierror e;
    apierror_set(&e, 400, "missing", field, "%s is missing", field);
    service_refuse(s, x, &e, false);
}

static void pageanswers_ask(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct pageanswers_turn t;
    json_t *body = pageanswers_body(s, x, &t);
    if (body && t.content) {
        pageanswers_give(s, x, m->parts[0], &t, pageanswers_store_turn, body);
    } else if (body) {
        json_decref(body);
        pageanswers_missing(s, x, "content");
    }
}

static void pageanswers_again(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct pageanswers_turn t;
    json_t *body = pageanswers_body(s, x, &t);
    t.content = NULL; /* it is the parent's */
    if (body && t.parent) {
        pageanswers_give(s, x, m->parts[0], &t, pageanswers_store_answer, body);
    } else if (body) {
        json_decref(body);
        pageanswers_missing(s, x, "parent");
    }
}

/* ---- Answers under way. ---- */

/* An answer that is over is a stream of one event. */
static void pageanswers_stored(struct service *s, struct exchange *x, const char *id)
{
    struct errinfo info = {0};
    struct apierror error;
    struct strbuf out = {0};
    json_t *message = NULL;
    err e = chattree_message(s->chats, exchange_caller(x)->owner, id, &message, NULL, &info);
    e = e == ERR_OK ? strbuf_puts(&out, "id: 1\n") : e;
    e = e == ERR_OK ? wirereply_sse(&out, "end", message) : e;
    if (e != ERR_OK) {
        strbuf_deinit(&out);
        apierror_from(&error, e, &info);
        service_refuse(s, x, &error, false);
        return;
    }
    exchange_add_header(x, "Cache-Control", "no-store");
    exchange_reply(x, 200, "text/event-stream", &out);
}

static bool pageanswers_number(const char *text, uint64_t *out)
{
    enum { PAGEANSWERS_DIGITS = 19 };
    *out = strtoull(text, NULL, 10);
    return *text && strlen(text) <= PAGEANSWERS_DIGITS && strspn(text, "0123456789") == strlen(text);
}

static void pageanswers_stream(struct service *s, struct exchange *x, const struct route_match *m)
{
    const char *from = exchange_query(x, "from");
    from = from ? from : exchange_header(x, "Last-Event-ID");
    uint64_t number = 0;
    if (from && !pageanswers_number(from, &number)) {
        struct apierror error;
        apierror_set(&error, 400, "invalid_value", "from",
                     "from is the number of the last event that came; digits were expected");
        service_refuse(s, x, &error, false);
        return;
    }
    if (!liveanswer_stream(s->live, exchange_caller(x)->owner, m->parts[0], number, x)) {
        pageanswers_stored(s, x, m->parts[0]);
    }
}

static void pageanswers_no_content(struct service *s, struct exchange *x)
{
    metrics_request(s->metrics, 204);
    exchange_reply(x, 204, NULL, NULL);
}

/* What is over cannot be stopped any more, which is no mistake; what never was is one. */
static void pageanswers_control(struct service *s, struct exchange *x, const char *id, bool found)
{
    struct errinfo info = {0};
    struct apierror error;
    json_t *message = NULL;
    err e = found
                ? ERR_OK
                : chattree_message(s->chats, exchange_caller(x)->owner, id, &message, NULL, &info);
    json_decref(message);
    if (e == ERR_OK) {
        pageanswers_no_content(s, x);
    } else {
        apierror_from(&error, e, &info);
        service_refuse(s, x, &error, false);
    }
}

static void pageanswers_stop(struct service *s, struct exchange *x, const struct route_match *m)
{
    const char *id = m->parts[0];
    pageanswers_control(s, x, id, liveanswer_stop(s->live, exchange_caller(x)->owner, id));
}

static void pageanswers_now(struct service *s, struct exchange *x, const struct route_match *m)
{
    const char *id = m->parts[0];
    pageanswers_control(s, x, id, liveanswer_answer_now(s->live, exchange_caller(x)->owner, id));
}

/* ---- How long it would be. ---- */

struct pageanswers_count {
    const char *chat, *leaf, *content;
    const json_t *attachments;
};

static const struct fields_row pageanswers_count_rows[] = {
    {"chat", .type = FIELDS_STRING, .offset = offsetof(struct pageanswers_count, chat), .max = 64},
    {"leaf", .type = FIELDS_STRING, .offset = offsetof(struct pageanswers_count, leaf), .max = 64},
    {"content", .type = FIELDS_STRING, .offset = offsetof(struct pageanswers_count, content)},
    {"attachments", .type = FIELDS_ARRAY, .offset = offsetof(struct pageanswers_count, attachments),
     .max = CHATTREE_ATTACHMENTS_MAX},
};

/* A count, or, where more is known to be there than fits, how many tokens that are at least. */
struct pageanswers_counted {
    size_t tokens;
    bool least;
};

static bool pageanswers_count_text(struct service *s, const struct question *q, struct pageanswers_counted *out,
                                   struct apierror *e)
{
    struct tokenizer_ids ids = {0};
    size_t known, bytes = 0;
    out->tokens = answering_least(&s->model, q, &known);
    out->least = out->tokens >= enginethread_limit(s->model.thread);
    if (out->least) {
        return true;
    }
    for (size_t i = 0; i < q->n_messages; i++) {
        const struct chat_message *m = &q->messages[i];
        bytes += strlen(m->content) + (m->reasoning ? strlen(m->reasoning) : 0);
    }
    if (bytes > SERVICE_COUNTED_MAX) {
        return apierror_set(e, 413, "too_large", NULL,
                            "the text has %zu bytes; tokens are counted in at most %d", bytes,
                            SERVICE_COUNTED_MAX);
    }
    bool ok = answering_encode(&s->model, q, &ids, e);
    out->tokens = ids.len;
    tokenizer_ids_deinit(&ids);
    return ok;
}

static bool pageanswers_count_turn(struct service *s, const char *owner, const struct pageanswers_count *c,
                                   struct pageanswers_counted *out, struct apierror *e)
{
    struct question *q = c->chat ? pageanswers_question(s, owner, c->chat, c->leaf, NULL, 1, e)
                                 : question_new(&s->is.sampling, s->model.format);
    if (!q) {
        return e->status == 0 ? apierror_set(e, 503, "out_of_memory", NULL, "out of memory")
                              : false;
    }
    if (!q->messages) {
        q->messages = question_alloc(q, 1, sizeof *q->messages, e);
    }
    bool ok = q->messages;
    bool asked = q->n_messages > 0 && q->messages[q->n_messages - 1].role == CHAT_USER;
    if (ok && (c->content || !asked)) {
        struct chat_message *last = &q->messages[q->n_messages++];
        last->role = CHAT_USER;
        last->content = pageanswers_said(q, c->content ? c->content : "", c->attachments, e);
        ok = last->content;
    }
    ok = ok && pageanswers_count_text(s, q, out, e);
    question_free(q);
    return ok;
}

static void pageanswers_count(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct pageanswers_count c = {0};
    struct pageanswers_counted counted = {0};
    struct apierror e = {0};
    json_t *body = NULL;
    bool waits = false;
    (void)m;
    if (fields_body(x, &body, &e) && fields_read(&FIELDS_OF(pageanswers_count_rows), body, "", &c, NULL, &e)) {
        waits = c.chat && service_waits(s, x, c.chat);
        if (!waits && service_may_count(s, exchange_caller(x), &e)) {
            pageanswers_count_turn(s, exchange_caller(x)->owner, &c, &counted, &e);
        }
    }
    json_decref(body);
    if (waits) {
        return;
    }
    if (e.status) {
        service_refuse(s, x, &e, false);
    } else {
        service_reply(s, x, 200,
                      json_pack("{s:I, s:b, s:I}", "tokens", (json_int_t)counted.tokens, "at_least",
                                counted.least, "context",
                                (json_int_t)enginethread_limit(s->model.thread)));
    }
}

#define PAGEANSWERS_NEED                                                                           \
    {                                                                                              \
        .scope = CALLER_CHAT                                                                       \
    }

static const struct route_row pageanswers_rows_table[] = {
    {"POST", "/api/chats/*/messages", PAGEANSWERS_NEED, .heavy_if_large = true, .handle = pageanswers_ask},
    {"POST", "/api/chats/*/answers", PAGEANSWERS_NEED, .heavy_if_large = true, .handle = pageanswers_again},
    {"GET", "/api/answers/*/stream", PAGEANSWERS_NEED, .handle = pageanswers_stream},
    {"POST", "/api/answers/*/stop", PAGEANSWERS_NEED, .handle = pageanswers_stop},
    {"POST", "/api/answers/*/answer-now", PAGEANSWERS_NEED, .handle = pageanswers_now},
    {"POST", "/api/count", PAGEANSWERS_NEED, .handle = pageanswers_count},
};

const struct route_table pageanswers_routes = {
    pageanswers_rows_table, sizeof pageanswers_rows_table / sizeof *pageanswers_rows_table};
