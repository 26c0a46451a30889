/* cli/settings.c: see settings.h. */
#include "cli/settings.h"

#include <errno.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/modelref.h"
#include "engine/drafter.h"
#include "model/model.h"

static const char *const settings_kv_types[] = {"bf16", "f16", "f32", NULL};
/* In the order of enum session_speculation (tests/cli/test_settings.c). */
static const char *const settings_speculations[] = {"auto", "off", "lookup", "mtp", NULL};
/* In the order of enum chat_format, after "auto" (tests/cli/test_settings.c). */
static const char *const settings_chat_formats[] = {
    "auto",          "plain",         "deepseek-v2", "deepseek-v2.5",    "deepseek-v3", "deepseek-r1",
    "deepseek-v3.1", "deepseek-v3.2", "deepseek-v4", "deepseek-v4-0731", "chatml",      "llama3",
    "smollm2",       "qwen2",         "qwen2.5",     "fathom",           NULL};

void settings_init(struct settings *s)
{
    *s = (struct settings){.temperature = -1, .top_p = -1, .repeat_penalty = -1, .seed = -1};
}

void settings_engine_rows(struct settings *s, struct options_row *rows, size_t *n)
{
    const struct options_row mine[SETTINGS_ENGINE_ROWS] = {
        options_operand("MODEL", &s->model, "a .gguf file, a folder or a name; else the default"),
        options_size("threads", "N", 1, 1024, &s->threads, "processor cores to use (all)"),
        options_flag("deterministic", &s->deterministic,
                     "results independent of threads and chunks, bit for bit"),
        options_choice("kv-type", "TYPE", settings_kv_types, &s->kv_type,
                       "how keys and values are kept: bf16, f16, f32 (bf16)"),
        options_size("chunk", "N", 1, 65536, &s->chunk, "tokens read per step of a prompt (512)"),
        options_choice("chat-format", "NAME", settings_chat_formats, &s->chat_format,
                       "how turns are written for the model: plain, deepseek-v2, deepseek-v2.5, "
                       "deepseek-v3, deepseek-r1, deepseek-v3.1, deepseek-v3.2, deepseek-v4, deepseek-v4-0731, "
                       "chatml, llama3, smollm2, qwen2, qwen2.5, fathom (as its files say)"),
    };
    memcpy(rows + *n, mine, sizeof mine);
    *n += SETTINGS_ENGINE_ROWS;
}

struct options_row settings_context_row(struct settings *s)
{
    return options_size("context", "N", 1, (size_t)1 << 24, &s->context,
                        "positions to reserve (up to 8192, as memory allows)");
}

void settings_sampling_rows(struct settings *s, struct options_row *rows, size_t *n)
{
    const struct options_row mine[SETTINGS_SAMPLING_ROWS] = {
        options_float("temperature", "T", 0, 100, &s->temperature,
                      "0 takes the likeliest token; higher is bolder (0.6; SmolLM2 0)"),
        options_size("top-k", "K", 0, 1 << 24, &s->top_k, "only the K best tokens (off)"),
        options_float("top-p", "P", 0, 1, &s->top_p,
                      "only the best tokens that sum to P (0.95; SmolLM2 0.9; 1 is off)"),
        options_float("min-p", "P", 0, 1, &s->min_p, "only tokens with P times the best one (off)"),
        options_float("repeat-penalty", "R", 0.01, 10, &s->repeat_penalty,
                      "divide the logits of tokens that came before by R (1, which is off; SmolLM2 1.1)"),
        options_size("repeat-window", "N", 1, 1 << 24, &s->repeat_window,
                     "of the last N tokens alone (of the whole text)"),
        options_float("presence-penalty", "X", -2, 2, &s->presence_penalty,
                      "subtract X from tokens already generated"),
        options_float("frequency-penalty", "X", -2, 2, &s->frequency_penalty,
                      "subtract X for each time they were"),
        options_each("logit-bias", "ID=X", &s->bias, "add X, -100 to 100 or -inf, to a token's logit"),
        options_int("seed", "S", 0, INT64_MAX, &s->seed, "same seed, same answer (a new one each time)"),
    };
    memcpy(rows + *n, mine, sizeof mine);
    *n += SETTINGS_SAMPLING_ROWS;
}

void settings_alone_rows(struct settings *s, struct options_row *rows, size_t *n)
{
    const struct options_row mine[SETTINGS_ALONE_ROWS] = {
        options_flag("allow-loops", &s->allow_loops,
                     "let an answer go on that says the same over and over"),
        options_choice("speculate", "HOW", settings_speculations, &s->speculate,
                       "guess tokens ahead where that is faster: auto, off, lookup, mtp; the answer "
                       "is the same; how many were right is in the line after it on a terminal, in /stats and "
                       "--json (auto)"),
        options_size("draft", "N", 1, 15, &s->draft,
                     "most tokens guessed at a time: 1 to 3, with --deterministic 1 to 15; fewer are tried "
                     "where fewer pay (as many as may be)"),
    };
    memcpy(rows + *n, mine, sizeof mine);
    *n += SETTINGS_ALONE_ROWS;
}

err settings_open(const struct settings *s, struct engine **out, struct errinfo *info)
{
    char *path;
    TRY(modelref_resolve(s->model, &path, info));
    const struct engine_options options = {.n_threads = (int)s->threads,
                                           .deterministic = s->deterministic,
                                           .chunk = s->chunk,
                                           .context = s->limit,
                                           .kv_type = settings_kv_types[s->kv_type]};
    err e = engine_open(path, &options, out, info);
    mem_free(path);
    return e;
}

enum chat_format settings_chat_format(const struct settings *s, const struct engine *e)
{
    return s->chat_format > 0 ? (enum chat_format)(s->chat_format - 1)
                              : model_chat_format(engine_model(e));
}

const char *settings_chat_doubt(const struct settings *s, const struct engine *e,
                                char out[SETTINGS_DOUBT_TEXT])
{
    const char *doubt = model_chat_doubt(engine_model(e));
    if (s->chat_format > 0 || !doubt) {
        return NULL;
    }
    snprintf(out, SETTINGS_DOUBT_TEXT, "chat format %s: %s; --chat-format NAME overrides",
             chat_format_name(model_chat_format(engine_model(e))), doubt);
    return out;
}

static err settings_bias(struct settings *s, struct errinfo *info)
{
    for (size_t i = 0; i < s->bias.n; i++) {
        const char *text = s->bias.items[i];
        char *equals, *end;
        errno = 0;
        long id = strtol(text, &equals, 10);
        if (equals == text || *equals != '=' || errno != 0 || id < 0 || id > INT32_MAX) {
            return err_set(info, ERR_ARGUMENT,
                           "--logit-bias \"%s\": a token id, = and a number are expected, as in 42=-100",
                           text);
        }
        double v = strtod(equals + 1, &end);
        if (end == equals + 1 || *end != '\0') {
            return err_set(info, ERR_ARGUMENT, "--logit-bias \"%s\": \"%s\" is not a number", text,
                           equals + 1);
        }
        s->bias_ids[i] = (int32_t)id;
        s->bias_values[i] = (float)v;
    }
    return ERR_OK;
}

static void settings_advice(struct settings *s, const struct engine *e)
{
    bool smol = settings_chat_format(s, e) == CHAT_SMOLLM2;
    s->temperature = s->temperature >= 0 ? s->temperature : smol ? 0 : 0.6;
    s->top_p = s->top_p >= 0 ? s->top_p : smol ? 0.9 : 0.95;
    s->repeat_penalty = s->repeat_penalty >= 0 ? s->repeat_penalty : smol ? 1.1 : 1;
}

/* --draft where it would be without effect is a mistake. */
static err settings_check_draft(const struct settings *s, struct errinfo *info)
{
    if (s->draft > 0 && s->speculate == SESSION_SPECULATE_OFF) {
        return err_set(info, ERR_ARGUMENT, "--draft %zu: nothing is guessed with --speculate off", s->draft);
    }
    if (s->draft > DRAFTER_FAST_ROWS - 1 && !s->deterministic) {
        return err_set(info, ERR_ARGUMENT, "--draft %zu: 1 to %d tokens are guessed at a time, with "
                       "--deterministic up to 15", s->draft, DRAFTER_FAST_ROWS - 1);
    }
    return ERR_OK;
}

err settings_sampling(struct settings *s, const struct engine *e, struct sampling *out,
                      struct errinfo *info)
{
    TRY(settings_check_draft(s, info));
    TRY(settings_bias(s, info));
    settings_advice(s, e);
    if (s->seed < 0) {
        if (sodium_init() < 0) {
            return err_set(info, ERR_IO, "the system gives no random numbers; use --seed");
        }
        s->seed = (int64_t)randombytes_random(); /* 32 bits: short enough to type again */
    }
    *out = (struct sampling){.temperature = (float)s->temperature,
                             .top_k = (int)s->top_k,
                             .top_p = (float)s->top_p,
                             .min_p = (float)s->min_p,
                             .repetition_penalty = (float)s->repeat_penalty,
                             .presence_penalty = (float)s->presence_penalty,
                             .frequency_penalty = (float)s->frequency_penalty,
                             .penalty_window = s->repeat_window,
                             .seed = (uint64_t)s->seed,
                             .bias_ids = s->bias_ids,
                             .bias_values = s->bias_values,
                             .n_bias = s->bias.n};
    return sampling_check(out, engine_vocab_size(e), info);
}
