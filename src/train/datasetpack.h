/* train/datasetpack.h: text to a dataset: documents are cut into tokens on all threads, sorted into learning
 * and validation by the hash of their text, and written as shards in the order of the files.
 *
 * The folder also gets the tokenizer's own files, so that a run needs nothing else.
 *
 * A document becomes: the token that begins a text, its tokens, the token that ends one. Control tokens
 * spelled out in the text stay text. */
#ifndef TRAIN_DATASETPACK_H
#define TRAIN_DATASETPACK_H

#include "text/chat.h"
#include "text/corpus.h"
#include "text/tokenizer.h"
#include "train/dataset.h"

struct datasetpack_source {
    const char *name;            /* 1 to DATASET_NAME - 1 letters, digits, '-', '_' */
    const char *licence;         /* a line; "" when nothing is said */
    const char *const *files;    /* text or JSONL, plain or zstd */
    size_t n_files;
    const char *const *val_files; /* all for validation; where there are any, none of `files` is */
    size_t n_val_files;
    bool chat; /* each line of the files is a conversation (chatpack.h), laid out in options.chat_format */
};

struct datasetpack_options {
    const char *dir;           /* made where it is missing */
    const char *tokenizer_dir; /* holds tokenizer.json; the tokenizer has begin and end */
    struct corpus_options corpus;
    enum chat_format chat_format;
    double val_share;    /* 0 to 1: a document is for validation when the first 8 bytes of its SHA-256,
                          * big-endian and divided by 2^64, are below */
    size_t shard_tokens; /* a shard ends with the document that reaches so many; 1 or more */
    int n_threads;
    /* Called now and then with the bytes of all files that are done; false stops (ERR_CANCELLED). May be
     * NULL. */
    bool (*go_on)(void *user, size_t done);
    void *user;
};

/* Writes shards and manifest, and gives the dataset back: dataset_deinit. After an error, a stop included, DIR
 * is as before. One process at a time packs into it (ERR_IO). */
ERR_MUST_USE err datasetpack_run(const struct datasetpack_options *options,
                                 const struct datasetpack_source *sources, size_t n_sources,
                                 struct dataset *out, struct errinfo *info);

#endif
