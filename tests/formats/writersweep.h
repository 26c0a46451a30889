/* tests/formats/writersweep.h: what every writer of files owes: a disk that fills up and memory that is
 * refused, at any call, leave the old file or the whole new one, nothing else, and no leak. */
#ifndef TESTS_WRITERSWEEP_H
#define TESTS_WRITERSWEEP_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/tempdir.h"

struct writersweep {
    const char *name; /* of the file */
    err (*write)(const char *path, struct errinfo *info);
    void (*check)(const char *path); /* fails unless the file is what `write` makes */
    size_t least_allocations;
};

static inline void writersweep_full_disk(const struct writersweep *w)
{
    struct tempdir t;
    tempdir_make(&t);
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        tempdir_text(&t, w->name, "the old file");
        struct errinfo info = {0};
        file_fault(k, ENOSPC);
        err e = w->write(tempdir_file(&t, w->name), &info);
        file_fault(0, 0);
        assert_int_equal(tempdir_count(&t), 1);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            assert_true(k > 3);
            break;
        }
        assert_int_equal(e, ERR_IO);
        assert_non_null(strstr(info.message, "No space left"));
        char *data;
        size_t size;
        assert_int_equal(file_read(tempdir_file(&t, w->name), 1 << 20, &data, &size, NULL), ERR_OK);
        if (strcmp(data, "the old file") != 0) { /* the folder's fsync failed: the new one is complete */
            w->check(tempdir_file(&t, w->name));
        }
        mem_free(data);
    }
    tempdir_remove(&t);
}

static inline void writersweep_refused_memory(const struct writersweep *w)
{
    struct tempdir t;
    tempdir_make(&t);
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = w->write(tempdir_file(&t, w->name), &info);
        mem_fault(0, 0);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            assert_true(k > w->least_allocations);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        /* the last allocation belongs to the folder's fsync, after the rename */
        assert_true(tempdir_count(&t) == 0 || file_exists(tempdir_file(&t, w->name)));
        tempdir_empty(&t);
    }
    w->check(tempdir_file(&t, w->name));
    tempdir_remove(&t);
}

#endif
