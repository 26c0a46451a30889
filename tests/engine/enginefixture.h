/* tests/engine/enginefixture.h: the tiny models of tests/golden opened as engines. Test programs only. */
#ifndef TESTS_ENGINEFIXTURE_H
#define TESTS_ENGINEFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpuinfo.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fathom.h"

#define ENGINEFIXTURE_CHAT "tests/golden/chatmodel"

/* One of every attention and feed-forward kind: latent with and without q_lora, experts with both
 * kinds of router, with groups and without, FP8 weights, grouped heads with and without biases. */
static const char *const enginefixture_models[] = {
    "tests/golden/model/v3",           "tests/golden/model/v2-lite",
    "tests/golden/model/qwen2/model.gguf", "tests/golden/model/v2-groups",
    "tests/golden/model/v3-fp8-b",     "tests/golden/model/llama3",
    ENGINEFIXTURE_CHAT};
enum { ENGINEFIXTURE_MODELS = sizeof enginefixture_models / sizeof *enginefixture_models };

static inline void must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s: %s", err_name(e), info->message);
    }
}

static inline struct engine *enginefixture_open(const char *path, int threads, bool deterministic,
                                                size_t chunk)
{
    struct errinfo info = {0};
    struct engine *e = NULL;
    const struct engine_options o = {
        .n_threads = threads, .deterministic = deterministic, .chunk = chunk};
    must(engine_open(path, &o, &e, &info), &info);
    return e;
}

/* The small chat model as the state of a test group: with two threads in deterministic mode, or one and fast. */
static inline int enginefixture_chat_exact(void **state)
{
    *state = enginefixture_open(ENGINEFIXTURE_CHAT, 2, true, 0);
    return 0;
}

static inline int enginefixture_chat_fast(void **state)
{
    *state = enginefixture_open(ENGINEFIXTURE_CHAT, 1, false, 0);
    return 0;
}

static inline int enginefixture_close(void **state)
{
    engine_close(*state);
    return 0;
}

static inline struct session *enginefixture_session(struct engine *e, size_t context)
{
    struct errinfo info = {0};
    struct session *s = NULL;
    must(session_new(e, &(struct session_options){.context = context}, &s, &info), &info);
    return s;
}

/* n reproducible token ids. */
static inline void enginefixture_tokens(const struct engine *e, int32_t *ids, size_t n)
{
    struct rng r;
    rng_seed(&r, 11);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)(rng_u64(&r) % engine_vocab_size(e));
    }
}

static inline void enginefixture_append(struct session *s, const int32_t *ids, size_t n)
{
    struct errinfo info = {0};
    must(session_append(s, ids, n, &info), &info);
}

/* Runs `body` once per CPU level this machine has, with FATHOM_CPU set. */
static inline void enginefixture_each_level(void (*body)(void))
{
    for (int level = CPUINFO_REF; level <= (int)cpuinfo_best(); level++) {
        setenv("FATHOM_CPU", cpuinfo_level_name((enum cpuinfo_level)level), 1);
        body();
    }
    unsetenv("FATHOM_CPU");
}

#endif
