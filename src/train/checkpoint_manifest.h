/* train/checkpoint_manifest.h: which files a checkpoint has, with sizes and hashes, and what they
 * and their folder are called; for checkpoint.c and its neighbours alone. */
#ifndef TRAIN_CHECKPOINT_MANIFEST_H
#define TRAIN_CHECKPOINT_MANIFEST_H

#include <sodium.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CHECKPOINT_MANIFEST_ARRAYS = 64, /* files of arrays at most, so that a manifest stays small */
    CHECKPOINT_MANIFEST_HASH = 65,
    CHECKPOINT_MANIFEST_NAME = 64, /* bytes of a folder's or file's name */
};

#define CHECKPOINT_MANIFEST_FILE "manifest.json"
#define CHECKPOINT_MANIFEST_STATE "state.json"
#define CHECKPOINT_MANIFEST_UNFINISHED                                                             \
    ".tmp-" /* how folders that are being made or removed begin */

struct checkpoint_file {
    size_t bytes;
    char hash[CHECKPOINT_MANIFEST_HASH]; /* BLAKE2b of 32 bytes, hexadecimal */
};

/* n_arrays files of arrays, then the state. */
struct checkpoint_manifest {
    uint64_t step;
    size_t n_arrays;
    struct checkpoint_file files[CHECKPOINT_MANIFEST_ARRAYS + 1];
};

/* The name of a step's folder; of file i, up to and with n_arrays. */
void checkpoint_manifest_folder(uint64_t step, char out[CHECKPOINT_MANIFEST_NAME]);
void checkpoint_manifest_file(const struct checkpoint_manifest *m, size_t i,
                              char out[CHECKPOINT_MANIFEST_NAME]);
/* "DIR/NAME", owned by the caller. */
ERR_MUST_USE err checkpoint_manifest_join(const char *dir, const char *name, char **out,
                                          struct errinfo *info);

void checkpoint_manifest_hex(crypto_generichash_state *hash, char out[CHECKPOINT_MANIFEST_HASH]);
void checkpoint_manifest_hash(const void *data, size_t n, char out[CHECKPOINT_MANIFEST_HASH]);

/* The manifest as text (mem_free). It follows from the numbers alone, byte for byte, so that a
 * reader can tell that nothing in it was changed. */
ERR_MUST_USE err checkpoint_manifest_text(const struct checkpoint_manifest *m, char **out,
                                          struct errinfo *info);
/* Reads the manifest in a folder of this step, and checks that every file has its size. *m may be
 * written on error, with n_arrays in its bounds. ERR_CORRUPT names the file. */
ERR_MUST_USE err checkpoint_manifest_fits(const char *folder, uint64_t step,
                                          struct checkpoint_manifest *m, struct errinfo *info);

#endif
