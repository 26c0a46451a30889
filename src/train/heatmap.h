/* train/heatmap.h: a matrix of ratios as inline SVG, for reports: 1 is neutral, below is one
 * colour, above another, deeper the farther, in nine steps from a quarter to four times. Colours
 * come from web/report.css. */
#ifndef TRAIN_HEATMAP_H
#define TRAIN_HEATMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/htmltext.h"

enum { HEATMAP_COLUMNS_MAX = 256 };

struct heatmap {
    const char *id;           /* unique in the page: [a-z0-9-] */
    const char *title;        /* what a screen reader says first */
    const char *across;       /* what the columns are, under the map */
    const char *down;         /* what the rows are, over the map */
    const char *first, *last; /* labels of the first and last column */
    const float *values;      /* [rows, cols], borrowed; not finite: left empty */
    size_t rows, cols;        /* 1 or more; of more columns than HEATMAP_COLUMNS_MAX neighbours are
                                 drawn as one, with the value farthest from 1 */
    const uint32_t *labels;   /* [rows] what the rows are called, borrowed */
};

void heatmap_draw(const struct heatmap *m, struct htmltext *out);
/* The nine steps with their meaning, for the caption. */
void heatmap_key(struct htmltext *out);

#endif
