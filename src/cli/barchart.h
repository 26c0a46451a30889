/* cli/barchart.h: a grouped bar chart as inline SVG: one or two bars per group with the range of the runs
 * as a whisker, and the roof above the first bar as a dashed line. Drawn here and not in the browser, so that
 * the page needs no script. Colours come from web/report.css; the second series is hatched, so that nothing
 * depends on colour alone. When some roof is far above all bars, the scale is theirs, and what does not fit
 * becomes an arrow with its number, no line. */
#ifndef CLI_BARCHART_H
#define CLI_BARCHART_H

#include <stdbool.h>

#include "base/htmltext.h"

enum { BARCHART_GROUPS_MAX = 16, BARCHART_LABEL = 32, BARCHART_LINE = 128 /* bytes */ };

struct barchart_bar {
    double value, low, high; /* value <= 0: no bar */
};

struct barchart_group {
    char label[BARCHART_LABEL];
    struct barchart_bar first, second;
    double roof; /* <= 0: none */
};

struct barchart {
    const char *id;    /* of the SVG's title, unique in the page: [a-z0-9-] */
    const char *title; /* what a screen reader says first */
    const char *unit;  /* of the values, over the vertical axis */
    const char *across; /* what the groups are, under the horizontal axis */
    bool has_second;
    struct barchart_group groups[BARCHART_GROUPS_MAX];
    size_t n; /* 1 … BARCHART_GROUPS_MAX */
};

/* Whether some roof will be a line, and whether some will be such an arrow: each then wants a word. */
bool barchart_roof_drawn(const struct barchart *c);
bool barchart_roof_beyond(const struct barchart *c);
void barchart_draw(const struct barchart *c, struct htmltext *out);

/* "1,234", "87.6", "0.52": three digits or more, thousands apart; returns out. */
const char *barchart_number(double v, char out[32]);

/* A bar for a terminal: `value` of `most` as blocks, `columns` (at most 40) of them when they are equal; in
 * eighths, and something for anything above 0. Returns out. */
const char *barchart_line(double value, double most, size_t columns, char out[BARCHART_LINE]);

#endif
