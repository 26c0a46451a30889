/* engine/sampling.c: the ranges of what a person may ask of the sampler (fathom.h: struct sampling). */
#include <math.h>

#include "engine/sampler.h"

/* A NaN fails every range. */
static err sampling_range(const char *field, double v, double low, double high, struct errinfo *info)
{
    if (v >= low && v <= high) {
        return ERR_OK;
    }
    return err_set(info, ERR_ARGUMENT, "%s is %g; it must be between %g and %g", field, v, low, high);
}

static err sampling_check_bias(const struct sampling *s, size_t vocab_size, struct errinfo *info)
{
    if (s->n_bias > 0 && (!s->bias_ids || !s->bias_values)) {
        return err_set(info, ERR_ARGUMENT, "logit_bias names %zu tokens but gives no ids or values",
                       s->n_bias);
    }
    for (size_t i = 0; i < s->n_bias; i++) {
        if (s->bias_ids[i] < 0 || (size_t)s->bias_ids[i] >= vocab_size) {
            return err_set(info, ERR_ARGUMENT,
                           "logit_bias names token %d; this model's tokens are 0 to %zu",
                           s->bias_ids[i], vocab_size - 1);
        }
        if (s->bias_values[i] != -INFINITY) {
            TRY(sampling_range("logit_bias", s->bias_values[i], -100, 100, info));
        }
    }
    return ERR_OK;
}

err sampling_check(const struct sampling *s, size_t vocab_size, struct errinfo *info)
{
    TRY(sampling_range("temperature", s->temperature, 0, 100, info));
    TRY(sampling_range("top_k", s->top_k, 0, 2147483647.0, info));
    TRY(sampling_range("top_p", s->top_p, 0, 1, info));
    TRY(sampling_range("min_p", s->min_p, 0, 1, info));
    if (s->repetition_penalty != 0) {
        TRY(sampling_range("repetition_penalty", s->repetition_penalty, 0.01, 10, info));
    }
    TRY(sampling_range("presence_penalty", s->presence_penalty, -2, 2, info));
    TRY(sampling_range("frequency_penalty", s->frequency_penalty, -2, 2, info));
    return sampling_check_bias(s, vocab_size, info);
}
