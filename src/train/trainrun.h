/* train/trainrun.h: a whole run: steps, validation, samples, log, checkpoints, and the model at the end. In its
 * folder, which is one process's at a time (ERR_IO):
 *
 *     checkpoints/step-N/   the newest few (checkpoint.h)
 *     metrics.jsonl         what was measured (runlog.h)
 *     recipe.json           the recipe as it was read, overrides included, for people: a checkpoint says itself
 *                           what it was made from
 *     model.gguf            the model, once all tokens were learnt from; not of a class that only learns
 *
 * A validation that is stopped is not logged; the run that is resumed there begins with it.
 *
 * A loss that is not finite leaves the weights alone. Three steps in a row that are not finite or spikes
 * (recipe: spike) take the run back to the last checkpoint, and on with the next data; the third time without a
 * checkpoint in between ends it. */
#ifndef TRAIN_TRAINRUN_H
#define TRAIN_TRAINRUN_H

#include "base/strbuf.h"
#include "train/trainerscore.h"
#include "train/trainengine.h"
#include "train/trainertasks.h"
#include "train/trainplan.h"

/* What somebody who looks on is told. Any may be NULL. */
struct trainrun_view {
    void (*planned)(void *user, const struct trainplan *plan, const struct trainer *t);
    void (*stepped)(void *user, const struct trainer_report *r, double peak_share);
    void (*scored)(void *user, uint64_t step, const struct trainerscore_set *set,
                   const struct trainerscore *scores, const struct trainerscore *all);
    void (*sampled)(void *user, uint64_t step, const char *prompt, const char *text);
    void (*asked)(void *user, uint64_t step, const char *task, const struct evaltask_result *r);
    void (*noted)(void *user, uint64_t step, const char *text);
    bool (*go_on)(void *user); /* asked after every step and during validation; false: save and end */
    void *user;
};

struct trainrun_options {
    const char *data, *dir;
    const char *report; /* folder of a page with plots; NULL: none */
    bool resume;
    bool changed;    /* resume although recipe or data are not the checkpoint's; other data are begun anew */
    double seconds;  /* save and end after so long; 0: never */
    int n_threads;   /* 0: all */
    enum cpuinfo_level level;
    struct trainrun_view view;
};

enum trainrun_end { TRAINRUN_DONE, TRAINRUN_STOPPED };

ERR_MUST_USE err trainrun_run(const struct trainrecipe *r, const struct trainrun_options *o,
                              enum trainrun_end *end, struct errinfo *info);

#endif
