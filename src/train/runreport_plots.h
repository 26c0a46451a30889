/* train/runreport_plots.h: the plots of a run's report, with their tables; part of runreport.c. */
#ifndef TRAIN_RUNREPORT_PLOTS_H
#define TRAIN_RUNREPORT_PLOTS_H

#include "base/htmltext.h"
#include "train/runlog.h"

/* What the plots draw: a number for each step or validation, in lists. Owned. */
struct runreport_plots {
    const struct runlog_records *records; /* borrowed */
    double *numbers;                      /* all lists below, one block */
    double *step_x[3], *val_x[3];         /* tokens, FLOPs, seconds */
    double *loss, *smooth;                /* smooth: mean over about the last 2 % of the steps */
    double *lr, *grad_norm, *rate, *peak, *mtp_loss, *balance_loss; /* peak in percent */
    double *val_loss;
};

/* `records` must outlive it. Release with runreport_plots_deinit. */
ERR_MUST_USE err runreport_plots_init(struct runreport_plots *p,
                                      const struct runlog_records *records);
void runreport_plots_deinit(struct runreport_plots *p);

/* The mean over the last 50th of the steps, or the last ten; NAN without any. */
double runreport_plots_recent(const struct runreport_plots *p, const double *list);

/* The loss against tokens, FLOPs or time, linear or logarithmic, and the tables. */
void runreport_plots_loss(const struct runreport_plots *p, struct htmltext *h);
/* Learning rate, gradients, speed and the other losses, small, beside each other. */
void runreport_plots_small(const struct runreport_plots *p, struct htmltext *h);

#endif
