/* model/forward.h: one pass of some tokens of some sequences through all layers; what the blocks
 * (mla, gqa, ffn, moe) see of it. Every block reads workspace.x [n_tokens, d] and writes
 * workspace.out [n_tokens, d]. */
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include "model/weights.h"
#include "model/workspace.h"

struct forward {
    const struct config *config;
    const struct weights *weights;
    struct compute *compute;
    struct model_workspace *work;
    const struct model_segment *segments; /* tokens of segment 0, then of segment 1 … */
    size_t n_segments, n_tokens;
    struct errinfo *info;
};

/* Checked arguments in, logits and cache rows out; caches' len is not touched. */
ERR_MUST_USE err forward_run(struct forward *f, model_observer observer, void *user);
/* The same from what is in workspace.h instead of the tokens' embedding; leaves the normed output in
 * workspace.x. */
ERR_MUST_USE err forward_layers(struct forward *f, model_observer observer, void *user);

/* ops_matmul with the message for its only error. */
ERR_MUST_USE err forward_matmul(struct forward *f, size_t n_jobs);
/* ops_attention of workspace.calls likewise. */
ERR_MUST_USE err forward_attention(struct forward *f, size_t n_calls);

/* A job over all rows of x (contiguous, as wide as w's input) into y. */
struct matmul_job forward_job(const struct tensor *w, const float *x, float *y, size_t n_rows);

#endif
