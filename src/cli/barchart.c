/* cli/barchart.c: see barchart.h. */
#include "cli/barchart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    BARCHART_WIDTH = 720,
    BARCHART_HEIGHT = 340,
    BARCHART_LEFT = 64,
    BARCHART_TOP = 56,
    BARCHART_BOTTOM = 286, /* the zero line */
    BARCHART_RIGHT = 706,
    BARCHART_BAR_MAX = 64,
    BARCHART_TICKS = 5,
};

/* When some roof is so many times the tallest bar, roofs are left out of the scale. */
static const double BARCHART_ROOF_MOST = 2.5;

struct barchart_scale {
    double top, step; /* value at BARCHART_TOP; between grid lines */
};

const char *barchart_number(double v, char out[32])
{
    if (v < 999.5) {
        snprintf(out, 32, "%.*f", v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v);
    } else if (v < 999999.5) {
        long n = lround(v);
        snprintf(out, 32, "%ld,%03ld", n / 1000, n % 1000);
    } else {
        snprintf(out, 32, "%.3g", v);
    }
    return out;
}

static double barchart_larger(double a, double b)
{
    return a > b ? a : b;
}

/* 1, 2 or 5 times a power of ten. */
static double barchart_step(double top)
{
    double raw = top / BARCHART_TICKS, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

static struct barchart_scale barchart_scale_of(const struct barchart *c)
{
    double bars = 1e-9, roofs = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct barchart_group *g = &c->groups[i];
        bars = barchart_larger(bars, barchart_larger(g->first.high, g->first.value));
        bars = barchart_larger(bars, barchart_larger(g->second.high, g->second.value));
        roofs = barchart_larger(roofs, g->roof);
    }
    double top = 1.12 * (roofs < bars * BARCHART_ROOF_MOST ? barchart_larger(bars, roofs) : bars);
    return (struct barchart_scale){.top = top, .step = barchart_step(top)};
}

static double barchart_y(const struct barchart_scale *s, double v)
{
    return BARCHART_BOTTOM - (BARCHART_BOTTOM - BARCHART_TOP) * v / s->top;
}

/* A round number: "0", "50", "2,000", "0.5". */
static const char *barchart_tick(double v, char out[32])
{
    if (v < 999.5) {
        snprintf(out, 32, "%.4g", v);
        return out;
    }
    return barchart_number(v, out);
}

static void barchart_grid(const struct barchart *c, const struct barchart_scale *s, struct htmltext *h)
{
    char number[32];
    for (int i = 0; i * s->step <= s->top; i++) {
        double v = i * s->step, y = barchart_y(s, v);
        htmltext_printf(h, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>",
                        v > 0 ? "grid" : "axis", BARCHART_LEFT, BARCHART_RIGHT, y, y);
        htmltext_printf(h, "<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                        BARCHART_LEFT - 8, y + 4, barchart_tick(v, number));
    }
    htmltext_printf(h, "<text class=\"soft\" x=\"%d\" y=\"16\" text-anchor=\"start\">", 8);
    htmltext_escaped(h, c->unit);
    htmltext_printf(h, "</text><text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
                    (BARCHART_LEFT + BARCHART_RIGHT) / 2, BARCHART_HEIGHT - 8);
    htmltext_escaped(h, c->across);
    htmltext_put(h, "</text>\n");
}

static void barchart_bar(const struct barchart_bar *b, const struct barchart_scale *s, double x, double w,
                         bool second, struct htmltext *h)
{
    char number[32];
    if (b->value <= 0) {
        return;
    }
    double y = barchart_y(s, b->value), low = barchart_y(s, b->low), high = barchart_y(s, b->high);
    double side = x + w * 0.88; /* of the whisker: the number over the bar is the bar's, not the whisker's */
    htmltext_printf(h, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"3\"/>",
                    second ? "peer" : "ours", x, y, w, BARCHART_BOTTOM - y);
    if (second) {
        htmltext_printf(h, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"3\" "
                        "fill=\"url(#hatch)\"/>", x, y, w, BARCHART_BOTTOM - y);
    }
    if (b->high > b->low) {
        htmltext_printf(h, "<path class=\"whisker\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8\"/>", side,
                        low, high, side - 4, low, side - 4, high);
    }
    htmltext_printf(h, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x + w * 0.42,
                    y - 7, barchart_number(b->value, number));
}

static void barchart_roof(double roof, const struct barchart_scale *s, double x, double w,
                          struct htmltext *h)
{
    char number[32];
    if (roof <= 0) {
        return;
    }
    if (roof <= s->top) {
        double y = barchart_y(s, roof);
        htmltext_printf(h, "<line class=\"roof\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", x - 7,
                        x + w + 7, y, y);
    } else {
        /* No line: at any height here it would be at a wrong one. */
        htmltext_printf(h, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">↑ %s</text>\n",
                        x + w / 2, BARCHART_TOP - 10, barchart_number(roof, number));
    }
}

static void barchart_group(const struct barchart *c, size_t i, const struct barchart_scale *s,
                           struct htmltext *h)
{
    const struct barchart_group *g = &c->groups[i];
    double room = (double)(BARCHART_RIGHT - BARCHART_LEFT) / (double)c->n;
    double start = BARCHART_LEFT + room * (double)i, bars = c->has_second ? 2 : 1;
    double w = room * 0.62 / bars;
    w = w < BARCHART_BAR_MAX ? w : BARCHART_BAR_MAX;
    double gap = c->has_second ? w * 0.18 : 0, x = start + (room - w * bars - gap) / 2;
    barchart_roof(g->roof, s, x, w, h);
    barchart_bar(&g->first, s, x, w, false, h);
    barchart_bar(&g->second, s, x + w + gap, w, true, h);
    htmltext_printf(h, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", start + room / 2,
                    BARCHART_BOTTOM + 20);
    htmltext_escaped(h, g->label);
    htmltext_put(h, "</text>\n");
}

bool barchart_roof_drawn(const struct barchart *c)
{
    struct barchart_scale s = barchart_scale_of(c);
    for (size_t i = 0; i < c->n; i++) {
        if (c->groups[i].roof > 0 && c->groups[i].roof <= s.top) {
            return true;
        }
    }
    return false;
}

bool barchart_roof_beyond(const struct barchart *c)
{
    struct barchart_scale s = barchart_scale_of(c);
    for (size_t i = 0; i < c->n; i++) {
        if (c->groups[i].roof > s.top) {
            return true;
        }
    }
    return false;
}

void barchart_draw(const struct barchart *c, struct htmltext *out)
{
    struct barchart_scale s = barchart_scale_of(c);
    htmltext_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s\"><title id=\"%s\">",
                    BARCHART_WIDTH, BARCHART_HEIGHT, c->id, c->id);
    htmltext_escaped(out, c->title);
    htmltext_put(out, "</title>\n");
    barchart_grid(c, &s, out);
    for (size_t i = 0; i < c->n; i++) {
        barchart_group(c, i, &s, out);
    }
    htmltext_put(out, "</svg>\n");
}

const char *barchart_line(double value, double most, size_t columns, char out[BARCHART_LINE])
{
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t eighths = most > 0 && value > 0 ? (size_t)lround(value / most * (double)columns * 8) : 0;
    eighths = eighths == 0 && value > 0 ? 1 : eighths;
    out[0] = '\0';
    for (size_t i = 0; i < eighths / 8; i++) {
        strcat(out, "█");
    }
    return strcat(out, parts[eighths % 8]);
}
