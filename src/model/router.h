/* model/router.h: which experts a token goes to, and with what weight. Three methods:
 *   greedy (V2-Lite): the K best of softmax scores
 *   group_limited_greedy (V2): groups ranked by their best score, the K best of the topk_group groups
 *   noaux_tc (V3): sigmoid scores; selection by score + bias, groups ranked by the sum of their two
 *   best; the bias chooses, it never weighs
 * Weights are the scores of the chosen, normalised to sum 1 when norm_topk_prob, times
 * routed_scaling_factor. Ties go to the lower index. */
#ifndef MODEL_ROUTER_H
#define MODEL_ROUTER_H

#include <stdint.h>

#include "model/config.h"

/* One token: logits [E] are overwritten; bias [E] or NULL; scratch [2 * E]; ids and weights [K], best
 * first. NaN logits give valid ids. */
void router_select(const struct config *c, float *logits, const float *bias, float *scratch,
                   uint32_t *ids, float *weights);

/* The choice alone, from scores [E]; bias, scratch and ids as above. */
void router_choose(const struct config *c, const float *scores, const float *bias, float *scratch,
                   uint32_t *ids);

#endif
