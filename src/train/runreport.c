/* train/runreport.c: the page and its words; plots are runreport_plots.c, experts
 * runreport_experts.c. */
#include "train/runreport.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "fathom.h"
#include "train/linechart.h"
#include "train/runreport_experts.h"
#include "train/runreport_plots.h"

extern const unsigned char reportstyle_text[]; /* web/report.css; tools/embed.sh */

/* A script and not a meta element, which would forget the plot that the address names; the hash
 * lets the page's policy allow this script and no other (a test compares them). */
#define RUNREPORT_RELOAD "setTimeout(function () { location.reload(); }, 30000);"
#define RUNREPORT_RELOAD_HASH "'sha256-tQsniQ8zhWdElhFTZdwPCZgD5AQ7dp9K61621yHjSvA='"

enum { RUNREPORT_SAMPLES = 12, RUNREPORT_EVENTS = 50, RUNREPORT_LINE = 256 };

struct runreport_page {
    const struct runreport_about *about;
    const struct runlog_records *records;
    const struct runreport_plots *plots;
    const struct runlog_step *last; /* the newest step; all NAN without any */
    bool refresh;
};

/* ---- The numbers at the top. ---- */

static void runreport_tile(struct htmltext *h, const char *name, const char *number,
                           const char *unit)
{
    htmltext_printf(h, "<dl class=\"tile\"><dt>%s</dt><dd>%s <small>%s</small></dd></dl>\n", name,
                    number, unit);
}

static void runreport_progress(const struct runreport_page *p, struct htmltext *h)
{
    char number[LINECHART_NUMBER], all[LINECHART_NUMBER], left[LINECHART_NUMBER];
    char unit[RUNREPORT_LINE];
    double planned = p->about->planned_tokens, rest = planned - p->last->tokens;
    double rate = runreport_plots_recent(p->plots, p->plots->rate);
    int n = snprintf(unit, sizeof unit, "tokens in %llu steps", (unsigned long long)p->last->step);
    if (planned > 0) {
        n += snprintf(unit + n, sizeof unit - (size_t)n, ", %.3g%% of %s",
                      100 * p->last->tokens / planned, linechart_number(planned, all));
    }
    if (planned > 0 && p->about->running && rest > 0 && rate > 0) {
        snprintf(unit + n, sizeof unit - (size_t)n, ", %s to go",
                 linechart_time(rest / rate, left));
    }
    runreport_tile(h, "learnt from", linechart_number(p->last->tokens, number), unit);
}

static void runreport_tiles(const struct runreport_page *p, struct htmltext *h)
{
    char number[LINECHART_NUMBER], unit[RUNREPORT_LINE];
    const struct runlog_records *r = p->records;
    htmltext_put(h, "<div class=\"tiles\">\n");
    runreport_progress(p, h);
    runreport_tile(
        h, "training loss, smoothed",
        linechart_number(r->n_steps > 0 ? p->plots->smooth[r->n_steps - 1] : NAN, number),
        "nats per token");
    if (r->n_vals > 0) {
        const struct runlog_val *v = &r->vals[r->n_vals - 1];
        char bits[LINECHART_NUMBER];
        snprintf(unit, sizeof unit, "nats per token, %s bits per byte, at step %llu",
                 linechart_number(v->bits_per_byte, bits), (unsigned long long)v->step);
        runreport_tile(h, "validation loss", linechart_number(v->loss, number), unit);
    }
    double peak = runreport_plots_recent(p->plots, p->plots->peak);
    if (isfinite(peak)) {
        snprintf(unit, sizeof unit, "tokens/s of late, %.3g%% of the machine’s peak", peak);
    } else {
        strcpy(unit, "tokens/s of late");
    }
    runreport_tile(h, "speed",
                   linechart_number(runreport_plots_recent(p->plots, p->plots->rate), number),
                   unit);
    htmltext_put(h, "</div>\n");
}

/* ---- Tables of words. ---- */

static void runreport_fact_row(struct htmltext *h, const char *name, const char *value)
{
    htmltext_put(h, "<tr><th scope=\"row\">");
    htmltext_escaped(h, name);
    htmltext_put(h, "</th><td>");
    htmltext_escaped(h, value);
    htmltext_put(h, "</td></tr>\n");
}

static void runreport_section(struct htmltext *h, const char *id, const char *title)
{
    htmltext_printf(h, "<section aria-labelledby=\"h-%s\"><h2 id=\"h-%s\">%s</h2>", id, id, title);
}

/* The newest validation, text by text, and the tasks, each at its newest step. */
static void runreport_quality(const struct runlog_records *r, struct htmltext *h)
{
    char number[LINECHART_NUMBER], value[RUNREPORT_LINE], n[LINECHART_NUMBER];
    const struct runlog_val *v = r->n_vals > 0 ? &r->vals[r->n_vals - 1] : NULL;
    if ((!v || v->n_sources == 0) && r->n_tasks == 0) {
        return;
    }
    runreport_section(h, "quality", "What it knows");
    htmltext_put(h,
                 "<table class=\"facts\"><caption>Bits per byte of text it never learnt from, and "
                 "scores of tasks</caption><tbody>\n");
    for (size_t i = 0; v && i < v->n_sources; i++) {
        snprintf(value, sizeof value, "%s bits per byte",
                 linechart_number(v->sources[i].bits_per_byte, number));
        runreport_fact_row(h, v->sources[i].name, value);
    }
    for (size_t i = 0; i < r->n_tasks; i++) {
        bool newest = true;
        for (size_t k = i + 1; k < r->n_tasks && newest; k++) {
            newest = strcmp(r->tasks[i].name, r->tasks[k].name) != 0;
        }
        if (newest) {
            snprintf(value, sizeof value, "%s of 1 over %s questions, at step %llu",
                     linechart_number(r->tasks[i].score, number),
                     linechart_number(r->tasks[i].n, n), (unsigned long long)r->tasks[i].step);
            runreport_fact_row(h, r->tasks[i].name, value);
        }
    }
    htmltext_put(h, "</tbody></table></section>\n");
}

static void runreport_samples(const struct runlog_records *r, struct htmltext *h)
{
    if (r->n_samples == 0) {
        return;
    }
    runreport_section(h, "samples", "What it writes");
    htmltext_put(h, "<p class=\"note\">The newest first. What it was given is marked.</p>\n");
    for (size_t i = r->n_samples, shown = 0; i-- > 0 && shown < RUNREPORT_SAMPLES; shown++) {
        const struct runlog_sample *s = &r->samples[i];
        htmltext_printf(h, "<h3>Step %llu</h3><pre dir=\"auto\"><mark>",
                        (unsigned long long)s->step);
        htmltext_escaped(h, s->prompt);
        htmltext_put(h, "</mark>");
        htmltext_escaped(h, s->text);
        htmltext_put(h, "</pre>\n");
    }
    htmltext_put(h, "</section>\n");
}

static void runreport_events(const struct runlog_records *r, struct htmltext *h)
{
    char name[64];
    if (r->n_events == 0) {
        return;
    }
    runreport_section(h, "events", "What happened");
    htmltext_put(h, "<table class=\"facts\"><caption>The newest first</caption><tbody>\n");
    for (size_t i = r->n_events, shown = 0; i-- > 0 && shown < RUNREPORT_EVENTS; shown++) {
        snprintf(name, sizeof name, "step %llu", (unsigned long long)r->events[i].step);
        runreport_fact_row(h, name, r->events[i].text);
    }
    htmltext_put(h, "</tbody></table></section>\n");
}

/* Time, work, energy and what they cost. */
static void runreport_totals(const struct runreport_page *p, struct htmltext *h)
{
    char number[LINECHART_NUMBER], value[RUNREPORT_LINE];
    const struct runlog_step *s = p->last;
    double hours = s->seconds / 3600, kwh = s->energy_j / 3.6e6, cost = 0;
    bool priced = false;
    runreport_fact_row(h, "time", linechart_time(s->seconds, number));
    snprintf(value, sizeof value, "%.3g floating-point operations", s->flops);
    runreport_fact_row(h, "work", isfinite(s->flops) ? value : "not measured");
    snprintf(value, sizeof value, "%.3g kWh, %.3g J per token", kwh, s->energy_j / s->tokens);
    runreport_fact_row(h, "energy", isfinite(kwh) ? value : "not measured on this machine");
    if (p->about->hour_price > 0 && isfinite(hours)) {
        cost += hours * p->about->hour_price;
        priced = true;
    }
    if (p->about->kwh_price > 0 && isfinite(kwh)) {
        cost += kwh * p->about->kwh_price;
        priced = true;
    }
    snprintf(value, sizeof value, "%.2f %.20s", cost, p->about->currency ? p->about->currency : "");
    runreport_fact_row(h, "cost so far", priced ? value : "no prices given");
}

static void runreport_recipe(const struct runreport_page *p, struct htmltext *h)
{
    runreport_section(h, "recipe", "Recipe, totals, cost");
    htmltext_put(h, "<table class=\"facts\"><tbody>\n");
    runreport_totals(p, h);
    for (size_t i = 0; i < p->about->n_facts; i++) {
        runreport_fact_row(h, p->about->facts[i].name, p->about->facts[i].value);
    }
    runreport_fact_row(h, "fathom", FATHOM_VERSION);
    htmltext_put(h, "</tbody></table></section>\n");
}

/* ---- The page. ---- */

static void runreport_state(const struct runreport_page *p, struct htmltext *h)
{
    double of = p->about->planned_tokens;
    if (p->about->running || !(of > p->last->tokens)) {
        htmltext_put(h, p->about->running ? "going on" : "ended");
    } else {
        htmltext_printf(h, "stopped at %.1f%% of its tokens: --resume goes on", 100 * p->last->tokens / of);
    }
}

static void runreport_head(const struct runreport_page *p, struct htmltext *h)
{
    char when[64];
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    htmltext_put(h, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'");
    htmltext_put(h, p->refresh ? "; script-src " RUNREPORT_RELOAD_HASH
                                 "\"/><script>" RUNREPORT_RELOAD
                                 "</script><noscript><meta http-equiv=\"refresh\" "
                                 "content=\"30; url=" RUNREPORT_PAGE "\"/></noscript>"
                               : "\"/>");
    htmltext_put(h, "<title>Fathom training: ");
    htmltext_escaped(h, p->about->title);
    htmltext_put(h, "</title><style>\n");
    htmltext_put(h, (const char *)reportstyle_text);
    htmltext_put(h, "</style></head><body>\n<header><h1>");
    htmltext_escaped(h, p->about->title);
    htmltext_put(h, "</h1><p>A training run, ");
    runreport_state(p, h);
    htmltext_printf(h, ". As of %s.", when);
    if (p->refresh) {
        htmltext_put(h, " This page loads itself again every 30 seconds; <a href=\"" RUNREPORT_STILL
                        "\">this one</a> does not.");
    } else if (p->about->running) {
        htmltext_put(h, " <a href=\"" RUNREPORT_PAGE "\">This page</a> loads itself again.");
    }
    htmltext_put(h, "</p></header><main>\n");
}

static void runreport_draw(const struct runreport_page *p, struct htmltext *h)
{
    runreport_head(p, h);
    runreport_tiles(p, h);
    runreport_plots_loss(p->plots, h);
    runreport_plots_small(p->plots, h);
    runreport_experts(p->records, h);
    runreport_quality(p->records, h);
    runreport_samples(p->records, h);
    runreport_events(p->records, h);
    runreport_recipe(p, h);
    htmltext_put(h, "</main></body></html>\n");
}

static err runreport_save(const char *dir, const char *name, const struct htmltext *page,
                          struct errinfo *info)
{
    char *path = file_join(dir, name);
    if (!path || page->failed != ERR_OK) {
        mem_free(path);
        return err_set(info, page->failed == ERR_OK ? ERR_NOMEM : page->failed,
                       "out of memory for the report %s/%s", dir, name);
    }
    err e = file_write(path, page->text.data, page->text.len, info);
    mem_free(path);
    return e;
}

static err runreport_pages(const char *dir, struct runreport_page *p, struct errinfo *info)
{
    static const char *const names[] = {RUNREPORT_PAGE, RUNREPORT_STILL};
    err e = ERR_OK;
    for (int i = 0; i < 2 && e == ERR_OK; i++) {
        struct htmltext page = {0};
        p->refresh = i == 0 && p->about->running;
        runreport_draw(p, &page);
        e = runreport_save(dir, names[i], &page, info);
        strbuf_deinit(&page.text);
    }
    return e;
}

err runreport_write(const char *dir, const char *to, const struct runreport_about *about,
                    struct errinfo *info)
{
    const struct runlog_step none = {0,   NAN, NAN, NAN, NAN, NAN, NAN,
                                     NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    struct runlog_records r;
    struct runreport_plots plots;
    TRY(runlog_read(dir, &r, info));
    err e = runreport_plots_init(&plots, &r);
    if (e != ERR_OK) {
        err_set(info, e, "out of memory for the report of %s", dir);
    } else {
        struct runreport_page p = {about, &r, &plots,
                                   r.n_steps > 0 ? &r.steps[r.n_steps - 1] : &none, false};
        e = runreport_pages(to, &p, info);
    }
    runreport_plots_deinit(&plots);
    runlog_read_deinit(&r);
    return e;
}
