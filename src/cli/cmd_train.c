/* cli/cmd_train.c: `fathom train`: a model learns from a dataset as a recipe says. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytesize.h"
#include "base/json.h"
#include "base/meminfo.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "train/trainrun.h"
#include "train/trainspeed.h"

struct cmd_train {
    const char *recipe, *data, *out, *report;
    struct options_list set;
    bool resume, changed, keys, dry, json;
    double minutes;
    size_t threads, speed;
};

/* What is shown while it runs. */
struct cmd_train_view {
    uint64_t steps;
    double tokens;     /* of the whole run */
    double rate;       /* tokens/s, of recent steps */
    double shown;      /* when the last line was */
    bool live;         /* one line, painted over */
    bool painted;
};

static const char *cmd_train_time(double seconds, char out[32])
{
    if (seconds >= 3600) {
        snprintf(out, 32, "%dh%02dm", (int)(seconds / 3600), (int)fmod(seconds / 60, 60));
    } else {
        snprintf(out, 32, "%dm%02ds", (int)(seconds / 60), (int)fmod(seconds, 60));
    }
    return out;
}

static void cmd_train_clear(struct cmd_train_view *v)
{
    if (v->painted) {
        fputs("\r\033[K", stderr);
        v->painted = false;
    }
}

static void cmd_train_print_plan(const struct trainplan *p)
{
    const struct {
        const char *what;
        size_t bytes;
    } rows[] = {{"values, gradients, copies", p->parameters}, {"optimiser", p->optimizer},
                {"average of weights", p->average}, {"activations of a micro batch", p->activations},
                {"rows of a step", p->rows}, {"together", p->bytes}};
    char bytes[MEMINFO_TEXT], free_bytes[MEMINFO_TEXT];
    fprintf(stderr, "parameters  %.2fM: %.2fM work on a token, %.2fM in all, without embedding and head\n",
            (double)p->n_values * 1e-6, p->active * 1e-6, p->total * 1e-6);
    fprintf(stderr, "arithmetic  %.1f MFLOP per token, %.3g FLOP in %llu steps\n", p->flops_per_token * 1e-6,
            p->flops, (unsigned long long)p->steps);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].bytes) {
            fprintf(stderr, "%-11s %-30s %10s\n", i == 0 ? "memory" : "", rows[i].what,
                    meminfo_text(rows[i].bytes, bytes));
        }
    }
    fprintf(stderr, "%-11s %-30s %10s\n", "", "free on this machine",
            meminfo_text(meminfo_available(), free_bytes));
}

static void cmd_train_planned(void *user, const struct trainplan *p, const struct trainer *t)
{
    struct cmd_train_view *v = user;
    v->steps = p->steps;
    v->tokens = t->recipe->tokens;
    cmd_train_print_plan(p);
}

static void cmd_train_stepped(void *user, const struct trainer_report *r, double share)
{
    struct cmd_train_view *v = user;
    double now = progress_clock(), left = v->tokens - (double)r->tokens;
    char eta[32], spread[32] = "";
    v->rate = v->rate > 0 ? 0.9 * v->rate + 0.1 * r->tokens_per_s : r->tokens_per_s;
    if (now - v->shown < (v->live ? 0.2 : 10) && r->step > 1 && left > 0) {
        return;
    }
    v->shown = now;
    if (r->load_spread > 0) {
        snprintf(spread, sizeof spread, "  load %.2f", r->load_spread);
    }
    fprintf(stderr, "%sstep %llu/%llu  loss %.4f  %.4f bits/byte  lr %.3g  norm %.3g%s  %.0f tokens/s  "
            "%.0f%% of peak  %s left%s", v->live ? "\r\033[K" : "", (unsigned long long)r->step,
            (unsigned long long)v->steps, r->loss, r->bits_per_byte, r->lr, r->grad_norm, spread,
            r->tokens_per_s, share * 100, cmd_train_time(fmax(0, left) / v->rate, eta), v->live ? "" : "\n");
    v->painted = v->live;
}

static void cmd_train_scored(void *user, uint64_t step, const struct trainerscore_set *set,
                             const struct trainerscore *scores, const struct trainerscore *all)
{
    cmd_train_clear(user);
    printf("step %llu  validation: loss %.4f, %.4f bits/byte (", (unsigned long long)step,
           trainerscore_loss(all), trainerscore_bits_per_byte(all));
    for (size_t i = 0; i < trainerscore_sources(set); i++) {
        printf("%s%s %.4f", i ? ", " : "", trainerscore_source(set, i), trainerscore_bits_per_byte(&scores[i]));
    }
    printf(")\n");
    fflush(stdout);
}

static void cmd_train_sampled(void *user, uint64_t step, const char *prompt, const char *text)
{
    (void)step;
    cmd_train_clear(user);
    printf("  %s", prompt);
    for (const char *c = text; *c; c++) { /* a line, and nothing a terminal obeys */
        unsigned char byte = (unsigned char)*c;
        fputs(*c == '\n' ? "\n  " : "", stdout);
        if (byte >= 0x20 && byte != 0x7f) {
            putchar(byte);
        }
    }
    printf("\n");
    fflush(stdout);
}

static void cmd_train_asked(void *user, uint64_t step, const char *task, const struct evaltask_result *r)
{
    cmd_train_clear(user);
    printf("step %llu  %s: %zu of %zu right (%.1f%%)\n", (unsigned long long)step, task, r->right, r->items,
           100 * (double)r->right / (double)r->items);
    fflush(stdout);
}

static void cmd_train_noted(void *user, uint64_t step, const char *text)
{
    cmd_train_clear(user);
    fprintf(stderr, "step %llu: %s\n", (unsigned long long)step, text);
}

static bool cmd_train_go_on(void *user)
{
    (void)user;
    return !interrupt_pending();
}

static err cmd_train_dir(const struct cmd_train *c, const struct trainrecipe *r, char **out,
                         struct errinfo *info)
{
    *out = c->out ? mem_dup(c->out, strlen(c->out)) : file_join("runs", r->name);
    return *out ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory");
}

static err cmd_train_learn(const struct cmd_train *c, const struct trainrecipe *r, struct errinfo *info)
{
    struct cmd_train_view v = {.live = terminal_styled(stderr)};
    struct trainrun_options o = {.data = c->data,
                                 .report = c->report,
                                 .resume = c->resume,
                                 .changed = c->changed,
                                 .seconds = c->minutes * 60,
                                 .n_threads = (int)c->threads,
                                 .view = {cmd_train_planned, cmd_train_stepped, cmd_train_scored,
                                          cmd_train_sampled, cmd_train_asked, cmd_train_noted,
                                          cmd_train_go_on, &v}};
    enum trainrun_end end;
    char *dir;
    TRY(cpuinfo_choose(&o.level, info));
    TRY(cmd_train_dir(c, r, &dir, info));
    o.dir = dir;
    err e = trainrun_run(r, &o, &end, info);
    cmd_train_clear(&v);
    if (e == ERR_OK && end == TRAINRUN_DONE) {
        bool model = config_check_served(&r->config, &(struct errinfo){0}) == ERR_OK;
        printf("done: %s%s\n", dir, model ? "/model.gguf" : "");
    } else if (e == ERR_OK) {
        printf("saved: go on with `fathom train %s --data %s --out %s --resume", c->recipe, c->data, dir);
        for (size_t i = 0; i < c->set.n; i++) {
            printf(" --set '%s'", c->set.items[i]);
        }
        printf("`\n");
    }
    mem_free(dir);
    return e;
}

/* ---- --speed ---- */

static void cmd_train_print_speed(const struct trainspeed *s, size_t runs)
{
    const struct trainspeed_seconds *m = &s->micro, *u = &s->update;
    double flops = s->flops_per_token * trainspeed_micro_rate(s);
    printf("micro batch  %zu tokens: %.3f s (%.3f to %.3f, %zu runs), %.0f tokens/s, %.0f GFLOP/s, "
           "%.0f%% of peak\n", s->micro_tokens, m->median, m->min, m->max, runs, trainspeed_micro_rate(s),
           flops * 1e-9, flops / s->peak_flops * 100);
    printf("update       %.3f s (%.3f to %.3f)\n", u->median, u->min, u->max);
    printf("step         %zu tokens: %.0f tokens/s\n", s->step_tokens, trainspeed_rate(s));
}

static err cmd_train_print_speed_json(const struct trainspeed *s, struct errinfo *info)
{
    json_t *all = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "tokens_per_s", trainspeed_micro_rate(s), "flops_per_s",
        s->flops_per_token * trainspeed_micro_rate(s), "step_s", s->micro.median, "loss", s->loss, "update_s",
        s->update.median, "whole_tokens_per_s", trainspeed_rate(s), "flops_per_token", s->flops_per_token,
        "peak_flops_per_s", s->peak_flops);
    char *text = json_text_dup(all, JSON_COMPACT);
    json_decref(all);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory for the JSON document");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

static bool cmd_train_not_interrupted(void)
{
    return !interrupt_pending();
}

static err cmd_train_speed(const struct cmd_train *c, const struct trainrecipe *r, const struct trainplan *plan,
                           struct errinfo *info)
{
    enum cpuinfo_level level;
    struct compute *compute;
    struct trainspeed s;
    TRY(trainplan_fits(plan, info));
    TRY(cpuinfo_choose(&level, info));
    TRY(compute_new(level, (int)c->threads, true, &compute, info));
    err e = trainspeed_measure(r, compute, c->speed, cmd_train_not_interrupted, &s, info);
    compute_free(compute);
    TRY(e);
    if (c->json) {
        return cmd_train_print_speed_json(&s, info);
    }
    cmd_train_print_speed(&s, c->speed);
    return ERR_OK;
}

static err cmd_train_work(const struct cmd_train *c, struct errinfo *info)
{
    struct trainrecipe r;
    struct trainplan plan;
    if (c->json && !c->speed) {
        return err_set(info, ERR_ARGUMENT, "--json goes with --speed N alone");
    }
    if (!c->recipe) {
        return err_set(info, ERR_ARGUMENT, "a RECIPE is needed: a text file; --keys lists what it may say");
    }
    TRY(trainrecipe_read(c->recipe, c->set.items, c->set.n, &r, info));
    err e = c->data || c->dry || c->speed
                ? ERR_OK
                : err_set(info, ERR_ARGUMENT, "--data DIR is needed: `fathom data` makes one");
    e = e == ERR_OK ? trainplan_make(&r, (int)c->threads, &plan, info) : e;
    if (e == ERR_OK && c->dry) {
        cmd_train_print_plan(&plan);
    } else if (e == ERR_OK && c->speed) {
        e = cmd_train_speed(c, &r, &plan, info);
    } else if (e == ERR_OK) {
        e = cmd_train_learn(c, &r, info);
    }
    trainrecipe_deinit(&r);
    return e;
}

int cmd_train(int argc, char **argv)
{
    struct cmd_train c = {0};
    const struct options_row rows[] = {
        options_operand("RECIPE", &c.recipe, "what is learnt and how: a text file of keys and values"),
        options_string("data", "DIR", &c.data, "the dataset (`fathom data` makes one)"),
        options_string("out", "DIR", &c.out, "where checkpoints, log and model go (runs/NAME of the recipe)"),
        options_flag("resume", &c.resume, "go on from the newest checkpoint, bit for bit"),
        options_each("set", "SECTION.KEY=VALUE", &c.set, "over what the recipe says"),
        options_flag("changed", &c.changed,
                     "resume with another recipe, or with other data, from their beginning"),
        options_float("minutes", "X", 0, 1e6, &c.minutes, "save and end after so long"),
        options_string("report", "DIR", &c.report, "a page with plots, made again as the run goes on"),
        options_size("threads", "N", 1, 1024, &c.threads, "use N threads (all cores)"),
        options_flag("keys", &c.keys, "list what a recipe may say"),
        options_flag("plan", &c.dry, "memory, arithmetic and steps; nothing is learnt"),
        options_size("speed", "N", 1, TRAINSPEED_RUNS_MAX, &c.speed,
                     "time N micro batches and updates on random tokens; needs no data, nothing is learnt"),
        options_flag("json", &c.json, "--speed as one JSON document"),
    };
    const struct options spec = {"train", "a model learns from text, as a recipe says", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom data my-data --tokenizer my-tokenizer --source books=books.txt.zst\n"
                                 "  fathom train recipes/fathom-nano.ini --data my-data --report page\n"
                                 "  fathom train recipes/fathom-nano.ini --data my-data --resume\n"
                                 "\nCtrl-C or SIGTERM saves a checkpoint and ends.\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    if (c.keys) {
        trainrecipe_keys(stdout);
        return 0;
    }
    struct errinfo info = {0};
    interrupt_watch();
    err e = cmd_train_work(&c, &info);
    interrupt_restore();
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
