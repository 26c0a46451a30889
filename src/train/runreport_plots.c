/* train/runreport_plots.c: see runreport_plots.h. */
#include "train/runreport_plots.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/mem.h"
#include "train/linechart.h"

enum { RUNREPORT_TABLE_ROWS = 20 };

#define RUNREPORT_PLOTS_WIDE                                                                       \
    "<p class=\"wide\">The plot is wider than this screen: move it sideways.</p>"

enum runreport_axis { RUNREPORT_TOKENS, RUNREPORT_FLOPS, RUNREPORT_TIME, RUNREPORT_AXES };

static const struct {
    const char *id, *word, *across;
    enum linechart_numbers numbers;
} runreport_axes[RUNREPORT_AXES] = {
    {"tokens", "tokens", "tokens learnt from", LINECHART_COUNT},
    {"flops", "FLOPs", "floating-point operations", LINECHART_COUNT},
    {"time", "time", "time of the run", LINECHART_TIME},
};

/* ---- The lists. ---- */

/* The window is short at the beginning, where the loss falls fast. */
static void runreport_smooth(const struct runreport_plots *p)
{
    size_t n = p->records->n_steps;
    double most = fmax((double)(n / 50), 1), seen = 0, mean = 0;
    for (size_t i = 0; i < n; i++) {
        if (isfinite(p->loss[i])) {
            seen++;
            mean += (p->loss[i] - mean) / fmin(fmax(seen / 10, 1), most);
        }
        p->smooth[i] = isfinite(p->loss[i]) ? mean : NAN;
    }
}

double runreport_plots_recent(const struct runreport_plots *p, const double *list)
{
    size_t n = p->records->n_steps, window = n / 50 > 10 ? n / 50 : 10, seen = 0;
    double sum = 0;
    for (size_t i = n > window ? n - window : 0; i < n; i++) {
        if (isfinite(list[i])) {
            sum += list[i];
            seen++;
        }
    }
    return seen > 0 ? sum / (double)seen : NAN;
}

static void runreport_fill(const struct runreport_plots *p)
{
    const struct runlog_records *r = p->records;
    for (size_t i = 0; i < r->n_steps; i++) {
        const struct runlog_step *s = &r->steps[i];
        p->step_x[RUNREPORT_TOKENS][i] = s->tokens;
        p->step_x[RUNREPORT_FLOPS][i] = s->flops;
        p->step_x[RUNREPORT_TIME][i] = s->seconds;
        p->loss[i] = s->loss;
        p->lr[i] = s->lr;
        p->grad_norm[i] = s->grad_norm;
        p->rate[i] = s->tokens_per_s;
        p->peak[i] = 100 * s->peak_share;
        p->mtp_loss[i] = s->mtp_loss;
        p->balance_loss[i] = s->balance_loss;
    }
    for (size_t i = 0; i < r->n_vals; i++) {
        p->val_x[RUNREPORT_TOKENS][i] = r->vals[i].tokens;
        p->val_x[RUNREPORT_FLOPS][i] = r->vals[i].flops;
        p->val_x[RUNREPORT_TIME][i] = r->vals[i].seconds;
        p->val_loss[i] = r->vals[i].loss;
    }
    runreport_smooth(p);
}

err runreport_plots_init(struct runreport_plots *p, const struct runlog_records *records)
{
    *p = (struct runreport_plots){.records = records};
    double **const of_steps[] = {&p->step_x[0], &p->step_x[1], &p->step_x[2],   &p->loss,
                                 &p->smooth,    &p->lr,        &p->grad_norm,   &p->rate,
                                 &p->peak,      &p->mtp_loss,  &p->balance_loss};
    double **const of_vals[] = {&p->val_x[0], &p->val_x[1], &p->val_x[2], &p->val_loss};
    const size_t n_steps = sizeof of_steps / sizeof *of_steps;
    const size_t n_vals = sizeof of_vals / sizeof *of_vals;
    size_t for_steps, for_vals, all;
    if (!checked_mul(records->n_steps, n_steps, &for_steps) ||
        !checked_mul(records->n_vals, n_vals, &for_vals) ||
        !checked_add(for_steps, for_vals, &all)) {
        return ERR_LIMIT;
    }
    p->numbers = mem_calloc(all, sizeof *p->numbers);
    if (!p->numbers) {
        return ERR_NOMEM;
    }
    double *at = p->numbers;
    for (size_t i = 0; i < n_steps; i++, at += records->n_steps) {
        *of_steps[i] = at;
    }
    for (size_t i = 0; i < n_vals; i++, at += records->n_vals) {
        *of_vals[i] = at;
    }
    runreport_fill(p);
    return ERR_OK;
}

void runreport_plots_deinit(struct runreport_plots *p)
{
    mem_free(p->numbers);
    *p = (struct runreport_plots){0};
}

/* ---- Tables. ---- */

static void runreport_cell(double v, bool time, struct htmltext *h)
{
    char text[LINECHART_NUMBER];
    htmltext_printf(h, "<td>%s</td>", time ? linechart_time(v, text) : linechart_number(v, text));
}

/* Row i of at most RUNREPORT_TABLE_ROWS from n records, the first and the last among them. */
static size_t runreport_sampled(size_t i, size_t rows, size_t n)
{
    return rows > 1 ? (size_t)((double)i * (double)(n - 1) / (double)(rows - 1) + 0.5) : n - 1;
}

static void runreport_table_head(const char *caption, const char *const *columns, size_t n,
                                 struct htmltext *h)
{
    htmltext_printf(h,
                    "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">"
                    "<table><caption>%s</caption><thead><tr>",
                    caption, caption);
    for (size_t i = 0; i < n; i++) {
        htmltext_printf(h, "<th scope=\"col\">%s</th>", columns[i]);
    }
    htmltext_put(h, "</tr></thead><tbody>\n");
}

static void runreport_step_table(const struct runreport_plots *p, struct htmltext *h)
{
    static const char *const columns[] = {
        "step",          "tokens",        "FLOPs",         "time",     "loss",      "smoothed",
        "bits per byte", "learning rate", "gradient norm", "tokens/s", "% of peak", "load spread"};
    size_t n = p->records->n_steps, rows = n < RUNREPORT_TABLE_ROWS ? n : RUNREPORT_TABLE_ROWS;
    runreport_table_head("Training, some of the steps", columns, sizeof columns / sizeof *columns,
                         h);
    for (size_t i = 0; i < rows; i++) {
        size_t at = runreport_sampled(i, rows, n);
        const struct runlog_step *s = &p->records->steps[at];
        const double cells[] = {s->tokens,       s->flops,         s->seconds,    s->loss,
                                p->smooth[at],   s->bits_per_byte, s->lr,         s->grad_norm,
                                s->tokens_per_s, p->peak[at],      s->load_spread};
        htmltext_printf(h, "<tr><th scope=\"row\">%llu</th>", (unsigned long long)s->step);
        for (size_t c = 0; c < sizeof cells / sizeof *cells; c++) {
            runreport_cell(cells[c], c == RUNREPORT_TIME, h);
        }
        htmltext_put(h, "</tr>\n");
    }
    htmltext_put(h, "</tbody></table></div>\n");
}

static void runreport_val_table(const struct runreport_plots *p, struct htmltext *h)
{
    static const char *const columns[] = {"step", "tokens", "FLOPs",
                                          "time", "loss",   "bits per byte"};
    size_t n = p->records->n_vals, rows = n < RUNREPORT_TABLE_ROWS ? n : RUNREPORT_TABLE_ROWS;
    runreport_table_head("Validation", columns, sizeof columns / sizeof *columns, h);
    for (size_t i = 0; i < rows; i++) {
        const struct runlog_val *v = &p->records->vals[runreport_sampled(i, rows, n)];
        const double cells[] = {v->tokens, v->flops, v->seconds, v->loss, v->bits_per_byte};
        htmltext_printf(h, "<tr><th scope=\"row\">%llu</th>", (unsigned long long)v->step);
        for (size_t c = 0; c < sizeof cells / sizeof *cells; c++) {
            runreport_cell(cells[c], c == RUNREPORT_TIME, h);
        }
        htmltext_put(h, "</tr>\n");
    }
    htmltext_put(h, "</tbody></table></div>\n");
}

/* ---- The loss: six plots, of which the page's address chooses one (#loss-time-log). ---- */

static void runreport_link(enum runreport_axis axis, bool log, bool here, const char *word,
                           struct htmltext *h)
{
    htmltext_printf(h, "<a href=\"#loss-%s%s\"%s>%s</a>", runreport_axes[axis].id,
                    log ? "-log" : "", here ? " aria-current=\"true\"" : "", word);
}

static void runreport_panel(const struct runreport_plots *p, enum runreport_axis axis, bool log,
                            struct htmltext *h)
{
    char id[32], title[160], across[64];
    bool first = axis == RUNREPORT_TOKENS && !log;
    snprintf(id, sizeof id, "loss-%s%s", runreport_axes[axis].id, log ? "-log" : "");
    snprintf(title, sizeof title, "Training and validation loss against %s%s",
             runreport_axes[axis].across, log ? ", logarithmic" : "");
    snprintf(across, sizeof across, "%s%s", runreport_axes[axis].across,
             log ? " (logarithmic)" : "");
    const struct runlog_records *r = p->records;
    struct linechart c = {.id = id,
                          .title = title,
                          .unit = "nats per token",
                          .across = across,
                          .numbers = runreport_axes[axis].numbers,
                          .log_x = log,
                          .late = !log,
                          .n = 3};
    c.series[0] = (struct linechart_series){p->step_x[axis], p->loss, r->n_steps, LINECHART_RAW};
    c.series[1] =
        (struct linechart_series){p->step_x[axis], p->smooth, r->n_steps, LINECHART_SMOOTH};
    c.series[2] =
        (struct linechart_series){p->val_x[axis], p->val_loss, r->n_vals, LINECHART_MARKED};
    htmltext_printf(h,
                    "<div class=\"tab%s\" id=\"%s\" tabindex=\"-1\"><nav class=\"tabs\" "
                    "aria-label=\"What the loss is drawn against\"><span>",
                    first ? " first" : "", id);
    for (int other = 0; other < RUNREPORT_AXES; other++) {
        runreport_link((enum runreport_axis)other, log, other == (int)axis,
                       runreport_axes[other].word, h);
    }
    htmltext_put(h, "</span><span>");
    runreport_link(axis, false, !log, "linear", h);
    runreport_link(axis, true, log, "logarithmic", h);
    htmltext_put(h, "</span></nav>");
    if (linechart_has_points(&c)) {
        htmltext_printf(h,
                        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                        "aria-label=\"%s\">",
                        title);
        linechart_draw(&c, h);
        htmltext_put(h, "</div>");
    } else {
        htmltext_put(h, "<p class=\"note\">Nothing to draw yet.</p>");
    }
    htmltext_put(h, "</div>\n");
}

void runreport_plots_loss(const struct runreport_plots *p, struct htmltext *h)
{
    htmltext_put(
        h, "<section aria-labelledby=\"h-loss\"><h2 id=\"h-loss\">Loss</h2>"
           "<p class=\"note\">Lower is better: how surprised the model is by the next "
           "token of text that it learns from, and of text that it never learns from. Its first "
           "fall may lie above the linear plots.</p>"
           "<figure class=\"large\">" RUNREPORT_PLOTS_WIDE "\n");
    for (int axis = RUNREPORT_AXES - 1; axis >= 0; axis--) {
        runreport_panel(p, (enum runreport_axis)axis, true, h);
        if (axis > 0) {
            runreport_panel(p, (enum runreport_axis)axis, false, h);
        }
    }
    runreport_panel(p, RUNREPORT_TOKENS, false, h); /* shown while the address chooses none: last */
    htmltext_put(h, "<figcaption>");
    linechart_key(LINECHART_RAW, "training, each step (range and mean)", h);
    linechart_key(LINECHART_SMOOTH, "training, smoothed", h);
    linechart_key(LINECHART_MARKED, "validation", h);
    htmltext_put(h,
                 "</figcaption></figure><details class=\"all\"><summary>The numbers</summary>\n");
    runreport_step_table(p, h);
    runreport_val_table(p, h);
    htmltext_put(h, "</details></section>\n");
}

/* ---- Small plots. ---- */

static void runreport_small(const struct runreport_plots *p, const char *id, const char *title,
                            const char *unit, const double *y, bool log_y, bool from_zero,
                            struct htmltext *h)
{
    struct linechart c = {.id = id,
                          .title = title,
                          .unit = unit,
                          .across = runreport_axes[RUNREPORT_TOKENS].across,
                          .log_y = log_y,
                          .from_zero = from_zero,
                          .n = 1};
    c.series[0] = (struct linechart_series){p->step_x[RUNREPORT_TOKENS], y, p->records->n_steps,
                                            LINECHART_RAW};
    if (linechart_has_points(&c)) {
        htmltext_printf(
            h,
            "<section aria-labelledby=\"h-%s\"><h2 id=\"h-%s\">%s</h2><figure>" RUNREPORT_PLOTS_WIDE
            "<div "
            "class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"h-%s\">",
            id, id, title, id);
        linechart_draw(&c, h);
        htmltext_put(h, "</div></figure></section>\n");
    }
}

void runreport_plots_small(const struct runreport_plots *p, struct htmltext *h)
{
    htmltext_put(h, "<div class=\"small\">\n");
    runreport_small(p, "lr", "Learning rate", "", p->lr, false, true, h);
    runreport_small(p, "grad", "Gradient norm", "before clipping, logarithmic", p->grad_norm, true,
                    false, h);
    runreport_small(p, "rate", "Speed", "tokens per second", p->rate, false, true, h);
    runreport_small(p, "peak", "Share of the machine’s peak", "%", p->peak, false, true, h);
    runreport_small(p, "mtp", "Loss of the second next token", "nats per token", p->mtp_loss, false,
                    false, h);
    runreport_small(p, "balance", "Balance loss", "", p->balance_loss, false, true, h);
    htmltext_put(h, "</div>\n");
}
