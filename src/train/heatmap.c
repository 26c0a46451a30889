/* train/heatmap.c: see heatmap.h. */
#include "train/heatmap.h"

#include <math.h>
#include <stdbool.h>

enum {
    HEATMAP_LEVELS = 9,
    HEATMAP_LEFT = 40,
    HEATMAP_TOP = 30,
    HEATMAP_WIDTH = 510,       /* of the cells */
    HEATMAP_ROWS_HEIGHT = 224, /* about, of all rows */
};

/* Steps of the logarithm to base 2 from one level to the next. */
static const double HEATMAP_STEP = 0.5;

/* The level of a ratio, HEATMAP_LEVELS for none. */
static int heatmap_level(double ratio)
{
    if (!isfinite(ratio)) {
        return HEATMAP_LEVELS;
    }
    double at = ratio > 0 ? round(log2(ratio) / HEATMAP_STEP) + HEATMAP_LEVELS / 2 : 0;
    return at < 0 ? 0 : at > HEATMAP_LEVELS - 1 ? HEATMAP_LEVELS - 1 : (int)at;
}

/* The level of the cells [from, to) of a row: the one farthest from the middle. */
static int heatmap_cells(const float *row, size_t from, size_t to)
{
    int found = HEATMAP_LEVELS, far = -1;
    for (size_t i = from; i < to; i++) {
        int level = heatmap_level((double)row[i]), off = level - HEATMAP_LEVELS / 2;
        off = off < 0 ? -off : off;
        if (level < HEATMAP_LEVELS && off > far) {
            far = off;
            found = level;
        }
    }
    return found;
}

/* All cells of one level as one path: neighbours in a row are one rectangle. */
static void heatmap_path(const struct heatmap *m, size_t group, int level, struct htmltext *h)
{
    size_t cols = (m->cols + group - 1) / group;
    bool open = false;
    for (size_t r = 0; r < m->rows; r++) {
        const float *row = m->values + r * m->cols;
        for (size_t c = 0, run = 0; c <= cols; c++) {
            size_t end = (c + 1) * group < m->cols ? (c + 1) * group : m->cols;
            if (c < cols && heatmap_cells(row, c * group, end) == level) {
                run++;
                continue;
            }
            if (run > 0) {
                htmltext_put(h, open ? "" : "<path class=\"h");
                if (!open) {
                    htmltext_printf(h, "%d\" d=\"", level);
                }
                open = true;
                htmltext_printf(h, "M%zu %zuh%zuv1h-%zuz", c - run, r, run, run);
            }
            run = 0;
        }
    }
    htmltext_put(h, open ? "\"/>\n" : "");
}

static void heatmap_labels(const struct heatmap *m, double height, struct htmltext *h)
{
    size_t every = (m->rows + 15) / 16;
    double one = height / (double)m->rows;
    for (size_t r = 0; r < m->rows; r += every) {
        htmltext_printf(h,
                        "<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%u</text>\n",
                        HEATMAP_LEFT - 6, HEATMAP_TOP + one * ((double)r + 0.5) + 4, m->labels[r]);
    }
    htmltext_put(h, "<text class=\"soft\" x=\"6\" y=\"18\">");
    htmltext_escaped(h, m->down);
    htmltext_printf(h, "</text><text class=\"soft\" x=\"%d\" y=\"%.1f\">", HEATMAP_LEFT,
                    HEATMAP_TOP + height + 18);
    htmltext_escaped(h, m->first);
    htmltext_printf(h, "</text><text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">",
                    HEATMAP_LEFT + HEATMAP_WIDTH, HEATMAP_TOP + height + 18);
    htmltext_escaped(h, m->last);
    htmltext_printf(h, "</text><text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"middle\">",
                    HEATMAP_LEFT + HEATMAP_WIDTH / 2, HEATMAP_TOP + height + 18);
    htmltext_escaped(h, m->across);
    htmltext_put(h, "</text>\n");
}

void heatmap_draw(const struct heatmap *m, struct htmltext *out)
{
    size_t group = (m->cols + HEATMAP_COLUMNS_MAX - 1) / HEATMAP_COLUMNS_MAX;
    size_t cols = (m->cols + group - 1) / group;
    double one = HEATMAP_ROWS_HEIGHT / (double)m->rows;
    one = one > 26 ? 26 : one < 5 ? 5 : one;
    double height = one * (double)m->rows;
    htmltext_printf(out,
                    "<svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-labelledby=\"%s-t\"><title "
                    "id=\"%s-t\">",
                    HEATMAP_LEFT + HEATMAP_WIDTH + 10, HEATMAP_TOP + height + 28, m->id, m->id);
    htmltext_escaped(out, m->title);
    htmltext_printf(out,
                    "</title>\n<svg class=\"heat\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%.1f\" "
                    "viewBox=\"0 0 %zu %zu\" preserveAspectRatio=\"none\">\n",
                    HEATMAP_LEFT, HEATMAP_TOP, HEATMAP_WIDTH, height, cols, m->rows);
    for (int level = 0; level < HEATMAP_LEVELS; level++) {
        heatmap_path(m, group, level, out);
    }
    htmltext_put(out, "</svg>\n");
    heatmap_labels(m, height, out);
    htmltext_put(out, "</svg>\n");
}

void heatmap_key(struct htmltext *out)
{
    htmltext_put(out, "<span class=\"key\">a quarter or less <svg class=\"steps\" "
                      "viewBox=\"0 0 9 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    for (int level = 0; level < HEATMAP_LEVELS; level++) {
        htmltext_printf(out, "<path class=\"h%d\" d=\"M%d 0h1v1h-1z\"/>", level, level);
    }
    htmltext_put(out, "</svg> four times or more</span>");
}
