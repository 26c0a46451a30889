/* train/linechart.h: lines over one another as inline SVG, for reports: no script, colours from
 * web/report.css. However long a series is, at most LINECHART_POINTS of it are drawn: a point is
 * the mean over what falls into one column of the plot, and LINECHART_RAW shows the range beside
 * it. */
#ifndef TRAIN_LINECHART_H
#define TRAIN_LINECHART_H

#include <stdbool.h>
#include <stddef.h>

#include "base/htmltext.h"

enum { LINECHART_POINTS = 480, LINECHART_SERIES_MAX = 4 };

/* Lines also differ in width and marks: nothing depends on colour alone. */
enum linechart_look { LINECHART_RAW, LINECHART_SMOOTH, LINECHART_MARKED };

/* Borrowed. x ascends; where y is not finite, or above 1e100, the line has a gap. */
struct linechart_series {
    const double *x, *y;
    size_t n;
    enum linechart_look look;
};

/* How numbers along an axis are written: 1.5M; 2 h. */
enum linechart_numbers { LINECHART_COUNT, LINECHART_TIME };

struct linechart {
    const char *id;                 /* unique in the page: [a-z0-9-] */
    const char *title;              /* what a screen reader says first */
    const char *unit;               /* of the values, over the vertical axis */
    const char *across;             /* what the horizontal axis is */
    enum linechart_numbers numbers; /* of the horizontal axis */
    bool log_x, log_y;              /* what is not above zero is left out then */
    bool from_zero;                 /* the vertical axis begins there; not with log_y */
    bool late; /* the vertical axis is that of all but the first twentieth across: what is there may
                  lie above the plot */
    struct linechart_series series[LINECHART_SERIES_MAX];
    size_t n;
};

/* False when no point can be drawn. */
bool linechart_has_points(const struct linechart *c);
/* Nothing is drawn for a chart without points. */
void linechart_draw(const struct linechart *c, struct htmltext *out);
/* A key for the legend: a short piece of such a line. */
void linechart_key(enum linechart_look look, const char *name, struct htmltext *out);

enum { LINECHART_NUMBER = 32 };
/* "0.0031", "42", "1.5k", "3M", "2B", "1.2P"; "–" when not finite. Returns out. */
const char *linechart_number(double v, char out[LINECHART_NUMBER]);
/* "45 s", "12 min", "3.5 h", "2.1 days". */
const char *linechart_time(double seconds, char out[LINECHART_NUMBER]);

#endif
