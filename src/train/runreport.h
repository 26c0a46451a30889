/* train/runreport.h: the page of a training run: index.html, made from a metrics.jsonl
 * (runlog.h). Loss over tokens, FLOPs and time, load of the experts, learning rate, gradients,
 * speed; the numbers behind the plots as tables; samples and events; the recipe, totals, energy and
 * cost. One file that needs nothing else, no network and no script. While the run goes on it loads
 * itself again every 30 seconds; still.html beside it is the same without that, for readers whom it
 * would disturb. */
#ifndef TRAIN_RUNREPORT_H
#define TRAIN_RUNREPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define RUNREPORT_PAGE "index.html"
#define RUNREPORT_STILL "still.html"

struct runreport_fact {
    const char *name, *value;
};

/* All borrowed; any text is safe. */
struct runreport_about {
    const char *title;
    const struct runreport_fact *facts; /* the recipe, machine, command … as a table */
    size_t n_facts;
    double planned_tokens;        /* of the whole run; 0: not known */
    double hour_price, kwh_price; /* of the machine and of its energy; 0: not known */
    const char *currency;         /* of both; NULL without prices */
    bool running;
};

/* Makes both pages in `to` of the metrics in `dir`, each complete or not at all. ERR_NOTFOUND when there
 * are none. Reads all of them, which takes about a second for 100,000 steps: not for every step. */
ERR_MUST_USE err runreport_write(const char *dir, const char *to, const struct runreport_about *about,
                                 struct errinfo *info);

#endif
