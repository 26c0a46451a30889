/* train/runreport_experts.c: see runreport_experts.h. */
#include "train/runreport_experts.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/mem.h"
#include "train/heatmap.h"
#include "train/linechart.h"

enum { RUNREPORT_TIMES = 128 }; /* columns of the map over time */

/* An expert with a smaller part of the even share is called idle. */
static const double RUNREPORT_IDLE = 0.1;

/* Records of other layers or experts than the last one (a model that was changed) are left out. */
static bool runreport_alike(const struct runlog_load *a, const struct runlog_load *b)
{
    return a->n_layers == b->n_layers && a->n_experts == b->n_experts;
}

static double runreport_ratio(const struct runlog_load *l, size_t layer, size_t expert)
{
    return (double)l->shares[layer * l->n_experts + expert] * (double)l->n_experts;
}

/* The busiest expert of a layer, over the even share. */
static double runreport_spread(const struct runlog_load *l, size_t layer)
{
    double most = 0;
    for (size_t e = 0; e < l->n_experts; e++) {
        most = fmax(most, runreport_ratio(l, layer, e));
    }
    return most;
}

static void runreport_map(const struct heatmap *m, struct htmltext *h)
{
    htmltext_printf(
        h,
        "<figure><h3>%s</h3><p class=\"wide\">The plot is wider than this screen: move it "
        "sideways.</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
        "aria-label=\"%s\">",
        m->title, m->title);
    heatmap_draw(m, h);
    htmltext_put(h, "</div></figure>\n");
}

static err runreport_last(const struct runlog_load *l, struct htmltext *h)
{
    char last[32], title[80];
    size_t n = l->n_layers * l->n_experts; /* as many as were read */
    float *values = mem_calloc(n, sizeof *values);
    if (!values) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)runreport_ratio(l, i / l->n_experts, i % l->n_experts);
    }
    snprintf(last, sizeof last, "%zu", l->n_experts - 1);
    snprintf(title, sizeof title, "Each expert of each layer, at step %llu",
             (unsigned long long)l->step);
    runreport_map(&(struct heatmap){.id = "experts",
                                    .title = title,
                                    .across = "expert",
                                    .down = "layer",
                                    .first = "0",
                                    .last = last,
                                    .values = values,
                                    .rows = l->n_layers,
                                    .cols = l->n_experts,
                                    .labels = l->layers},
                  h);
    mem_free(values);
    return ERR_OK;
}

static err runreport_times(const struct runlog_records *r, struct htmltext *h)
{
    char first[32], last[32];
    const struct runlog_load *end = &r->loads[r->n_loads - 1];
    size_t cols = r->n_loads < RUNREPORT_TIMES ? r->n_loads : RUNREPORT_TIMES, n;
    float *values = checked_mul(end->n_layers, cols, &n) ? mem_calloc(n, sizeof *values) : NULL;
    if (!values) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = NAN;
    }
    for (size_t i = 0; i < r->n_loads; i++) {
        size_t col = (size_t)((double)i * (double)cols / (double)r->n_loads);
        for (size_t layer = 0; layer < end->n_layers && runreport_alike(&r->loads[i], end);
             layer++) {
            float *v = &values[layer * cols + (col < cols ? col : cols - 1)];
            *v = fmaxf(*v, (float)runreport_spread(&r->loads[i], layer)); /* NAN gives way */
        }
    }
    snprintf(first, sizeof first, "step %llu", (unsigned long long)r->loads[0].step);
    snprintf(last, sizeof last, "step %llu", (unsigned long long)end->step);
    runreport_map(&(struct heatmap){.id = "spread",
                                    .title = "The busiest expert of each layer, over the run",
                                    .across = "",
                                    .down = "layer",
                                    .first = first,
                                    .last = last,
                                    .values = values,
                                    .rows = end->n_layers,
                                    .cols = cols,
                                    .labels = end->layers},
                  h);
    mem_free(values);
    return ERR_OK;
}

static void runreport_layer(const struct runlog_load *l, size_t layer, struct htmltext *h)
{
    char least_text[LINECHART_NUMBER], most_text[LINECHART_NUMBER];
    double least = INFINITY;
    size_t idle = 0;
    for (size_t e = 0; e < l->n_experts; e++) {
        double ratio = runreport_ratio(l, layer, e);
        least = fmin(least, ratio);
        idle += ratio < RUNREPORT_IDLE;
    }
    htmltext_printf(h, "<tr><th scope=\"row\">%u</th><td>%s</td><td>%s</td><td>%zu</td></tr>\n",
                    l->layers[layer], linechart_number(least, least_text),
                    linechart_number(runreport_spread(l, layer), most_text), idle);
}

void runreport_experts(const struct runlog_records *r, struct htmltext *h)
{
    const struct runlog_load *l = r->n_loads > 0 ? &r->loads[r->n_loads - 1] : NULL;
    if (!l || l->n_layers == 0) {
        return;
    }
    htmltext_printf(h,
                    "<section aria-labelledby=\"h-experts\"><h2 id=\"h-experts\">Experts</h2>"
                    "<p class=\"note\">How many tokens each of the %zu experts of a layer gets, "
                    "over what it would get if all got the same.</p><div class=\"maps\">",
                    l->n_experts);
    err e = runreport_last(l, h);
    e = e == ERR_OK ? runreport_times(r, h) : e;
    h->failed = h->failed == ERR_OK ? e : h->failed;
    htmltext_put(h, "</div><p class=\"keys\">");
    heatmap_key(h);
    htmltext_put(
        h, "</p><details><summary>The numbers</summary><div class=\"scroll\" tabindex=\"0\" "
           "role=\"region\" aria-label=\"Load of the experts\"><table><caption>At the last "
           "step measured, over the even share; idle: below a tenth of it</caption><thead>"
           "<tr><th scope=\"col\">layer</th><th scope=\"col\">least</th><th "
           "scope=\"col\">most</th><th scope=\"col\">idle experts</th></tr></thead><tbody>\n");
    for (size_t layer = 0; layer < l->n_layers; layer++) {
        runreport_layer(l, layer, h);
    }
    htmltext_put(h, "</tbody></table></div></details></section>\n");
}
