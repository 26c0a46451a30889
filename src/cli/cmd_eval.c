/* cli/cmd_eval.c: `fathom eval`: perplexity of a text, question sets, raw logits. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpuinfo.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "cli/divergence.h"
#include "cli/interrupt.h"
#include "cli/modelref.h"
#include "cli/perplexity.h"
#include "cli/settings.h"
#include "cli/verbs.h"
#include "engine/evaltask.h"
#include "text/tokenizer.h"

enum { CMD_EVAL_ROWS = 10, CMD_EVAL_TEXT_MAX = 1 << 30, CMD_EVAL_WINDOW = 512, CMD_EVAL_ANSWER = 64 };

struct cmd_eval {
    struct settings settings;
    const char *perplexity, *task, *logits_out, *tokens, *against, *against_cpu;
    size_t stride, max_tokens;
    bool chat, json;
};

static err cmd_eval_need_tokenizer(const struct engine *e, struct errinfo *info)
{
    return engine_tokenizer(e)
               ? ERR_OK
               : err_set(info, ERR_UNSUPPORTED,
                         "the model's files have no tokenizer; only --logits-out works without one");
}

/* ---- perplexity ---- */

static err cmd_eval_text_ids(const struct tokenizer *t, const char *path, struct tokenizer_ids *ids,
                             struct errinfo *info)
{
    char *text;
    size_t size;
    TRY(file_read(path, CMD_EVAL_TEXT_MAX, &text, &size, info));
    err e = ERR_OK;
    if (tokenizer_add_bos(t) && tokenizer_bos(t) >= 0) {
        e = tokenizer_ids_push(ids, tokenizer_bos(t));
    }
    e = e == ERR_OK ? tokenizer_encode(t, text, size, false, ids, info)
                    : err_set(info, e, "out of memory for the tokens of %s", path);
    mem_free(text);
    return e;
}

static void cmd_eval_print_perplexity(const struct cmd_eval *v, const struct perplexity *p)
{
    if (v->json) {
        printf("{\"perplexity\":%.6f,\"bits_per_byte\":%.6f,\"tokens\":%zu,\"bytes\":%zu}\n",
               perplexity_value(p), perplexity_bits_per_byte(p), p->tokens, p->bytes);
    } else {
        printf("perplexity %.4f, %.4f bits per byte, over %zu tokens (%zu bytes)\n",
               perplexity_value(p), perplexity_bits_per_byte(p), p->tokens, p->bytes);
    }
}

static void cmd_eval_print_divergence(const struct cmd_eval *v, const struct divergence *d)
{
    const char *form =
        v->json ? "{\"perplexity\":%.6f,\"reference_perplexity\":%.6f,\"ratio\":%.8f,\"ratio_error\":%.8f,"
                  "\"kl\":%.9f,\"kl_error\":%.9f,\"kl_max\":%.6f,\"logprob_rms\":%.8f,\"same_best\":%.6f,"
                  "\"tokens\":%zu,\"bytes\":%zu}\n"
                : "perplexity %.4f, the reference's %.4f, ratio %.6f +- %.6f\n"
                  "KL divergence %.6f +- %.6f nats per token, largest %.4f\n"
                  "log-probability of the text's tokens: differs by %.5f rms\n"
                  "same likeliest token: %.4f of %zu tokens (%zu bytes)\n";
    printf(form, perplexity_value(&d->model), perplexity_value(&d->reference), divergence_ratio(d),
           divergence_ratio_error(d), divergence_kl(d), divergence_kl_error(d), d->kl_max,
           divergence_rms(d), divergence_same_best(d), d->model.tokens, d->model.bytes);
}

/* The reference: float32 arithmetic and caches, whole chunks. */
static err cmd_eval_open_reference(const struct cmd_eval *v, struct engine **out, struct errinfo *info)
{
    char *path;
    const char *cpu = v->against_cpu;
    if (!cpu) {
        cpu = cpuinfo_level_name(cpuinfo_best() >= CPUINFO_AVX2 ? CPUINFO_AVX2 : CPUINFO_REF);
    }
    const struct engine_options options = {
        .n_threads = (int)v->settings.threads, .deterministic = true, .kv_type = "f32", .cpu = cpu};
    TRY(modelref_resolve(v->against, &path, info));
    err e = engine_open(path, &options, out, info);
    mem_free(path);
    return e;
}

/* What JSON cannot say, and what means nothing to people either. */
static err cmd_eval_finite(double value, const char *whose, struct errinfo *info)
{
    return isfinite(value) ? ERR_OK
                           : err_set(info, ERR_CORRUPT,
                                     "%s predictions are no finite numbers: the weights are damaged", whose);
}

static err cmd_eval_divergence(const struct cmd_eval *v, struct engine *e,
                               const struct tokenizer_ids *ids, size_t window, struct errinfo *info)
{
    struct engine *reference;
    struct divergence d;
    TRY(cmd_eval_open_reference(v, &reference, info));
    err result = divergence_of(e, reference, ids->data, ids->len, window, v->stride, &d, info);
    engine_close(reference);
    TRY(result);
    TRY(cmd_eval_finite(perplexity_value(&d.reference), "the reference's", info));
    TRY(cmd_eval_finite(perplexity_value(&d.model) + divergence_kl(&d), "the model's", info));
    cmd_eval_print_divergence(v, &d);
    return ERR_OK;
}

static err cmd_eval_score(const struct cmd_eval *v, struct engine *e, const struct tokenizer_ids *ids,
                          size_t window, struct errinfo *info)
{
    struct perplexity p;
    if (v->against) {
        return cmd_eval_divergence(v, e, ids, window, info);
    }
    TRY(perplexity_of(e, ids->data, ids->len, window, v->stride, &p, info));
    TRY(cmd_eval_finite(perplexity_value(&p), "the model's", info));
    cmd_eval_print_perplexity(v, &p);
    return ERR_OK;
}

static err cmd_eval_perplexity(const struct cmd_eval *v, struct engine *e, struct errinfo *info)
{
    struct tokenizer_ids ids = {0};
    size_t window = v->settings.context ? v->settings.context : CMD_EVAL_WINDOW;
    TRY(cmd_eval_need_tokenizer(e, info));
    if (window > engine_context_max(e) && v->settings.context) {
        return err_set(info, ERR_CONTEXT,
                       "a context of %zu positions was asked for; this model was made for at most %zu",
                       window, engine_context_max(e));
    }
    err result = cmd_eval_text_ids(engine_tokenizer(e), v->perplexity, &ids, info);
    if (result == ERR_OK) {
        result = cmd_eval_score(v, e, &ids, window, info);
    }
    if (result == ERR_OK && !v->json) {
        printf("scored: %s of each window of %zu; the text has %zu tokens\n",
               v->stride ? "what no window before had" : "the second half",
               window < ids.len ? window : ids.len, ids.len);
    }
    tokenizer_ids_deinit(&ids);
    return result;
}

/* ---- question sets ---- */

static bool cmd_eval_asked(void *user, size_t done, size_t n)
{
    struct progress *p = user;
    p->total = n;
    progress_update(p, done);
    return !interrupt_pending();
}

static err cmd_eval_task(const struct cmd_eval *v, struct engine *e, struct errinfo *info)
{
    struct evaltask_result r = {0};
    struct evaltask *task;
    struct progress progress;
    const struct evaltask_options options = {
        .context = v->settings.context, .max_tokens = v->max_tokens, .chat = v->chat,
        .format = settings_chat_format(&v->settings, e), .asked = cmd_eval_asked, .user = &progress};
    TRY(cmd_eval_need_tokenizer(e, info));
    progress_init(&progress, "asking", PROGRESS_ITEMS, 0);
    TRY(evaltask_open(v->task, &task, info));
    interrupt_watch();
    err result = evaltask_run(task, e, &options, &r, info);
    interrupt_restore();
    progress_finish(&progress);
    evaltask_close(task);
    TRY(result);
    double n = (double)r.items;
    if (v->json) {
        printf("{\"items\":%zu,\"right\":%zu,\"exact\":%zu,\"accuracy\":%.6f,\"accuracy_exact\":%.6f}\n",
               r.items, r.right, r.exact, (double)r.right / n, (double)r.exact / n);
    } else {
        printf("%zu of %zu right (%.1f%%), %zu exact or by likelihood per byte (%.1f%%)\n", r.right,
               r.items, 100 * (double)r.right / n, r.exact, 100 * (double)r.exact / n);
    }
    return ERR_OK;
}

/* ---- logits ---- */

/* Header of a NumPy file, format 1.0: magic, length, a Python dict padded to 64 bytes. */
static err cmd_eval_npy_header(struct file_writer *w, size_t rows, size_t cols, struct errinfo *info)
{
    char dict[118], head[128] = "\x93NUMPY\x01";
    int n = snprintf(dict, sizeof dict,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, cols);
    memset(head + 10, ' ', sizeof head - 10);
    memcpy(head + 10, dict, (size_t)n);
    head[8] = (char)(sizeof head - 10);
    head[127] = '\n';
    return file_writer_write(w, head, sizeof head, info);
}

struct cmd_eval_rows {
    struct file_writer *file;
    size_t vocab_size, not_finite;
    struct errinfo *info;
    err failed;
};

static bool cmd_eval_write_rows(void *user, size_t first, size_t n, const float *logits)
{
    struct cmd_eval_rows *k = user;
    (void)first;
    for (size_t i = 0; i < n * k->vocab_size; i++) {
        k->not_finite += !isfinite(logits[i]);
    }
    k->failed = file_writer_write(k->file, logits, n * k->vocab_size * sizeof *logits, k->info);
    return k->failed == ERR_OK;
}

static err cmd_eval_write_logits(const char *path, struct session *s, size_t n, size_t vocab_size,
                                 struct errinfo *info)
{
    struct cmd_eval_rows rows = {.vocab_size = vocab_size, .info = info};
    struct errinfo stopped; /* why the reading stopped; a failed write has said it better */
    TRY(file_writer_open(path, &rows.file, info));
    err e = cmd_eval_npy_header(rows.file, n, vocab_size, info);
    if (e == ERR_OK) {
        e = session_prefill_rows(s, cmd_eval_write_rows, &rows, &stopped);
        if (e != ERR_OK && rows.failed == ERR_OK) {
            err_set(info, e, "%s", stopped.message);
        }
        e = rows.failed == ERR_OK ? e : rows.failed;
    }
    if (e == ERR_OK) {
        e = file_writer_commit(rows.file, info);
    }
    file_writer_close(rows.file);
    if (e == ERR_OK && rows.not_finite > 0) {
        fprintf(stderr, "fathom eval: %zu of %zu logits are no finite numbers: the weights are damaged\n",
                rows.not_finite, n * vocab_size);
    }
    return e;
}

static err cmd_eval_logits(const struct cmd_eval *v, struct engine *e, struct errinfo *info)
{
    int32_t *ids;
    size_t n;
    struct session *s = NULL;
    if (!v->tokens) {
        return err_set(info, ERR_ARGUMENT, "--logits-out needs --tokens 1,2,3");
    }
    TRY(options_ids("tokens", v->tokens, &ids, &n, info));
    const struct session_options options = {.context = n};
    err result = n > 0 ? session_new(e, &options, &s, info)
                       : err_set(info, ERR_ARGUMENT, "--tokens names no tokens");
    if (result == ERR_OK) {
        result = session_append(s, ids, n, info);
    }
    if (result == ERR_OK) {
        result = cmd_eval_write_logits(v->logits_out, s, n, engine_vocab_size(e), info);
    }
    session_free(s);
    mem_free(ids);
    TRY(result);
    if (v->json) {
        printf("{\"tokens\":%zu,\"vocab_size\":%zu}\n", n, engine_vocab_size(e));
    } else {
        printf("logits [%zu, %zu] in %s\n", n, engine_vocab_size(e), v->logits_out);
    }
    return ERR_OK;
}

static err cmd_eval_work(const struct cmd_eval *v, struct errinfo *info)
{
    if (!!v->perplexity + !!v->task + !!v->logits_out != 1) {
        return err_set(info, ERR_ARGUMENT, "one of --perplexity, --task and --logits-out is needed");
    }
    if ((v->against && !v->perplexity) || (v->against_cpu && !v->against)) {
        return err_set(info, ERR_ARGUMENT,
                       v->against ? "--against goes with --perplexity" : "--against-cpu goes with --against");
    }
    struct engine *e;
    TRY(settings_open(&v->settings, &e, info));
    err result = v->perplexity ? cmd_eval_perplexity(v, e, info)
                 : v->task     ? cmd_eval_task(v, e, info)
                               : cmd_eval_logits(v, e, info);
    engine_close(e);
    return result;
}

static const char cmd_eval_more[] =
    "  fathom eval model.gguf --perplexity text.txt --json\n"
    "  fathom eval q4.gguf --perplexity text.txt --against f32.gguf\n"
    "  fathom eval model.gguf --logits-out logits.npy --tokens 1,2,3\n"
    "\n"
    "--against:\n"
    "  Both models read the same windows. After every scored token the reference says how likely each next\n"
    "  token is, p, and the model says q. Printed are the ratio of the two perplexities, the mean of the\n"
    "  Kullback-Leibler divergence (the sum of p ln(p/q), in nats: 0 when p and q are equal), how far apart\n"
    "  the log-probabilities of the text's own tokens are, and how often both find the same token likeliest.\n"
    "  The reference computes in float32; the model computes as it does for users: on faster and coarser\n"
    "  kernels, keys and values in bf16. So a model against itself is not exactly at ratio 1 and\n"
    "  divergence 0; with --deterministic --kv-type f32 at FATHOM_CPU=avx2 it is.\n"
    "  What is small: up to 0.0005 is rounding of kernels alone, to 0.02 well quantised weights, above 0.1\n"
    "  another model. A ratio means something when it is further from 1 than twice the number after +-.\n";

int cmd_eval(int argc, char **argv)
{
    struct cmd_eval v = {.max_tokens = CMD_EVAL_ANSWER};
    struct options_row rows[1 + SETTINGS_ENGINE_ROWS + CMD_EVAL_ROWS];
    size_t n = 0;
    settings_init(&v.settings);
    settings_engine_rows(&v.settings, rows, &n);
    rows[n++] = settings_context_row(&v.settings);
    const struct options_row mine[CMD_EVAL_ROWS] = {
        options_string("perplexity", "FILE", &v.perplexity,
                       "how well the text is predicted: windows of --context tokens (512 here), the second "
                       "half of each scored, a shorter rest left out"),
        options_size("stride", "N", 1, (size_t)1 << 24, &v.stride,
                     "overlapping windows, a new one every N tokens (off)"),
        options_string("against", "MODEL", &v.against,
                       "compare the predictions with this model's, in float32: perplexity ratio, "
                       "Kullback-Leibler divergence (below). --chunk 1 judges the way answers are computed: "
                       "one token at a time, so every weight is read for every token, many times slower"),
        options_string("against-cpu", "LEVEL", &v.against_cpu,
                       "its CPU level: ref, avx2, avx512, avx512bf16 or amx (avx2, whose sums are float32)"),
        options_string("task", "FILE", &v.task,
                       "questions, one {\"prompt\",\"answer\"[,\"choices\"]} per line; with choices, answer "
                       "is the number of the right one, counted from 0"),
        options_size("max-tokens", "N", 1, 1 << 20, &v.max_tokens, "longest answer to a question (64)"),
        options_flag("chat", &v.chat, "ask questions in the model's chat format"),
        options_string("logits-out", "FILE", &v.logits_out,
                       "write the logits after each of --tokens, float32 [T, vocab] .npy"),
        options_string("tokens", "IDS", &v.tokens, "token ids, as in 1,2,3"),
        options_flag("json", &v.json, "one JSON document on stdout"),
    };
    memcpy(rows + n, mine, sizeof mine);
    n += CMD_EVAL_ROWS;
    const struct options spec = {"eval", "perplexity, question sets, logits", rows, n, cmd_eval_more};
    struct errinfo info = {0};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    return cmd_eval_work(&v, &info) == ERR_OK ? 0 : options_fail(&spec, &info);
}
