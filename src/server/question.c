/* server/question.c: see question.h. */
#include "server/question.h"

#include <sodium.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "server/fields.h"

bool question_no_memory(struct apierror *e)
{
    apierror_set(e, 503, "out_of_memory", NULL, "out of memory reading the request");
    e->retry_after = 5;
    return false;
}

struct question *question_new(const struct sampling *defaults, enum chat_format format)
{
    struct question *q = mem_calloc(1, sizeof *q);
    if (q) {
        q->format = format;
        q->sampling = *defaults;
        randombytes_buf(&q->sampling.seed, sizeof q->sampling.seed);
        q->n = 1;
        q->since = progress_clock();
    }
    return q;
}

void question_free(struct question *q)
{
    if (q) {
        for (size_t i = 0; i < q->n_owned; i++) {
            mem_free(q->owned[i]);
        }
        mem_free(q->owned);
        tokenizer_ids_deinit(&q->prompt);
        strbuf_deinit(&q->unknown);
        json_decref(q->calls);
        json_decref(q->document);
        mem_free(q);
    }
}

static bool question_own(struct question *q, void *p)
{
    void **owned = mem_grow(q->owned, q->n_owned, &q->cap_owned, sizeof *owned);
    if (!owned) {
        return false;
    }
    q->owned = owned;
    q->owned[q->n_owned++] = p;
    return true;
}

void *question_alloc(struct question *q, size_t n, size_t size, struct apierror *e)
{
    void *p = mem_calloc(n ? n : 1, size);
    if (!p || !question_own(q, p)) {
        mem_free(p);
        question_no_memory(e);
        return NULL;
    }
    return p;
}

char *question_keep(struct question *q, char *text, struct apierror *e)
{
    if (!text || !question_own(q, text)) {
        mem_free(text);
        question_no_memory(e);
        return NULL;
    }
    return text;
}

char *question_text(struct question *q, struct strbuf *text, struct apierror *e)
{
    char *taken = NULL;
    err result = strbuf_take(text, &taken);
    return question_keep(q, result == ERR_OK ? taken : NULL, e);
}

bool question_content(struct question *q, const json_t *content, const char *where, const char *items,
                      question_item *read, const char **out, struct apierror *e)
{
    struct strbuf text = {0};
    bool ok = true;
    if (json_is_string(content)) {
        *out = json_string_value(content);
        return true;
    }
    if (!json_is_array(content)) {
        return apierror_set(e, 400, "invalid_type", where, "%s is %s; expected a string or a list of %s", where,
                            json_type_name(content), items);
    }
    for (size_t i = 0; i < json_array_size(content) && ok; i++) {
        char path[FIELDS_PATH];
        ok = read(q, json_array_get(content, i), fields_item(path, where, i), &text, e);
    }
    *out = ok ? question_text(q, &text, e) : NULL;
    strbuf_deinit(&text);
    return *out != NULL;
}

char *question_json(struct question *q, const json_t *value, struct apierror *e)
{
    return question_keep(q, json_text_dup(value, JSON_COMPACT | JSON_ENCODE_ANY), e);
}

bool question_may_skip(enum chat_format f)
{
    return !chat_can_think(f) || chat_can_skip_thinking(f);
}

bool question_think(struct question *q, enum chat_thinking think, const char *field, struct apierror *e)
{
    return think != CHAT_NO_THINKING || question_may_skip(q->format)
               ? question_think_if(q, think, field, e)
               : apierror_set(e, 400, "unsupported", field,
                              "%s says not to think, and this model always thinks: leave it out", field);
}

bool question_think_if(struct question *q, enum chat_thinking think, const char *field, struct apierror *e)
{
    if (think == CHAT_NO_THINKING ? !question_may_skip(q->format) : !chat_can_think(q->format)) {
        return fields_ignore(field, &q->unknown, e);
    }
    q->think = think;
    return true;
}

const char *const question_verbosities[] = {"medium", "low", "high", NULL};

bool question_verbosity(struct question *q, int verbosity, const char *field, struct apierror *e)
{
    return verbosity == 0 || fields_ignore(field, &q->unknown, e);
}

bool question_call(struct question *q, const char *id, const char *path, struct apierror *e)
{
    if (!id || !*id) {
        q->any_call = true;
        return true;
    }
    if (json_is_string(json_object_get(q->calls, id))) {
        return apierror_set(e, 400, "invalid_value", path,
                            "%s is \"%.80s\", as that of another call without a result yet: which one would "
                            "a result be of?",
                            path, id);
    }
    q->calls = q->calls ? q->calls : json_object();
    return json_object_set_new_nocheck(q->calls, id, json_string(path)) == 0 || question_no_memory(e);
}

bool question_called(struct question *q, const char *call_id, const char *path, struct apierror *e)
{
    const json_t *call = json_object_get(q->calls, call_id);
    if (json_is_string(call)) {
        return json_object_set_new_nocheck(q->calls, call_id, json_null()) == 0 || question_no_memory(e);
    }
    return (q->any_call && !call) ||
           apierror_set(e, 400, "invalid_value", path,
                        call ? "%s is \"%.80s\": the call of that id has a result already"
                             : "%s is \"%.80s\": no call that it could answer has that id",
                        path, call_id);
}

bool question_answered(struct question *q, struct apierror *e)
{
    const char *id;
    json_t *path;
    json_object_foreach(q->calls, id, path)
    {
        if (json_is_string(path)) {
            return apierror_set(e, 400, "invalid_value", json_string_value(path),
                                "%s is \"%.80s\": this call has no result, which must follow before the "
                                "assistant goes on",
                                json_string_value(path), id);
        }
    }
    json_object_clear(q->calls);
    q->any_call = false;
    return true;
}

static bool question_must_call(const struct question *q)
{
    return q->choice == QUESTION_REQUIRED || q->choice == QUESTION_NAMED;
}

bool question_begun(const struct question *q, struct chat_message *last, const char *path, struct apierror *e)
{
    last->open = true;
    return !question_must_call(q) || !last->content || !*last->content ||
           apierror_set(e, 400, "invalid_value", path,
                        "an answer that must be a call (tool_choice) cannot begin with a text (%s)", path);
}

bool question_agrees(const struct question *q, struct apierror *e)
{
    return !question_must_call(q) || q->form == QUESTION_FREE ||
           apierror_set(e, 400, "invalid_value", q->form_at,
                        "an answer that must be a call (tool_choice) cannot have a form (%s) too", q->form_at);
}

bool question_parse(struct question *q, const char *body, size_t len, struct apierror *e)
{
    struct errinfo info = {0};
    err result = json_parse(body, len, "the request", &q->document, &info);
    if (result == ERR_NOMEM) {
        return question_no_memory(e);
    }
    if (result != ERR_OK) {
        return apierror_set(e, 400, "invalid_json", NULL, "%s", info.message);
    }
    if (!json_is_object(q->document)) {
        return apierror_set(e, 400, "invalid_type", NULL,
                            "the request is %s; expected a JSON object",
                            json_type_name(q->document));
    }
    return true;
}
