/* train/checkpoint.h: what a training run needs to go on as if it had not stopped, on disk. A
 * checkpoint is a folder DIR/step-0000000100:
 *
 *     arrays-00001.safetensors …   weights and the optimiser's state, named by the trainer
 *     state.json                   everything else: data cursor, schedule, random numbers
 *     manifest.json                step, and size and hash of each of those files; written last
 *
 * It is made under another name, synced and renamed: nobody ever sees half of one, and a full disk
 * or a kill leaves the ones before untouched. Hashes are BLAKE2b of 32 bytes (`b2sum -l 256` prints
 * the same): three to four times as fast as SHA-256 in libsodium, and hashing is most of what a
 * save costs beside the disk.
 *
 * One process at a time saves and prunes in DIR; anybody may read meanwhile. Saving and loading use
 * as many threads as OpenMP gives, one to a file. */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tensor/mat.h"

enum { CHECKPOINT_NAME = 96 };
#define CHECKPOINT_STEP_MAX UINT64_C(9999999999)

/* Borrowed. Any type of mat, no gaps (stride == cols), at least one element. */
struct checkpoint_array {
    char name[CHECKPOINT_NAME]; /* printable ASCII, each once */
    struct mat mat;
};

/* Writes DIR/step-STEP; DIR is made when it is not there, a checkpoint of this step is replaced.
 * `state` is any JSON value. On error nothing of the new one is left. */
ERR_MUST_USE err checkpoint_save(const char *dir, uint64_t step,
                                 const struct checkpoint_array *arrays, size_t n,
                                 const json_t *state, struct errinfo *info);

/* The newest step whose manifest is there and whose files have its sizes; *found is false when
 * there is none, also when there is no DIR. Hashes are for checkpoint_load. *passed says why the newest
 * of all was not taken; its code is ERR_OK when it was. ERR_CORRUPT when none is whole, and for a
 * symbolic link where a checkpoint should be: it would be read but neither replaced nor pruned. */
ERR_MUST_USE err checkpoint_find(const char *dir, uint64_t *step, bool *found, struct errinfo *passed,
                                 struct errinfo *info);

/* The state alone, verified: a new reference. */
ERR_MUST_USE err checkpoint_load_state(const char *dir, uint64_t step, json_t **state, struct errinfo *info);

/* Fills the arrays, which must be those of the checkpoint: the same names (in any order), shapes
 * and types, none missing, none left. *state is a new reference. Everything, hashes included, is
 * checked before the first array is written. ERR_NOTFOUND: no such step. ERR_CORRUPT: damaged, or
 * not of this model. */
ERR_MUST_USE err checkpoint_load(const char *dir, uint64_t step,
                                 const struct checkpoint_array *arrays, size_t n, json_t **state,
                                 struct errinfo *info);

/* Removes all but the newest `keep` (at least 1) whole checkpoints, damaged ones that are older
 * than those, and what killed saves left. Folders without a manifest are not ours and stay. */
ERR_MUST_USE err checkpoint_prune(const char *dir, size_t keep, struct errinfo *info);

#endif
