/* tests/train/datasetfixture.h: a small dataset in a folder of its own, made from text by the small tokenizer
 * of tests/golden. */
#ifndef TESTS_DATASETFIXTURE_H
#define TESTS_DATASETFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/datasetpack.h"
#include "train/feed.h"

#define DATASETFIXTURE_TOKENIZER "tests/golden/tokenizer/deepseek-llm"

struct datasetfixture {
    char dir[64], text[2][96];
};

static inline void datasetfixture_must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s", info->message);
    }
}

/* Documents of 0 to `most` words, each ended by the separator. */
static inline void datasetfixture_write(const char *path, uint64_t seed, int documents, int most)
{
    struct rng r;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    rng_seed(&r, seed);
    for (int d = 0; d < documents; d++) {
        int words = (int)(rng_u64(&r) % (uint64_t)(most + 1));
        for (int i = 0; i < words; i++) {
            fprintf(f, "w%x ", (unsigned)(rng_u64(&r) % 5000));
        }
        fprintf(f, "\n<|endofdoc|>\n");
    }
    assert_int_equal(fclose(f), 0);
}

/* Two files of text, "a" and "b". */
static inline void datasetfixture_init(struct datasetfixture *x)
{
    strcpy(x->dir, "/tmp/fathom-dataset-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    snprintf(x->text[0], sizeof x->text[0], "%s/a.txt", x->dir);
    snprintf(x->text[1], sizeof x->text[1], "%s/b.txt", x->dir);
    datasetfixture_write(x->text[0], 1, 120, 60);
    datasetfixture_write(x->text[1], 2, 40, 200);
}

static inline struct dataset datasetfixture_pack(const struct datasetfixture *x, double val_share,
                                                 size_t shard_tokens, int n_threads)
{
    struct errinfo info = {0};
    struct dataset d;
    const char *a[] = {x->text[0]}, *b[] = {x->text[1]};
    const struct datasetpack_source sources[] = {
        {.name = "a", .licence = "public domain", .files = a, .n_files = 1},
        {.name = "b", .licence = "", .files = b, .n_files = 1}};
    const struct datasetpack_options o = {.dir = x->dir,
                                          .tokenizer_dir = DATASETFIXTURE_TOKENIZER,
                                          .val_share = val_share,
                                          .shard_tokens = shard_tokens,
                                          .n_threads = n_threads};
    datasetfixture_must(datasetpack_run(&o, sources, 2, &d, &info), &info);
    return d;
}

static inline void datasetfixture_deinit(struct datasetfixture *x)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", x->dir);
    assert_int_equal(system(command), 0);
}

#endif
