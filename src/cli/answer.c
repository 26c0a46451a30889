/* cli/answer.c: see answer.h. */
#include "cli/answer.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "cli/interrupt.h"
#include "cli/terminaltext.h"
#include "text/answerparser.h"

struct answer_stream {
    const struct answer_view *view;
    struct answer *answer;
    struct answerparser *parser;
    struct progress progress;
    struct terminaltext content, reasoning;
    bool thinking; /* reasoning was shown and has not been closed */
    err failed;
};

struct answer_view answer_view_default(void)
{
    struct answer_view v = {.content = stdout};
    if (isatty(STDOUT_FILENO)) {
        v.reasoning = stdout;
    } else if (isatty(STDERR_FILENO)) {
        v.reasoning = stderr;
    }
    v.dim = v.reasoning && terminal_styled(v.reasoning);
    return v;
}

static void answer_end_thinking(struct answer_stream *s)
{
    if (s->thinking) {
        fputs(s->view->dim ? "\033[0m" : "", s->view->reasoning);
        terminaltext_print(&s->reasoning, "\n\n", 2);
        fflush(s->view->reasoning);
        s->thinking = false;
    }
}

static void answer_part(void *user, const struct answerparser_event *event)
{
    struct answer_stream *s = user;
    bool reasons = event->kind == ANSWERPARSER_REASONING;
    struct strbuf *kept = reasons ? &s->answer->reasoning : &s->answer->content;
    FILE *to = reasons ? s->view->reasoning : s->view->content;
    if (s->failed != ERR_OK) {
        return;
    }
    s->failed = strbuf_append(kept, event->text, event->len);
    if (!reasons) {
        answer_end_thinking(s);
    } else if (to && !s->thinking) {
        fputs(s->view->dim ? "\033[2m" : "", to);
        s->thinking = true;
    }
    if (to) {
        terminaltext_print(reasons ? &s->reasoning : &s->content, event->text, event->len);
        fflush(to);
    }
}

static err answer_keep(struct answer *a, const struct session_token *t)
{
    struct answer_token *p = mem_grow(a->tokens, a->n_tokens, &a->cap_tokens, sizeof *p);
    if (!p) {
        return ERR_NOMEM;
    }
    a->tokens = p;
    struct answer_token *k = &a->tokens[a->n_tokens++];
    *k = (struct answer_token){.id = t->id, .logprob = t->logprob, .n_top = t->n_top};
    memcpy(k->top_ids, t->top_ids, sizeof k->top_ids);
    memcpy(k->top_logprobs, t->top_logprobs, sizeof k->top_logprobs);
    return ERR_OK;
}

static bool answer_token(void *user, const struct session_token *t)
{
    struct answer_stream *s = user;
    err e = answerparser_push(s->parser, t->text, t->text_len);
    s->failed = s->failed == ERR_OK ? e : s->failed;
    if (s->view->keep_tokens && s->failed == ERR_OK) {
        s->failed = answer_keep(s->answer, t);
    }
    return s->failed == ERR_OK && !interrupt_pending();
}

static bool answer_progress(void *user, size_t done, size_t total)
{
    struct answer_stream *s = user;
    s->progress.total = total;
    progress_update(&s->progress, done);
    if (done == total) {
        progress_finish(&s->progress);
    }
    return !interrupt_pending();
}

err answer_generate(struct session *s, const struct sampling *sampling,
                    const struct generate_options *options, bool thinking,
                    const struct answer_view *view, struct answer *out, struct errinfo *info)
{
    *out = (struct answer){0};
    struct answer_stream stream = {
        .view = view,
        .answer = out,
        .content = terminaltext_new(view->content),
        .reasoning = terminaltext_new(view->reasoning)};
    struct generate_options with_progress = *options;
    with_progress.progress = answer_progress;
    if (answerparser_new(CHAT_PLAIN, false, thinking, answer_part, &stream, &stream.parser) != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory for the answer");
    }
    progress_init(&stream.progress, "reading", PROGRESS_TOKENS, 0);
    interrupt_watch_quietly();
    err e = session_generate(s, sampling, &with_progress, answer_token, &stream, &out->result, info);
    interrupt_restore();
    progress_finish(&stream.progress);
    if (stream.failed == ERR_OK) {
        enum answerparser_ending ending; /* told by the finish reason already */
        stream.failed = answerparser_finish(stream.parser, false, &ending);
    }
    answerparser_free(stream.parser);
    answer_end_thinking(&stream);
    if (e == ERR_OK && stream.failed != ERR_OK) {
        return err_set(info, stream.failed, "out of memory for the answer");
    }
    out->cancelled_in_prefill =
        out->result.finish == SESSION_CANCELLED && out->result.completion_tokens == 0;
    return e;
}

void answer_deinit(struct answer *a)
{
    strbuf_deinit(&a->content);
    strbuf_deinit(&a->reasoning);
    mem_free(a->tokens);
    *a = (struct answer){0};
}

double answer_prefill_tps(const struct generate_result *r)
{
    return r->prompt_tokens > 0 && r->prefill_seconds > 0
               ? (double)r->prompt_tokens / r->prefill_seconds
               : 0;
}

/* The first token comes out of the prefill; each later one costs a step. */
double answer_decode_tps(const struct generate_result *r)
{
    return r->completion_tokens > 1 && r->decode_seconds > 0
               ? (double)(r->completion_tokens - 1) / r->decode_seconds
               : 0;
}

const char *answer_speed_text(const struct generate_result *r, char out[ANSWER_SPEED_TEXT])
{
    char made[32] = "", read[32] = "", guessed[64] = "";
    if (answer_decode_tps(r) > 0) {
        snprintf(made, sizeof made, ", %.1f/s", answer_decode_tps(r));
    }
    if (answer_prefill_tps(r) > 0) {
        snprintf(read, sizeof read, ", %.0f/s", answer_prefill_tps(r));
    }
    if (r->drafted_tokens > 0) {
        snprintf(guessed, sizeof guessed, ", %zu of %zu guesses right", r->accepted_tokens,
                 r->drafted_tokens);
    }
    snprintf(out, ANSWER_SPEED_TEXT, "%zu token%s%s%s; read %zu%s", r->completion_tokens,
             r->completion_tokens == 1 ? "" : "s", made, guessed, r->prompt_tokens, read);
    return out;
}

const char *answer_ending_text(const struct session *s, const struct engine *e,
                               const struct answer *a, size_t max_tokens,
                               char out[ANSWER_ENDING_TEXT])
{
    const struct generate_result *r = &a->result;
    const char *thinking = a->content.len == 0 && a->reasoning.len > 0 ? ", still thinking" : "";
    switch (r->finish) {
    case SESSION_STOP:
        snprintf(out, ANSWER_ENDING_TEXT, "[the model ended without an answer%s]", thinking);
        return a->content.len == 0 ? out : NULL;
    case SESSION_CANCELLED: return "[stopped]";
    case SESSION_LOOP:
        return "[stopped: the answer said the same over and over; --allow-loops lets it go on]";
    case SESSION_LENGTH: break;
    }
    if (max_tokens > 0 && r->completion_tokens == max_tokens) {
        snprintf(out, ANSWER_ENDING_TEXT, "[cut at --max-tokens %zu%s]", max_tokens, thinking);
    } else {
        snprintf(out, ANSWER_ENDING_TEXT,
                 "[the context of %zu tokens is full%s: /clear starts a chat anew; --context N makes room "
                 "(this model: up to %zu)]",
                 session_capacity(s), thinking, engine_context_max(e));
    }
    return out;
}
