/* fathom.h: the narrow waist. Everything a program needs to open a model and generate text with it,
 * without knowing tensors: model, engine, session, sampling, tokens.
 *
 *     struct errinfo info;
 *     struct engine *e;
 *     if (engine_open("model.gguf", &(struct engine_options){0}, &e, &info) != ERR_OK) …info.message…
 *     struct session *s;
 *     session_new(e, &(struct session_options){.context = 4096}, &s, &info);
 *     session_append_text(s, "Once upon", &info);
 *     session_generate(s, &sampling, callback, user, &result, &info);
 *
 * Every struct here may be zero-initialised: zero means the default. Errors: base/err.h. */
#ifndef FATHOM_H
#define FATHOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FATHOM_VERSION "0.1.0"

/* ---- engine: one model on one compute device ---- */

struct engine;
struct model;
struct tokenizer;

struct engine_options {
    int n_threads;      /* 0: all cores */
    bool deterministic; /* results independent of chunking, batch and threads */
    size_t chunk;       /* tokens per prefill step, 0: 512 */
    size_t context;     /* most positions of any session, 0: as many as the model was made for */
    const char *kv_type; /* "bf16" (default), "f16", "f32" */
    const char *cpu;     /* "ref", "avx2", "avx512", "amx"; NULL: $FATHOM_CPU, else the best here */
};

/* path: a .gguf file or a Hugging Face folder. The engine owns the model it opens. */
ERR_MUST_USE err engine_open(const char *path, const struct engine_options *options,
                             struct engine **out, struct errinfo *info);
/* Over an already open model, which must outlive the engine. */
ERR_MUST_USE err engine_new(const struct model *model, const struct engine_options *options,
                            struct engine **out, struct errinfo *info);
void engine_close(struct engine *e);
const struct model *engine_model(const struct engine *e);
const struct tokenizer *engine_tokenizer(const struct engine *e); /* NULL: the files have none */
size_t engine_vocab_size(const struct engine *e);
size_t engine_context_max(const struct engine *e); /* engine_options.context, else the model's own limit */
size_t engine_cache_bytes_per_token(const struct engine *e); /* KV cache */

/* ---- sampling ---- */

/* The order in which these apply is defined in engine/sampler.h. A token depends on the logits, the seed
 * and its position alone: there is no hidden random state, so going back and generating again, or
 * saving and loading, gives the same tokens; for another answer give another seed. */
struct sampling {
    float temperature;        /* 0: greedy */
    int top_k;                /* 0: off */
    float top_p;              /* 0 or 1: off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* 0 or 1: off; over the last penalty_window tokens, prompt included */
    float presence_penalty, frequency_penalty; /* OpenAI's definition, over generated tokens */
    size_t penalty_window;                     /* 0: the whole text, as in Hugging Face and vLLM */
    uint64_t seed;
    const int32_t *bias_ids; /* bias_values[i], -100 … 100 or -INFINITY, is added to the logit of
                                bias_ids[i] */
    const float *bias_values;
    size_t n_bias;
};

/* ERR_ARGUMENT naming the field, what was given and the range when a value is out of range. */
ERR_MUST_USE err sampling_check(const struct sampling *s, size_t vocab_size, struct errinfo *info);

/* ---- session: one sequence of tokens and its cache ---- */

struct session;

struct session_options {
    size_t context; /* positions to reserve; 0: min(model's limit, 8192, what memory allows) */
};

/* ERR_CONTEXT beyond the model's limit, ERR_NOMEM beyond this machine's memory, with the numbers. */
ERR_MUST_USE err session_new(struct engine *e, const struct session_options *options,
                             struct session **out, struct errinfo *info);
void session_free(struct session *s);

size_t session_length(const struct session *s);   /* tokens so far, prompt and answer */
size_t session_capacity(const struct session *s); /* positions reserved */
const int32_t *session_tokens(const struct session *s);

/* Appends tokens to be read by the model at the next prefill or generate. Ids must be in range.
 * ERR_CONTEXT with both numbers when they do not fit; then nothing was appended. */
ERR_MUST_USE err session_append(struct session *s, const int32_t *ids, size_t n,
                                struct errinfo *info);
/* Plain text (bos in front when the model wants it and the session is empty). */
ERR_MUST_USE err session_append_text(struct session *s, const char *text, struct errinfo *info);

/* Drops everything after the first n tokens; their cache entries stay valid. */
ERR_MUST_USE err session_rewind(struct session *s, size_t n, struct errinfo *info);

/* Runs the model over appended tokens (progress may be NULL; return false from it to cancel). */
typedef bool (*session_progress)(void *user, size_t done, size_t total);
ERR_MUST_USE err session_prefill(struct session *s, session_progress progress, void *user,
                                 struct errinfo *info);

/* The same, and hands the logits after every pending token to `rows`, in pieces: [n, vocab_size] of the
 * pending tokens first … first + n - 1, valid during the call. Return false to cancel. */
typedef bool (*session_rows)(void *user, size_t first, size_t n, const float *logits);
ERR_MUST_USE err session_prefill_rows(struct session *s, session_rows rows, void *user,
                                      struct errinfo *info);

/* Logits after the last token [vocab_size]; NULL while tokens wait to be read (session_generate leaves
 * the last token of its answer waiting). */
const float *session_logits(const struct session *s);

/* Log-probabilities of every appended, not yet read token given the ones before it, natural log:
 * out[i] for token i of the pending ones; the first token of a session gets 0. Reads them. */
ERR_MUST_USE err session_score(struct session *s, float *out, session_progress progress, void *user,
                               struct errinfo *info);

/* Saves and restores tokens, cache and logits: restored = uninterrupted, bit for bit. The file appears
 * complete or not at all. Loading refuses a damaged or incomplete file (ERR_CORRUPT) and another
 * model's (ERR_ARGUMENT). */
ERR_MUST_USE err session_save(const struct session *s, const char *path, struct errinfo *info);
ERR_MUST_USE err session_load(struct engine *e, const char *path, struct session **out,
                              struct errinfo *info);

/* ---- generation ---- */

enum { FATHOM_TOP_LOGPROBS_MAX = 20 };

struct session_token { /* one generated token as the callback sees it */
    int32_t id;
    const char *text; /* complete UTF-8 so far; may be "" */
    size_t text_len;
    float logprob;                                /* natural log of the model's probability */
    int n_top;                                    /* alternatives, best first */
    int32_t top_ids[FATHOM_TOP_LOGPROBS_MAX];
    float top_logprobs[FATHOM_TOP_LOGPROBS_MAX];
};
/* Called once for every sampled token, the one that ends the answer included (it has no text of its own,
 * but what was held back for a stop string may come with it). The pointers die with the call. Return
 * false to stop (finish reason "cancelled"). */
typedef bool (*session_callback)(void *user, const struct session_token *token);

/* Guessing ahead (speculative decoding): several tokens are read in one step when the guesses are right.
 * The tokens made are the same with and without; a cost model tries only what pays (engine/speculation.h). */
enum session_speculation {
    SESSION_SPECULATE_AUTO,   /* whatever the model offers */
    SESSION_SPECULATE_OFF,
    SESSION_SPECULATE_LOOKUP, /* from the sequence itself: repeated passages */
    SESSION_SPECULATE_MTP     /* by the model's multi-token-prediction layer; an error without one */
};

struct grammarmask;

struct generate_options {
    size_t max_tokens;         /* 0: to the end of the context */
    size_t min_tokens;         /* no token ends the answer before so many; not with a grammar */
    /* What the answer must match (text/grammarmask.h), from where it stands; it is told of each token. Needs
     * a token that ends the answer (not ignore_eos). NULL: anything. */
    struct grammarmask *grammar;
    const char *const *stop;   /* stop strings, never shown */
    size_t n_stop;
    const int32_t *stop_ids;   /* besides the model's eos */
    size_t n_stop_ids;
    const int32_t *shown_ids;  /* control tokens whose spelling belongs to the text (<think> …) */
    size_t n_shown_ids;
    /* What ends the answer's think block, after this many tokens (0: never) or when somebody asks for it
     * (engine/batcher.h): these tokens come instead of what would be sampled, unless the first of them is in
     * the answer already; where the grammar does not allow one, the rest is left out. */
    const int32_t *think_end;
    size_t n_think_end, think_tokens;
    int top_logprobs;          /* 0 … 20 alternatives per token */
    bool ignore_eos;           /* benchmarks */
    bool stop_loops;           /* stop an answer that only repeats itself (engine/loopguard.h) */
    session_progress progress; /* of the prefill */
    enum session_speculation speculation;
    size_t draft;              /* most tokens guessed at a time, up to 15; 0: as many as pay. Without
                                  `deterministic`, at most 3 */
    bool draft_always;         /* tests: try every guess, whatever it costs */
};

enum session_finish { SESSION_STOP, SESSION_LENGTH, SESSION_CANCELLED, SESSION_LOOP };

struct generate_result {
    enum session_finish finish;
    const char *stop; /* which of options->stop ended it; NULL: none did */
    size_t prompt_tokens, completion_tokens; /* tokens read before the first, tokens made */
    double prefill_seconds, decode_seconds;
    size_t drafted_tokens, accepted_tokens; /* guesses that were tried, and those that were right */
};

/* Reads what is pending, then samples until the model's eos, a stop id, a stop string, max_tokens, the
 * end of the context or (stop_loops) endless repetition. The session then holds prompt and answer, the
 * ending token and the tokens of a stop string included; a character still unfinished at SESSION_LENGTH
 * comes with the next call. `sampling` NULL: greedy. A prefill cancelled by options->progress is
 * SESSION_CANCELLED, not an error. On errors the tokens made so far stay in the session. */
ERR_MUST_USE err session_generate(struct session *s, const struct sampling *sampling,
                                  const struct generate_options *options, session_callback callback,
                                  void *user, struct generate_result *result, struct errinfo *info);

const char *session_finish_name(enum session_finish f); /* "stop", "length", "cancelled", "loop" */

#endif
