/* tests/formats/tempdir.h: a folder for one test, with small files in it, gone afterwards. */
#ifndef TESTS_TEMPDIR_H
#define TESTS_TEMPDIR_H

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tempdir {
    char path[64];
    char file[320]; /* tempdir_file's answer, until the next call */
};

static inline void tempdir_make(struct tempdir *t)
{
    snprintf(t->path, sizeof t->path, "/tmp/fathom-test-XXXXXX");
    if (!mkdtemp(t->path)) {
        perror("mkdtemp");
        exit(1);
    }
}

static inline const char *tempdir_file(struct tempdir *t, const char *name)
{
    snprintf(t->file, sizeof t->file, "%s/%s", t->path, name);
    return t->file;
}

static inline void tempdir_put(struct tempdir *t, const char *name, const void *data, size_t n)
{
    FILE *f = fopen(tempdir_file(t, name), "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
        perror(t->file);
        exit(1);
    }
}

static inline void tempdir_text(struct tempdir *t, const char *name, const char *text)
{
    tempdir_put(t, name, text, strlen(text));
}

/* How many files lie in the folder. */
static inline size_t tempdir_count(const struct tempdir *t)
{
    size_t n = 0;
    DIR *d = opendir(t->path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    if (d) {
        closedir(d);
    }
    return n;
}

static inline void tempdir_empty(struct tempdir *t)
{
    DIR *d = opendir(t->path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            unlink(tempdir_file(t, e->d_name));
        }
    }
    if (d) {
        closedir(d);
    }
}

static inline int tempdir_remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

/* Whatever is at `path`, with all that is in it. */
static inline void tempdir_remove_all(const char *path)
{
    nftw(path, tempdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void tempdir_remove(struct tempdir *t)
{
    tempdir_empty(t);
    rmdir(t->path);
}

#endif
