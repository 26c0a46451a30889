/* engine/engine.h: what the files of this folder share about an engine. Public functions: fathom.h. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/sampler.h"
#include "engine/speculation.h"
#include "fathom.h"
#include "model/model.h"

enum { ENGINE_CHUNK = 512, ENGINE_CHUNK_MAX = 65536, ENGINE_CONTEXT = 8192 };

struct engine {
    const struct model *model;
    struct model *owned; /* the same model when engine_open made it; else NULL */
    struct compute *compute;
    struct model_workspace *work; /* for `chunk` tokens */
    struct sampler *sampler;
    size_t chunk, context;
    enum dtype kv_dtype;
    float *rows; /* [n_rows, vocab_size] logits of many tokens, for scoring; NULL until needed */
    size_t n_rows;
    struct speculation_costs costs; /* what steps of few rows take here */
};

/* Makes e->rows usable. */
ERR_MUST_USE err engine_rows(struct engine *e, struct errinfo *info);

#endif
