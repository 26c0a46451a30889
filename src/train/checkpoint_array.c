/* train/checkpoint_array.c: see checkpoint_array.h. */
#include "train/checkpoint_array.h"

#include <string.h>

#include "formats/tensortable.h"

static const enum dtype checkpoint_array_dtypes[] = {
    [MAT_F64] = DTYPE_F64, [MAT_F32] = DTYPE_F32, [MAT_BF16] = DTYPE_BF16};

err checkpoint_array_tensor(const struct checkpoint_array *a, struct tensor *t,
                            struct errinfo *info)
{
    const size_t shape[] = {a->mat.rows, a->mat.cols};
    if (!memchr(a->name, '\0', sizeof a->name)) {
        return err_set(info, ERR_ARGUMENT, "the array %.95s…: names have at most %d bytes", a->name,
                       CHECKPOINT_NAME - 1);
    }
    if ((a->mat.rows > 1 && a->mat.stride != a->mat.cols) ||
        tensor_init(t, checkpoint_array_dtypes[a->mat.type], 2, shape, a->mat.data) != ERR_OK) {
        return err_set(info, ERR_ARGUMENT,
                       "the array %s of %zu x %zu, %zu apart: only arrays with elements and "
                       "without gaps can be kept",
                       a->name, shape[0], shape[1], a->mat.stride);
    }
    return ERR_OK;
}

/* Checks the arrays: no name twice. *bytes: of all. */
err checkpoint_array_check(const struct checkpoint_array *arrays, size_t n, size_t *bytes,
                           struct errinfo *info)
{
    struct tensortable *names;
    TRY(tensortable_new(&names, info));
    err e = ERR_OK;
    *bytes = 0;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        struct tensor t;
        e = checkpoint_array_tensor(&arrays[i], &t, info);
        if (e == ERR_OK) {
            *bytes += tensor_bytes(&t);
            t.data = NULL;
            e = tensortable_add(names, arrays[i].name, strlen(arrays[i].name), &t, 0, 0, info);
            e = e == ERR_CORRUPT ? ERR_ARGUMENT : e;
        }
    }
    tensortable_free(names);
    return e;
}
