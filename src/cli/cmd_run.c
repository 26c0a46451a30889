/* cli/cmd_run.c: `fathom run`: one prompt, one answer, for people and for scripts. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/terminal.h"
#include "cli/answer.h"
#include "cli/constraint.h"
#include "cli/modelref.h"
#include "cli/settings.h"
#include "cli/verbs.h"
#include "model/model.h"
#include "text/utf8.h"

enum { CMD_RUN_STDIN_MAX = 64 << 20, CMD_RUN_ROWS = 10 };

struct cmd_run {
    struct settings settings;
    struct constraint constraint;
    const char *prompt, *system, *session;
    size_t max_tokens;
    int64_t logprobs; /* alternatives per token; below 0: none wanted */
    struct options_list stop;
    bool raw, think, no_think, json;
    char *typed; /* stdin, when the prompt came from there */
};

/* The whole of stdin, without its last newline. */
static err cmd_run_stdin(char **out, struct errinfo *info)
{
    struct strbuf text = {0};
    char buffer[65536];
    err e = ERR_OK;
    ssize_t n = 0;
    while (e == ERR_OK && ((n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0 || errno == EINTR)) {
        e = n > 0 ? strbuf_append(&text, buffer, (size_t)n) : ERR_OK;
        if (text.len > CMD_RUN_STDIN_MAX) {
            e = err_set(info, ERR_LIMIT, "the prompt on stdin is over %d MiB", CMD_RUN_STDIN_MAX >> 20);
        }
    }
    if (e == ERR_OK && n < 0) {
        e = err_set(info, ERR_IO, "cannot read the prompt from stdin: %s", strerror(errno));
    } else if (e == ERR_OK && text.len > 0 && memchr(text.data, '\0', text.len)) {
        e = err_set(info, ERR_ARGUMENT, "the prompt on stdin holds a NUL byte; text is expected");
    } else if (e == ERR_NOMEM) {
        e = err_set(info, ERR_NOMEM, "out of memory reading the prompt from stdin");
    }
    if (e == ERR_OK && text.len > 0 && text.data[text.len - 1] == '\n') {
        text.data[--text.len] = '\0';
    }
    e = e == ERR_OK ? strbuf_take(&text, out) : e;
    strbuf_deinit(&text);
    return e;
}

static err cmd_run_prompt(struct cmd_run *r, struct errinfo *info)
{
    if (r->prompt) {
        return ERR_OK;
    }
    if (isatty(STDIN_FILENO)) {
        return err_set(info, ERR_ARGUMENT,
                       "no prompt: give --prompt TEXT or pipe it in (to talk: fathom chat)");
    }
    TRY(cmd_run_stdin(&r->typed, info));
    r->prompt = r->typed;
    return ERR_OK;
}

/* Which format, and does the answer begin inside a think block? */
static err cmd_run_format(const struct cmd_run *r, const struct engine *e, enum chat_format *format,
                          bool *thinking, struct errinfo *info)
{
    enum chat_format f = r->raw ? CHAT_PLAIN : settings_chat_format(&r->settings, e);
    bool forced = chat_can_think(f) && !chat_can_skip_thinking(f);
    if (r->think && !chat_can_think(f)) {
        return err_set(info, ERR_ARGUMENT, "--think: a model of format %s does not think",
                       chat_format_name(f));
    }
    if (r->no_think && (forced || r->think)) {
        return err_set(info, ERR_ARGUMENT, r->think ? "--think and --no-think exclude each other"
                                                    : "--no-think: this model always thinks");
    }
    if (f == CHAT_PLAIN && r->system) {
        return err_set(info, ERR_ARGUMENT, "--system: a plain prompt has no place for it");
    }
    *format = f;
    *thinking = forced || r->think;
    return ERR_OK;
}

static err cmd_run_append(const struct cmd_run *r, struct session *s, const struct engine *e,
                          enum chat_format format, bool thinking, struct errinfo *info)
{
    const struct tokenizer *t = engine_tokenizer(e);
    if (t && r->prompt[0] == '\0' && session_length(s) == 0) { /* --raw: the model begins by itself */
        int32_t bos = tokenizer_bos(t);
        return bos >= 0 ? session_append(s, &bos, 1, info)
                        : err_set(info, ERR_ARGUMENT, "the prompt is empty, and this model has no token "
                                                      "that begins a text; give some text");
    }
    if (format == CHAT_PLAIN || !t) {
        return session_append_text(s, r->prompt, info);
    }
    struct chat_message messages[2] = {{.role = CHAT_SYSTEM, .content = r->system},
                                       {.role = CHAT_USER, .content = r->prompt}};
    size_t skip = r->system ? 0 : 1;
    struct tokenizer_ids ids = {0};
    err result = chat_encode(t, format, messages + skip, 2 - skip, thinking, &ids, info);
    if (result == ERR_OK) {
        result = session_append(s, ids.data, ids.len, info);
    }
    tokenizer_ids_deinit(&ids);
    return result;
}

/* Text of one token; bytes that are no UTF-8 alone become U+FFFD. */
static json_t *cmd_run_piece(const struct tokenizer *t, int32_t id)
{
    struct tokenizer_piece p = tokenizer_bytes(t, id);
    bool whole = utf8_valid_prefix(p.data, p.len) == p.len;
    return whole ? json_stringn(p.data, p.len) : json_string("\xef\xbf\xbd");
}

/* JSON has no infinity; a token that is impossible gets the number other APIs use for it. */
static double cmd_run_finite(float logprob)
{
    return logprob > -9999.0f ? (double)logprob : -9999.0;
}

/* NULL when memory is short, and so below. */
static json_t *cmd_run_logprobs(const struct answer *a, const struct tokenizer *t)
{
    json_t *list = json_array();
    int failed = 0;
    for (size_t i = 0; i < a->n_tokens; i++) {
        const struct answer_token *k = &a->tokens[i];
        json_t *top = json_array();
        for (int j = 0; j < k->n_top; j++) {
            failed |= json_array_append_new(
                top, json_pack("{s:i, s:o, s:f}", "id", (int)k->top_ids[j], "token",
                               cmd_run_piece(t, k->top_ids[j]), "logprob",
                               cmd_run_finite(k->top_logprobs[j])));
        }
        failed |= json_array_append_new(
            list, json_pack("{s:i, s:o, s:f, s:o}", "id", (int)k->id, "token", cmd_run_piece(t, k->id),
                            "logprob", cmd_run_finite(k->logprob), "top", top));
    }
    if (failed) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* null where nothing was measured: one token of an answer comes out of the prefill. */
static json_t *cmd_run_speed(double tps)
{
    return tps > 0 ? json_real(tps) : json_null();
}

static err cmd_run_json(const struct cmd_run *r, const struct session *s, const struct answer *a,
                        const struct tokenizer *t, struct errinfo *info)
{
    const struct generate_result *g = &a->result;
    json_t *ids = json_array();
    int failed = 0;
    const int32_t *made = session_tokens(s) + session_length(s) - g->completion_tokens;
    for (size_t i = 0; i < g->completion_tokens; i++) {
        failed |= json_array_append_new(ids, json_integer(made[i]));
    }
    json_t *doc = json_pack("{s:s%, s:o, s:I, s:I, s:o, s:o, s:s, s:I, s:I, s:I}", "text",
                            a->content.data ? a->content.data : "", a->content.len, "tokens", ids,
                            "prompt_tokens", (json_int_t)g->prompt_tokens, "completion_tokens",
                            (json_int_t)g->completion_tokens, "prefill_tps",
                            cmd_run_speed(answer_prefill_tps(g)), "decode_tps",
                            cmd_run_speed(answer_decode_tps(g)), "finish_reason",
                            session_finish_name(g->finish), "seed", (json_int_t)r->settings.seed,
                            "drafted_tokens", (json_int_t)g->drafted_tokens, "accepted_tokens",
                            (json_int_t)g->accepted_tokens);
    if (doc && a->reasoning.len > 0) {
        failed |= json_object_set_new(doc, "reasoning", json_stringn(a->reasoning.data, a->reasoning.len));
    }
    if (doc && r->logprobs >= 0) {
        failed |= json_object_set_new(doc, "logprobs", cmd_run_logprobs(a, t));
    }
    char *text = failed ? NULL : json_text_dup(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory for the JSON document");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

/* After a streamed answer: end the line; say what ended it unasked; on a terminal, how fast it was. */
static void cmd_run_epilogue(const struct cmd_run *r, const struct session *s, const struct engine *e,
                             const struct answer *a)
{
    const struct generate_result *g = &a->result;
    if (a->content.len == 0 || a->content.data[a->content.len - 1] != '\n') {
        putchar('\n');
    }
    fflush(stdout);
    char ending[ANSWER_ENDING_TEXT], speed[ANSWER_SPEED_TEXT];
    const char *why = answer_ending_text(s, e, a, r->max_tokens, ending);
    bool dim = terminal_styled(stderr);
    /* --max-tokens was asked for and needs no word, unless nothing came of it, or a document lacks its end. */
    bool asked = g->finish == SESSION_LENGTH && r->max_tokens && a->content.len > 0 && !r->constraint.mask;
    if (why && g->finish != SESSION_CANCELLED && !asked) {
        fprintf(stderr, dim ? "\033[2m%s\033[0m\n" : "%s\n", why);
    }
    if (isatty(STDERR_FILENO) && isatty(STDOUT_FILENO)) {
        bool wanted = r->settings.speculate >= SESSION_SPECULATE_LOOKUP && g->drafted_tokens == 0;
        fprintf(stderr, dim ? "\033[2m[%s%s]\033[0m\n" : "[%s%s]\n", answer_speed_text(g, speed),
                wanted ? "; no guess seemed worth trying" : "");
    }
}

static err cmd_run_generate(struct cmd_run *r, struct engine *e, struct session *s,
                            struct answer *a, struct errinfo *info)
{
    const struct tokenizer *t = engine_tokenizer(e);
    enum chat_format format = CHAT_PLAIN;
    bool thinking = false;
    struct sampling sampling;
    int32_t stop_ids[CHAT_STOP_MAX], think_ids[CHAT_THINK_MAX];
    TRY(settings_sampling(&r->settings, e, &sampling, info));
    TRY(cmd_run_format(r, e, &format, &thinking, info));
    TRY(constraint_open(&r->constraint, t, thinking, info));
    TRY(cmd_run_append(r, s, e, format, thinking, info));
    char text[SETTINGS_DOUBT_TEXT];
    const char *doubt = r->raw ? NULL : settings_chat_doubt(&r->settings, e, text);
    if (doubt && isatty(STDERR_FILENO)) {
        fprintf(stderr, terminal_styled(stderr) ? "\033[2m[%s]\033[0m\n" : "[%s]\n", doubt);
    }
    struct generate_options options = {.max_tokens = r->max_tokens,
                                       .grammar = r->constraint.mask,
                                       .stop = r->stop.items,
                                       .n_stop = r->stop.n,
                                       .stop_ids = stop_ids,
                                       .n_stop_ids = t ? chat_stop_ids(t, format, stop_ids) : 0,
                                       .shown_ids = think_ids,
                                       .n_shown_ids = t ? chat_think_ids(t, think_ids) : 0,
                                       .stop_loops = !r->settings.allow_loops,
                                       .speculation = (enum session_speculation)r->settings.speculate,
                                       .draft = r->settings.draft,
                                       .top_logprobs = r->logprobs > 0 ? (int)r->logprobs : 0};
    struct answer_view view = answer_view_default();
    if (r->json) {
        view = (struct answer_view){.keep_tokens = r->logprobs >= 0};
    }
    TRY(answer_generate(s, &sampling, &options, thinking, &view, a, info));
    if (r->json) {
        TRY(cmd_run_json(r, s, a, t, info));
    } else {
        cmd_run_epilogue(r, s, e, a);
    }
    return r->session ? session_save(s, r->session, info) : ERR_OK;
}

/* Can the session be written at all? Better asked before the answer than after it. */
static err cmd_run_writable(const char *path, struct errinfo *info)
{
    struct file_writer *w;
    TRY(file_writer_open(path, &w, info));
    file_writer_close(w);
    return ERR_OK;
}

static err cmd_run_work(struct cmd_run *r, struct errinfo *info)
{
    struct engine *e;
    struct session *s = NULL;
    struct answer a = {0};
    if (r->logprobs >= 0 && !r->json) {
        return err_set(info, ERR_ARGUMENT, "--logprobs shows in the JSON document; add --json");
    }
    TRY(constraint_read(&r->constraint, info));
    TRY(modelref_no_text(r->settings.model, "--prompt", r->prompt, info));
    TRY(cmd_run_prompt(r, info));
    if (!r->raw && r->prompt[0] == '\0') {
        return err_set(info, ERR_ARGUMENT, "the prompt is empty; give some text, or --raw to let the "
                                           "model begin by itself");
    }
    TRY(r->session ? cmd_run_writable(r->session, info) : ERR_OK);
    TRY(settings_open(&r->settings, &e, info));
    const struct session_options options = {.context = r->settings.context};
    err result = r->session && file_exists(r->session) ? session_load(e, r->session, &s, info)
                                                       : session_new(e, &options, &s, info);
    if (result == ERR_OK) {
        result = cmd_run_generate(r, e, s, &a, info);
    }
    if (result == ERR_OK && a.result.finish == SESSION_CANCELLED) {
        result = err_set(info, ERR_CANCELLED, "stopped");
    }
    answer_deinit(&a);
    session_free(s);
    engine_close(e);
    return result;
}

int cmd_run(int argc, char **argv)
{
    struct cmd_run r = {.logprobs = -1};
    struct options_row rows[1 + SETTINGS_ENGINE_ROWS + SETTINGS_SAMPLING_ROWS + SETTINGS_ALONE_ROWS +
                            CMD_RUN_ROWS + CONSTRAINT_ROWS];
    size_t n = 0;
    settings_init(&r.settings);
    settings_engine_rows(&r.settings, rows, &n);
    rows[n++] = settings_context_row(&r.settings);
    const struct options_row mine[CMD_RUN_ROWS] = {
        options_string("prompt", "TEXT", &r.prompt, "what to ask; without it, stdin is read"),
        options_string("system", "TEXT", &r.system, "instructions that come before the prompt"),
        options_size("max-tokens", "N", 1, (size_t)1 << 24, &r.max_tokens,
                     "stop after N tokens (the end of the context)"),
        options_each("stop", "TEXT", &r.stop, "stop before this text would appear"),
        options_flag("raw", &r.raw, "continue the prompt as plain text, no chat format"),
        options_flag("think", &r.think, "let a model think that can"),
        options_flag("no-think", &r.no_think, "answer at once (the default where there is a choice)"),
        options_int("logprobs", "N", 0, FATHOM_TOP_LOGPROBS_MAX, &r.logprobs,
                    "with --json: log-probabilities and N alternatives per token"),
        options_string("session", "FILE", &r.session,
                       "continue the session in FILE when it is there, and save it after"),
        options_flag("json", &r.json, "one JSON document on stdout"),
    };
    memcpy(rows + n, mine, sizeof mine);
    n += CMD_RUN_ROWS;
    constraint_rows(&r.constraint, rows, &n);
    settings_sampling_rows(&r.settings, rows, &n);
    settings_alone_rows(&r.settings, rows, &n);
    const struct options spec = {
        "run", "one prompt, one answer", rows, n,
        "  fathom run --prompt \"Why is the sky blue?\"\n"
        "  git diff | fathom run --system \"Review this change.\" --temperature 0\n"
        "  fathom run --prompt \"Three colours.\" --json-schema colours.json\n"
        "  fathom run model.gguf --raw --prompt \"Once upon a time\" --max-tokens 64 --json\n"};
    struct errinfo info = {0};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    err e = cmd_run_work(&r, &info);
    constraint_close(&r.constraint);
    mem_free(r.typed);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
