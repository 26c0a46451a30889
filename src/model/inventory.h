/* model/inventory.h: which tensors a model of a given config consists of, by GGUF name and shape, in
 * file order, multi-token-prediction layers included. The one list that synthetic models and size plans
 * are made from. */
#ifndef MODEL_INVENTORY_H
#define MODEL_INVENTORY_H

#include "model/config.h"
#include "tensor/tensor.h"

struct inventory_item {
    char name[64]; /* GGUF spelling: "blk.3.ffn_gate_exps.weight" */
    int layer;     /* -1: not in a layer */
    uint32_t rank;
    size_t shape[TENSOR_RANK_MAX]; /* outermost first */
    bool is_matrix;                /* may be quantised; the others stay F32 */
};

/* Called once per tensor; the item is valid during the call. A failure ends the walk. */
typedef err (*inventory_visitor)(void *user, const struct inventory_item *item);
ERR_MUST_USE err inventory_walk(const struct config *c, inventory_visitor visit, void *user);

#endif
