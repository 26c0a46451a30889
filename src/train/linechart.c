/* train/linechart.c: see linechart.h. */
#include "train/linechart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    LINECHART_WIDTH = 560,
    LINECHART_HEIGHT = 300,
    LINECHART_LEFT = 58,
    LINECHART_RIGHT = LINECHART_LEFT + LINECHART_POINTS,
    LINECHART_TOP = 34,
    LINECHART_BOTTOM = 248,
    LINECHART_TICKS = 5,
};

/* An axis: values from low to high (their logarithms with `log`) along `start` to `end`. */
struct linechart_axis {
    double low, high, start, end;
    bool log;
};

/* What falls into one column of the plot. */
struct linechart_column {
    double x, mean, low, high; /* of x and y */
    size_t n;
    bool gap; /* something that is no number lies before it */
};

static const char *const linechart_looks[] = {"raw", "smooth", "marked"};

/* ---- Numbers. ---- */

const char *linechart_number(double v, char out[LINECHART_NUMBER])
{
    static const struct {
        double at;
        const char *sign;
    } sizes[] = {{1e21, "Z"}, {1e18, "E"}, {1e15, "P"}, {1e12, "T"},
                 {1e9, "B"},  {1e6, "M"},  {1e3, "k"}};
    double size = fabs(v);
    if (!isfinite(v)) {
        strcpy(out, "–");
        return out;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (size >= 0.9995 * sizes[i].at) {
            snprintf(out, LINECHART_NUMBER, "%.3g%s", v / sizes[i].at, sizes[i].sign);
            return out;
        }
    }
    snprintf(out, LINECHART_NUMBER, "%.3g", v);
    return out;
}

const char *linechart_time(double seconds, char out[LINECHART_NUMBER])
{
    if (!isfinite(seconds)) {
        strcpy(out, "–");
    } else if (seconds < 59.95) {
        snprintf(out, LINECHART_NUMBER, "%.3g s", seconds);
    } else if (seconds < 3599.5) {
        snprintf(out, LINECHART_NUMBER, "%.3g min", seconds / 60);
    } else if (seconds < 48 * 3600) {
        snprintf(out, LINECHART_NUMBER, "%.3g h", seconds / 3600);
    } else {
        snprintf(out, LINECHART_NUMBER, "%.3g days", seconds / 86400);
    }
    return out;
}

/* ---- Axes. ---- */

static double linechart_scaled(bool log, double v)
{
    return log ? log10(v) : v;
}

static double linechart_place(const struct linechart_axis *a, double v)
{
    double at = (linechart_scaled(a->log, v) - a->low) / (a->high - a->low);
    at = at < -9 ? -9 : at > 9 ? 9 : at; /* outside, where it is cut off */
    return a->start + (a->end - a->start) * at;
}

static bool linechart_drawn(const struct linechart *c, double x, double y)
{
    static const double most = 1e100; /* no measurement, and differences of more would overflow */
    return fabs(x) < most && fabs(y) < most && (!c->log_x || x > 0) && (!c->log_y || y > 0);
}

static void linechart_widen(struct linechart_axis *a, double v)
{
    double s = linechart_scaled(a->log, v);
    a->low = s < a->low ? s : a->low;
    a->high = s > a->high ? s : a->high;
}

/* Room around what is there, so that nothing has no width. */
static void linechart_loosen(struct linechart_axis *a, double part)
{
    double width = a->high - a->low;
    double more = width > 0 ? width * part : fabs(a->high) * 0.1 + (a->high == 0);
    a->low -= more;
    a->high += more;
}

static struct linechart_axis linechart_x_axis(const struct linechart *c)
{
    struct linechart_axis a = {INFINITY, -INFINITY, LINECHART_LEFT, LINECHART_RIGHT, c->log_x};
    for (size_t s = 0; s < c->n; s++) {
        for (size_t i = 0; i < c->series[s].n; i++) {
            if (linechart_drawn(c, c->series[s].x[i], c->series[s].y[i])) {
                linechart_widen(&a, c->series[s].x[i]);
            }
        }
    }
    linechart_loosen(&a, 0);
    return a;
}

bool linechart_has_points(const struct linechart *c)
{
    for (size_t s = 0; s < c->n; s++) {
        for (size_t i = 0; i < c->series[s].n; i++) {
            if (linechart_drawn(c, c->series[s].x[i], c->series[s].y[i])) {
                return true;
            }
        }
    }
    return false;
}

/* ---- Columns. ---- */

static void linechart_column_add(struct linechart_column *k, double x, double y)
{
    k->n++;
    k->x += (x - k->x) / (double)k->n;
    k->mean += (y - k->mean) / (double)k->n;
    k->low = k->n == 1 || y < k->low ? y : k->low;
    k->high = k->n == 1 || y > k->high ? y : k->high;
}

/* Fills LINECHART_POINTS columns, empty ones too. */
static void linechart_columns(const struct linechart *c, const struct linechart_series *s,
                              const struct linechart_axis *x, struct linechart_column *out)
{
    bool gap = true;
    memset(out, 0, LINECHART_POINTS * sizeof *out);
    for (size_t i = 0; i < s->n; i++) {
        if (!linechart_drawn(c, s->x[i], s->y[i])) {
            gap = true;
            continue;
        }
        double at = linechart_place(x, s->x[i]) - LINECHART_LEFT;
        bool inside = at >= 0 && at < LINECHART_POINTS;
        struct linechart_column *k = &out[inside ? (size_t)at : LINECHART_POINTS - 1];
        k->gap = k->gap || (gap && k->n == 0);
        gap = false;
        linechart_column_add(k, s->x[i], s->y[i]);
    }
}

/* Widens a by the means of the columns from `from` on. */
static void linechart_y_range(const struct linechart *c, const struct linechart_axis *x,
                              size_t from, struct linechart_axis *a)
{
    struct linechart_column columns[LINECHART_POINTS];
    for (size_t s = 0; s < c->n; s++) {
        linechart_columns(c, &c->series[s], x, columns);
        for (size_t i = from; i < LINECHART_POINTS; i++) {
            if (columns[i].n > 0) {
                linechart_widen(a, columns[i].mean);
            }
        }
    }
}

/* The scale is that of the means: one spike does not flatten everything else. */
static struct linechart_axis linechart_y_axis(const struct linechart *c,
                                              const struct linechart_axis *x)
{
    struct linechart_axis a = {INFINITY, -INFINITY, LINECHART_BOTTOM, LINECHART_TOP, c->log_y};
    if (c->late) {
        linechart_y_range(c, x, LINECHART_POINTS / 20, &a);
    }
    if (a.low > a.high) {
        linechart_y_range(c, x, 0, &a);
    }
    if (c->from_zero && !c->log_y) {
        linechart_widen(&a, 0);
    }
    double low = a.low;
    linechart_loosen(&a, 0.06);
    a.low = c->from_zero && !c->log_y && low >= 0 ? 0 : a.low;
    return a;
}

/* ---- Grid. ---- */

static void linechart_tick(const struct linechart *c, const struct linechart_axis *a, double v,
                           bool across, struct htmltext *h)
{
    char text[LINECHART_NUMBER];
    double at = linechart_place(a, v);
    if (across) {
        htmltext_printf(h, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at,
                        at, LINECHART_TOP, LINECHART_BOTTOM);
        htmltext_printf(
            h, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", at,
            LINECHART_BOTTOM + 18, at > LINECHART_RIGHT - 16 ? "end" : "middle",
            c->numbers == LINECHART_TIME ? linechart_time(v, text) : linechart_number(v, text));
    } else {
        htmltext_printf(h, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>",
                        LINECHART_LEFT, LINECHART_RIGHT, at, at);
        htmltext_printf(h,
                        "<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                        LINECHART_LEFT - 7, at + 4, linechart_number(v, text));
    }
}

/* 1, 2 or 5 times a power of ten; along time, what clocks and calendars have. */
static double linechart_step(double width, bool time)
{
    static const double clock[] = {1,     2,     5,     10,    15,     30,     60,
                                   120,   300,   600,   900,   1800,   3600,   7200,
                                   10800, 21600, 43200, 86400, 172800, 432000, 864000};
    double raw = width / LINECHART_TICKS, power = pow(10, floor(log10(raw))), lead = raw / power;
    for (size_t i = 0; time && raw > 0.5 && i < sizeof clock / sizeof *clock; i++) {
        if (raw <= clock[i]) {
            return clock[i];
        }
    }
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/* Times that people know, about a factor of ten apart. */
static void linechart_ticks_log_time(const struct linechart *c, const struct linechart_axis *a,
                                     struct htmltext *h)
{
    static const double times[] = {1, 10, 60, 600, 3600, 36000, 86400 * 4, 86400 * 40};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (log10(times[i]) >= a->low && log10(times[i]) <= a->high) {
            linechart_tick(c, a, times[i], true, h);
        }
    }
}

static void linechart_ticks_log(const struct linechart *c, const struct linechart_axis *a,
                                bool across, struct htmltext *h)
{
    static const double leads[] = {1, 2, 5};
    double width = a->high - a->low, every = ceil(width / 7);
    size_t n = width < 1.6 ? 3 : 1;
    for (double p = floor(a->low); p <= a->high; p += every) {
        for (size_t i = 0; i < n; i++) {
            double at = p + log10(leads[i]);
            if (at >= a->low - 1e-9 && at <= a->high + 1e-9) {
                linechart_tick(c, a, leads[i] * pow(10, p), across, h);
            }
        }
    }
}

static void linechart_ticks(const struct linechart *c, const struct linechart_axis *a, bool across,
                            struct htmltext *h)
{
    /* A logarithm over less than a third of a decade is as good as none. */
    if (a->log && a->high - a->low > 1 && across && c->numbers == LINECHART_TIME) {
        linechart_ticks_log_time(c, a, h);
        return;
    }
    if (a->log && a->high - a->low > 0.3) {
        linechart_ticks_log(c, a, across, h);
        return;
    }
    double low = a->log ? pow(10, a->low) : a->low, high = a->log ? pow(10, a->high) : a->high;
    double step = linechart_step(high - low, across && c->numbers == LINECHART_TIME);
    double first = ceil(low / step - 1e-9);
    /* Counted, as adding a step to a large enough number changes nothing. */
    for (int i = 0; i < 3 * LINECHART_TICKS && (first + i) * step <= high + 1e-9 * step; i++) {
        linechart_tick(c, a, first + i == 0 ? 0 : (first + i) * step, across, h);
    }
}

static void linechart_frame(const struct linechart *c, struct htmltext *h)
{
    htmltext_printf(h, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>",
                    LINECHART_LEFT, LINECHART_RIGHT, LINECHART_BOTTOM, LINECHART_BOTTOM);
    htmltext_put(h, "<text class=\"soft\" x=\"6\" y=\"18\">");
    htmltext_escaped(h, c->unit);
    htmltext_printf(h, "</text><text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
                    (LINECHART_LEFT + LINECHART_RIGHT) / 2, LINECHART_HEIGHT - 10);
    htmltext_escaped(h, c->across);
    htmltext_put(h, "</text>\n");
}

/* ---- Lines. ---- */

static void linechart_line(const struct linechart_column *k, const struct linechart_axis *x,
                           const struct linechart_axis *y, const char *look, struct htmltext *h)
{
    bool first = true;
    htmltext_printf(h, "<path class=\"%s\" d=\"", look);
    for (size_t i = 0; i < LINECHART_POINTS; i++) {
        if (k[i].n > 0) {
            htmltext_printf(h, "%c%.1f %.1f", first || k[i].gap ? 'M' : 'L',
                            linechart_place(x, k[i].x), linechart_place(y, k[i].mean));
            first = false;
        }
    }
    htmltext_put(h, "\"/>\n");
}

/* From the lowest to the highest value of each column that has several. */
static void linechart_range(const struct linechart_column *k, const struct linechart_axis *x,
                            const struct linechart_axis *y, struct htmltext *h)
{
    htmltext_put(h, "<path class=\"range\" d=\"");
    for (size_t i = 0; i < LINECHART_POINTS; i++) {
        if (k[i].n > 1) {
            htmltext_printf(h, "M%.1f %.1fV%.1f", linechart_place(x, k[i].x),
                            linechart_place(y, k[i].low), linechart_place(y, k[i].high));
        }
    }
    htmltext_put(h, "\"/>\n");
}

/* Each point, while they are far enough apart to be seen. */
static void linechart_marks(const struct linechart_column *k, const struct linechart_axis *x,
                            const struct linechart_axis *y, struct htmltext *h)
{
    size_t n = 0;
    for (size_t i = 0; i < LINECHART_POINTS; i++) {
        n += k[i].n > 0;
    }
    for (size_t i = 0; i < LINECHART_POINTS && n <= 60; i++) {
        if (k[i].n > 0) {
            htmltext_printf(h, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>",
                            linechart_place(x, k[i].x), linechart_place(y, k[i].mean));
        }
    }
}

static void linechart_series(const struct linechart *c, const struct linechart_series *s,
                             const struct linechart_axis *x, const struct linechart_axis *y,
                             struct htmltext *h)
{
    struct linechart_column columns[LINECHART_POINTS];
    linechart_columns(c, s, x, columns);
    if (s->look == LINECHART_RAW) {
        linechart_range(columns, x, y, h);
    }
    linechart_line(columns, x, y, linechart_looks[s->look], h);
    if (s->look == LINECHART_MARKED) {
        linechart_marks(columns, x, y, h);
    }
}

void linechart_draw(const struct linechart *c, struct htmltext *out)
{
    if (!linechart_has_points(c)) {
        return;
    }
    struct linechart_axis x = linechart_x_axis(c), y = linechart_y_axis(c, &x);
    htmltext_printf(out,
                    "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-t\"><title "
                    "id=\"%s-t\">",
                    LINECHART_WIDTH, LINECHART_HEIGHT, c->id, c->id);
    htmltext_escaped(out, c->title);
    htmltext_put(out, "</title>\n");
    linechart_ticks(c, &x, true, out);
    linechart_ticks(c, &y, false, out);
    linechart_frame(c, out);
    /* An inner svg cuts off what lies outside; a little room for marks at the edges. */
    htmltext_printf(out,
                    "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"%d %d %d %d\">\n",
                    LINECHART_LEFT - 4, LINECHART_TOP, LINECHART_POINTS + 8,
                    LINECHART_BOTTOM - LINECHART_TOP + 4, LINECHART_LEFT - 4, LINECHART_TOP,
                    LINECHART_POINTS + 8, LINECHART_BOTTOM - LINECHART_TOP + 4);
    for (size_t s = 0; s < c->n; s++) {
        linechart_series(c, &c->series[s], &x, &y, out);
    }
    htmltext_put(out, "</svg></svg>\n");
}

void linechart_key(enum linechart_look look, const char *name, struct htmltext *out)
{
    htmltext_printf(out,
                    "<span class=\"key\"><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><path "
                    "class=\"%s\" d=\"M0 7H26\"/>",
                    linechart_looks[look]);
    if (look == LINECHART_MARKED) {
        htmltext_put(out, "<circle class=\"mark\" cx=\"13\" cy=\"7\" r=\"3\"/>");
    }
    htmltext_put(out, "</svg>");
    htmltext_escaped(out, name);
    htmltext_put(out, "</span>");
}
