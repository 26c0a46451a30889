/* server/answering.c: see answering.h. Each choice is a stream of tokens, parsed as they are read;
 * what the parser finds waits in one queue. */
#include "server/answering.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "text/fim.h"
#include "text/grammarmask.h"
#include "text/schemagrammar.h"
#include "text/toolgrammar.h"

enum { ANSWERING_ID = 32, ANSWERING_SMALL = 32 << 10 /* bytes that are soon counted */ };
_Static_assert((int)CHAT_STOP_MAX <= (int)FIM_STOP_MAX, "one list serves both");

struct answering_item {
    struct answering_item *next;
    struct answering_event event;
    struct answering_token *tokens; /* owned */
    char text[];
};

struct answering_call {
    struct answering_call *next;
    char id[ANSWERING_ID];
};

struct answering_choice {
    struct answering *of;
    size_t index;
    struct enginethread_stream *stream;
    struct answerparser *parser; /* NULL: plain text */
    struct grammarmask *mask;
    bool reasoning, calling, called, over, short_of_memory;
    struct answering_token *tokens, **tokens_end; /* not yet given out */
    struct answering_usage usage;
};

struct answering {
    const struct answering_model *model;
    struct question *question;
    struct tokenizer_ids think_end; /* empty: it does not think */
    struct grammar *grammar;
    int32_t stop_ids[FIM_STOP_MAX + QUESTION_STOPS_MAX], shown_ids[CHAT_THINK_MAX + CHAT_CALL_MAX];
    size_t n_stop_ids, n_shown_ids;
    struct answering_choice *choices; /* [question->n] */
    size_t n_over;
    struct answering_item *first, **last, *given;
    struct answering_call *calls;
    struct apierror error;
    bool ended;
    answering_used used; /* NULL: nobody asks, or was told */
    void *user;
    atomic_size_t holders; /* the reader, and jobs that the engine has not let go of */
};

/* ---- What is asked. ---- */

/* The formats whose models know tools, "a, b, c". */
static const char *answering_callers(char out[256])
{
    size_t n = 0;
    for (enum chat_format f = 0; f < CHAT_FORMATS; f++) {
        if (chat_can_call(f) && n < 200) {
            n += (size_t)snprintf(out + n, 256 - n, "%s%s", n ? ", " : "", chat_format_name(f));
        }
    }
    return out;
}

static bool answering_check_chat(const struct answering_model *m, const struct question *q,
                                 struct apierror *e)
{
    if (m->format == CHAT_PLAIN) {
        return apierror_set(
            e, 400, "unsupported", "messages",
            "this model knows no conversations: it only goes on with a text (/v1/completions)");
    }
    if (q->n_tools > 0 && !chat_can_call(m->format)) {
        char known[256];
        return apierror_set(e, 400, "unsupported", "tools",
                            "this model knows no tools (chat format %s); those of the formats %s do: "
                            "`fathom list --catalogue` marks them",
                            chat_format_name(m->format), answering_callers(known));
    }
    return true;
}

static bool answering_failed(struct apierror *e, err code, const struct errinfo *info)
{
    return code == ERR_OK || apierror_from(e, code, info);
}

/* A conversation with the tools in its first system message, which is made where there is none. */
static err answering_encode_chat(const struct answering_model *m, const struct question *q,
                                 struct tokenizer_ids *out, struct errinfo *info)
{
    bool tools = q->n_tools > 0 && q->choice != QUESTION_NONE;
    size_t extra = tools && (q->n_messages == 0 || q->messages[0].role != CHAT_SYSTEM);
    struct chat_message *messages = mem_calloc(q->n_messages + extra + 1, sizeof *messages);
    if (!messages) {
        return err_set(info, ERR_NOMEM, "out of memory for %zu messages", q->n_messages);
    }
    messages[0].role = CHAT_SYSTEM;
    if (q->n_messages > 0) {
        memcpy(messages + extra, q->messages, q->n_messages * sizeof *messages);
    }
    if (tools) {
        messages[0].tools = q->tools;
        messages[0].n_tools = q->n_tools;
    }
    err result =
        chat_encode(m->tokenizer, m->format, messages, q->n_messages + extra, q->think, out, info);
    mem_free(messages);
    return result;
}

/* What was asked for is wrong in that field, where nothing says more; returns false. NULL: in none. */
static bool answering_blame(struct apierror *e, const char *field)
{
    if (e->status == 400 && !*e->param && field) {
        snprintf(e->param, sizeof e->param, "%s", field);
    }
    return false;
}

static bool answering_encode_any(const struct answering_model *m, const struct question *q,
                                 struct tokenizer_ids *out, struct apierror *e)
{
    struct errinfo info = {0};
    if (q->kind == QUESTION_CHAT) {
        return answering_check_chat(m, q, e) &&
               answering_failed(e, answering_encode_chat(m, q, out, &info), &info);
    }
    if (q->kind == QUESTION_FILL) {
        return answering_failed(e, fim_encode(m->tokenizer, q->text, q->suffix, out, &info), &info);
    }
    if (q->tokens) {
        for (size_t i = 0; i < q->n_tokens; i++) {
            if (q->tokens[i] < 0 || (size_t)q->tokens[i] >= engine_vocab_size(m->engine)) {
                return apierror_set(e, 422, "out_of_range", "prompt",
                                    "prompt holds token %d; this model has 0 to %zu", q->tokens[i],
                                    engine_vocab_size(m->engine) - 1);
            }
        }
        for (size_t i = 0; i < q->n_tokens; i++) {
            if (tokenizer_ids_push(out, q->tokens[i]) != ERR_OK) {
                return apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the prompt");
            }
        }
        return true;
    }
    bool bos = tokenizer_add_bos(m->tokenizer) && tokenizer_bos(m->tokenizer) >= 0;
    err result = bos ? tokenizer_ids_push(out, tokenizer_bos(m->tokenizer)) : ERR_OK;
    if (result == ERR_OK) {
        result = tokenizer_encode(m->tokenizer, q->text, strlen(q->text), false, out, &info);
    }
    return answering_failed(e, result, &info);
}

bool answering_encode(const struct answering_model *m, const struct question *q,
                      struct tokenizer_ids *out, struct apierror *e)
{
    return answering_encode_any(m, q, out, e) || answering_blame(e, q->prompt_at);
}

/* Of a conversation what users said counts, which no format cuts but for the blanks around it. */
size_t answering_least(const struct answering_model *m, const struct question *q, size_t *bytes)
{
    const char *texts[] = {q->kind == QUESTION_CHAT || q->tokens ? NULL : q->text, q->suffix};
    size_t least = 0;
    *bytes = 0;
    for (size_t i = 0; i < 2 + (q->kind == QUESTION_CHAT ? q->n_messages : 0); i++) {
        const char *text = i < 2                                    ? texts[i]
                           : q->messages[i - 2].role == CHAT_USER ? q->messages[i - 2].content
                                                                  : NULL;
        text = text ? text + strspn(text, " \t\r\n") : "";
        size_t n = strlen(text);
        while (n > 0 && strchr(" \t\r\n", text[n - 1])) {
            n--;
        }
        *bytes += n;
        least += n < ANSWERING_SMALL ? 0 : tokenizer_least(m->tokenizer, text, n);
    }
    return least;
}

/* What can never fit is refused before its tokens are counted, which takes a second for ten million bytes. */
static bool answering_may_fit(const struct answering_model *m, const struct question *q, struct apierror *e)
{
    size_t bytes, least = answering_least(m, q, &bytes), limit = engine_context_max(m->engine);
    return least < limit ||
           apierror_set(e, 400, "context_length_exceeded", NULL,
                        "the prompt has at least %zu tokens (%zu bytes of text); this model's context of %zu "
                        "must hold it and at least one more",
                        least, bytes, limit);
}

bool answering_prepare(const struct answering_model *m, struct question *q, struct apierror *e)
{
    struct errinfo info = {0};
    if (q->prompt.len > 0) {
        return true;
    }
    bool good = answering_may_fit(m, q, e) && answering_encode(m, q, &q->prompt, e) &&
                answering_failed(e, enginethread_fits(m->thread, q->prompt.len, &info), &info);
    if (good && q->prompt.len == 0) {
        good = apierror_set(e, 400, "invalid_value", NULL, "nothing to continue: the prompt is empty");
    }
    return good || answering_blame(e, q->prompt_at);
}

/* ---- What it must look like. ---- */

static err answering_calls(struct answering *a, struct errinfo *info)
{
    const struct question *q = a->question;
    const struct toolgrammar_request r = {.tools = q->tools,
                                          .n_tools = q->n_tools,
                                          .only = q->chosen,
                                          .may_answer = q->choice == QUESTION_AUTO,
                                          .one = q->one_call || q->choice == QUESTION_NAMED};
    return toolgrammar_new(a->model->tokenizer, a->model->format, &r, &a->grammar, info);
}

static err answering_grammar(struct answering *a, struct errinfo *info)
{
    const struct question *q = a->question;
    switch (q->form) {
    case QUESTION_JSON: return schemagrammar_new(NULL, &a->grammar, info);
    case QUESTION_SCHEMA: return schemagrammar_new(q->schema, &a->grammar, info);
    case QUESTION_GRAMMAR: return grammar_new(q->grammar, strlen(q->grammar), &a->grammar, info);
    case QUESTION_FREE: break;
    }
    bool calls = q->n_tools > 0 && (q->choice == QUESTION_REQUIRED || q->choice == QUESTION_NAMED ||
                                    (q->choice == QUESTION_AUTO && (q->strict || q->one_call)));
    return calls ? answering_calls(a, info) : ERR_OK;
}

/* What is wrong with a grammar is wrong with the field that it came from. */
static bool answering_bad_form(const struct question *q, err code, const struct errinfo *info,
                               struct apierror *e)
{
    apierror_from(e, code, info);
    return answering_blame(e, q->form == QUESTION_FREE ? "tools" : q->form_at);
}

/* Where an answer by a grammar ends, the grammar says. */
static bool answering_ends_by_itself(const struct question *q, struct apierror *e)
{
    const char *field = q->min_tokens     ? "min_tokens"
                        : q->ignore_eos   ? "ignore_eos"
                        : q->n_stop_ids ? "stop_token_ids"
                                          : NULL;
    return !field || apierror_set(e, 400, "invalid_value", field,
                                  "%s cannot go with %s: where such an answer ends, its grammar says", field,
                                  q->form == QUESTION_FREE ? "tools that are called by a grammar" : q->form_at);
}

/* What is given of an answer with a form: the whole is to keep to it. Such an answer does not think. */
static const char *answering_beginning(const struct question *q)
{
    const struct chat_message *last = q->n_messages > 0 ? &q->messages[q->n_messages - 1] : NULL;
    bool begun = q->form != QUESTION_FREE && last && last->role == CHAT_ASSISTANT && last->open;
    return begun && last->content ? last->content : "";
}

/* The first token's mask, often the one with the most work, is made here, off the engine's thread: a grammar
 * that takes too much is refused before anything of the answer is there. */
static err answering_mask(struct answering *a, struct answering_choice *c, bool thinking,
                          struct errinfo *info)
{
    int32_t think[CHAT_THINK_MAX];
    const uint64_t *bits;
    TRY(grammarmask_new(a->grammar, a->model->trie, &c->mask, info));
    err e = grammarmask_accept_text(c->mask, answering_beginning(a->question), info);
    TRY(e == ERR_OK ? ERR_OK : err_prefix(info, e, "the given beginning of the answer: "));
    TRY(grammarmask_next(c->mask, &bits, info));
    if (thinking && chat_think_ids(a->model->tokenizer, think) == CHAT_THINK_MAX) {
        grammarmask_begin(c->mask, think[1]);
    }
    return ERR_OK;
}

/* ---- The queue. ---- */

static struct answering_item *answering_item(struct answering_choice *c, enum answering_kind kind,
                                             const char *text, size_t len)
{
    struct answering_item *i = mem_calloc(1, sizeof *i + len + 1);
    if (!i) {
        c->short_of_memory = true;
        return NULL;
    }
    memcpy(i->text, text, len);
    i->event =
        (struct answering_event){.kind = kind, .choice = c->index, .text = i->text, .len = len};
    if (kind >= ANSWERING_REASONING && kind <= ANSWERING_CALL_BROKEN) {
        i->tokens = c->tokens;
        i->event.tokens = c->tokens;
        c->tokens = NULL;
        c->tokens_end = &c->tokens;
    }
    *c->of->last = i;
    c->of->last = &i->next;
    return i;
}

static void answering_free_tokens(struct answering_token *t)
{
    for (struct answering_token *next; t; t = next) {
        next = t->next;
        mem_free(t);
    }
}

static void answering_free_item(struct answering_item *i)
{
    if (i) {
        answering_free_tokens(i->tokens);
        mem_free(i);
    }
}

static const char *answering_call_id(struct answering_choice *c)
{
    struct answering_call *call = mem_calloc(1, sizeof *call);
    unsigned char random[12];
    if (!call) {
        c->short_of_memory = true;
        return NULL;
    }
    randombytes_buf(random, sizeof random);
    strcpy(call->id, "call_");
    sodium_bin2hex(call->id + 5, sizeof call->id - 5, random, sizeof random);
    call->next = c->of->calls;
    c->of->calls = call;
    return call->id;
}

static void answering_on_part(void *user, const struct answerparser_event *part)
{
    static const enum answering_kind kinds[] = {
        [ANSWERPARSER_REASONING] = ANSWERING_REASONING,
        [ANSWERPARSER_CONTENT] = ANSWERING_CONTENT,
        [ANSWERPARSER_CALL] = ANSWERING_CALL,
        [ANSWERPARSER_ARGUMENTS] = ANSWERING_ARGUMENTS,
        [ANSWERPARSER_CALL_END] = ANSWERING_CALL_END,
        [ANSWERPARSER_CALL_BROKEN] = ANSWERING_CALL_BROKEN,
    };
    struct answering_choice *c = user;
    struct answering_item *i = answering_item(c, kinds[part->kind], part->text, part->len);
    c->reasoning = c->reasoning && part->kind == ANSWERPARSER_REASONING;
    c->called = (c->called || part->kind == ANSWERPARSER_CALL_END);
    c->calling = part->kind == ANSWERPARSER_CALL || (c->calling && part->kind == ANSWERPARSER_ARGUMENTS);
    if (i && part->kind >= ANSWERPARSER_CALL) {
        i->event.call = part->call;
        i->event.id = part->kind == ANSWERPARSER_CALL ? answering_call_id(c) : NULL;
    }
}

/* ---- Tokens. ---- */

static void answering_note(struct answering_choice *c, const struct session_token *token)
{
    struct answering_token *t = mem_calloc(1, sizeof *t);
    if (!t) {
        c->short_of_memory = true;
        return;
    }
    t->id = token->id;
    t->logprob = token->logprob;
    t->n_top = token->n_top;
    memcpy(t->top_ids, token->top_ids, sizeof t->top_ids);
    memcpy(t->top_logprobs, token->top_logprobs, sizeof t->top_logprobs);
    *c->tokens_end = t;
    c->tokens_end = &t->next;
}

static void answering_token_came(struct answering_choice *c, const struct session_token *token)
{
    if (c->usage.completion++ == 0) {
        c->usage.first_s = progress_clock() - c->of->question->since;
    }
    c->usage.reasoning += c->reasoning;
    if (c->of->question->logprobs) {
        answering_note(c, token);
    }
    if (c->parser) {
        c->short_of_memory |= answerparser_push(c->parser, token->text, token->text_len) != ERR_OK;
    } else if (token->text_len > 0) {
        answering_item(c, ANSWERING_CONTENT, token->text, token->text_len);
    }
}

/* What went wrong with one choice ends them all. */
static void answering_set_error(struct answering *a, err code, const char *message)
{
    struct errinfo info = {.code = code};
    snprintf(info.message, sizeof info.message, "%s", message);
    if (a->error.status == 0 && a->grammar && (code == ERR_LIMIT || code == ERR_UNSUPPORTED)) {
        answering_bad_form(a->question, code, &info, &a->error);
    } else if (a->error.status == 0) {
        apierror_from(&a->error, code, &info);
    }
}

/* What the engine says at the end; of tokens that nobody read, too. */
static void answering_used_up(struct answering_choice *c, const struct enginethread_event *end)
{
    struct answering_usage *u = &c->usage;
    c->over = true;
    u->prompt = end->result.prompt_tokens;
    u->cached = end->cached;
    u->completion = end->result.completion_tokens;
    u->total_s = progress_clock() - c->of->question->since;
    u->prefill_s = end->result.prefill_seconds;
    u->decode_s = end->result.decode_seconds;
    u->first_s = u->completion > 0 && u->first_s == 0 ? u->total_s - u->decode_s : u->first_s;
}

static void answering_choice_over(struct answering_choice *c, const struct enginethread_event *end)
{
    struct answering *a = c->of;
    enum answerparser_ending ending = ANSWERPARSER_COMPLETE;
    bool cut = end->result.finish != SESSION_STOP || end->result.stop;
    if (c->parser && end->e == ERR_OK) {
        c->short_of_memory |= answerparser_finish(c->parser, cut, &ending) != ERR_OK;
    }
    if (c->calling && end->result.stop) { /* a stop string is for texts: what it cut in two is no call */
        answering_item(c, ANSWERING_CALL_BROKEN, "", 0);
    }
    a->n_over++;
    answering_used_up(c, end);
    if (end->e != ERR_OK) {
        answering_set_error(a, end->e, end->message);
        return;
    }
    struct answering_item *i = answering_item(c, ANSWERING_DONE, "", 0);
    if (i && end->result.finish == SESSION_LENGTH) { /* tokens of half a character */
        i->tokens = c->tokens;
        i->event.tokens = c->tokens;
        c->tokens = NULL;
    }
    if (i) { /* other tokens that are left ended the answer, or a stop string cut them off */
        i->event.usage = c->usage;
        i->event.stopped_by = end->result.stop;
        i->event.finish = end->result.finish == SESSION_LENGTH      ? ANSWERING_LENGTH
                          : end->result.finish == SESSION_CANCELLED ? ANSWERING_CANCELLED
                          : c->called                               ? ANSWERING_CALLS
                          : !cut && ending == ANSWERPARSER_TRUNCATED ? ANSWERING_THOUGHTS
                                                                    : ANSWERING_STOP;
    }
}

static void answering_progressed(struct answering_choice *c, const struct batcher_progress *progress)
{
    struct answering_item *i = answering_item(c, ANSWERING_PROGRESS, "", 0);
    if (i) {
        i->event.progress = *progress;
    }
    if (progress->done >= c->usage.prompt) { /* else it is paused */
        c->usage.prompt = progress->done;
        c->usage.cached = progress->cached;
        c->usage.prefill_s = progress->seconds;
    }
}

static void answering_read(struct answering_choice *c)
{
    struct enginethread_event e;
    while (!c->over && enginethread_next(c->stream, &e)) {
        if (e.kind == ENGINETHREAD_PROGRESS) {
            answering_progressed(c, &e.progress);
        } else if (e.kind == ENGINETHREAD_TOKEN) {
            answering_token_came(c, &e.token);
        } else if (e.kind == ENGINETHREAD_END) {
            answering_choice_over(c, &e);
        }
    }
    if (c->short_of_memory) {
        answering_set_error(c->of, ERR_NOMEM, "out of memory for the answer");
    }
}

/* The prompt is counted once, with what the first choice found of it: what others found, that one has read. */
static void answering_sum(struct answering_usage *all, const struct answering_usage *one)
{
    bool found = one->prompt > 0 && (all->prompt == 0 || one->cached < all->cached);
    all->cached = found ? one->cached : all->cached;
    all->prompt = one->prompt > all->prompt ? one->prompt : all->prompt;
    all->completion += one->completion;
    all->reasoning += one->reasoning;
    bool earlier = one->completion > 0 && (all->first_s == 0 || one->first_s < all->first_s);
    all->first_s = earlier ? one->first_s : all->first_s;
    all->total_s = one->total_s > all->total_s ? one->total_s : all->total_s;
    all->prefill_s += one->prefill_s;
    all->decode_s += one->decode_s;
    if (one->completion > 0) {
        all->begun++;
        all->between_s += one->total_s - one->first_s;
    }
}

/* Of a choice that goes on, by the clock. */
static struct answering_usage answering_usage_of(const struct answering_choice *c)
{
    struct answering_usage u = c->usage;
    if (!c->over) {
        u.total_s = progress_clock() - c->of->question->since;
        u.decode_s = u.completion > 0 ? u.total_s - u.first_s : 0;
    }
    return u;
}

struct answering_usage answering_so_far(const struct answering *a)
{
    struct answering_usage all = {0};
    for (size_t i = 0; i < a->question->n; i++) {
        const struct answering_usage one = answering_usage_of(&a->choices[i]);
        answering_sum(&all, &one);
    }
    return all;
}

bool answering_next(struct answering *a, struct answering_event *out)
{
    answering_free_item(a->given);
    a->given = NULL;
    for (size_t i = 0; i < a->question->n && !a->first && a->error.status == 0; i++) {
        answering_read(&a->choices[i]);
    }
    if (a->first && a->error.status == 0) {
        a->given = a->first;
        a->first = a->given->next;
        a->last = a->first ? a->last : &a->first;
        *out = a->given->event;
        return true;
    }
    if (a->ended || (a->error.status == 0 && a->n_over < a->question->n)) {
        return false;
    }
    *out = (struct answering_event){.kind = ANSWERING_END,
                                    .text = "",
                                    .error = a->error.status ? &a->error : NULL,
                                    .usage = answering_so_far(a)};
    a->ended = true;
    return true;
}

/* ---- Beginning and end. ---- */

/* When nothing runs any more. */
static void answering_tell(struct answering *a)
{
    if (a->used) {
        const struct answering_usage all = answering_so_far(a);
        a->used(a->user, &all, a->ended && a->error.status == 0);
        a->used = NULL;
    }
}

static void answering_drop(struct answering *a)
{
    if (atomic_fetch_sub(&a->holders, 1) > 1) {
        return;
    }
    answering_tell(a);
    for (size_t i = 0; i < a->question->n; i++) {
        grammarmask_free(a->choices[i].mask);
    }
    grammar_free(a->grammar);
    tokenizer_ids_deinit(&a->think_end);
    mem_free(a->choices);
    question_free(a->question);
    mem_free(a);
}

static void answering_release(void *owned, const struct enginethread_event *end)
{
    struct answering_choice *c = owned;
    if (!c->over) { /* its reader has gone */
        answering_used_up(c, end);
    }
    answering_drop(c->of);
}

static size_t answering_stops(struct answering *a)
{
    const struct question *q = a->question;
    size_t n = q->kind == QUESTION_CHAT   ? chat_stop_ids(a->model->tokenizer, a->model->format, a->stop_ids)
               : q->kind == QUESTION_FILL ? fim_stop_ids(a->model->tokenizer, a->stop_ids)
                                          : 0;
    memcpy(a->stop_ids + n, q->stop_ids, q->n_stop_ids * sizeof *q->stop_ids);
    return n + q->n_stop_ids;
}

/* Before the first choice is asked, since then the engine's thread reads them: what ends an answer, what is
 * shown of it, and what ends its thinking, for whoever is in a hurry. */
static err answering_ids(struct answering *a, bool thinking, struct errinfo *info)
{
    const struct answering_model *m = a->model;
    a->n_stop_ids = answering_stops(a);
    if (a->question->kind == QUESTION_CHAT) {
        size_t n = chat_think_ids(m->tokenizer, a->shown_ids);
        a->n_shown_ids = n + (a->question->n_tools > 0 ? chat_call_ids(m->tokenizer, a->shown_ids + n) : 0);
    }
    return thinking ? chat_think_end(m->tokenizer, m->format, &a->think_end, info) : ERR_OK;
}

static err answering_ask(struct answering *a, struct answering_choice *c,
                         const struct answering_asker *asker, bool thinking, struct errinfo *info)
{
    const struct answering_model *m = a->model;
    const struct question *q = a->question;
    if (q->kind == QUESTION_CHAT) {
        TRY(answerparser_new(m->format, q->n_tools > 0 && q->choice != QUESTION_NONE, thinking,
                             answering_on_part, c, &c->parser));
    }
    struct enginethread_request r = {
        .tokens = q->prompt.data,
        .n_tokens = q->prompt.len,
        .sampling = q->sampling,
        .options = {.max_tokens = q->max_tokens ? q->max_tokens : m->max_tokens,
                    .min_tokens = q->min_tokens,
                    .ignore_eos = q->ignore_eos,
                    .grammar = c->mask,
                    .stop = q->stop,
                    .n_stop = q->n_stop,
                    .stop_ids = a->stop_ids,
                    .n_stop_ids = a->n_stop_ids,
                    .shown_ids = a->shown_ids,
                    .n_shown_ids = a->n_shown_ids,
                    .think_end = a->think_end.data,
                    .n_think_end = a->think_end.len,
                    .think_tokens = thinking ? q->think_tokens : 0,
                    .top_logprobs = q->logprobs ? q->top_logprobs : 0},
        .owner = asker->owner,
        .partition = asker->partition,
        .drawer = asker->drawer,
        .owned = c,
        .release = answering_release,
        .progress = asker->progress,
        .notify = asker->notify,
        .user = asker->user,
    };
    r.sampling.seed += c->index;
    atomic_fetch_add(&a->holders, 1);
    err e = enginethread_ask(m->thread, &r, &c->stream, info);
    if (e != ERR_OK) {
        atomic_fetch_sub(&a->holders, 1);
    }
    return e;
}

static bool answering_start(struct answering *a, const struct answering_asker *asker,
                            struct apierror *e)
{
    const struct question *q = a->question;
    struct errinfo info = {0};
    if (!answering_prepare(a->model, a->question, e)) {
        return false;
    }
    bool thinking = q->kind == QUESTION_CHAT &&
                    chat_opens_thinking(a->model->format, q->messages, q->n_messages, q->think);
    err result = answering_grammar(a, &info);
    for (size_t i = 0; i < q->n && a->grammar && result == ERR_OK; i++) {
        result = answering_mask(a, &a->choices[i], thinking, &info);
    }
    if (result != ERR_OK) {
        return answering_bad_form(q, result, &info, e);
    }
    if (a->grammar && !answering_ends_by_itself(q, e)) {
        return false;
    }
    result = sampling_check(&q->sampling, engine_vocab_size(a->model->engine), &info);
    if (result != ERR_OK) { /* tables of fields have seen the rest, but not how many tokens there are */
        apierror_from(e, result, &info);
        return answering_blame(e, "logit_bias");
    }
    result = answering_ids(a, thinking, &info);
    for (size_t i = 0; i < q->n && result == ERR_OK; i++) {
        a->choices[i].of = a;
        a->choices[i].index = i;
        a->choices[i].reasoning = thinking;
        a->choices[i].tokens_end = &a->choices[i].tokens;
        result = answering_ask(a, &a->choices[i], asker, thinking, &info);
    }
    return result == ERR_OK || apierror_from(e, result, &info);
}

bool answering_begin(const struct answering_model *m, struct question *take_q,
                     const struct answering_asker *asker, struct answering **out,
                     struct apierror *e)
{
    struct answering *a = mem_calloc(1, sizeof *a);
    struct answering_choice *choices = mem_calloc(take_q->n, sizeof *choices);
    if (!a || !choices) {
        mem_free(a);
        mem_free(choices);
        question_free(take_q);
        return apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the answer");
    }
    *a = (struct answering){
        .model = m, .question = take_q, .choices = choices};
    a->last = &a->first;
    atomic_init(&a->holders, 1);
    if (!answering_start(a, asker, e)) {
        answering_end(a, NULL, NULL);
        return false;
    }
    *out = a;
    return true;
}

const struct question *answering_question(const struct answering *a)
{
    return a->question;
}

const int32_t *answering_prompt(const struct answering *a, size_t *n)
{
    *n = a->question->prompt.len;
    return a->question->prompt.data;
}

void answering_answer_now(struct answering *a)
{
    for (size_t i = 0; i < a->question->n; i++) {
        if (!a->choices[i].over) {
            enginethread_answer_now(a->choices[i].stream);
        }
    }
}

void answering_end(struct answering *a, answering_used used, void *user)
{
    if (!a) {
        return;
    }
    a->used = used;
    a->user = user;
    if (a->n_over == a->question->n) {
        answering_tell(a);
    }
    for (size_t i = 0; i < a->question->n; i++) {
        struct answering_choice *c = &a->choices[i];
        answerparser_free(c->parser);
        answering_free_tokens(c->tokens);
    }
    answering_free_item(a->given);
    for (struct answering_item *i = a->first, *next; i; i = next) {
        next = i->next;
        answering_free_item(i);
    }
    for (struct answering_call *c = a->calls, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    for (size_t i = 0; i < a->question->n; i++) {
        if (a->choices[i].stream) {
            enginethread_close(a->choices[i].stream);
        }
    }
    answering_drop(a);
}
