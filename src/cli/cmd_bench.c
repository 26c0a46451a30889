/* cli/cmd_bench.c: `fathom bench`: prefill and decode speed of a model file, or of a published shape
 * with random weights, and the share of this machine's roof. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "cli/benchreport.h"
#include "cli/benchtable.h"
#include "cli/interrupt.h"
#include "cli/modelref.h"
#include "cli/options.h"
#include "cli/peer.h"
#include "cli/verbs.h"
#include "cli/weighttype.h"
#include "model/quantmix.h"
#include "model/shapes.h"
#include "model/synth.h"

enum { CMD_BENCH_LIST_MAX = 16 };
#define CMD_BENCH_PROMPTS "512"
#define CMD_BENCH_DEPTHS "0,4096"
#define CMD_BENCH_TYPE "q4_k_m"
static const double CMD_BENCH_FILL = 1.8e9; /* bytes of random weights per second, for "about" */

static const char *const cmd_bench_peers[] = {"none", "llama.cpp", "ik_llama.cpp", NULL};
static const size_t cmd_bench_frontier[] = {0, 4096, 16384, 32768};

struct cmd_bench {
    const char *model_name, *shape, *type, *kv_type, *write, *report, *peer_path;
    enum dtype kv;
    const char *prompts, *depths, *batches; /* lists of numbers */
    size_t steps, runs, threads, chunk;
    bool deterministic, json, frontier;
    int peer_name; /* of cmd_bench_peers */

    char *path; /* of the model's file; owned */
    struct config config; /* of the shape */
    struct quantmix mix;  /* and its types */
    bool fp8;
    struct synth *synth;
    struct model *model;
    struct compute *compute;
    struct roof_gauge *gauge;
    struct benchmark *benchmark;
    struct peer *peer;
    struct benchmark_test tests[BENCHTABLE_ROWS_MAX];
    size_t n_tests;
    struct benchtable table;
    bool watching; /* Ctrl-C is a question */
};

/* "512,2048" → numbers in [min, max]; refused with the option's name otherwise. */
static err cmd_bench_list(const char *option, const char *text, size_t min, size_t max,
                          size_t out[CMD_BENCH_LIST_MAX], size_t *n, struct errinfo *info)
{
    int32_t *values;
    size_t count;
    TRY(options_ids(option, text, &values, &count, info));
    err e = ERR_OK;
    if (count > CMD_BENCH_LIST_MAX) {
        e = err_set(info, ERR_ARGUMENT, "--%s takes 1 to %d numbers, got %zu", option,
                    CMD_BENCH_LIST_MAX, count);
    }
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        if (values[i] < 0 || (size_t)values[i] < min || (size_t)values[i] > max) {
            e = err_set(info, ERR_ARGUMENT, "--%s: %d is outside %zu … %zu", option, values[i], min,
                        max);
        } else {
            out[i] = (size_t)values[i];
        }
    }
    mem_free(values);
    *n = count;
    return e;
}

static err cmd_bench_depths(struct cmd_bench *b, size_t out[CMD_BENCH_LIST_MAX], size_t *n,
                            struct errinfo *info)
{
    if (!b->frontier) {
        return cmd_bench_list("depth", b->depths ? b->depths : CMD_BENCH_DEPTHS, 0, 1 << 20, out, n, info);
    }
    if (b->depths) {
        return err_set(info, ERR_ARGUMENT, "give either --depth or --frontier, not both");
    }
    *n = sizeof cmd_bench_frontier / sizeof *cmd_bench_frontier;
    memcpy(out, cmd_bench_frontier, sizeof cmd_bench_frontier);
    return ERR_OK;
}

/* Every prompt length and every (depth, batch) pair becomes one test. */
static err cmd_bench_plan(struct cmd_bench *b, struct errinfo *info)
{
    size_t prompts[CMD_BENCH_LIST_MAX], depths[CMD_BENCH_LIST_MAX], batches[CMD_BENCH_LIST_MAX];
    size_t n_prompts, n_depths, n_batches;
    TRY(cmd_bench_list("prompt", b->prompts ? b->prompts : CMD_BENCH_PROMPTS, 0, 1 << 20, prompts,
                       &n_prompts, info));
    TRY(cmd_bench_depths(b, depths, &n_depths, info));
    TRY(cmd_bench_list("batch", b->batches, 1, BENCHMARK_BATCH_MAX, batches, &n_batches, info));
    if (n_prompts + n_depths * n_batches > BENCHTABLE_ROWS_MAX) {
        return err_set(info, ERR_ARGUMENT, "%zu tests asked for; at most %d in one run",
                       n_prompts + n_depths * n_batches, BENCHTABLE_ROWS_MAX);
    }
    for (size_t i = 0; i < n_prompts; i++) {
        if (prompts[i] > 0) {
            b->tests[b->n_tests++] = (struct benchmark_test){
                .kind = BENCHMARK_PREFILL, .tokens = prompts[i], .batch = 1, .runs = b->runs};
        }
    }
    for (size_t i = 0; i < n_depths && b->steps > 0; i++) {
        for (size_t j = 0; j < n_batches; j++) {
            b->tests[b->n_tests++] = (struct benchmark_test){.kind = BENCHMARK_DECODE,
                                                             .tokens = b->steps,
                                                             .depth = depths[i],
                                                             .batch = batches[j],
                                                             .runs = b->runs};
        }
    }
    return ERR_OK;
}

/* A test the model has no positions for is refused when it was asked for by its number; of --frontier's depths
 * and of those that are there unasked, it is left out, and that is said. */
static err cmd_bench_fit(struct cmd_bench *b, size_t most, struct errinfo *info)
{
    size_t n = 0, told = SIZE_MAX;
    for (size_t i = 0; i < b->n_tests; i++) {
        const struct benchmark_test t = b->tests[i];
        bool prefill = t.kind == BENCHMARK_PREFILL;
        if (t.depth + t.tokens <= most) {
            b->tests[n++] = t;
        } else if (prefill ? b->prompts != NULL : b->depths != NULL) {
            return prefill
                       ? err_set(info, ERR_ARGUMENT,
                                 "--prompt %zu: this model was made for at most %zu positions", t.tokens, most)
                       : err_set(info, ERR_ARGUMENT,
                                 "--depth %zu and %zu --steps are %zu positions; this model was made for at "
                                 "most %zu", t.depth, t.tokens, t.depth + t.tokens, most);
        } else if (prefill || t.depth != told) {
            told = prefill ? told : t.depth;
            fprintf(stderr, "fathom bench: %s %zu left out: this model was made for at most %zu positions\n",
                    prefill ? "the prompt of" : "depth", prefill ? t.tokens : t.depth, most);
        }
    }
    b->n_tests = n;
    return ERR_OK;
}

static enum dtype cmd_bench_type(void *user, const struct inventory_item *item)
{
    const struct quantmix *mix = user;
    return quantmix_type(mix, item->name, item->rank, item->shape);
}

/* As DeepSeek's FP8 folders have it: embedding, head, router and vectors apart, and kv_b's halves, which
 * become other types when a folder is opened too. */
static enum dtype cmd_bench_fp8_type(void *user, const struct inventory_item *item)
{
    const char *name = strncmp(item->name, "blk.", 4) == 0 ? strchr(item->name + 4, '.') : NULL;
    enum dtype type = cmd_bench_type(user, item);
    if (!name || strncmp(name, ".attn_k_b", 9) == 0 || strncmp(name, ".attn_v_b", 9) == 0) {
        return type;
    }
    return type == DTYPE_BF16 ? DTYPE_F8_E4M3 : type;
}

/* Before minutes of work: what is being made, and what is left out. On stderr, piped or not. */
static void cmd_bench_announce(const struct cmd_bench *b, const struct synth_size *size)
{
    fprintf(stderr, "making %.2f GB of random weights in memory for %s %s, about %.0f s",
            (double)size->memory_bytes / 1e9, b->shape, b->type,
            1 + (double)size->memory_bytes / CMD_BENCH_FILL);
    if (b->write) {
        fprintf(stderr, ", and writing %.2f GB of them", (double)size->total_bytes / 1e9);
    }
    if (size->memory_bytes < size->total_bytes) {
        fprintf(stderr,
                ": the whole %.2f GB do not fit in memory beside the tests, so weights are made for %zu "
                "of %zu layers and the others read those again. A token still goes through every layer: "
                "the speeds come close to those of a machine with memory for all",
                (double)size->total_bytes / 1e9, size->layers_made, size->layers);
    }
    fputc('\n', stderr);
}

static bool cmd_bench_goes_on(void)
{
    return !interrupt_pending();
}

/* From where on Ctrl-C would lose something. */
static void cmd_bench_watch(struct cmd_bench *b)
{
    if (!b->watching) {
        b->watching = true;
        interrupt_watch();
    }
}

/* Random weights of a published shape, as much of them as memory holds beside the tests. */
static err cmd_bench_synthesize(struct cmd_bench *b, struct errinfo *info)
{
    synth_typer typer = b->fp8 ? cmd_bench_fp8_type : cmd_bench_type;
    size_t need, budget;
    TRY(benchmark_bytes(&b->config, b->chunk, b->kv, b->tests, b->n_tests, &need, info));
    TRY(benchmark_weight_budget(meminfo_available(), need, &budget, info));
    struct synth_size size;
    TRY(synth_measure(&b->config, typer, &b->mix, budget, &size, info));
    cmd_bench_announce(b, &size);
    struct progress progress;
    TRY(synth_new(&b->config, typer, &b->mix, budget, &progress, &b->synth, info));
    if (b->write) {
        cmd_bench_watch(b);
        synth_watch(b->synth, cmd_bench_goes_on);
        TRY(synth_write(b->synth, b->write, b->mix.ggml_ftype, &progress, info));
    }
    return model_from_tensors(&b->config, synth_tensors(b->synth), &b->model, info);
}

/* Whether a file can appear at that path, before hours of work for it. */
static err cmd_bench_try_file(const char *path, struct errinfo *info)
{
    struct file_writer *w = NULL;
    TRY(file_writer_open(path, &w, info));
    file_writer_close(w);
    return ERR_OK;
}

/* The places of --write and --report. */
static err cmd_bench_try_files(const struct cmd_bench *b, struct errinfo *info)
{
    if (b->write) {
        TRY(cmd_bench_try_file(b->write, info));
    }
    if (!b->report) {
        return ERR_OK;
    }
    TRY(file_make_dirs(b->report, info));
    char *page = file_join(b->report, BENCHREPORT_PAGE);
    err e = page ? cmd_bench_try_file(page, info) : err_set(info, ERR_NOMEM, "out of memory for --report");
    mem_free(page);
    return e;
}

static err cmd_bench_check(const struct cmd_bench *b, struct errinfo *info)
{
    if (b->shape && b->model_name) {
        return err_set(info, ERR_ARGUMENT, "give either a MODEL or --shape, not both");
    }
    if ((b->write || b->type) && !b->shape) {
        return err_set(info, ERR_ARGUMENT,
                       b->write ? "--write goes with --shape"
                                : "--type goes with --shape; fathom quantize brings a file to another type");
    }
    if (b->write && file_exists(b->write)) {
        return err_set(info, ERR_ARGUMENT, "--write: %s is already there; name a new file", b->write);
    }
    if (b->peer_path && b->peer_name == 0) {
        return err_set(info, ERR_ARGUMENT, "--peer goes with --compare");
    }
    if (b->peer_name > 1 && !b->peer_path) {
        return err_set(info, ERR_ARGUMENT, "--compare %s needs --peer PATH, its llama-bench",
                       cmd_bench_peers[b->peer_name]);
    }
    if (b->peer_name && b->shape && !b->write) {
        return err_set(info, ERR_ARGUMENT, "--compare needs a file both can open: add --write FILE.gguf");
    }
    return ERR_OK;
}

/* The model of random weights, or how fast the file's, which is open already, opens. */
static err cmd_bench_open(struct cmd_bench *b, struct errinfo *info)
{
    if (b->shape) {
        TRY(cmd_bench_synthesize(b, info));
        snprintf(b->table.title, sizeof b->table.title, "%s shape, %s", b->shape, b->type);
        b->table.made_bytes = synth_memory_bytes(b->synth);
        b->table.whole_bytes = synth_total_bytes(b->synth);
    } else {
        benchtable_entitle(&b->table, b->path);
        TRY(opening_measure(b->path, b->compute, b->chunk, b->kv, b->runs, &b->table.opening, info));
    }
    b->table.model = b->model;
    return ERR_OK;
}

/* --shape and --type. */
static err cmd_bench_find_shape(struct cmd_bench *b, struct errinfo *info)
{
    b->type = b->type ? b->type : CMD_BENCH_TYPE;
    b->fp8 = strcasecmp(b->type, "fp8") == 0 || strcasecmp(b->type, dtype_info(DTYPE_F8_E4M3)->name) == 0;
    TRY(shapes_find(b->shape, &b->config, info));
    if (b->fp8 && b->write) {
        return err_set(info, ERR_ARGUMENT, "--write: GGUF files hold no FP8; choose another --type");
    }
    struct errinfo unknown = {0};
    if (!b->fp8 && weighttype_check(b->type, &unknown) != ERR_OK) {
        return err_set(info, unknown.code, "%s fp8", unknown.message); /* the list and what only bench knows */
    }
    return quantmix_init(&b->mix, b->fp8 ? "bf16" : b->type, &b->config, info);
}

/* The file that is measured, and whether the peer can open it too. */
static err cmd_bench_resolve(struct cmd_bench *b, struct errinfo *info)
{
    TRY(b->shape ? cmd_bench_find_shape(b, info) : modelref_resolve(b->model_name, &b->path, info));
    const char *file = b->shape ? b->write : b->path;
    if (b->peer_name == 0) {
        return ERR_OK;
    }
    size_t n = strlen(file);
    if (file_is_dir(file) || n < 5 || strcmp(file + n - 5, ".gguf") != 0) {
        return err_set(info, ERR_ARGUMENT, "--compare: %s opens .gguf files, not %s; fathom convert makes one",
                       cmd_bench_peers[b->peer_name], file);
    }
    return ERR_OK;
}

/* Beside a peer's copy the mapped file may no longer fit: then both read the disk, and no number means
 * anything. */
static void cmd_bench_warn_memory(const struct cmd_bench *b)
{
    char have[MEMINFO_TEXT], need[MEMINFO_TEXT];
    size_t available = meminfo_available(), weights = model_weight_bytes(b->model);
    if (!b->shape && available < weights + weights / 8) {
        fprintf(stderr,
                "fathom bench: %s of memory is left beside %s for %s of mapped weights: these numbers "
                "may be the disk's\n",
                meminfo_text(available, have), b->table.peer_name, meminfo_text(weights, need));
    }
}

/* With model "": whether there is one at all. */
static err cmd_bench_try_peer(struct cmd_bench *b, const char *model, size_t threads, struct errinfo *info)
{
    struct peer_options o = {.path = b->peer_path, .model = model, .threads = threads, .chunk = b->chunk};
    for (size_t i = 0; i < b->n_tests; i++) {
        o.deep |= b->tests[i].depth > 0 || b->tests[i].batch > 1;
    }
    return peer_new(&o, &b->peer, info);
}

/* As far as it is known: llama-bench says its version with its first result. */
static void cmd_bench_name_peer(struct cmd_bench *b)
{
    struct benchtable *t = &b->table;
    t->peer_learnt |= t->peer_title[0] && strcmp(t->peer_title, peer_title(b->peer)) != 0;
    snprintf(t->peer_title, sizeof t->peer_title, "%s", peer_title(b->peer));
    snprintf(t->peer_system, sizeof t->peer_system, "%s", peer_system(b->peer));
}

static err cmd_bench_find_peer(struct cmd_bench *b, struct errinfo *info)
{
    if (b->peer_name == 0) {
        return ERR_OK;
    }
    TRY(cmd_bench_try_peer(b, b->shape ? b->write : b->path, (size_t)b->compute->n_threads, info));
    b->table.peer_name = cmd_bench_peers[b->peer_name];
    cmd_bench_name_peer(b);
    cmd_bench_warn_memory(b);
    return ERR_OK;
}

/* A peer that fails is no reason to lose our own numbers: it is said, and the tests go on without it. The end
 * is a failure all the same: a comparison was asked for. */
static void cmd_bench_drop_peer(struct cmd_bench *b, const struct errinfo *why)
{
    b->table.peer_failed = *why;
    fprintf(stderr, "fathom bench: %s failed: %s; going on without it\n", b->table.peer_name,
            why->message);
    peer_free(b->peer);
    b->peer = NULL;
}

static void cmd_bench_peer_row(struct benchtable_row *row, double *theirs, size_t n)
{
    if (n > 0) {
        row->peer.measured = true;
        row->peer.median = benchmark_median(theirs, n);
        row->peer.min = theirs[0];
        row->peer.max = theirs[n - 1];
        row->peer.ratio = row->ours.median / row->peer.median;
    }
}

/* One test: our run and the peer's in turn, so that both meet the same moments of the machine. After Ctrl-C
 * it has the runs that are complete, and is ERR_CANCELLED only without any. */
static err cmd_bench_test(struct cmd_bench *b, const struct benchmark_test *t,
                          struct benchtable_row *row, struct errinfo *info)
{
    struct benchmark_sample samples[BENCHMARK_RUNS_MAX];
    double theirs[BENCHMARK_RUNS_MAX];
    struct errinfo peer_info = {0};
    bool both = b->peer && peer_can(b->peer, t);
    size_t n = 0, n_theirs = 0;
    *row = (struct benchtable_row){.test = *t};
    TRY(benchmark_start(b->benchmark, t, info));
    err failed = both ? peer_start(b->peer, t, &peer_info) : ERR_OK;
    while (n < t->runs && !(n > 0 && interrupt_pending())) {
        err e = benchmark_once(b->benchmark, &samples[n], info);
        if (e == ERR_CANCELLED && n > 0) {
            break;
        }
        TRY(e);
        n++;
        if (both && failed == ERR_OK) {
            failed = peer_once(b->peer, &theirs[n_theirs], &peer_info);
            n_theirs += failed == ERR_OK;
        }
    }
    if (both) {
        cmd_bench_name_peer(b);
    }
    if (failed != ERR_OK && !interrupt_pending()) { /* Ctrl-C reaches the peer, too */
        cmd_bench_drop_peer(b, &peer_info);
        n_theirs = 0;
    }
    row->test.runs = n;
    benchmark_summary(b->benchmark, samples, n, &row->ours);
    cmd_bench_peer_row(row, theirs, n_theirs);
    return ERR_OK;
}

static err cmd_bench_tests(struct cmd_bench *b, struct errinfo *info)
{
    struct benchtable *t = &b->table;
    size_t complete = 0;
    err e = ERR_OK;
    benchmark_watch(b->benchmark, cmd_bench_goes_on);
    for (size_t i = 0; i < b->n_tests && e == ERR_OK && complete == i; i++) {
        e = cmd_bench_test(b, &b->tests[i], &t->rows[i], info);
        if (e == ERR_OK) {
            t->n_rows++;
            complete += t->rows[i].test.runs == b->tests[i].runs;
            if (!b->json) {
                benchtable_print_row(t, &t->rows[i]);
            }
        }
    }
    return complete == b->n_tests || (e != ERR_OK && e != ERR_CANCELLED)
               ? e
               : err_set(info, ERR_CANCELLED, "stopped; %zu of %zu tests have all their runs", complete,
                         b->n_tests);
}

/* The compute and its roof. */
static err cmd_bench_machine(struct cmd_bench *b, struct errinfo *info)
{
    enum cpuinfo_level level;
    TRY(cpuinfo_choose(&level, info));
    TRY(compute_new(level, (int)b->threads, b->deterministic, &b->compute, info));
    if (roof_gauge_new(b->compute, &b->gauge) != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory measuring this machine's roof");
    }
    b->table.level = cpuinfo_level_name(level);
    b->table.threads = b->compute->n_threads;
    b->table.cpus = cpuinfo_cores();
    b->table.deterministic = b->deterministic;
    b->table.kv_type = dtype_info(b->kv)->name;
    b->table.chunk = b->chunk;
    b->table.roof = *roof_gauge_first(b->gauge);
    return ERR_OK;
}

static err cmd_bench_print_json(const struct cmd_bench *b, struct errinfo *info)
{
    json_t *all = benchtable_json(&b->table);
    char *text = json_text_dup(all, JSON_INDENT(1));
    json_decref(all);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory for the JSON document");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

/* What was measured is printed before anything else can fail. */
static err cmd_bench_finish(struct cmd_bench *b, struct errinfo *info)
{
    if (b->json) {
        TRY(cmd_bench_print_json(b, info));
    } else {
        benchtable_print_end(&b->table);
    }
    fflush(stdout);
    if (b->report) {
        TRY(benchreport_write(&b->table, b->report, info));
        if (!b->json) {
            printf("report: %s/%s\n", b->report, BENCHREPORT_PAGE);
        }
    }
    return ERR_OK;
}

/* Whether memory holds the largest test beside a file's weights, which are mapped and need none. */
static err cmd_bench_room(const struct cmd_bench *b, struct errinfo *info)
{
    size_t need, left;
    TRY(benchmark_bytes(model_config(b->model), b->chunk, b->kv, b->tests, b->n_tests, &need, info));
    return benchmark_weight_budget(meminfo_available(), need, &left, info);
}

/* Everything that can be wrong with what was asked, before anything is measured or made. */
static err cmd_bench_begin(struct cmd_bench *b, struct errinfo *info)
{
    TRY(cmd_bench_check(b, info));
    TRY(cmd_bench_plan(b, info));
    TRY(cmd_bench_resolve(b, info));
    if (!dtype_from_name(b->kv_type, &b->kv) ||
        (b->kv != DTYPE_F32 && b->kv != DTYPE_F16 && b->kv != DTYPE_BF16)) {
        return err_set(info, ERR_ARGUMENT, "--kv-type %s: use bf16, f16 or f32", b->kv_type);
    }
    if (!b->shape) {
        TRY(model_open(b->path, &b->model, info));
    }
    TRY(cmd_bench_fit(b, (b->shape ? &b->config : model_config(b->model))->max_position_embeddings, info));
    TRY(b->shape ? ERR_OK : cmd_bench_room(b, info));
    if (b->peer_name) {
        TRY(cmd_bench_try_peer(b, "", 1, info));
        peer_free(b->peer);
        b->peer = NULL;
    }
    return cmd_bench_try_files(b, info);
}

static err cmd_bench_work(struct cmd_bench *b, struct errinfo *info)
{
    TRY(cmd_bench_begin(b, info));
    TRY(cmd_bench_machine(b, info));
    if (!b->json) {
        benchtable_print_machine(&b->table);
    }
    TRY(cmd_bench_open(b, info));
    cmd_bench_watch(b);
    TRY(benchmark_new(b->model, b->compute, b->gauge, b->chunk, b->kv, &b->benchmark, info));
    TRY(cmd_bench_find_peer(b, info));
    if (!b->json) {
        benchtable_print_model(&b->table);
        if (b->n_tests > 0) {
            benchtable_print_head(&b->table);
        }
    }
    err e = cmd_bench_tests(b, info);
    interrupt_restore();
    if (e == ERR_OK || b->table.n_rows > 0) {
        TRY(cmd_bench_finish(b, info));
    }
    if (e == ERR_OK && b->table.peer_failed.message[0]) {
        return err_set(info, b->table.peer_failed.code, "our numbers are complete, those of %s are not: %.900s",
                       b->table.peer_name, b->table.peer_failed.message);
    }
    return e;
}

static void cmd_bench_close(struct cmd_bench *b)
{
    peer_free(b->peer);
    benchmark_free(b->benchmark);
    model_close(b->model);
    synth_free(b->synth);
    roof_gauge_free(b->gauge);
    compute_free(b->compute);
    mem_free(b->path);
}

static const char cmd_bench_more[] =
    "  fathom bench                                   the default model\n"
    "  fathom bench --shape v2-lite --type q4_k_m     before downloading it\n"
    "  fathom bench model.gguf --prompt 512,2048 --depth 0,4096,16384 --batch 1,4,16\n"
    "  fathom bench model.gguf --frontier --report speed\n"
    "  fathom bench model.gguf --compare llama.cpp\n"
    "\n"
    "the table:\n"
    "  pp512         a prompt of 512 tokens is read (prefill)\n"
    "  tg32x4@4096   32 tokens are written (decode) for each of 4 sequences together, with 4096 positions in\n"
    "                each one's cache before; without x one sequence, without @ an empty cache\n"
    "  tokens/s      the median of the runs; all sequences together\n"
    "  min … max     the slowest and the fastest run\n"
    "  of roof       the least time the work can take on this machine over the time it took. The work is\n"
    "                the bytes that must be read (memory) or the arithmetic (compute), whichever takes\n"
    "                longer; what the machine does at most is measured right before and after every run\n"
    "  overhead      share of the time in neither matrix products nor attention\n"
    "  Small models stay far below the roof: at the end of each of their many short operations threads wait\n"
    "  for each other, which counts as the operation's time, and unpacking weights takes longer than reading\n"
    "  them. A model that fits the processor's last cache may be above 100%, as memory is not read then.\n";

int cmd_bench(int argc, char **argv)
{
    struct cmd_bench b = {.kv_type = "bf16", .batches = "1", .steps = 32, .runs = 5, .chunk = 512};
    const struct options_row rows[] = {
        options_operand("MODEL", &b.model_name, "a .gguf file, a folder or a name; else the default"),
        options_string("shape", "NAME", &b.shape,
                       "random weights of a published shape instead of a file: v2-lite, v2, v3, "
                       "distill-1.5b … distill-70b, moe-100m, smollm2-135m"),
        options_string("type", "TYPE", &b.type,
                       "weights of --shape: a type or a mix of quantize's, or fp8 (" CMD_BENCH_TYPE ")"),
        options_string("write", "FILE", &b.write, "also keep the weights of --shape as a GGUF file"),
        options_string("prompt", "LIST", &b.prompts, "prefill lengths, 0 for none (" CMD_BENCH_PROMPTS ")"),
        options_size("steps", "N", 0, 1 << 16, &b.steps, "tokens decoded per run, 0 for none (32)"),
        options_string("depth", "LIST", &b.depths,
                       "positions in the cache before decode (" CMD_BENCH_DEPTHS ", as far as the model goes)"),
        options_flag("frontier", &b.frontier,
                     "depths 0, 4096, 16384 and 32768, as far as the model goes"),
        options_string("batch", "LIST", &b.batches, "sequences decoded together (1)"),
        options_size("runs", "N", 1, BENCHMARK_RUNS_MAX, &b.runs, "counted runs per test (5)"),
        options_size("threads", "N", 0, 1024, &b.threads, "0: every core (0)"),
        options_size("chunk", "N", BENCHMARK_BATCH_MAX, 1 << 16, &b.chunk,
                     "most tokens per forward pass (512)"),
        options_string("kv-type", "TYPE", &b.kv_type, "cache: bf16, f16 or f32 (bf16)"),
        options_choice("compare", "PEER", cmd_bench_peers, &b.peer_name,
                       "also run llama.cpp or ik_llama.cpp on the same file, in turn, and print ratios (none)"),
        options_string("peer", "PATH", &b.peer_path,
                       "its llama-bench, a folder with one, or a python3 that has llama_cpp (llama.cpp's is "
                       "looked for in PATH)"),
        options_string("report", "DIR", &b.report, "also write DIR/index.html, with plots, and DIR/bench.json"),
        options_flag("deterministic", &b.deterministic, "the mode whose results never vary"),
        options_flag("json", &b.json, "one JSON document on stdout"),
    };
    const struct options spec = {
        "bench", "measure prefill and decode, and the share of this machine's roof", rows,
        sizeof rows / sizeof *rows, cmd_bench_more};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    benchtable_stamp(&b.table, argc, argv);
    err e = cmd_bench_work(&b, &info);
    cmd_bench_close(&b);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
