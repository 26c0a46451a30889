/* cli/acquire.h: carries out a pull plan: every file fetched (or copied), checked and entered in the
 * registry, so that stopping at any moment loses at most the file being written, and not even that
 * when its server can continue. */
#ifndef CLI_ACQUIRE_H
#define CLI_ACQUIRE_H

#include "cli/pullplan.h"
#include "cli/registry.h"

struct acquire {
    const struct pullplan *plan;
    const char *name;    /* in the registry */
    const char *source;  /* for the manifest; NULL: the plan's */
    const char *licence; /* NULL: the plan's, or "not stated" */
    unsigned retries;
    double retry_seconds;
    bool (*cancelled)(void);
    bool quiet; /* no line per file on stderr */
};

/* What is on the disk already and what is missing. */
struct acquire_need {
    uint64_t total; /* bytes of all files whose size is known */
    uint64_t missing;
    bool unknown; /* some file's size is not known */
};
ERR_MUST_USE err acquire_measure(const struct acquire *a, struct acquire_need *out,
                                 struct errinfo *info);

/* Does it. *out is the registered model (registry_model_deinit). Refuses beforehand, with ERR_LIMIT and
 * both numbers, what the disk cannot hold; afterwards, with ERR_CORRUPT, what is no model file,
 * and then keeps only files whose hash the source had promised: the next attempt starts clean. */
ERR_MUST_USE err acquire_run(const struct acquire *a, struct registry_model *out,
                             struct errinfo *info);

#endif
