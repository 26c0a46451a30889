/* cli/cmd_chat.c: `fathom chat`: opens the model and starts the talk (repl.c). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/inspection.h"
#include "cli/modelref.h"
#include "cli/repl.h"
#include "cli/settings.h"
#include "cli/verbs.h"
#include "model/model.h"

enum { CMD_CHAT_ROWS = 5 };

struct cmd_chat {
    struct settings settings;
    const char *system, *load;
    size_t max_tokens;
    bool think, keep_history;
};

static void cmd_chat_tell_history(const struct cmd_chat *chat, const char *path)
{
    if (chat->keep_history && path) {
        printf("What you type is kept as plain text in %s.\n", path);
    } else if (path) {
        printf("What you type is forgotten at the end. What was kept before is in %s.\n", path);
    } else {
        puts("What you type is forgotten at the end (--keep-history keeps it).");
    }
}

static void cmd_chat_greet(const struct cmd_chat *chat, const struct repl *r)
{
    char text[SETTINGS_DOUBT_TEXT], layers[INSPECTION_LAYERS_TEXT];
    const char *doubt = settings_chat_doubt(&chat->settings, r->engine, text);
    const struct config *c = model_config(engine_model(r->engine));
    printf("%s (%s, %s), context %zu tokens. /help lists the commands.\n", r->model, c->name,
           inspection_layers_text(c, layers), session_capacity(r->session));
    if (doubt) {
        puts(doubt);
    }
    cmd_chat_tell_history(chat, lineinput_history(r->input));
    if (r->format == CHAT_PLAIN && !doubt) {
        puts("This is a base model without a chat format: it continues your text.");
    }
}

static err cmd_chat_talk(struct cmd_chat *c, struct repl *r, struct errinfo *info)
{
    if (!engine_tokenizer(r->engine)) {
        return err_set(info, ERR_UNSUPPORTED,
                       "the model's files have no tokenizer; without one there is nothing to say");
    }
    const struct session_options options = {.context = c->settings.context};
    bool seeded = c->settings.seed >= 0;
    r->format = settings_chat_format(&c->settings, r->engine);
    TRY(settings_sampling(&c->settings, r->engine, &r->sampling, info));
    TRY(session_new(r->engine, &options, &r->session, info));
    r->conversation.seed = c->settings.seed;
    r->conversation.think = c->think;
    if (c->think && !chat_can_think(r->format)) {
        return err_set(info, ERR_ARGUMENT, "--think: a model of format %s does not think",
                       chat_format_name(r->format));
    }
    TRY(lineinput_open(r->interactive, c->keep_history, &r->input, info));
    if (r->interactive) {
        cmd_chat_greet(c, r);
    }
    if (c->load) { /* what the command line says wins over the file */
        TRY(repl_load(r, c->load, info));
        r->conversation.seed = seeded ? c->settings.seed : r->conversation.seed;
        r->conversation.think = c->think || r->conversation.think;
    }
    if (c->system) {
        TRY(conversation_set_system(&r->conversation, c->system, info));
    }
    return repl_run(r, info);
}

static err cmd_chat_work(struct cmd_chat *c, struct errinfo *info)
{
    struct repl r = {.max_tokens = c->max_tokens,
                     .allow_loops = c->settings.allow_loops,
                     .speculation = (enum session_speculation)c->settings.speculate,
                     .draft = c->settings.draft,
                     .interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    char *chosen = NULL;
    if (!c->settings.model) {
        TRY(modelref_default(&chosen, info));
    }
    r.model = chosen ? chosen : c->settings.model;
    err e = settings_open(&c->settings, &r.engine, info);
    if (e == ERR_OK) {
        e = cmd_chat_talk(c, &r, info);
    }
    lineinput_close(r.input);
    conversation_deinit(&r.conversation);
    session_free(r.session);
    engine_close(r.engine);
    mem_free(chosen);
    return e;
}

int cmd_chat(int argc, char **argv)
{
    struct cmd_chat c = {0};
    struct options_row rows[1 + SETTINGS_ENGINE_ROWS + SETTINGS_SAMPLING_ROWS + SETTINGS_ALONE_ROWS +
                            CMD_CHAT_ROWS];
    size_t n = 0;
    settings_init(&c.settings);
    settings_engine_rows(&c.settings, rows, &n);
    rows[n++] = settings_context_row(&c.settings);
    const struct options_row mine[CMD_CHAT_ROWS] = {
        options_string("system", "TEXT", &c.system,
                       "instructions for the model; also in place of those of --load"),
        options_string("load", "FILE", &c.load, "go on with a conversation that /save wrote"),
        options_size("max-tokens", "N", 1, (size_t)1 << 24, &c.max_tokens,
                     "longest answer (the rest of the context)"),
        options_flag("think", &c.think, "let a model think that can (/think on)"),
        options_flag("keep-history", &c.keep_history,
                     "keep what is typed for the next time, as plain text in a file of yours"),
    };
    memcpy(rows + n, mine, sizeof mine);
    n += CMD_CHAT_ROWS;
    settings_sampling_rows(&c.settings, rows, &n);
    settings_alone_rows(&c.settings, rows, &n);
    const struct options spec = {"chat", "talk with a model in the terminal", rows, n,
                                 "  fathom chat\n"
                                 "  fathom chat model.gguf --system \"Answer briefly.\"\n"
                                 "  printf 'Hello!\\n/stats\\n' | fathom chat\n"};
    struct errinfo info = {0};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    return cmd_chat_work(&c, &info) == ERR_OK ? 0 : options_fail(&spec, &info);
}
