/* cli/benchtable.c: see benchtable.h. */
#include "cli/benchtable.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bytesize.h"
#include "base/utf8seq.h"

/* ---- the command ---- */

static bool benchtable_is_plain(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./,:@%";
    return *word && word[strspn(word, plain)] == '\0';
}

/* One character more, if it fits with the NUL. */
static void benchtable_put(struct benchtable *t, size_t *used, char c)
{
    if (*used + 1 < sizeof t->command) {
        t->command[(*used)++] = c;
    }
}

void benchtable_stamp(struct benchtable *t, int argc, char **argv)
{
    size_t used = 0;
    for (const char *c = "fathom"; *c; c++) {
        benchtable_put(t, &used, *c);
    }
    for (int i = 0; i < argc; i++) {
        bool quoted = !benchtable_is_plain(argv[i]);
        benchtable_put(t, &used, ' ');
        if (quoted) {
            benchtable_put(t, &used, '\'');
        }
        for (const char *c = argv[i]; *c; c++) {
            for (const char *q = *c == '\'' ? "'\\'" : ""; *q; q++) {
                benchtable_put(t, &used, *q);
            }
            benchtable_put(t, &used, *c);
        }
        if (quoted) {
            benchtable_put(t, &used, '\'');
        }
    }
    t->command[used] = '\0';
    utf8seq_trim(t->command);
    err_clean(t->command);
    time_t now = time(NULL);
    struct tm tm;
    if (!gmtime_r(&now, &tm) || strftime(t->date, sizeof t->date, "%Y-%m-%d %H:%M UTC", &tm) == 0) {
        t->date[0] = '\0';
    }
}

void benchtable_entitle(struct benchtable *t, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') {
        from--;
    }
    n -= n - from > 5 && memcmp(path + n - 5, ".gguf", 5) == 0 ? 5 : 0;
    snprintf(t->title, sizeof t->title, "%.*s", (int)(n - from > 120 ? 120 : n - from), path + from);
    utf8seq_trim(t->title);
    err_clean(t->title);
}

/* ---- text ---- */

char *benchtable_rate(double per_s, enum workload_bound bound, char out[BENCHTABLE_RATE])
{
    if (bound == WORKLOAD_MEMORY) {
        snprintf(out, BENCHTABLE_RATE, "%.1f GB/s", per_s * 1e-9);
    } else if (per_s >= 1e12) {
        snprintf(out, BENCHTABLE_RATE, "%.2f TFLOP/s", per_s * 1e-12);
    } else {
        snprintf(out, BENCHTABLE_RATE, "%.1f GFLOP/s", per_s * 1e-9);
    }
    return out;
}

char *benchtable_rates(double low, double high, enum workload_bound bound, const char *between,
                       char out[BENCHTABLE_RATES])
{
    char a[BENCHTABLE_RATE], b[BENCHTABLE_RATE];
    benchtable_rate(low, bound, a);
    benchtable_rate(high, bound, b);
    size_t n = strcspn(a, " "); /* without its unit where the other has the same */
    bool same_unit = strcmp(a + n, b + strcspn(b, " ")) == 0;
    if (strcmp(a, b) == 0) {
        snprintf(out, BENCHTABLE_RATES, "%s", b);
    } else {
        snprintf(out, BENCHTABLE_RATES, "%.*s%s%s", (int)(same_unit ? n : strlen(a)), a, between, b);
    }
    return out;
}

void benchtable_print_machine(const struct benchtable *t)
{
    char read[BENCHTABLE_RATE], flops[BENCHTABLE_RATE];
    printf("machine  %s, level %s, %d thread%s\n", cpuinfo_model(), t->level, t->threads,
           t->threads == 1 ? "" : "s");
    if (t->cpus > 0 && t->threads > t->cpus) {
        printf("         %d threads share %d CPU%s: the roof is that of %d\n", t->threads, t->cpus,
               t->cpus == 1 ? "" : "s", t->cpus);
    }
    printf("roof     %s read, %s %s\n",
           benchtable_rate(t->roof.read_gbs * 1e9, WORKLOAD_MEMORY, read),
           benchtable_rate(t->roof.float_flops, WORKLOAD_COMPUTE, flops), t->roof.float_name);
    fflush(stdout);
}

void benchtable_print_model(const struct benchtable *t)
{
    char made[BYTESIZE_TEXT], own[BYTESIZE_TEXT];
    printf("model    %s, mostly %s, %.2f GB, %.2fB parameters, %.2fB active\n",
           model_config(t->model)->name, dtype_info(model_main_dtype(t->model))->name,
           (double)model_weight_bytes(t->model) / 1e9, (double)model_parameters(t->model) / 1e9,
           (double)model_active_parameters(t->model) / 1e9);
    if (t->made_bytes < t->whole_bytes) {
        printf("         only %s fit in memory: layers share weights; the arithmetic is the real "
               "model's\n", bytesize_text(t->made_bytes, made));
    }
    if (t->opening.runs > 0) {
        printf("start    %.3f s to the first token (%.3f … %.3f), %.3f s of it opening; %s of memory "
               "beside the mapped file\n", t->opening.median, t->opening.min, t->opening.max,
               t->opening.open_median, bytesize_text(t->opening.private_bytes, own));
    }
    if (t->peer_title[0]) {
        printf("peer     %s: %s%s%s\n", t->peer_name, t->peer_title, t->peer_system[0] ? ", " : "",
               t->peer_system);
    }
    fflush(stdout);
}

void benchtable_print_head(const struct benchtable *t)
{
    printf("\n%-14s %10s %21s %8s %-8s %9s", "test", "tokens/s", "min … max", "of roof", "", "overhead");
    if (t->peer_title[0]) {
        printf(" %12s %21s %7s", t->peer_name, "min … max", "ratio");
    }
    putchar('\n');
    fflush(stdout);
}

void benchtable_print_row(const struct benchtable *t, const struct benchtable_row *row)
{
    const struct benchmark_result *r = &row->ours;
    printf("%-14s %10.2f %9.2f … %-9.2f", r->name, r->median, r->min, r->max);
    if (r->roof_pct >= 0) {
        printf(" %7.1f%% %-8s", r->roof_pct, r->bound == WORKLOAD_COMPUTE ? "compute" : "memory");
    } else {
        printf(" %8s %-8s", "", "");
    }
    printf(" %8.1f%%", r->overhead_pct);
    if (row->peer.measured) {
        printf(" %12.2f %9.2f … %-9.2f %6.2fx", row->peer.median, row->peer.min, row->peer.max,
               row->peer.ratio);
    } else if (t->peer_title[0]) {
        printf(" %12s", t->peer_failed.message[0] ? "failed" : "no such test");
    }
    putchar('\n');
    fflush(stdout);
}

/* Lowest and highest roof of one kind beside any run; false when no test met it. */
static bool benchtable_roof_range(const struct benchtable *t, enum workload_bound bound, double *low,
                                  double *high)
{
    bool any = false;
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct benchmark_result *r = &t->rows[i].ours;
        if (r->roof_pct >= 0 && r->bound == bound) {
            *low = !any || r->roof_min < *low ? r->roof_min : *low;
            *high = !any || r->roof_max > *high ? r->roof_max : *high;
            any = true;
        }
    }
    return any;
}

void benchtable_print_end(const struct benchtable *t)
{
    double low = 0, high = 0;
    char rates[BENCHTABLE_RATES];
    const char *sep = "\nthe machine's own limit was measured beside every run: ";
    for (int bound = WORKLOAD_MEMORY; bound <= WORKLOAD_COMPUTE; bound++) {
        if (benchtable_roof_range(t, (enum workload_bound)bound, &low, &high)) {
            printf("%s%s", sep, benchtable_rates(low, high, (enum workload_bound)bound, " to ", rates));
            sep = ", ";
        }
    }
    if (*sep == ',') {
        putchar('\n');
    }
    if (t->peer_learnt) {
        printf("\npeer: %s\n", t->peer_title);
    }
}

/* ---- JSON ---- */

static json_t *benchtable_row_json(const struct benchtable_row *row)
{
    const struct benchmark_result *r = &row->ours;
    bool roof = r->roof_pct >= 0;
    json_t *peer = row->peer.measured
                       ? json_pack("{s:f, s:f, s:f}", "tokens_per_s", row->peer.median, "min",
                                   row->peer.min, "max", row->peer.max)
                       : json_null();
    return json_pack(
        "{s:s, s:f, s:f, s:f, s:o, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:s?, s:o, s:o, s:f, s:f, s:o, s:o}",
        "name", r->name, "tokens_per_s", r->median, "min", r->min, "max", r->max, "roof_pct",
        roof ? json_real(r->roof_pct) : json_null(), "kind",
        row->test.kind == BENCHMARK_PREFILL ? "prefill" : "decode", "tokens",
        (json_int_t)row->test.tokens, "depth", (json_int_t)row->test.depth, "batch",
        (json_int_t)row->test.batch, "runs", (json_int_t)row->test.runs, "roof_bound",
        roof ? json_string(r->bound == WORKLOAD_COMPUTE ? "compute" : "memory") : json_null(),
        "roof_tokens_per_s", roof ? json_real(r->roof_per_s) : json_null(), "roof_unit",
        !roof ? NULL : r->bound == WORKLOAD_COMPUTE ? "FLOP/s" : "bytes/s", "roof_min",
        roof ? json_real(r->roof_min) : json_null(), "roof_max",
        roof ? json_real(r->roof_max) : json_null(), "overhead_pct", r->overhead_pct, "step_seconds",
        r->step_seconds, "peer", peer, "ratio",
        row->peer.measured ? json_real(row->peer.ratio) : json_null());
}

static json_t *benchtable_machine_json(const struct benchtable *t)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:b, s:f, s:f, s:f, s:s}", "cpu", cpuinfo_model(), "level",
                     t->level, "threads", t->threads, "cpus", t->cpus, "deterministic", t->deterministic,
                     "read_gb_per_s", t->roof.read_gbs, "read_gb_per_s_one_thread",
                     t->roof.read_gbs_one, "peak_flops", t->roof.float_flops, "peak_instruction",
                     t->roof.float_name);
}

static json_t *benchtable_model_json(const struct benchtable *t)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I}", "title", t->title,
                     "name", model_config(t->model)->name, "type",
                     dtype_info(model_main_dtype(t->model))->name, "bytes",
                     (json_int_t)model_weight_bytes(t->model), "active_bytes",
                     (json_int_t)model_active_bytes(t->model), "parameters",
                     (json_int_t)model_parameters(t->model), "active_parameters",
                     (json_int_t)model_active_parameters(t->model), "kv_type", t->kv_type, "chunk",
                     (json_int_t)t->chunk);
}

static json_t *benchtable_start_json(const struct benchtable *t)
{
    const struct opening *o = &t->opening;
    return o->runs == 0 ? json_null()
                        : json_pack("{s:f, s:f, s:f, s:f, s:I, s:I}", "seconds_to_first_token",
                                    o->median, "min", o->min, "max", o->max, "open_seconds",
                                    o->open_median, "private_bytes", (json_int_t)o->private_bytes,
                                    "runs", (json_int_t)o->runs);
}

json_t *benchtable_json(const struct benchtable *t)
{
    json_t *tests = json_array();
    for (size_t i = 0; tests && i < t->n_rows; i++) {
        if (json_array_append_new(tests, benchtable_row_json(&t->rows[i])) != 0) {
            json_decref(tests);
            tests = NULL;
        }
    }
    const char *failed = t->peer_failed.message[0] ? t->peer_failed.message : NULL;
    json_t *peer = t->peer_title[0]
                       ? json_pack("{s:s, s:s, s:s, s:s?}", "name", t->peer_name, "version",
                                   t->peer_title, "system", t->peer_system, "error", failed)
                       : json_null();
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "command", t->command, "date", t->date,
                     "machine", benchtable_machine_json(t), "model", benchtable_model_json(t),
                     "start", benchtable_start_json(t), "peer", peer, "tests", tests);
}
