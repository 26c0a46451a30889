/* cli/registry.h: the models on this machine. Each lives in its own folder
 *     ${FATHOM_MODELS:-${XDG_DATA_HOME:-~/.local/share}/fathom/models}/NAME/
 * beside a small text file `manifest`, written last: a folder without one is an unfinished download.
 *
 *     fathom-model 1
 *     source hf:deepseek-ai/DeepSeek-V2-Lite
 *     licence DeepSeek model licence
 *     open .                                  the file to open, or . for the whole folder
 *     file SHA256 SIZE config.json            one line per file
 *
 * Models that came with the program lie in FATHOM_BUNDLED, else in ../share/fathom/models seen from its folder
 * (installed), else in ../models (built), in the same form. They are only read; a model of the same name among
 * the user's goes before.
 *
 * While a download runs the same text grows in `manifest.part`, so that a later run knows which files
 * it has already checked. Manifests are read as hostile input: bounded, names checked. */
#ifndef CLI_REGISTRY_H
#define CLI_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    REGISTRY_NAME_MAX = 63,
    REGISTRY_FILES_MAX = 4096,
    REGISTRY_FOLDERS_MAX = 4, /* depth of a file inside its model's folder */
    REGISTRY_MANIFEST_MAX = 1 << 20,
    REGISTRY_MODELS_MAX = 4096,
};

struct registry_file {
    char *name; /* relative to the model's folder */
    uint64_t size;
    char sha256[65]; /* lower-case hex */
};

struct registry_model { /* all strings owned; registry_model_deinit */
    char *name;
    char *folder;
    char *path; /* what model_open takes: folder/open, or the folder */
    char *source;
    char *licence;
    char *open;
    struct registry_file *files;
    size_t n_files;
    bool complete; /* false: read from manifest.part, or no manifest at all */
};

struct registry_list {
    struct registry_model *models; /* by name */
    size_t n;
};

/* The folder of all models (not necessarily there yet); *out is owned by the caller. */
ERR_MUST_USE err registry_root(char **out, struct errinfo *info);

/* The folder of the models that came with the program, likewise. */
ERR_MUST_USE err registry_bundled(char **out, struct errinfo *info);

/* A model's name: lower-case letters, digits, `.`, `_`, `-`, not beginning with `.` or `-`. */
bool registry_name_ok(const char *name);
/* A file's name inside a model's folder: no empty, hidden, `..` or overlong part, no odd characters,
 * never absolute. */
bool registry_file_ok(const char *name);

/* A new model with the folder and name filled in, nothing on disk. */
ERR_MUST_USE err registry_model_init(const char *name, struct registry_model *out,
                                     struct errinfo *info);
void registry_model_deinit(struct registry_model *m); /* a zeroed struct is fine */
ERR_MUST_USE err registry_add_file(struct registry_model *m, const char *name, uint64_t size,
                                   const char *sha256, struct errinfo *info);
const struct registry_file *registry_find_file(const struct registry_model *m, const char *name);
uint64_t registry_bytes(const struct registry_model *m);

/* Sets source, licence and what to open (NULL: leave as it is). */
ERR_MUST_USE err registry_describe(struct registry_model *m, const char *source, const char *licence,
                                   const char *open, struct errinfo *info);

/* Reads NAME's manifest, or its manifest.part when `unfinished` is wanted and there is no manifest.
 * ERR_NOTFOUND when there is none. */
ERR_MUST_USE err registry_read(const char *name, bool unfinished, struct registry_model *out,
                               struct errinfo *info);
/* Writes manifest.part, or, with `complete`, the manifest itself (and removes manifest.part). */
ERR_MUST_USE err registry_write(const struct registry_model *m, bool complete, struct errinfo *info);

/* Every folder of the root, and every model that came with the program; unreadable manifests make an
 * incomplete entry, not an error. */
ERR_MUST_USE err registry_list_all(struct registry_list *out, struct errinfo *info);
void registry_list_deinit(struct registry_list *l);

#endif
