/* train/trainpage.h: what the page of a run (runreport.h) says besides what was measured: its recipe and the
 * machine. */
#ifndef TRAIN_TRAINPAGE_H
#define TRAIN_TRAINPAGE_H

#include "train/trainer.h"

/* Makes the page in `to`, which is made where it is missing, of the run in `dir`. */
ERR_MUST_USE err trainpage_write(const struct trainer *t, const char *dir, const char *to, bool running,
                                 struct errinfo *info);

#endif
