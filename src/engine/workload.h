/* engine/workload.h: what a forward pass has to do at the least, counted from the model's shape: arithmetic
 * and bytes. Over a machine's roof (tensor/roof.h) the larger of the two is the least time it can take. */
#ifndef ENGINE_WORKLOAD_H
#define ENGINE_WORKLOAD_H

#include "model/model.h"
#include "tensor/roof.h"

struct workload {
    double flops; /* a multiply-add counts as 2: every active weight per token, attention, the head for one
                     row of logits per sequence */
    double bytes; /* read: weights once per pass, of the experts those that are expected to be touched, and
                     the key/value cache once per sequence */
};

/* n tokens of one sequence that holds `depth` others already, read in passes of at most `chunk`. */
struct workload workload_prefill(const struct model *m, size_t n, size_t depth, size_t chunk,
                                 enum dtype kv_type);
/* One token for each of `batch` sequences that hold `depth` positions each. */
struct workload workload_decode(const struct model *m, size_t batch, size_t depth, enum dtype kv_type);

/* How many of E experts n tokens touch when each chooses k of them evenly and on its own:
 * E (1 - (1 - k/E)^n). Real routers are less even, so fewer. */
double workload_unique_experts(double n_experts, double k, double n_tokens);

enum workload_bound { WORKLOAD_MEMORY, WORKLOAD_COMPUTE };
/* Which of the two takes longer, given the rates. */
enum workload_bound workload_bound_of(const struct workload *w, double flops_per_s, double bytes_per_s);

#endif
