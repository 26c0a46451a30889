/* cli/pullplan.h: from a source's name to the list of files to fetch.
 *
 *   hf:ORG/NAME         the files of a Hugging Face repository that a model is made of: config, tokenizer,
 *                       safetensors with their index; sizes and SHA-256 from the hub's listing
 *   hf:ORG/NAME:FILE    one GGUF file of it, with all its parts when it is split
 *   https://…           that file
 *   file:PATH           a file on this machine, copied
 *
 * The hub is https://huggingface.co, or FATHOM_HF_ENDPOINT (a mirror). Its listing is hostile input:
 * bounded, and no name in it may leave the model's folder. */
#ifndef CLI_PULLPLAN_H
#define CLI_PULLPLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PULLPLAN_LISTING_MAX = 16 << 20 };

struct pullplan_file {
    char *name;      /* inside the model's folder */
    char *url;       /* https://… or file:PATH */
    uint64_t size;   /* 0 unknown */
    char sha256[65]; /* "" unknown */
};

struct pullplan { /* strings owned */
    char *source;
    char *name;    /* suggested for the registry */
    char *licence; /* as the source says; NULL unknown */
    char *open;    /* the file to open, "." for the folder */
    struct pullplan_file *files;
    size_t n_files;
};

/* Asks the network where needed. */
ERR_MUST_USE err pullplan_make(const char *source, struct pullplan *out, struct errinfo *info);
/* The hub's listing, already fetched; `repo` is ORG/NAME, `file` NULL for the whole. For tests. */
ERR_MUST_USE err pullplan_from_listing(const char *endpoint, const char *repo, const char *file,
                                       const char *json, size_t n, struct pullplan *out,
                                       struct errinfo *info);
void pullplan_deinit(struct pullplan *p); /* a zeroed struct is fine */

#endif
