/* cli/benchreport.c: see benchreport.h. */
#include "cli/benchreport.h"

#include <stdio.h>
#include <string.h>

#include "base/bytesize.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/barchart.h"
#include "fathom.h"

extern const unsigned char reportstyle_text[]; /* web/report.css; tools/embed.sh */

/* Which rows a section shows, and what its groups are called. */
enum benchreport_view { BENCHREPORT_PREFILL, BENCHREPORT_DEPTH, BENCHREPORT_BATCH };

static const struct {
    const char *id, *title, *text, *across, *column;
} benchreport_views[] = {
    {"prefill", "Reading a prompt", "Tokens of a prompt read at once, from an empty cache.",
     "tokens in the prompt", "prompt"},
    {"depth", "Writing an answer",
     "One sequence, one token after another, with so many positions already in the cache.",
     "positions in the cache", "depth"},
    {"batch", "Writing many answers", "Sequences that advance together; the tokens of all of them count.",
     "sequences together", "together"},
};

/* The first row of a kind: depth plots keep its batch, batch plots its depth. */
static const struct benchtable_row *benchreport_first(const struct benchtable *t,
                                                      enum benchmark_kind kind)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].test.kind == kind) {
            return &t->rows[i];
        }
    }
    return NULL;
}

static bool benchreport_shows(const struct benchtable *t, const struct benchtable_row *row,
                              enum benchreport_view view)
{
    const struct benchtable_row *first = benchreport_first(t, BENCHMARK_DECODE);
    if (view == BENCHREPORT_PREFILL) {
        return row->test.kind == BENCHMARK_PREFILL;
    }
    return row->test.kind == BENCHMARK_DECODE &&
           (view == BENCHREPORT_DEPTH ? row->test.batch == first->test.batch
                                      : row->test.depth == first->test.depth);
}

static size_t benchreport_where(const struct benchtable_row *row, enum benchreport_view view)
{
    return view == BENCHREPORT_PREFILL ? row->test.tokens
           : view == BENCHREPORT_DEPTH ? row->test.depth
                                       : row->test.batch;
}

static struct barchart benchreport_chart(const struct benchtable *t, enum benchreport_view view)
{
    struct barchart c = {.id = benchreport_views[view].id,
                         .title = benchreport_views[view].title,
                         .unit = "tokens per second",
                         .across = benchreport_views[view].across};
    for (size_t i = 0; i < t->n_rows && c.n < BARCHART_GROUPS_MAX; i++) {
        const struct benchtable_row *row = &t->rows[i];
        const struct benchmark_result *r = &row->ours;
        if (!benchreport_shows(t, row, view)) {
            continue;
        }
        struct barchart_group *g = &c.groups[c.n++];
        g->first = (struct barchart_bar){r->median, r->min, r->max};
        g->roof = r->roof_pct >= 0 ? r->roof_per_s : 0;
        snprintf(g->label, sizeof g->label, "%zu", benchreport_where(row, view));
        if (row->peer.measured) {
            c.has_second = true;
            g->second = (struct barchart_bar){row->peer.median, row->peer.min, row->peer.max};
        }
    }
    return c;
}

static void benchreport_keys(const struct benchtable *t, const struct barchart *c, struct htmltext *h)
{
    htmltext_put(h, "<figcaption><span class=\"key\"><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect "
                    "class=\"ours\" width=\"26\" height=\"14\" rx=\"3\"/></svg>Fathom</span>");
    if (t->peer_title[0]) {
        htmltext_put(h, "<span class=\"key\"><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect "
                        "class=\"peer\" x=\"1\" y=\"1\" width=\"24\" height=\"12\" rx=\"3\"/><rect x=\"1\" "
                        "y=\"1\" width=\"24\" height=\"12\" fill=\"url(#hatch)\"/></svg>");
        htmltext_escaped(h, t->peer_name);
        htmltext_put(h, "</span>");
    }
    if (barchart_roof_drawn(c)) {
        htmltext_put(h, "<span class=\"key\"><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><line "
                        "class=\"roof\" x2=\"26\" y1=\"7\" y2=\"7\"/></svg>what this machine allows</span>");
    }
    if (barchart_roof_beyond(c)) {
        htmltext_put(h, "<span>↑ what this machine allows, beyond the scale</span>");
    }
    htmltext_put(h, "<span>thin lines: slowest to fastest run</span></figcaption>");
}

static void benchreport_small_table(const struct benchtable *t, const struct barchart *c,
                                    const char *column, struct htmltext *h)
{
    char a[32], b[32];
    htmltext_put(h, "<div class=\"scroll\"><table><caption>Tokens per second, medians</caption><thead><tr>"
                    "<th scope=\"col\">");
    htmltext_escaped(h, column);
    htmltext_put(h, "</th><th scope=\"col\">Fathom</th><th scope=\"col\">of roof</th>");
    if (c->has_second) {
        htmltext_put(h, "<th scope=\"col\">");
        htmltext_escaped(h, t->peer_name);
        htmltext_put(h, "</th><th scope=\"col\">ratio</th>");
    }
    htmltext_put(h, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < c->n; i++) {
        const struct barchart_group *g = &c->groups[i];
        htmltext_put(h, "<tr><th scope=\"row\">");
        htmltext_escaped(h, g->label);
        htmltext_printf(h, "</th><td>%s</td>", barchart_number(g->first.value, a));
        if (g->roof > 0) {
            htmltext_printf(h, "<td>%.0f%%</td>", 100 * g->first.value / g->roof);
        } else {
            htmltext_put(h, "<td>–</td>");
        }
        if (g->second.value > 0) {
            htmltext_printf(h, "<td>%s</td><td>%s×</td>", barchart_number(g->second.value, a),
                            barchart_number(g->first.value / g->second.value, b));
        } else if (c->has_second) {
            htmltext_put(h, "<td>–</td><td>–</td>");
        }
        htmltext_put(h, "</tr>\n");
    }
    htmltext_put(h, "</tbody></table></div>");
}

static void benchreport_section(const struct benchtable *t, enum benchreport_view view,
                                struct htmltext *h)
{
    struct barchart c = benchreport_chart(t, view);
    if (c.n == 0 || (view == BENCHREPORT_BATCH && c.n < 2)) {
        return;
    }
    htmltext_printf(h, "<section aria-labelledby=\"h-%s\"><h2 id=\"h-%s\">%s</h2><p class=\"note\">%s",
                    c.id, c.id, c.title, benchreport_views[view].text);
    const struct benchtable_row *first = benchreport_first(t, BENCHMARK_DECODE);
    if (view == BENCHREPORT_DEPTH && first->test.batch > 1) {
        htmltext_printf(h, " Here %zu sequences together.", first->test.batch);
    }
    if (view == BENCHREPORT_BATCH && first->test.depth > 0) {
        htmltext_printf(h, " Each at depth %zu.", first->test.depth);
    }
    htmltext_put(h, "</p><div class=\"pair\"><figure><p class=\"wide\">The plot is wider than this screen: "
                    "move it sideways.</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                    "aria-labelledby=\"h-");
    htmltext_printf(h, "%s\">", c.id);
    barchart_draw(&c, h);
    htmltext_put(h, "</div>");
    benchreport_keys(t, &c, h);
    htmltext_put(h, "</figure>");
    benchreport_small_table(t, &c, benchreport_views[view].column, h);
    htmltext_put(h, "</div></section>\n");
}

/* ---- the numbers at the top ---- */

static void benchreport_tile(struct htmltext *h, const char *name, const char *number, const char *unit)
{
    htmltext_put(h, "<dl class=\"tile\"><dt>");
    htmltext_escaped(h, name);
    htmltext_put(h, "</dt><dd>");
    htmltext_escaped(h, number);
    htmltext_put(h, " <small>");
    htmltext_escaped(h, unit);
    htmltext_put(h, "</small></dd></dl>\n");
}

static void benchreport_tiles(const struct benchtable *t, struct htmltext *h)
{
    static const char *const names[] = {"reading a prompt", "writing an answer"};
    char number[32], unit[96];
    htmltext_put(h, "<div class=\"tiles\">\n");
    for (int kind = BENCHMARK_PREFILL; kind <= BENCHMARK_DECODE; kind++) {
        const struct benchtable_row *row = benchreport_first(t, (enum benchmark_kind)kind);
        if (row) {
            int n = snprintf(unit, sizeof unit, "tokens/s");
            if (row->ours.roof_pct >= 0) {
                n += snprintf(unit + n, sizeof unit - (size_t)n, ", %.0f%% of the roof", row->ours.roof_pct);
            }
            if (row->peer.measured) {
                snprintf(unit + n, sizeof unit - (size_t)n, ", %.2f× %s", row->peer.ratio, t->peer_name);
            }
            benchreport_tile(h, names[kind], barchart_number(row->ours.median, number), unit);
        }
    }
    if (t->opening.runs > 0) {
        char own[BYTESIZE_TEXT];
        snprintf(unit, sizeof unit, "s, %s beside the mapped file",
                 bytesize_text(t->opening.private_bytes, own));
        benchreport_tile(h, "from start to first token", barchart_number(t->opening.median, number), unit);
    }
    snprintf(number, sizeof number, "%.2f", (double)model_weight_bytes(t->model) / 1e9);
    snprintf(unit, sizeof unit, "GB of weights, %.2f billion parameters",
             (double)model_parameters(t->model) / 1e9);
    benchreport_tile(h, "model", number, unit);
    htmltext_put(h, "</div>\n");
}

/* ---- everything ---- */

static void benchreport_peer(const struct benchtable *t, const struct benchtable_row *row,
                             struct htmltext *h)
{
    if (row->peer.measured) {
        htmltext_printf(h, "<td>%.2f</td><td>%.2f … %.2f</td><td>%.2f×</td>", row->peer.median,
                        row->peer.min, row->peer.max, row->peer.ratio);
    } else if (t->peer_title[0]) {
        htmltext_put(h, t->peer_failed.message[0] ? "<td colspan=\"3\">failed</td>"
                                         : "<td colspan=\"3\">no such test</td>");
    }
}

static void benchreport_row(const struct benchtable *t, const struct benchtable_row *row,
                            struct htmltext *h)
{
    const struct benchmark_result *r = &row->ours;
    char rates[BENCHTABLE_RATES];
    htmltext_printf(h, "<tr><th scope=\"row\">%s</th><td>%.2f</td><td>%.2f … %.2f</td>", r->name,
                    r->median, r->min, r->max);
    benchreport_peer(t, row, h);
    if (r->roof_pct >= 0) {
        htmltext_printf(h, "<td>%.1f%%</td><td>%s</td><td>%s</td>", r->roof_pct,
                        r->bound == WORKLOAD_COMPUTE ? "arithmetic" : "memory",
                        benchtable_rates(r->roof_min, r->roof_max, r->bound, " … ", rates));
    } else {
        htmltext_put(h, "<td>–</td><td>–</td><td>–</td>");
    }
    htmltext_printf(h, "<td>%.1f%%</td><td>%.3f</td></tr>\n", r->overhead_pct, 1e3 * r->step_seconds);
}

static void benchreport_all(const struct benchtable *t, struct htmltext *h)
{
    htmltext_put(h, "<section class=\"all\" aria-labelledby=\"h-all\"><h2 id=\"h-all\">Every test</h2>"
                    "<p class=\"note\">pp: a prompt of so many tokens. tg: so many tokens written, x "
                    "sequences, @ positions in the cache before. The roof is the least time the work can take, "
                    "its arithmetic or its bytes over what this machine was measured to do right before and "
                    "after each run. Small models stay far below it: at the end of each of their many short "
                    "operations threads wait for each other, which counts as the operation's time, and "
                    "unpacking weights takes longer than reading them; a model that fits the processor's last "
                    "cache may be above it, as memory is not read then. Overhead: time in "
                    "neither matrix products nor attention.</p>"
                    "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                    "aria-labelledby=\"h-all\"><table><thead><tr><th scope=\"col\">test</th>"
                    "<th scope=\"col\">tokens/s</th><th scope=\"col\">range</th>");
    if (t->peer_title[0]) {
        htmltext_put(h, "<th scope=\"col\">");
        htmltext_escaped(h, t->peer_name);
        htmltext_put(h, "</th><th scope=\"col\">range</th><th scope=\"col\">ratio</th>");
    }
    htmltext_put(h, "<th scope=\"col\">of the roof</th><th scope=\"col\">bound</th>"
                    "<th scope=\"col\">roof beside the runs</th><th scope=\"col\">overhead</th>"
                    "<th scope=\"col\">ms per pass</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < t->n_rows; i++) {
        benchreport_row(t, &t->rows[i], h);
    }
    htmltext_put(h, "</tbody></table></div></section>\n");
}

static void benchreport_fact(struct htmltext *h, const char *name, const char *value)
{
    htmltext_put(h, "<tr><th scope=\"row\">");
    htmltext_escaped(h, name);
    htmltext_put(h, "</th><td>");
    htmltext_escaped(h, value);
    htmltext_put(h, "</td></tr>\n");
}

static void benchreport_facts(const struct benchtable *t, struct htmltext *h)
{
    char text[BENCHTABLE_TEXT], a[32], b[32], size[BYTESIZE_TEXT];
    htmltext_put(h, "<section aria-labelledby=\"h-how\"><h2 id=\"h-how\">Machine, model, how to repeat</h2>"
                    "<table class=\"facts\"><tbody>\n");
    snprintf(text, sizeof text, "%s, %d thread%s, kernels %s%s", cpuinfo_model(), t->threads,
             t->threads == 1 ? "" : "s", t->level, t->deterministic ? ", deterministic mode" : "");
    benchreport_fact(h, "machine", text);
    snprintf(text, sizeof text, "%s read from memory, %s (%s)",
             benchtable_rate(t->roof.read_gbs * 1e9, WORKLOAD_MEMORY, a),
             benchtable_rate(t->roof.float_flops, WORKLOAD_COMPUTE, b), t->roof.float_name);
    benchreport_fact(h, "roof at the start", text);
    snprintf(text, sizeof text, "%s, mostly %s, %.2f billion parameters, %.2f billion active; a token reads %s",
             model_config(t->model)->name, dtype_info(model_main_dtype(t->model))->name,
             (double)model_parameters(t->model) / 1e9, (double)model_active_parameters(t->model) / 1e9,
             bytesize_text(model_active_bytes(t->model), size));
    benchreport_fact(h, "model", text);
    if (t->made_bytes < t->whole_bytes) {
        benchreport_fact(h, "weights", "random, and layers share them: not all fit in memory");
    }
    snprintf(text, sizeof text, "keys and values in %s, prompts read %zu tokens at a time",
             t->kv_type, t->chunk);
    benchreport_fact(h, "settings", text);
    if (t->peer_title[0]) {
        snprintf(text, sizeof text, "%.24s: %.200s%s%.380s; its runs alternate with ours", t->peer_name,
                 t->peer_title, t->peer_system[0] ? ", " : "", t->peer_system);
        benchreport_fact(h, "peer", text);
    }
    if (t->peer_failed.message[0]) {
        benchreport_fact(h, "the peer failed", t->peer_failed.message);
    }
    benchreport_fact(h, "date", t->date);
    benchreport_fact(h, "fathom", FATHOM_VERSION);
    htmltext_put(h, "</tbody></table><pre>");
    htmltext_escaped(h, t->command);
    htmltext_put(h, "</pre></section>\n");
}

static void benchreport_page(const struct benchtable *t, struct htmltext *h)
{
    htmltext_put(h, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                    "'unsafe-inline'\"><title>Fathom bench: ");
    htmltext_escaped(h, t->title);
    htmltext_put(h, "</title><style>\n");
    htmltext_put(h, (const char *)reportstyle_text);
    /* The hatching of the second series; charts refer to it. */
    htmltext_put(h, "</style></head><body><svg width=\"0\" height=\"0\" style=\"position:absolute\" "
                    "aria-hidden=\"true\"><defs><pattern id=\"hatch\" width=\"7\" height=\"7\" "
                    "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><line class=\"hatch\" "
                    "y2=\"7\"/></pattern></defs></svg>\n<header><h1>");
    htmltext_escaped(h, t->title);
    htmltext_put(h, "</h1><p>How fast it runs on ");
    htmltext_escaped(h, cpuinfo_model());
    htmltext_printf(h, ", %d thread%s", t->threads, t->threads == 1 ? "" : "s");
    if (t->peer_title[0]) {
        htmltext_put(h, ", beside ");
        htmltext_escaped(h, t->peer_title);
    }
    htmltext_printf(h, ". %s.</p></header><main>\n", t->date);
    benchreport_tiles(t, h);
    for (int view = BENCHREPORT_PREFILL; view <= BENCHREPORT_BATCH; view++) {
        benchreport_section(t, (enum benchreport_view)view, h);
    }
    benchreport_all(t, h);
    benchreport_facts(t, h);
    htmltext_put(h, "</main></body></html>\n");
}

static err benchreport_file(const char *dir, const char *name, const char *text, size_t n,
                            struct errinfo *info)
{
    char *path = file_join(dir, name);
    if (!path) {
        return err_set(info, ERR_NOMEM, "out of memory for the report's path");
    }
    err e = file_write(path, text, n, info);
    mem_free(path);
    return e;
}

err benchreport_write(const struct benchtable *t, const char *dir, struct errinfo *info)
{
    TRY(file_make_dirs(dir, info));
    json_t *json = benchtable_json(t);
    char *data = json_text_dup(json, JSON_INDENT(1));
    json_decref(json);
    struct htmltext page = {0};
    benchreport_page(t, &page);
    err e = data ? page.failed : ERR_NOMEM;
    if (e != ERR_OK) {
        err_set(info, e, "out of memory for the report");
    } else {
        e = benchreport_file(dir, BENCHREPORT_DATA, data, strlen(data), info);
    }
    if (e == ERR_OK) {
        e = benchreport_file(dir, BENCHREPORT_PAGE, page.text.data, page.text.len, info);
    }
    mem_free(data);
    strbuf_deinit(&page.text);
    return e;
}
