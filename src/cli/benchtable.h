/* cli/benchtable.h: what one `fathom bench` found, and its two plain forms: lines of text as they come, and one
 * JSON document. The third form is benchreport.h's. */
#ifndef CLI_BENCHTABLE_H
#define CLI_BENCHTABLE_H

#include <jansson.h>

#include "engine/benchmark.h"
#include "engine/opening.h"

enum {
    BENCHTABLE_ROWS_MAX = 64,
    BENCHTABLE_TEXT = 640,
    BENCHTABLE_TITLE = 128,
    BENCHTABLE_RATE = 32,
    BENCHTABLE_RATES = 80
};

struct benchtable_peer {
    bool measured; /* false: this peer has no such test */
    double median, min, max; /* tokens per second */
    double ratio;            /* ours over the peer's, medians of alternating runs */
};

struct benchtable_row {
    struct benchmark_test test; /* runs: those that were made, fewer than asked for after Ctrl-C */
    struct benchmark_result ours;
    struct benchtable_peer peer;
};

struct benchtable {
    /* the machine */
    const char *level;
    int threads, cpus; /* cpus: that the process may run on; 0: not known */
    bool deterministic;
    struct roof roof; /* at the start */
    /* the model */
    char title[BENCHTABLE_TITLE];   /* the file's name, or shape and type */
    const struct model *model;      /* NULL until it is open */
    size_t made_bytes, whole_bytes; /* random weights: made, and of the real model; else 0 */
    struct opening opening;         /* runs 0: not measured */
    const char *kv_type;
    size_t chunk;
    /* the peer; "" without one */
    const char *peer_name; /* "llama.cpp" */
    char peer_title[BENCHTABLE_TEXT], peer_system[BENCHTABLE_TEXT];
    bool peer_learnt; /* that title, after benchtable_print_model showed a shorter one */
    struct errinfo peer_failed;       /* why it was dropped; no message when it was not */
    char command[BENCHTABLE_TEXT]; /* that repeats it, quoted for a shell */
    char date[32];
    struct benchtable_row rows[BENCHTABLE_ROWS_MAX];
    size_t n_rows;
};

/* t->command and t->date, of argv as main got it and of now. */
void benchtable_stamp(struct benchtable *t, int argc, char **argv);

/* t->title, of a path: its last part without .gguf. */
void benchtable_entitle(struct benchtable *t, const char *path);

/* "33.1 GB/s", "4.60 TFLOP/s"; returns out. */
char *benchtable_rate(double per_s, enum workload_bound bound, char out[BENCHTABLE_RATE]);
/* "29.1 to 35.4 GB/s" with " to " between; one number where both read the same; returns out. */
char *benchtable_rates(double low, double high, enum workload_bound bound, const char *between,
                       char out[BENCHTABLE_RATES]);

void benchtable_print_machine(const struct benchtable *t);
void benchtable_print_model(const struct benchtable *t);
void benchtable_print_head(const struct benchtable *t); /* of the table */
void benchtable_print_row(const struct benchtable *t, const struct benchtable_row *row);
void benchtable_print_end(const struct benchtable *t);

/* A new reference; NULL when memory is short. */
json_t *benchtable_json(const struct benchtable *t);

#endif
