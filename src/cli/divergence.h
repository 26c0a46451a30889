/* cli/divergence.h: how far one way of computing a text's predictions is from another: a quantised model
 * from the one it was made of, a kernel's rounding from float32. Both read the same windows (perplexity.h) and
 * their distributions are compared after every scored token. */
#ifndef CLI_DIVERGENCE_H
#define CLI_DIVERGENCE_H

#include "cli/perplexity.h"

struct divergence { /* sums over the scored tokens; p is the reference's distribution, q the other's */
    struct perplexity model, reference;
    double kl, kl_squared, kl_max;   /* KL(p | q) = sum p ln(p / q), nats per token */
    double difference, difference_squared; /* ln p - ln q of the text's own token */
    size_t same_best;                /* both find the same token likeliest */
};

/* Both engines stay the caller's. ERR_ARGUMENT when their vocabularies differ. A progress line appears on a
 * terminal; Ctrl-C is ERR_CANCELLED. */
ERR_MUST_USE err divergence_of(struct engine *e, struct engine *reference, const int32_t *ids, size_t n,
                               size_t window, size_t stride, struct divergence *out,
                               struct errinfo *info);

double divergence_kl(const struct divergence *d);          /* mean, nats per token */
double divergence_kl_error(const struct divergence *d);    /* its standard error */
double divergence_ratio(const struct divergence *d);       /* perplexity over the reference's */
double divergence_ratio_error(const struct divergence *d); /* its standard error: tokens are paired */
double divergence_rms(const struct divergence *d);         /* of ln p - ln q of the text's tokens */
double divergence_same_best(const struct divergence *d);   /* share, 0 … 1 */

/* Adds the comparison of two rows of logits [n], the text's token being `id`, to *d (bytes excepted). A row
 * with a NaN makes the sums NaN. */
void divergence_add(struct divergence *d, const float *logits, const float *reference, size_t n,
                    int32_t id);

#endif
