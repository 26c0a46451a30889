/* text/tokenizer_ids.c: the growing list of ids; see tokenizer.h. */
#include "base/checked.h"
#include "base/mem.h"
#include "text/tokenizer.h"

err tokenizer_ids_push(struct tokenizer_ids *ids, int32_t id)
{
    if (ids->len == ids->cap) {
        size_t cap = 64;
        if (ids->cap > 0 && !checked_mul(ids->cap, 2, &cap)) {
            return ERR_NOMEM;
        }
        int32_t *p = mem_resize(ids->data, cap, sizeof *p);
        if (!p) {
            return ERR_NOMEM;
        }
        ids->data = p;
        ids->cap = cap;
    }
    ids->data[ids->len++] = id;
    return ERR_OK;
}

void tokenizer_ids_deinit(struct tokenizer_ids *ids)
{
    mem_free(ids->data);
    *ids = (struct tokenizer_ids){0};
}
