/* model/convert.h: model files into other model files: a Hugging Face folder into GGUF, GGUF into a
 * Hugging Face folder, GGUF into GGUF of another weight type. Tensors stream through in pieces of a few
 * MB; what is written appears complete under its name or not at all. */
#ifndef MODEL_CONVERT_H
#define MODEL_CONVERT_H

#include "formats/tensortable.h"
#include "model/config.h"
#include "model/weightnames.h"

enum convert_way {
    CONVERT_FOLDER_TO_GGUF,
    CONVERT_GGUF_TO_FOLDER,
    CONVERT_GGUF_TO_GGUF,
};

struct convert_options {
    /* A type or mix of quantmix.h. NULL: the type most weights have now (FP8 and block types: bf16). A
     * folder takes f32, f16, bf16. */
    const char *type;
    const char *dense;   /* a plain type for all but the routed experts; NULL: as `type` says */
    const char *imatrix; /* importance matrix for the quantizers, NULL for none (imatrix.h) */
    int n_threads;       /* 0: all cores */
    size_t shard_bytes;  /* a folder's weight files are cut above this; 0: 5 GB */
    bool overwrite;      /* write over a .gguf file that is there; never over one that is read */
};

struct convert_report {
    enum convert_way way;
    const char *type; /* what was written, as on the command line; static */
    enum dtype source; /* what most weight bytes of the source have */
    size_t n_tensors;
    size_t bytes; /* of all tensors written */
    size_t elems; /* parameters written */
    double seconds;
    size_t mtp_layers; /* multi-token-prediction layers, where the source has them */
    size_t fallbacks[DTYPE_COUNT]; /* matrices that got this type because their rows are no multiple of
                                      the wanted type's block */
    size_t n_unmeasured;        /* matrices the importance matrix does not know */
};

/* `in`: a folder or a .gguf file; `out`: a path ending in .gguf, which must not exist unless `overwrite`,
 * or else a folder, which must not exist or be empty (both ERR_ARGUMENT). Progress with the time left
 * goes to stderr when that is a terminal. */
ERR_MUST_USE err convert_run(const char *in, const char *out, const struct convert_options *options,
                             struct convert_report *report, struct errinfo *info);

/* The type most of a table's matrix bytes have; the same as a plain type: f32, f16, or else bf16. */
enum dtype convert_source_type(const struct tensortable *t);
enum dtype convert_main_type(const struct tensortable *t);


/* How many of the multi-token-prediction layers the config speaks of are there. */
size_t convert_mtp_layers(const struct tensortable *t, enum weightnames_scheme scheme,
                          const struct config *c);

#endif
