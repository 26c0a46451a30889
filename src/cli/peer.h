/* cli/peer.h: another engine on this machine, measured beside ours on the same file: llama.cpp, or a program
 * that is used like it (ik_llama.cpp). Two ways to drive one:
 *
 *   llama-bench   the project's own benchmark. It opens the file anew for each run, and knows no batches.
 *   python3       the llama-cpp-python package, through bench/peer_llamacpp.py, which this program carries:
 *                 the file stays open, the cache below a test's depth is read once. LLAMA_CPP_LIB_PATH names
 *                 another build of the libraries.
 *
 * Neither is needed for anything else. Thread rule: one thread. */
#ifndef CLI_PEER_H
#define CLI_PEER_H

#include "engine/benchmark.h"

struct peer;

struct peer_options {
    const char *path;  /* a llama-bench, a folder with one, or a python3; NULL: looked for in PATH */
    const char *model; /* the .gguf file; "": only to know whether there is such a peer */
    size_t threads, chunk;
    bool deep; /* some test has a depth or a batch: python3 is preferred to llama-bench */
};

/* ERR_NOTFOUND says what was looked for and how to get it. */
ERR_MUST_USE err peer_new(const struct peer_options *o, struct peer **out, struct errinfo *info);
void peer_free(struct peer *p); /* NULL is fine */

/* "llama-cpp-python 0.3.36" or "llama-bench build 1 (0c1e570)", only "llama-bench" before its first run;
 * what its build can do, "" when unknown. */
const char *peer_title(const struct peer *p);
const char *peer_system(const struct peer *p);

/* Whether it can run such a test at all. */
bool peer_can(const struct peer *p, const struct benchmark_test *t);
/* As benchmark_start and benchmark_once. */
ERR_MUST_USE err peer_start(struct peer *p, const struct benchmark_test *t, struct errinfo *info);
ERR_MUST_USE err peer_once(struct peer *p, double *tokens_per_s, struct errinfo *info);

#endif
