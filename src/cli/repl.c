/* cli/repl.c: see repl.h. */
#include "cli/repl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "base/terminal.h"
#include "cli/answer.h"
#include "cli/suggest.h"
#include "model/model.h"

/* For /retry of an answer that was the likeliest one. */
#define REPL_RETRY_TEMPERATURE 0.7f

/* Things worth knowing that are no part of an answer: dim on a terminal, to stderr in a pipe. */
static void repl_note(const struct repl *r, const char *fmt, ...) ERR_PRINTF(2, 3);

static void repl_note(const struct repl *r, const char *fmt, ...)
{
    FILE *to = r->interactive ? stdout : stderr;
    bool dim = r->interactive && terminal_styled(to);
    va_list ap;
    va_start(ap, fmt);
    fputs(dim ? "\033[2m" : "", to);
    vfprintf(to, fmt, ap);
    fputs(dim ? "\033[0m\n" : "\n", to);
    va_end(ap);
    fflush(to);
}

static bool repl_thinks(const struct repl *r)
{
    return chat_can_think(r->format) &&
           (r->conversation.think || !chat_can_skip_thinking(r->format));
}

/* ---- one turn ---- */

/* Brings the session to `ids`: back to the common beginning, then the rest waits to be read. */
static err repl_sync(struct repl *r, const struct tokenizer_ids *ids, struct errinfo *info)
{
    const int32_t *have = session_tokens(r->session);
    size_t n = session_length(r->session), common = 0;
    while (common < n && common < ids->len && have[common] == ids->data[common]) {
        common++;
    }
    if (ids->len >= session_capacity(r->session)) {
        return err_set(info, ERR_CONTEXT,
                       "the conversation has %zu tokens and the context holds %zu. /clear starts anew; "
                       "--context N makes room (this model: up to %zu)",
                       ids->len, session_capacity(r->session), engine_context_max(r->engine));
    }
    TRY(session_rewind(r->session, common, info));
    r->reused_tokens += common;
    return session_append(r->session, ids->data + common, ids->len - common, info);
}

static void repl_count(struct repl *r, const struct generate_result *g)
{
    r->answers++;
    r->read_tokens += g->prompt_tokens;
    r->made_tokens += g->completion_tokens;
    r->read_seconds += g->prefill_seconds;
    r->made_seconds += g->decode_seconds;
    r->drafted_tokens += g->drafted_tokens;
    r->accepted_tokens += g->accepted_tokens;
}

static void repl_after_answer(struct repl *r, const struct answer *a)
{
    const struct generate_result *g = &a->result;
    if (a->content.len == 0 || a->content.data[a->content.len - 1] != '\n') {
        putchar('\n');
    }
    fflush(stdout);
    char ending[ANSWER_ENDING_TEXT], speed[ANSWER_SPEED_TEXT];
    const char *why = answer_ending_text(r->session, r->engine, a, r->max_tokens, ending);
    if (why) {
        repl_note(r, "%s", why);
    }
    if (r->interactive) {
        repl_note(r, "[%s; context %zu of %zu]", answer_speed_text(g, speed),
                  session_length(r->session), session_capacity(r->session));
    }
}

static err repl_answer(struct repl *r, struct answer *a, struct errinfo *info)
{
    const struct tokenizer *t = engine_tokenizer(r->engine);
    struct tokenizer_ids ids = {0};
    int32_t stop_ids[CHAT_STOP_MAX], think_ids[CHAT_THINK_MAX];
    err e = conversation_encode(&r->conversation, t, r->format, &ids, info);
    if (e == ERR_OK) {
        e = repl_sync(r, &ids, info);
    }
    tokenizer_ids_deinit(&ids);
    TRY(e);
    const struct generate_options options = {.max_tokens = r->max_tokens,
                                             .stop_loops = !r->allow_loops,
                                             .speculation = r->speculation,
                                             .draft = r->draft,
                                             .stop_ids = stop_ids,
                                             .n_stop_ids = chat_stop_ids(t, r->format, stop_ids),
                                             .shown_ids = think_ids,
                                             .n_shown_ids = chat_think_ids(t, think_ids)};
    struct answer_view view = answer_view_default();
    r->sampling.seed = (uint64_t)r->conversation.seed;
    return answer_generate(r->session, &r->sampling, &options, repl_thinks(r), &view, a, info);
}

/* A message of the user: the model answers and both join the conversation; or neither does. */
static err repl_turn(struct repl *r, const char *text, struct errinfo *info)
{
    struct answer a = {0};
    TRY(conversation_add(&r->conversation, CHAT_USER, text, NULL, info));
    err e = repl_answer(r, &a, info);
    if (e == ERR_OK && a.cancelled_in_prefill) {
        repl_note(r, "[stopped; the message was not kept]");
        conversation_drop_last(&r->conversation);
    } else if (e == ERR_OK) {
        repl_count(r, &a.result);
        repl_after_answer(r, &a);
        e = conversation_add(&r->conversation, CHAT_ASSISTANT, a.content.data ? a.content.data : "",
                             a.reasoning.len ? a.reasoning.data : NULL, info);
    }
    if (e != ERR_OK) {
        conversation_drop_last(&r->conversation);
    }
    answer_deinit(&a);
    return e;
}

/* ---- commands ---- */

struct repl_command {
    const char *name, *argument, *help;
    err (*run)(struct repl *r, const char *argument, struct errinfo *info);
};

static err repl_help(struct repl *r, const char *argument, struct errinfo *info);

static err repl_think(struct repl *r, const char *argument, struct errinfo *info)
{
    bool on = strcmp(argument, "on") == 0;
    if (argument[0] == '\0') {
        printf("thinking is %s\n", repl_thinks(r) ? "on" : "off");
        return ERR_OK;
    }
    if (!on && strcmp(argument, "off") != 0) {
        return err_set(info, ERR_ARGUMENT, "/think on or /think off");
    }
    if (on && !chat_can_think(r->format)) {
        return err_set(info, ERR_ARGUMENT, "this model does not think");
    }
    if (!on && chat_can_think(r->format) && !chat_can_skip_thinking(r->format)) {
        return err_set(info, ERR_ARGUMENT, "this model always thinks");
    }
    r->conversation.think = on;
    puts(on ? "thinking is on" : "thinking is off");
    return ERR_OK;
}

static err repl_system(struct repl *r, const char *argument, struct errinfo *info)
{
    if (!argument[0] && !r->conversation.system) {
        return err_set(info, ERR_ARGUMENT, "there is no system text");
    }
    TRY(conversation_set_system(&r->conversation, argument, info));
    puts(argument[0] ? "system text set" : "system text removed");
    return ERR_OK;
}

/* The file a command names, a leading ~/ made whole as a shell would; the caller frees it. */
static err repl_file_name(const char *argument, char **out, struct errinfo *info)
{
    const char *home = getenv("HOME");
    if (!argument[0]) {
        return err_set(info, ERR_ARGUMENT, "the name of a file is missing");
    }
    bool at_home = strncmp(argument, "~/", 2) == 0 && home && home[0];
    *out = at_home ? file_join(home, argument + 2) : mem_dup(argument, strlen(argument));
    return *out ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory for the name of a file");
}

static err repl_save_as(struct repl *r, const char *path, struct errinfo *info)
{
    struct conversation there = {0};
    bool replaced = file_exists(path);
    if (replaced) { /* a chat may be saved anew; anything else is not ours to replace */
        err e = conversation_load(&there, path, info);
        conversation_deinit(&there);
        if (e != ERR_OK) {
            return err_set(info, ERR_ARGUMENT, "%s is already there and no saved chat; name another file",
                           path);
        }
    }
    TRY(conversation_save(&r->conversation, r->model, path, info));
    printf(replaced ? "saved %zu messages, replaced %s\n" : "saved %zu messages to %s\n",
           r->conversation.n, path);
    return ERR_OK;
}

static err repl_save(struct repl *r, const char *argument, struct errinfo *info)
{
    char *path;
    TRY(repl_file_name(argument, &path, info));
    err e = repl_save_as(r, path, info);
    mem_free(path);
    return e;
}

err repl_load(struct repl *r, const char *argument, struct errinfo *info)
{
    char *path;
    TRY(repl_file_name(argument, &path, info));
    err e = conversation_load(&r->conversation, path, info);
    if (e == ERR_OK) {
        printf("loaded %zu messages from %s\n", r->conversation.n, path);
    }
    mem_free(path);
    return e;
}

static err repl_clear(struct repl *r, const char *argument, struct errinfo *info)
{
    (void)argument;
    conversation_clear(&r->conversation);
    TRY(session_rewind(r->session, 0, info));
    puts("the conversation starts anew");
    return ERR_OK;
}

static err repl_retry(struct repl *r, const char *argument, struct errinfo *info)
{
    (void)argument;
    struct conversation *c = &r->conversation;
    if (c->n < 2) {
        return err_set(info, ERR_ARGUMENT, "there is no answer yet");
    }
    struct strbuf text = {0};
    err e = strbuf_puts(&text, c->messages[c->n - 1].content);
    if (e != ERR_OK) {
        return err_set(info, e, "out of memory");
    }
    conversation_drop_last(c);
    conversation_drop_last(c);
    c->seed = (c->seed + 1) & INT64_MAX;
    float usual = r->sampling.temperature; /* at 0 another seed alone would change nothing */
    r->sampling.temperature = usual > 0 ? usual : REPL_RETRY_TEMPERATURE;
    e = repl_turn(r, text.data, info);
    r->sampling.temperature = usual;
    strbuf_deinit(&text);
    return e;
}

/* What --speculate brought. */
static void repl_stats_guesses(const struct repl *r)
{
    if (r->speculation == SESSION_SPECULATE_OFF) {
        puts("guesses  off (--speculate off)");
    } else if (r->drafted_tokens == 0) {
        puts("guesses  none tried: none would have saved time");
    } else {
        printf("guesses  %zu tokens guessed ahead, %zu right\n", r->drafted_tokens, r->accepted_tokens);
    }
}

static err repl_stats(struct repl *r, const char *argument, struct errinfo *info)
{
    (void)argument;
    (void)info;
    char used[MEMINFO_TEXT], all[MEMINFO_TEXT];
    size_t per = engine_cache_bytes_per_token(r->engine);
    size_t n = session_length(r->session), capacity = session_capacity(r->session);
    size_t steps = r->made_tokens - r->answers;
    printf("model    %s, format %s\n", r->model, chat_format_name(r->format));
    printf("context  %zu of %zu tokens; cache %s of %s\n", n, capacity, meminfo_text(n * per, used),
           meminfo_text(capacity * per, all));
    printf("answers  %zu; made %zu tokens, %.1f/s; read %zu, %.0f/s; %zu more were known from before\n",
           r->answers, r->made_tokens, steps && r->made_seconds > 0 ? (double)steps / r->made_seconds : 0.0,
           r->read_tokens, r->read_seconds > 0 ? (double)r->read_tokens / r->read_seconds : 0.0,
           r->reused_tokens);
    repl_stats_guesses(r);
    printf("sampling temperature %g, top-p %g, seed %lld\n", (double)r->sampling.temperature,
           (double)r->sampling.top_p, (long long)r->conversation.seed);
    return ERR_OK;
}

static const struct repl_command repl_commands[] = {
    {"/help", "", "this list", repl_help},
    {"/think", "on|off", "let the model think before it answers", repl_think},
    {"/system", "TEXT", "instructions for the model; without TEXT they are removed", repl_system},
    {"/retry", "", "another answer, drawn at 0.7 when the temperature is 0", repl_retry},
    {"/save", "FILE", "write the conversation to a file", repl_save},
    {"/load", "FILE", "go on with a saved conversation", repl_load},
    {"/clear", "", "start a new conversation", repl_clear},
    {"/stats", "", "context, speed, settings", repl_stats},
    {"/exit", "", "leave (also Ctrl-D)", NULL},
};
enum { REPL_COMMANDS = sizeof repl_commands / sizeof *repl_commands };

static err repl_help(struct repl *r, const char *argument, struct errinfo *info)
{
    (void)r;
    (void)argument;
    (void)info;
    for (size_t i = 0; i < REPL_COMMANDS; i++) {
        printf("  %-7s %-7s %s\n", repl_commands[i].name, repl_commands[i].argument,
               repl_commands[i].help);
    }
    puts("  \"\"\" begins and ends a message of several lines; so does \\ at the end of a line.\n"
         "  A message that begins with / is sent with // in front. Ctrl-C stops an answer.");
    return ERR_OK;
}

static err repl_unknown(const char *name, struct errinfo *info)
{
    const char *names[REPL_COMMANDS];
    size_t n = 0;
    for (size_t i = 0; i < REPL_COMMANDS; i++) {
        if (repl_commands[i].run) { /* nobody is sent out for a slip */
            names[n++] = repl_commands[i].name;
        }
    }
    const char *near = suggest_nearest(name, names, n);
    return err_set(info, ERR_ARGUMENT,
                   "there is no command %.64s%s%s; /help lists them, // sends a message that begins "
                   "with /",
                   name, near ? "; did you mean " : "", near ? near : "");
}

/* Runs a line that begins with /; *leave is set by /exit. */
static err repl_command(struct repl *r, const char *text, bool *leave, struct errinfo *info)
{
    char name[64];
    size_t n = strcspn(text, " \t\n");
    const char *argument = text + n + strspn(text + n, " \t\n");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), text);
    if (strcmp(name, "/bye") == 0 || strcmp(name, "/quit") == 0) {
        snprintf(name, sizeof name, "/exit");
    }
    for (size_t i = 0; i < REPL_COMMANDS; i++) {
        if (strcmp(name, repl_commands[i].name) == 0) {
            if (argument[0] && !repl_commands[i].argument[0]) {
                return err_set(info, ERR_ARGUMENT, "%s takes nothing after it, got \"%.64s\"", name,
                               argument);
            }
            *leave = !repl_commands[i].run;
            return *leave ? ERR_OK : repl_commands[i].run(r, argument, info);
        }
    }
    return repl_unknown(name, info);
}

/* ---- the loop ---- */

/* Errors that concern one message are said and forgotten; the talk goes on. */
static err repl_message(struct repl *r, const char *text, bool *leave)
{
    struct errinfo info = {0};
    err e = ERR_OK;
    const char *word = text + strspn(text, " \t\n");
    if (word[0] == '/' && word[1] != '/') {
        e = repl_command(r, word, leave, &info);
    } else if (word[0] != '\0') {
        e = repl_turn(r, word[0] == '/' ? word + 1 : text, &info);
    }
    if (e != ERR_OK) {
        fflush(stdout);
        fprintf(stderr, "%s\n", info.message);
    }
    fflush(stdout);
    return e;
}

err repl_run(struct repl *r, struct errinfo *info)
{
    bool leave = false, hinted = false;
    err failed = ERR_OK;
    while (!leave) {
        const char *text;
        err e = lineinput_read(r->input, &text, info);
        if (e == ERR_NOTFOUND || (e == ERR_CANCELLED && hinted)) {
            break;
        }
        if (e == ERR_CANCELLED) {
            puts("Ctrl-C again or /exit leaves");
            hinted = true;
            continue;
        }
        TRY(e);
        hinted = false;
        e = repl_message(r, text, &leave);
        failed = e != ERR_OK && !r->interactive && failed == ERR_OK ? e : failed;
    }
    /* A script wants to know that a message failed; a person has read it. */
    return failed == ERR_OK ? ERR_OK
                            : err_set(info, failed, "a message or command failed (see above)");
}
