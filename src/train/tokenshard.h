/* train/tokenshard.h: a shard of token ids on disk: NAME.tokens, unsigned little-endian integers of 2 or 4
 * bytes, document after document, and NAME.ends, for each document the number of tokens up to its end, 8
 * bytes each. A marked shard also has NAME.learn, a byte for each token: 1 where it is to be predicted, 0 where
 * it is only read (the questions of a conversation). Nothing else is in the files, so that any tool reads
 * them; sizes and hashes stand in the manifest (dataset.h). */
#ifndef TRAIN_TOKENSHARD_H
#define TRAIN_TOKENSHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/file.h"

enum { TOKENSHARD_NAME = 96, TOKENSHARD_HASH = 65 };

/* What a manifest says about a shard. */
struct tokenshard_entry {
    char name[TOKENSHARD_NAME];
    size_t n_tokens, n_documents;
    char tokens_sha256[TOKENSHARD_HASH], ends_sha256[TOKENSHARD_HASH];
    char learn_sha256[TOKENSHARD_HASH]; /* "" when it is not marked */
};

/* A shard being written: nothing appears before tokenshard_commit. */
struct tokenshard_writer;
/* token_bytes: 2 or 4. `dir` and `name` are copied. */
ERR_MUST_USE err tokenshard_create(const char *dir, const char *name, size_t token_bytes, bool marked,
                                   struct tokenshard_writer **out, struct errinfo *info);
/* Appends a document of n ids, all from 0 to what token_bytes hold; learn [n] for marked shards. */
ERR_MUST_USE err tokenshard_add(struct tokenshard_writer *w, const int32_t *ids, const uint8_t *learn, size_t n,
                                struct errinfo *info);
size_t tokenshard_tokens(const struct tokenshard_writer *w); /* so far */
ERR_MUST_USE err tokenshard_commit(struct tokenshard_writer *w, struct tokenshard_entry *entry,
                                   struct errinfo *info);
void tokenshard_abandon(struct tokenshard_writer *w); /* also after commit; NULL is fine */

/* A shard being read: mapped, immutable, thread-safe. */
struct tokenshard {
    struct file_map tokens, ends, learn; /* learn: empty when it is not marked */
    size_t token_bytes, n_tokens, n_documents;
};
/* Sizes, hashes, the order of the ends and the range of the ids (below vocab_size) are checked.
 * ERR_CORRUPT says what is wrong with which file. */
ERR_MUST_USE err tokenshard_open(const char *dir, const struct tokenshard_entry *entry, size_t token_bytes,
                                 size_t vocab_size, struct tokenshard *out, struct errinfo *info);
void tokenshard_close(struct tokenshard *s); /* a zeroed struct is fine */

/* Where document i begins and ends, in tokens; i < n_documents. */
size_t tokenshard_begin(const struct tokenshard *s, size_t i);
size_t tokenshard_end(const struct tokenshard *s, size_t i);
/* Copies tokens [from, from + n), which exist. */
void tokenshard_copy(const struct tokenshard *s, size_t from, size_t n, int32_t *out);
/* The same, with -1 for tokens that are not to be predicted. */
void tokenshard_copy_targets(const struct tokenshard *s, size_t from, size_t n, int32_t *out);

#endif
