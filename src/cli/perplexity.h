/* cli/perplexity.h: how well a model predicts a text.
 *
 * Method, when `stride` is 0: the text's tokens are cut into windows of `window` tokens that do not
 * overlap (a shorter rest is left out); the first half of each window is only read, the tokens after it
 * are scored. When the model wants a bos, it replaces the first token of each window. This is what
 * llama.cpp's perplexity tool does, so numbers can be compared. With a stride, windows begin every
 * `stride` tokens and each scores what no window before it has scored: more context per token, slower.
 * A text shorter than a window is one window. */
#ifndef CLI_PERPLEXITY_H
#define CLI_PERPLEXITY_H

#include "base/progress.h"
#include "fathom.h"

struct perplexity {
    double nats;   /* sum of -ln p over the scored tokens */
    size_t tokens; /* scored */
    size_t bytes;  /* text bytes of the scored tokens */
};

/* A progress line with the time left appears on a terminal; Ctrl-C is ERR_CANCELLED. */
ERR_MUST_USE err perplexity_of(struct engine *e, const int32_t *ids, size_t n, size_t window,
                               size_t stride, struct perplexity *out, struct errinfo *info);

/* ---- the windows, for other measures over the same tokens (divergence.h) ---- */

/* What is done with a window: ids[start … scored) are read, ids[scored … end) are scored; start < scored. */
typedef err (*perplexity_visitor)(void *user, size_t start, size_t scored, size_t end,
                                  struct errinfo *info);
/* Every window of n tokens in order; a window longer than the text is the text. ERR_ARGUMENT for a text or a
 * window below 4 tokens and a stride that is not below the window. */
ERR_MUST_USE err perplexity_walk(size_t n, size_t window, size_t stride, perplexity_visitor visit,
                                 void *user, struct errinfo *info);
/* Tokens of all those windows together; 0 for what perplexity_walk refuses. */
size_t perplexity_total(size_t n, size_t window, size_t stride);
/* Says in *info how much of perplexity_total was read before Ctrl-C; the session knows only its own piece. */
void perplexity_stopped(const struct progress *p, size_t window, struct errinfo *info);
/* The first token of the window that begins at ids[start]: bos in its place where the model wants one. */
int32_t perplexity_first(const struct tokenizer *t, const int32_t *ids, size_t start);

double perplexity_value(const struct perplexity *p);         /* exp(nats / tokens) */
double perplexity_bits_per_byte(const struct perplexity *p); /* nats / ln 2 / bytes */

#endif
