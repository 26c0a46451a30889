/* tests/train/checkpointfixture.h: two small arrays and a state that follow from the step, so that
 * a reader can tell whether what it got belongs together. */
#ifndef TESTS_CHECKPOINTFIXTURE_H
#define TESTS_CHECKPOINTFIXTURE_H

#include <stdbool.h>
#include <string.h>

#include "base/json.h"
#include "train/checkpoint.h"

enum { CHECKPOINTFIXTURE_ARRAYS = 3 };

struct checkpointfixture {
    float weight[3 * 5];
    double moment[2 * 7];
    uint16_t half[3];
    struct checkpoint_array arrays[CHECKPOINTFIXTURE_ARRAYS];
};

/* The arrays with what step `step` has in them. */
static inline void checkpointfixture_init(struct checkpointfixture *x, uint64_t step)
{
    for (int i = 0; i < 15; i++) {
        x->weight[i] = (float)step + 0.25f * (float)i;
    }
    for (int i = 0; i < 14; i++) {
        x->moment[i] = -(double)step - 1e-9 * i;
    }
    for (int i = 0; i < 3; i++) {
        x->half[i] = (uint16_t)(step + (uint64_t)i);
    }
    const struct mat mats[] = {mat_of(x->weight, MAT_F32, 3, 5), mat_of(x->moment, MAT_F64, 2, 7),
                               mat_of(x->half, MAT_BF16, 1, 3)};
    static const char *const names[] = {"layers.0.weight", "layers.0.weight.m", "half"};
    for (int i = 0; i < CHECKPOINTFIXTURE_ARRAYS; i++) {
        strcpy(x->arrays[i].name, names[i]);
        x->arrays[i].mat = mats[i];
    }
}

/* A new reference. */
static inline json_t *checkpointfixture_state(uint64_t step)
{
    return json_pack("{s:I, s:s}", "step", (json_int_t)step, "cursor", "a few words");
}

static inline err checkpointfixture_save(const char *dir, uint64_t step, struct errinfo *info)
{
    struct checkpointfixture x;
    checkpointfixture_init(&x, step);
    json_t *state = checkpointfixture_state(step);
    err e = state ? checkpoint_save(dir, step, x.arrays, CHECKPOINTFIXTURE_ARRAYS, state, info)
                  : err_set(info, ERR_NOMEM, "out of memory");
    json_decref(state);
    return e;
}

/* Whether these are the arrays of that step. */
static inline bool checkpointfixture_is(const struct checkpointfixture *x, uint64_t step)
{
    struct checkpointfixture y;
    checkpointfixture_init(&y, step);
    return memcmp(x->weight, y.weight, sizeof y.weight) == 0 &&
           memcmp(x->moment, y.moment, sizeof y.moment) == 0 &&
           memcmp(x->half, y.half, sizeof y.half) == 0;
}

/* Loads a step into arrays of another, which keep their values when that fails. ERR_IO: what came
 * is not what was saved, or an error changed something. */
static inline err checkpointfixture_load(const char *dir, uint64_t step, struct errinfo *info)
{
    struct checkpointfixture x;
    json_t *state = NULL, *want = checkpointfixture_state(step);
    if (!want) {
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    checkpointfixture_init(&x, step + 1);
    err e = checkpoint_load(dir, step, x.arrays, CHECKPOINTFIXTURE_ARRAYS, &state, info);
    if (e == ERR_OK && (!checkpointfixture_is(&x, step) || !json_equal(state, want))) {
        e = err_set(info, ERR_IO, "step %d came back as another", (int)step);
    }
    if (e != ERR_OK && e != ERR_IO && (state || !checkpointfixture_is(&x, step + 1))) {
        e = err_set(info, ERR_IO, "an error changed the arrays or the state");
    }
    json_decref(state);
    json_decref(want);
    return e;
}

#endif
