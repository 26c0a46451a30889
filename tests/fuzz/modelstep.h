/* tests/fuzz/modelstep.h: what a file is opened for. Whatever a fuzzer's input still opens as goes on to
 * an engine, reads a few tokens and answers one; all of it bounded, so that one input costs milliseconds.
 * The number of first forward passes is printed at exit: tools/run_fuzz.sh wants to see it above zero.
 * Fuzzers only. */
#ifndef TESTS_MODELSTEP_H
#define TESTS_MODELSTEP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "fathom.h"
#include "model/inventory.h"
#include "model/model.h"
#include "model/vocab.h"

enum {
    MODELSTEP_CONTEXT = 6,
    MODELSTEP_PROMPT = 3, /* tokens read at most; in chunks of two */
    MODELSTEP_LAYERS = 64,
    MODELSTEP_MEMORY = 64 << 20,    /* bytes of activations */
    MODELSTEP_PARAMETERS = 1 << 17, /* of models made here */
    MODELSTEP_POOL = 1 << 17,       /* floats to cut them from */
    MODELSTEP_VARIETIES = 8
};

static size_t modelstep_passes;

__attribute__((destructor)) static void modelstep_report(void)
{
    fprintf(stderr, "first_forward_passes: %zu\n", modelstep_passes);
}

/* Ends the run, saying where and with which message. */
#define modelstep_check(good, info) modelstep_demand(good, info, __FILE__, __LINE__)

static inline void modelstep_demand(bool good, const struct errinfo *info, const char *file, int line)
{
    if (!good) {
        fprintf(stderr, "%s:%d: not so%s%s\n", file, line, info ? ": " : "", info ? info->message : "");
        abort();
    }
}

/* Reads `ids`, answers one token and then a few with guesses. What does not fit the bounds above is left alone; what does must
 * succeed, unless the weights give nothing but NaN: a model that opens can be run. */
static inline void modelstep_answer(const struct model *m, const int32_t *ids, size_t n, bool exact)
{
    const struct config *c = model_config(m);
    const struct engine_options options = {.n_threads = 1, .deterministic = exact, .chunk = 2};
    struct session_options sequence = {.context = MODELSTEP_CONTEXT};
    struct engine *e = NULL;
    struct session *s = NULL;
    if (c->num_hidden_layers > MODELSTEP_LAYERS || model_workspace_bytes(m, 2) > MODELSTEP_MEMORY) {
        return;
    }
    if (c->max_position_embeddings < sequence.context) {
        sequence.context = c->max_position_embeddings;
    }
    n = n > MODELSTEP_PROMPT ? MODELSTEP_PROMPT : n;
    n = n >= sequence.context ? sequence.context - 1 : n;
    struct errinfo info = {0};
    modelstep_check(engine_new(m, &options, &e, &info) == ERR_OK &&
                    session_new(e, &sequence, &s, &info) == ERR_OK, &info);
    if (n > 0 && session_append(s, ids, n, NULL) == ERR_OK) {
        struct generate_result result;
        const struct generate_options one = {.max_tokens = 1, .ignore_eos = true, .top_logprobs = 2};
        err answered = session_generate(s, NULL, &one, NULL, NULL, &result, &info);
        modelstep_check(answered == ERR_OK
                            ? result.prompt_tokens == n && result.completion_tokens == 1
                            : strstr(info.message, "no usable logit") != NULL, &info);
        const struct generate_options more = {.max_tokens = 3, .ignore_eos = true, .draft_always = true};
        answered = session_generate(s, NULL, &more, NULL, NULL, NULL, &info);
        modelstep_check(answered == ERR_OK || strstr(info.message, "no usable logit") != NULL, &info);
        modelstep_passes++;
    }
    session_free(s);
    engine_close(e);
}

/* First, middle and last token. */
static inline void modelstep_answer_any(const struct model *m, bool exact)
{
    const int32_t last = (int32_t)model_config(m)->vocab_size - 1;
    modelstep_answer(m, (const int32_t[]){0, last / 2, last}, 3, exact);
}

/* The file as a model and a tokenizer, as far as it is: a first answer to some tokens, and to a text. */
static inline void modelstep_gguf(const struct gguf *g, bool exact)
{
    struct errinfo info = {0};
    struct config c;
    struct model *m = NULL;
    struct tokenizer *t = NULL;
    struct chat_guess format = {0};
    err e = config_from_gguf(g, &c, &info);
    if (e == ERR_OK) {
        e = model_from_tensors(&c, gguf_tensors(g), &m, &info);
    }
    modelstep_check(e == ERR_OK || info.message[0], NULL);
    err found = vocab_from_gguf(g, &t, &format, &info);
    if (e == ERR_OK) {
        modelstep_answer_any(m, exact);
        struct tokenizer_ids ids = {0};
        if (found == ERR_OK && t) {
            modelstep_check(tokenizer_encode(t, "ab c", 4, true, &ids, &info) == ERR_OK, &info);
            modelstep_answer(m, ids.data, ids.len, !exact);
        }
        tokenizer_ids_deinit(&ids);
        model_close(m);
    }
    if (found == ERR_OK) {
        tokenizer_free(t);
    }
}

/* ---- models of any config, cut from one pool ---- */

/* Random floats for F32, random bytes for every other type: any bits are legal in a weight. */
static inline const void *modelstep_pool(enum dtype type, size_t bytes, uint64_t place)
{
    static struct {
        float floats[MODELSTEP_POOL];
        uint64_t bits[MODELSTEP_POOL / 8];
    } pool; /* for the life of the process */
    if (pool.bits[0] == 0) {
        struct rng r;
        rng_seed(&r, 1);
        for (size_t i = 0; i < MODELSTEP_POOL; i++) {
            pool.floats[i] = 0.1f * rng_normal(&r);
        }
        for (size_t i = 0; i < MODELSTEP_POOL / 8; i++) {
            pool.bits[i] = rng_u64(&r) | 1;
        }
    }
    bool plain = type == DTYPE_F32;
    size_t size = plain ? sizeof pool.floats : sizeof pool.bits;
    if (bytes > size) {
        return NULL;
    }
    return (const char *)(plain ? (const void *)pool.floats : pool.bits) +
           (place * 64 % (size - bytes + 1) & ~(size_t)63);
}

struct modelstep_maker {
    struct tensortable *table;
    enum dtype type; /* of matrices whose rows allow it */
    size_t parameters;
};

static inline err modelstep_item(void *user, const struct inventory_item *item)
{
    struct modelstep_maker *maker = user;
    struct tensor t;
    bool typed = item->is_matrix && tensor_init(&t, maker->type, item->rank, item->shape, NULL) == ERR_OK;
    if (!typed) {
        TRY(tensor_init(&t, DTYPE_F32, item->rank, item->shape, NULL));
    }
    maker->parameters += tensor_elems(&t);
    t.data = modelstep_pool(t.dtype, tensor_bytes(&t), maker->parameters);
    if (!t.data || maker->parameters > MODELSTEP_PARAMETERS) {
        return ERR_LIMIT;
    }
    return tensortable_add(maker->table, item->name, strlen(item->name), &t, 0, 0, NULL);
}

/* A model with random weights for a config that was accepted, and its first answer. `variety` chooses
 * the weights' type and the mode. */
static inline void modelstep_config(const struct config *c, const int32_t *ids, size_t n,
                                    unsigned variety)
{
    static const enum dtype types[MODELSTEP_VARIETIES] = {DTYPE_F32,  DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0,
                                                          DTYPE_Q4_K, DTYPE_F16,  DTYPE_Q6_K, DTYPE_MXFP4};
    struct modelstep_maker maker = {.type = types[variety % MODELSTEP_VARIETIES]};
    struct model *m = NULL;
    if (c->num_hidden_layers > MODELSTEP_LAYERS || tensortable_new(&maker.table, NULL) != ERR_OK) {
        return;
    }
    if (inventory_walk(c, modelstep_item, &maker) == ERR_OK) {
        struct errinfo info = {0};
        modelstep_check(model_from_tensors(c, maker.table, &m, &info) == ERR_OK, &info);
        if (n > 0) {
            modelstep_answer(m, ids, n, variety & 1);
        } else {
            modelstep_answer_any(m, variety & 1);
        }
        model_close(m);
    }
    tensortable_free(maker.table);
}

#endif
