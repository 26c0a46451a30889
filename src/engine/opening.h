/* engine/opening.h: how long a person waits for the first token: from naming a model's file to the logits
 * after one token. Measured on a file that lies in the page cache already (the first opening, uncounted,
 * brings it there). */
#ifndef ENGINE_OPENING_H
#define ENGINE_OPENING_H

#include "engine/benchmark.h"

struct opening {
    double median, min, max; /* seconds, of `runs` openings */
    double open_median;      /* of that: opening the file and making the workspace */
    size_t runs;
    size_t private_bytes; /* memory an opened model takes beside the mapped file; 0: not known */
};

/* Opens, reads one token and closes, until `runs` openings or 10 seconds are over, at least once. */
ERR_MUST_USE err opening_measure(const char *path, struct compute *c, size_t chunk, enum dtype kv_type,
                                 size_t runs, struct opening *out, struct errinfo *info);

#endif
