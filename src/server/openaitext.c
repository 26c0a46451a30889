/* server/openaitext.c: see openaitext.h. */
#include "server/openaitext.h"

#include <stddef.h>
#include <string.h>

#include "server/openaifields.h"
#include "server/otherfields.h"

struct openaitext_request {
    struct openaifields fields; /* first: its rows' offsets begin here */
    const json_t *prompt;
    const char *suffix;
    int64_t logprobs, best_of;
    bool echo;
};

#define OPENAITEXT_AT(field) offsetof(struct openaitext_request, field)

static const struct fields_row openaitext_rows[] = {
    OPENAIFIELDS_ROWS,
    {"prompt", .type = FIELDS_ANY, .offset = OPENAITEXT_AT(prompt), .required = true},
    {"suffix", .type = FIELDS_STRING, .offset = OPENAITEXT_AT(suffix)},
    {"echo", .type = FIELDS_BOOL, .offset = OPENAITEXT_AT(echo)},
    {"logprobs", .type = FIELDS_INT, .offset = OPENAITEXT_AT(logprobs),
     .max = FATHOM_TOP_LOGPROBS_MAX},
    {"add_special_tokens", .type = FIELDS_REFUSED, .neutral = "true",
     .why = "a prompt that is a string begins as the model wants it; give tokens"},
    {"best_of", .type = FIELDS_INT, .offset = OPENAITEXT_AT(best_of), .min = 1, .max = 1},
};

static bool openaitext_tokens(struct question *q, const json_t *list, struct apierror *e)
{
    size_t n = json_array_size(list);
    q->tokens = question_alloc(q, n, sizeof *q->tokens, e);
    for (size_t i = 0; i < n && q->tokens; i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) > INT32_MAX) {
            return apierror_set(
                e, 400, "invalid_type", "prompt",
                "prompt[%zu] is no token; expected a string, or one list of token numbers", i);
        }
        q->tokens[i] = (int32_t)json_integer_value(id);
    }
    q->n_tokens = n;
    return q->tokens != NULL;
}

static bool openaitext_prompt(struct question *q, const json_t *prompt, struct apierror *e)
{
    if (json_is_array(prompt) && json_array_size(prompt) == 1 &&
        json_is_string(json_array_get(prompt, 0))) {
        prompt = json_array_get(prompt, 0);
    }
    if (json_is_string(prompt)) {
        q->text = json_string_value(prompt);
        return true;
    }
    if (json_is_array(prompt) && json_array_size(prompt) > 0) {
        return openaitext_tokens(q, prompt, e);
    }
    return apierror_set(e, 400, "invalid_type", "prompt",
                        "prompt is %s; expected a string, or one list of token numbers",
                        json_type_name(prompt));
}

bool openaitext_read(struct question *q, struct apierror *e)
{
    struct openaitext_request r = {.fields = openaifields_default(q), .logprobs = -1};
    q->kind = QUESTION_TEXT;
    q->prompt_at = "prompt";
    if (!fields_read(&FIELDS_AND(openaitext_rows, &otherfields), q->document, "", &r, &q->unknown, e) ||
        !openaifields_apply(&r.fields, q, e) || !openaitext_prompt(q, r.prompt, e)) {
        return false;
    }
    if (r.suffix) {
        q->kind = QUESTION_FILL;
        q->prompt_at = "suffix"; /* which is what few models know */
        q->suffix = r.suffix;
        if (q->tokens) {
            return apierror_set(e, 400, "invalid_type", "prompt",
                                "with a suffix the prompt must be a string");
        }
    }
    if (r.echo && (q->tokens || r.logprobs >= 0)) {
        return apierror_set(e, 400, "unsupported", "echo",
                            q->tokens ? "echo needs a prompt that is a string"
                                      : "echo gives no log-probabilities of the prompt; leave out "
                                        "echo or logprobs");
    }
    q->echo = r.echo;
    q->logprobs = r.logprobs >= 0;
    q->top_logprobs = r.logprobs >= 0 ? (int)r.logprobs : 0;
    return true;
}

/* ---- Answers. ---- */

/* Text completions have the older form of log-probabilities: lists side by side. */
enum { OPENAITEXT_TOKENS, OPENAITEXT_LOGPROBS, OPENAITEXT_TOP, OPENAITEXT_OFFSETS, OPENAITEXT_LISTS };

static json_t *openaitext_top(const struct tokenizer *t, const struct answering_token *token)
{
    json_t *top = json_object();
    for (int i = 0; i < token->n_top; i++) {
        json_t *piece = wiretokens_piece(t, token->top_ids[i]);
        int failed = json_object_set_new(top, json_string_value(piece),
                                         json_real(wiretokens_number(token->top_logprobs[i])));
        json_decref(piece);
        if (failed) {
            json_decref(top);
            return NULL;
        }
    }
    return top;
}

/* wiretokens_one; *offset: how many characters of the answer come before this token, and then with it. */
static json_t *openaitext_one(const struct tokenizer *t, const struct answering_token *token, size_t list,
                              size_t *offset)
{
    switch (list) {
    case OPENAITEXT_TOKENS: return wiretokens_piece(t, token->id);
    case OPENAITEXT_LOGPROBS: return json_real(wiretokens_number(token->logprob));
    case OPENAITEXT_TOP: return openaitext_top(t, token);
    default: break;
    }
    struct tokenizer_piece piece = tokenizer_bytes(t, token->id);
    json_t *before = json_integer((json_int_t)*offset);
    for (size_t i = 0; i < piece.len; i++) {
        *offset += ((unsigned char)piece.data[i] & 0xc0) != 0x80;
    }
    return before;
}

/* Takes the lists. */
static json_t *openaitext_logprobs(json_t *const take_lists[OPENAITEXT_LISTS])
{
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", take_lists[OPENAITEXT_TOKENS], "token_logprobs",
                     take_lists[OPENAITEXT_LOGPROBS], "top_logprobs", take_lists[OPENAITEXT_TOP], "text_offset",
                     take_lists[OPENAITEXT_OFFSETS]);
}

static json_t *openaitext_logprobs_of_event(const struct wirereply *r, const struct answering_event *e)
{
    json_t *lists[OPENAITEXT_LISTS];
    for (size_t i = 0; i < OPENAITEXT_LISTS; i++) {
        lists[i] = wiretokens_list(r->model->tokenizer, e->tokens, openaitext_one, i,
                                   &r->choices[e->choice].offset);
    }
    return openaitext_logprobs(lists);
}

static json_t *openaitext_logprobs_of(struct wirereply *r, const struct wirereply_choice *c)
{
    json_t *lists[OPENAITEXT_LISTS];
    for (size_t i = 0; i < OPENAITEXT_LISTS; i++) {
        lists[i] = wiretokens_stand_in(&r->places, &c->content_tokens, 0, openaitext_one, i);
    }
    return openaitext_logprobs(lists);
}

static const char *openaitext_finish(enum answering_finish finish)
{
    return finish == ANSWERING_LENGTH      ? "length"
           : finish == ANSWERING_CANCELLED ? "insufficient_system_resource"
                                           : "stop";
}

/* Takes `logprobs`. */
static json_t *openaitext_document(const struct wirereply *r, json_t *take_choices,
                                   const json_t *usage)
{
    return json_pack("{s:s+, s:s, s:I, s:s, s:s, s:o, s:O*}", "id", "cmpl-", r->id, "object",
                     "text_completion", "created", (json_int_t)r->created, "model", r->model_id,
                     "system_fingerprint", "fathom-" FATHOM_VERSION, "choices", take_choices,
                     "usage", usage);
}

static json_t *openaitext_choice(size_t index, const char *text, size_t len, json_t *take_logprobs,
                                 const char *finish)
{
    return json_pack("{s:i, s:s%, s:o, s:s?}", "index", (int)index, "text", text, len, "logprobs",
                     take_logprobs ? take_logprobs : json_null(), "finish_reason", finish);
}

static err openaitext_chunk(const struct wirereply *r, json_t *take_choice, struct strbuf *out)
{
    return wirereply_sse(out, NULL, openaitext_document(r, json_pack("[o]", take_choice), NULL));
}

static const char *openaitext_echo(const struct wirereply *r)
{
    return r->question->echo && r->question->text ? r->question->text : "";
}

static err openaitext_begin(struct wirereply *r, struct strbuf *out)
{
    const char *echo = openaitext_echo(r);
    for (size_t i = 0; i < r->question->n && *echo; i++) {
        TRY(openaitext_chunk(r, openaitext_choice(i, echo, strlen(echo), NULL, NULL), out));
    }
    return ERR_OK;
}

static err openaitext_event(struct wirereply *r, const struct answering_event *e,
                            struct strbuf *out)
{
    if (e->kind == ANSWERING_CONTENT || e->kind == ANSWERING_DONE) {
        const char *finish = e->kind == ANSWERING_DONE ? openaitext_finish(e->finish) : NULL;
        json_t *logprobs = e->tokens ? openaitext_logprobs_of_event(r, e) : NULL;
        return openaitext_chunk(r, openaitext_choice(e->choice, e->text, e->len, logprobs, finish), out);
    }
    if (e->kind == ANSWERING_END) {
        if (r->question->usage) {
            json_t *usage = wirereply_usage(&e->usage);
            err result = wirereply_sse(out, NULL, openaitext_document(r, json_array(), usage));
            json_decref(usage);
            TRY(result);
        }
        return strbuf_puts(out, "data: [DONE]\n\n");
    }
    return ERR_OK;
}

static json_t *openaitext_whole_choice(struct wirereply *r, size_t i)
{
    const struct wirereply_choice *c = &r->choices[i];
    struct strbuf text = {0};
    err e = strbuf_puts(&text, openaitext_echo(r));
    e = e == ERR_OK && c->content.len > 0 ? strbuf_append(&text, c->content.data, c->content.len)
                                          : e;
    json_t *logprobs = r->question->logprobs ? openaitext_logprobs_of(r, c) : NULL;
    json_t *choice = e == ERR_OK ? openaitext_choice(i, text.data, text.len, logprobs,
                                                     openaitext_finish(c->finish))
                                 : NULL;
    strbuf_deinit(&text);
    return choice;
}

static err openaitext_whole(struct wirereply *r, struct strbuf *out)
{
    json_t *choices = json_array(), *usage = wirereply_usage(&r->usage);
    err e = ERR_OK;
    for (size_t i = 0; i < r->question->n && e == ERR_OK; i++) {
        e = json_array_append_new(choices, openaitext_whole_choice(r, i)) == 0 ? ERR_OK : ERR_NOMEM;
    }
    if (e == ERR_OK) {
        e = wirereply_document(r, out, openaitext_document(r, choices, usage));
    } else {
        json_decref(choices);
    }
    json_decref(usage);
    return e;
}

const struct wirereply_format openaitext_format = {
    .begin = openaitext_begin,
    .event = openaitext_event,
    .whole = openaitext_whole,
};
