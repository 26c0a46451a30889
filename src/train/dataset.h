/* train/dataset.h: a folder of token shards with its manifest: which text, under which licence, cut by which
 * tokenizer, into how many tokens for learning and for validation. The manifest is written last; a folder
 * without one is no dataset.
 *
 * Which documents are for validation a hash of their text decides (datasetpack.h), so it does not depend on
 * their order, on other documents, or on who packs them. */
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include <jansson.h>

#include "text/tokenizer.h"
#include "train/tokenshard.h"

enum dataset_part { DATASET_TRAIN, DATASET_VAL, DATASET_PARTS };

#define DATASET_MANIFEST "manifest.json"

enum { DATASET_NAME = 64, DATASET_SOURCES_MAX = 256, DATASET_SHARDS_MAX = 65536 };

struct dataset_shards {
    struct tokenshard_entry *entries; /* owned by the dataset */
    size_t n, n_tokens, n_documents;
};

/* A file a source was made of. */
struct dataset_file {
    char *name; /* without folders; owned */
    size_t size;
    char sha256[TOKENSHARD_HASH];
};

struct dataset_source {
    char name[DATASET_NAME];
    char *licence; /* a line; owned; may be "" */
    struct dataset_file *files;
    size_t n_files;
    size_t n_bytes; /* of text */
    struct dataset_shards parts[DATASET_PARTS];
};

struct dataset {
    char *dir; /* owned */
    char sha256[TOKENSHARD_HASH]; /* of the manifest, and so of all it names */
    char tokenizer_sha256[TOKENSHARD_HASH]; /* of its tokenizer.json */
    size_t vocab_size, token_bytes;
    double val_share; /* of documents, about */
    struct dataset_source *sources;
    size_t n_sources;
};

/* Reads DIR/manifest.json and checks it by itself; shards are opened with tokenshard_open. Release with
 * dataset_deinit. ERR_NOTFOUND when DIR holds none. */
ERR_MUST_USE err dataset_open(const char *dir, struct dataset *out, struct errinfo *info);
/* DIR's tokenizer (tokenizer_free). ERR_CORRUPT when it is not the one that made the tokens. */
ERR_MUST_USE err dataset_open_tokenizer(const struct dataset *d, struct tokenizer **out, struct errinfo *info);
/* Writes DIR/manifest.json and sets d->sha256. */
ERR_MUST_USE err dataset_write(struct dataset *d, struct errinfo *info);
void dataset_deinit(struct dataset *d); /* a zeroed struct is fine */

ERR_MUST_USE err dataset_hash_file(const char *path, char sha256[TOKENSHARD_HASH], struct errinfo *info);

/* All tokens of a part. */
size_t dataset_tokens(const struct dataset *d, enum dataset_part part);
const char *dataset_part_name(enum dataset_part part); /* "train", "val" */

#endif
