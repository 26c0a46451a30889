/* model/ropefreqs.h: the rotation frequencies of a model, with YaRN, llama3 or linear scaling applied,
 * and the attention scale that belongs to them. Formulas: YaRN (Peng et al. 2023) as DeepSeek-V2 and
 * -V3 use it, Llama 3.1's smooth interpolation; docs/models.md. */
#ifndef MODEL_ROPEFREQS_H
#define MODEL_ROPEFREQS_H

#include "model/config.h"

/* Fills rope_freqs, attention_scale and rope_gain from the other fields, which config_finish has
 * checked: rope_dim even and within CONFIG_ROPE_MAX, theta, factor and lengths positive. */
void ropefreqs_fill(struct config *c);

/* What llama3 scaling divides frequency `freq` by. */
double ropefreqs_llama3_divisor(double freq, double factor, double low, double high, double original);

#endif
