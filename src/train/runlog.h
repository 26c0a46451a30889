/* train/runlog.h: the metrics of a training run: DIR/metrics.jsonl, one JSON object a line, in the
 * order in which things happened. Any tool reads it; runreport.h makes the page of it. Kinds:
 *
 *     step    step tokens flops seconds loss mtp_loss balance_loss bits_per_byte lr grad_norm
 *             tokens_per_s peak_share load_spread energy_j
 *     val     step tokens flops seconds loss bits_per_byte sources: [{name bits_per_byte}, …]
 *     load    step layers: [[share of each expert], …], [] for layers without experts
 *     sample  step prompt text
 *     task    step name score n
 *     event   step text
 *
 * tokens, flops, seconds and energy_j count from the start of the run; losses are nats per token;
 * peak_share and the shares of a layer are parts of 1; load_spread is the largest share over the
 * even one. What is not known or not finite is null. Other kinds and keys are kept and not read.
 *
 * Durability: each record reaches the system with one write, so a killed process loses none.
 * runlog_sync takes them to the disk: call it before each checkpoint. What a power cut takes after
 * that, the run makes again when it goes on from the checkpoint; runlog_cut first removes what came
 * after it. So everything about a step is logged before its checkpoint is saved. */
#ifndef TRAIN_RUNLOG_H
#define TRAIN_RUNLOG_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define RUNLOG_FILE "metrics.jsonl"

/* ---- Writing: one process and thread at a time. ---- */

struct runlog;
/* Goes on after what is there; half a line at the end, left by a crash, is removed. Makes DIR when
 * needed. */
ERR_MUST_USE err runlog_open(const char *dir, struct runlog **out, struct errinfo *info);
/* An object with a string "kind" and a count "step". On error the file is as before. */
ERR_MUST_USE err runlog_append(struct runlog *l, const json_t *record, struct errinfo *info);
ERR_MUST_USE err runlog_sync(struct runlog *l, struct errinfo *info);
void runlog_close(struct runlog *l); /* NULL is fine */

/* v as a JSON value, null when it is not finite; NULL when memory is short. */
json_t *runlog_number(double v) __attribute__((warn_unused_result));

/* Removes all records of later steps, before the log is opened to go on from `step`. No file:
 * nothing to do. */
ERR_MUST_USE err runlog_cut(const char *dir, uint64_t step, struct errinfo *info);

/* ---- Reading: at any time, also while another process writes. ---- */

/* NAN stands for null and for a key that is not there. */
struct runlog_step {
    uint64_t step;
    double tokens, flops, seconds, loss, mtp_loss, balance_loss, bits_per_byte, lr, grad_norm,
        tokens_per_s, peak_share, load_spread, energy_j;
};

struct runlog_source {
    char *name; /* owned */
    double bits_per_byte;
};

struct runlog_val {
    uint64_t step;
    double tokens, flops, seconds, loss, bits_per_byte;
    struct runlog_source *sources; /* owned */
    size_t n_sources;
};

struct runlog_load {
    uint64_t step;
    size_t n_layers, n_experts; /* layers that have experts */
    uint32_t *layers;           /* [n_layers] which they are; owned */
    float *shares;              /* [n_layers, n_experts]; owned */
};

struct runlog_sample {
    uint64_t step;
    char *prompt, *text; /* owned */
};

struct runlog_task {
    uint64_t step;
    char *name; /* owned */
    double score, n;
};

struct runlog_event {
    uint64_t step;
    char *text; /* owned */
};

struct runlog_records {
    struct runlog_step *steps;
    struct runlog_val *vals;
    struct runlog_load *loads;
    struct runlog_sample *samples;
    struct runlog_task *tasks;
    struct runlog_event *events;
    size_t n_steps, n_vals, n_loads, n_samples, n_tasks, n_events;
};

/* Every record, in order; half a line at the end is left out. ERR_NOTFOUND: no file. ERR_CORRUPT
 * names the line. */
ERR_MUST_USE err runlog_read(const char *dir, struct runlog_records *out, struct errinfo *info);
void runlog_read_deinit(struct runlog_records *r); /* a zeroed struct is fine */

#endif
