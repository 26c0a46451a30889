/* cli/cmd_bench.c: `fathom bench`: prefill and decode speed of a model file, or of a published shape
 * with random weights, and the share of this machine's roof. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "cli/modelref.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "cli/weighttype.h"
#include "engine/benchmark.h"
#include "model/quantmix.h"
#include "model/shapes.h"
#include "model/synth.h"
#include "tensor/roof.h"

enum { CMD_BENCH_TESTS_MAX = 64, CMD_BENCH_LIST_MAX = 16 };

struct cmd_bench {
    const char *model_name, *shape, *type, *kv_type, *write;
    enum dtype kv;
    const char *prompts, *depths, *batches; /* lists of numbers */
    size_t steps, runs, threads, chunk;
    bool deterministic, json;

    struct config config; /* of the shape */
    struct synth *synth;
    struct model *model;
    struct compute *compute;
    struct roof roof;
    struct benchmark *benchmark;
    struct benchmark_test tests[CMD_BENCH_TESTS_MAX];
    size_t n_tests;
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

/* Every prompt length and every (depth, batch) pair becomes one test. */
static err cmd_bench_plan(struct cmd_bench *b, struct errinfo *info)
{
    size_t prompts[CMD_BENCH_LIST_MAX], depths[CMD_BENCH_LIST_MAX], batches[CMD_BENCH_LIST_MAX];
    size_t n_prompts, n_depths, n_batches;
    TRY(cmd_bench_list("prompt", b->prompts, 0, 1 << 20, prompts, &n_prompts, info));
    TRY(cmd_bench_list("depth", b->depths, 0, 1 << 20, depths, &n_depths, info));
    TRY(cmd_bench_list("batch", b->batches, 1, BENCHMARK_BATCH_MAX, batches, &n_batches, info));
    if (n_prompts + n_depths * n_batches > CMD_BENCH_TESTS_MAX) {
        return err_set(info, ERR_ARGUMENT, "%zu tests asked for; at most %d in one run",
                       n_prompts + n_depths * n_batches, CMD_BENCH_TESTS_MAX);
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

static enum dtype cmd_bench_type(void *user, const struct inventory_item *item)
{
    const struct quantmix *mix = user;
    return quantmix_type(mix, item->name, item->rank, item->shape);
}

/* Before minutes of work: what is being made, and what is left out. On stderr, piped or not. */
static void cmd_bench_announce(const struct cmd_bench *b, const struct synth_size *size)
{
    fprintf(stderr, "making %.2f GB of random weights for %s %s", (double)size->memory_bytes / 1e9,
            b->shape, b->type);
    if (size->memory_bytes < size->total_bytes) {
        fprintf(stderr,
                ": the whole %.2f GB do not fit in memory beside the tests, so weights are made for %zu "
                "of %zu layers and the others read those again. A token still goes through every layer: "
                "the speeds come close to those of a machine with memory for all",
                (double)size->total_bytes / 1e9, size->layers_made, size->layers);
    }
    fputc('\n', stderr);
}

/* Random weights of a published shape, as much of them as memory holds beside the tests. */
static err cmd_bench_synthesize(struct cmd_bench *b, struct errinfo *info)
{
    TRY(shapes_find(b->shape, &b->config, info));
    struct quantmix mix;
    TRY(weighttype_check(b->type, info));
    TRY(quantmix_init(&mix, b->type, &b->config, info));
    size_t need, budget;
    TRY(benchmark_bytes(&b->config, b->chunk, b->kv, b->tests, b->n_tests, &need, info));
    TRY(benchmark_weight_budget(meminfo_available(), need, &budget, info));
    struct synth_size size;
    TRY(synth_measure(&b->config, cmd_bench_type, &mix, budget, &size, info));
    cmd_bench_announce(b, &size);
    struct progress progress;
    TRY(synth_new(&b->config, cmd_bench_type, &mix, budget, &progress, &b->synth, info));
    if (b->write) {
        TRY(synth_write(b->synth, b->write, mix.ggml_ftype, &progress, info));
    }
    return model_from_tensors(&b->config, synth_tensors(b->synth), &b->model, info);
}

static err cmd_bench_open(struct cmd_bench *b, struct errinfo *info)
{
    if (b->shape && b->model_name) {
        return err_set(info, ERR_ARGUMENT, "give either a MODEL or --shape, not both");
    }
    if (b->write && !b->shape) {
        return err_set(info, ERR_ARGUMENT, "--write goes with --shape");
    }
    if (b->write && file_exists(b->write)) {
        return err_set(info, ERR_ARGUMENT, "--write: %s is already there; name a new file", b->write);
    }
    if (b->shape) {
        return cmd_bench_synthesize(b, info);
    }
    char *path;
    TRY(modelref_resolve(b->model_name, &path, info));
    err e = model_open(path, &b->model, info);
    mem_free(path);
    return e;
}

static void cmd_bench_print_machine(const struct cmd_bench *b)
{
    printf("machine  %s, level %s, %d threads\n", cpuinfo_model(),
           cpuinfo_level_name(b->compute->level), b->compute->n_threads);
    printf("roof     %.1f GB/s read, %.2f TFLOP/s %s\n", b->roof.read_gbs,
           b->roof.float_flops / 1e12, b->roof.float_name);
    fflush(stdout);
}

static void cmd_bench_print_model(const struct cmd_bench *b)
{
    printf("model    %s, mostly %s, %.2f GB, %.2fB parameters, %.2fB active\n",
           model_config(b->model)->name, dtype_info(model_main_dtype(b->model))->name,
           (double)model_weight_bytes(b->model) / 1e9, (double)model_parameters(b->model) / 1e9,
           (double)model_active_parameters(b->model) / 1e9);
    if (b->synth && synth_memory_bytes(b->synth) < synth_total_bytes(b->synth)) {
        printf("         only %.2f GB fit in memory: layers share weights; the arithmetic is the "
               "real model's\n",
               (double)synth_memory_bytes(b->synth) / 1e9);
    }
    printf("\n%-14s %12s %22s %8s\n", "test", "tokens/s", "min … max", "roof");
    fflush(stdout);
}

static void cmd_bench_print(const struct benchmark_result *r)
{
    printf("%-14s %12.2f %10.2f … %-9.2f", r->name, r->median, r->min, r->max);
    if (r->roof_pct >= 0) {
        printf(" %6.1f%%", r->roof_pct);
    }
    putchar('\n');
    fflush(stdout);
}

static json_t *cmd_bench_result_json(const struct benchmark_result *r)
{
    return json_pack("{s:s, s:f, s:f, s:f, s:o}", "name", r->name, "tokens_per_s", r->median, "min",
                     r->min, "max", r->max, "roof_pct",
                     r->roof_pct >= 0 ? json_real(r->roof_pct) : json_null());
}

static json_t *cmd_bench_machine_json(const struct cmd_bench *b)
{
    return json_pack("{s:s, s:s, s:i, s:f, s:f, s:s}", "cpu", cpuinfo_model(), "level",
                     cpuinfo_level_name(b->compute->level), "threads", b->compute->n_threads,
                     "read_gb_per_s", b->roof.read_gbs, "peak_flops", b->roof.float_flops,
                     "peak_instruction", b->roof.float_name);
}

static json_t *cmd_bench_model_json(const struct cmd_bench *b)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I}", "name", model_config(b->model)->name, "type",
                     dtype_info(model_main_dtype(b->model))->name, "bytes",
                     (json_int_t)model_weight_bytes(b->model), "parameters",
                     (json_int_t)model_parameters(b->model), "active_parameters",
                     (json_int_t)model_active_parameters(b->model));
}

static err cmd_bench_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for the JSON document");
}

static err cmd_bench_tests(struct cmd_bench *b, json_t *results, struct errinfo *info)
{
    for (size_t i = 0; i < b->n_tests; i++) {
        struct benchmark_result r;
        TRY(benchmark_run(b->benchmark, &b->tests[i], &r, info));
        if (!results) {
            cmd_bench_print(&r);
        } else if (json_array_append_new(results, cmd_bench_result_json(&r)) != 0) {
            return cmd_bench_nomem(info);
        }
    }
    return ERR_OK;
}

static err cmd_bench_work(struct cmd_bench *b, struct errinfo *info)
{
    TRY(cmd_bench_plan(b, info));
    if (!dtype_from_name(b->kv_type, &b->kv) ||
        (b->kv != DTYPE_F32 && b->kv != DTYPE_F16 && b->kv != DTYPE_BF16)) {
        return err_set(info, ERR_ARGUMENT, "--kv-type %s: use bf16, f16 or f32", b->kv_type);
    }
    enum cpuinfo_level level;
    TRY(cpuinfo_choose(&level, info));
    TRY(compute_new(level, (int)b->threads, b->deterministic, &b->compute, info));
    if (roof_measure(b->compute, &b->roof) != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory measuring this machine's roof");
    }
    if (!b->json) {
        cmd_bench_print_machine(b);
    }
    TRY(cmd_bench_open(b, info));
    TRY(benchmark_new(b->model, b->compute, &b->roof, b->chunk, b->kv, &b->benchmark, info));
    if (!b->json) {
        cmd_bench_print_model(b);
        return cmd_bench_tests(b, NULL, info);
    }
    json_t *results = json_array();
    err e = results ? cmd_bench_tests(b, results, info) : cmd_bench_nomem(info);
    if (e != ERR_OK) {
        json_decref(results);
        return e;
    }
    json_t *all = json_pack("{s:o, s:o, s:o}", "machine", cmd_bench_machine_json(b), "model",
                            cmd_bench_model_json(b), "tests", results);
    char *text = json_text_dup(all, JSON_INDENT(1));
    json_decref(all);
    if (!text) {
        return cmd_bench_nomem(info);
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

int cmd_bench(int argc, char **argv)
{
    struct cmd_bench b = {.type = "q4_k_m", .kv_type = "bf16", .prompts = "512", .depths = "0,4096",
                          .batches = "1", .steps = 32, .runs = 5, .chunk = 512};
    const struct options_row rows[] = {
        options_operand("MODEL", &b.model_name, "a .gguf file, a folder or a name; else the default"),
        options_string("shape", "NAME", &b.shape,
                       "random weights of a published shape instead of a file: v2-lite, v2, v3, "
                       "distill-1.5b … distill-70b, moe-100m, smollm2-135m"),
        options_string("type", "TYPE", &b.type, "weights of --shape: a type or a mix (q4_k_m)"),
        options_string("write", "FILE", &b.write, "also keep the weights of --shape as a GGUF file"),
        options_string("prompt", "LIST", &b.prompts, "prefill lengths, 0 for none (512)"),
        options_size("steps", "N", 0, 1 << 16, &b.steps, "tokens decoded per run, 0 for none (32)"),
        options_string("depth", "LIST", &b.depths, "positions in the cache before decode (0,4096)"),
        options_string("batch", "LIST", &b.batches, "sequences decoded together (1)"),
        options_size("runs", "N", 1, BENCHMARK_RUNS_MAX, &b.runs, "counted runs per test (5)"),
        options_size("threads", "N", 0, 1024, &b.threads, "0: every core (0)"),
        options_size("chunk", "N", BENCHMARK_BATCH_MAX, 1 << 16, &b.chunk,
                     "most tokens per forward pass (512)"),
        options_string("kv-type", "TYPE", &b.kv_type, "cache: bf16, f16 or f32 (bf16)"),
        options_flag("deterministic", &b.deterministic, "the mode whose results never vary"),
        options_flag("json", &b.json, "one JSON document on stdout"),
    };
    const struct options spec = {
        "bench", "measure prefill and decode, and the share of this machine's roof", rows,
        sizeof rows / sizeof *rows,
        "  fathom bench                                   the default model\n"
        "  fathom bench --shape v2-lite --type q4_k_m     before downloading it\n"
        "  fathom bench model.gguf --prompt 512,2048 --depth 0,4096,16384 --batch 1,4,16\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    err e = cmd_bench_work(&b, &info);
    benchmark_free(b.benchmark);
    model_close(b.model);
    synth_free(b.synth);
    compute_free(b.compute);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
