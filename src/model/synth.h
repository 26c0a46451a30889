/* model/synth.h: models of a published shape with random but sane weights, so that anyone learns how
 * fast and how large a model would be before downloading it.
 *
 * Weights are cut from a pool of normal values (standard deviation 0.02) quantised once per dtype, so
 * gigabytes are made at memory speed; FP8 tensors share one array of equal block scales. When the whole
 * model exceeds the memory budget, later layers of one kind share the memory of earlier ones, each tensor that
 * of one of its type: arithmetic, bytes and, as long as one layer is larger than the caches, memory traffic per
 * token stay those of the real model. */
#ifndef MODEL_SYNTH_H
#define MODEL_SYNTH_H

#include "base/progress.h"
#include "model/inventory.h"

struct synth;

/* Chooses the dtype of a matrix (others stay F32). */
typedef enum dtype (*synth_typer)(void *user, const struct inventory_item *item);

/* What synth_new makes of a shape within a budget. */
struct synth_size {
    size_t total_bytes;         /* what the real model would take */
    size_t memory_bytes;        /* what is made: less when later layers share */
    size_t layers, layers_made; /* of the model; with all weights their own */
};
/* The same numbers before anything is allocated, and the same errors. */
ERR_MUST_USE err synth_measure(const struct config *c, synth_typer typer, void *user,
                               size_t budget_bytes, struct synth_size *out, struct errinfo *info);

/* budget_bytes bounds the memory taken (0: no bound). ERR_NOMEM with the numbers when even one layer
 * of each kind does not fit. Progress may be NULL. */
ERR_MUST_USE err synth_new(const struct config *c, synth_typer typer, void *user,
                           size_t budget_bytes, struct progress *progress, struct synth **out,
                           struct errinfo *info);
void synth_free(struct synth *s);

const struct tensortable *synth_tensors(const struct synth *s); /* GGUF names */
size_t synth_total_bytes(const struct synth *s);  /* what the real model would take */
size_t synth_memory_bytes(const struct synth *s); /* what was allocated */

/* From now on asked before each tensor is written: false makes synth_write ERR_CANCELLED. */
void synth_watch(struct synth *s, bool (*keep_going)(void));
/* Writes the model as a GGUF file (without a tokenizer; layers that share memory are written in full),
 * so that other programs can be measured on the same weights. ggml_ftype: general.file_type. */
ERR_MUST_USE err synth_write(const struct synth *s, const char *path, int ggml_ftype,
                             struct progress *progress, struct errinfo *info);

#endif
