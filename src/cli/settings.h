/* cli/settings.h: the options that every generating verb shares (run, chat, serve): which model, how much of
 * the machine, how to sample. One table of option rows, one struct, one way to turn them into an open
 * engine and a struct sampling. */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H

#include "cli/options.h"
#include "fathom.h"
#include "text/chat.h"

struct settings {
    const char *model; /* as typed; NULL: the default model */
    size_t context; /* of a session; 0: as much as is sensible */
    size_t limit;   /* of any session of the engine; 0: the model's own */
    size_t threads, chunk;
    bool deterministic;
    int kv_type;     /* index into the choices of --kv-type */
    int chat_format; /* index into those of --chat-format: 0 for the model's own, else 1 + chat_format */
    double temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    size_t top_k, repeat_window;
    bool allow_loops;
    int speculate; /* enum session_speculation */
    size_t draft;
    struct options_list bias; /* ID=VALUE */
    int64_t seed;             /* below 0: drawn from the system */
    /* Filled by settings_sampling. */
    int32_t bias_ids[OPTIONS_LIST_MAX];
    float bias_values[OPTIONS_LIST_MAX];
};

/* Sampling that is not asked for (below 0) becomes what the model's makers advise: temperature 0.6 and
 * top-p 0.95 for DeepSeek's reasoning models and the rest, 0, 0.9 and a repeat penalty of 1.1 for
 * SmolLM2, which rambles above. */
void settings_init(struct settings *s);

/* Rows for opening the model alone (MODEL, --threads, --deterministic, --kv-type, --chunk, --chat-format), for
 * sampling, and for one answer at a time (--allow-loops, --speculate, --draft: beside other
 * answers nothing is guessed ahead, and no loop is stopped, engine/batcher.h). Each appends to rows[*n] and
 * advances *n. */
enum { SETTINGS_ENGINE_ROWS = 6, SETTINGS_SAMPLING_ROWS = 10, SETTINGS_ALONE_ROWS = 3 };
void settings_engine_rows(struct settings *s, struct options_row *rows, size_t *n);
void settings_sampling_rows(struct settings *s, struct options_row *rows, size_t *n);
void settings_alone_rows(struct settings *s, struct options_row *rows, size_t *n);
/* --context for verbs that make a session. */
struct options_row settings_context_row(struct settings *s);

/* Finds and opens the model. */
ERR_MUST_USE err settings_open(const struct settings *s, struct engine **out, struct errinfo *info);

/* The chat format asked for, or the one the model was found to have. */
enum chat_format settings_chat_format(const struct settings *s, const struct engine *e);
/* When that one is but a guess: "chat format llama3: guessed …; --chat-format NAME overrides" in `out`;
 * else NULL. */
enum { SETTINGS_DOUBT_TEXT = 256 };
const char *settings_chat_doubt(const struct settings *s, const struct engine *e,
                                char out[SETTINGS_DOUBT_TEXT]);

/* The sampler's settings for the engine's model, checked against its vocabulary. `out` points into
 * `s`. A seed that was not given is drawn now and kept in s->seed, so that it can be shown. */
ERR_MUST_USE err settings_sampling(struct settings *s, const struct engine *e, struct sampling *out,
                                   struct errinfo *info);

#endif
