/* cli/inspection.h: everything that can be said about a model file without running it. Works for
 * every class: known, recognised or foreign. */
#ifndef CLI_INSPECTION_H
#define CLI_INSPECTION_H

#include <jansson.h>

#include "base/progress.h"
#include "formats/tensortable.h"
#include "model/config.h"
#include "text/chat.h"

struct inspection_file {
    char *path;
    size_t size;
    char sha256[65]; /* "" until inspection_hash */
};

struct inspection_type {
    size_t tensors, parameters, bytes;
};

struct inspection {
    char *path;
    const char *format;     /* "gguf", "huggingface", "safetensors" */
    char architecture[128]; /* what the files call their class; "" when they do not say */
    bool has_config;        /* `config` holds a class we know */
    struct config config;
    struct errinfo refusal; /* why it does not run; message "" when nothing speaks against it */
    json_t *keys;           /* config.json or the GGUF keys (long arrays as {"array","count"}) */
    const struct tensortable *tensors;
    struct inspection_type types[DTYPE_COUNT];
    struct inspection_type
        total;                   /* parameters: stored values, the scales of FP8 weights left out */
    struct tokenizer *tokenizer; /* NULL when there is none, or an unreadable one */
    struct chat_guess chat;
    struct errinfo tokenizer_error;
    struct inspection_file *files; /* the weight files, then the folder's JSON files */
    size_t n_files;
    struct inspection_source *source; /* what is open underneath */
};

/* `path`: a .gguf file (all parts of a split one), a Hugging Face folder or a lone .safetensors
 * file. */
ERR_MUST_USE err inspection_open(const char *path, struct inspection **out, struct errinfo *info);
void inspection_close(struct inspection *i); /* NULL is fine */

/* Reads every file once and fills in the hashes, with progress on stderr. */
ERR_MUST_USE err inspection_hash(struct inspection *i, struct errinfo *info);

/* "8 layers and 1 that guesses ahead (MTP)": GGUF counts both in block_count. Returns out. */
enum { INSPECTION_LAYERS_TEXT = 80 };
const char *inspection_layers_text(const struct config *c, char out[INSPECTION_LAYERS_TEXT]);

/* All of it as one object (a new reference), the tensors' list on request; NULL when memory is
 * short. */
json_t *inspection_json(const struct inspection *i, bool tensors);

#endif
