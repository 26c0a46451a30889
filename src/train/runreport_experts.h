/* train/runreport_experts.h: how evenly a run uses its experts; part of runreport.c. */
#ifndef TRAIN_RUNREPORT_EXPERTS_H
#define TRAIN_RUNREPORT_EXPERTS_H

#include "base/htmltext.h"
#include "train/runlog.h"

/* Two maps, of the last record and over all of them, and the table; nothing without such records.
 */
void runreport_experts(const struct runlog_records *r, struct htmltext *h);

#endif
