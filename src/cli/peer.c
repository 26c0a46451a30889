/* cli/peer.c: see peer.h. */
#include "cli/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8seq.h"
#include "cli/subprocess.h"

extern const unsigned char peerscript_text[]; /* bench/peer_llamacpp.py; tools/embed.sh */

enum { PEER_NUMBER = 24, PEER_TITLE = 96, PEER_SYSTEM = 380 };
enum { PEER_BATCH = 2048 }; /* llama-bench's -b unless told */

/* Tokens per second that a machine can reach; outside, a ratio of two would soon be no number. */
static const double PEER_SLOWEST = 1e-9, PEER_FASTEST = 1e15;

/* Opening a model and a test may take long; a list of options may not. */
static const double PEER_REMIND_S = 60, PEER_HELP_S = 10;

struct peer {
    char *program; /* owned */
    bool python;
    struct peer_options options;
    char title[PEER_TITLE], system[PEER_SYSTEM];
    struct benchmark_test test;

    struct subprocess *talk; /* python3, as long as the peer lives */

    /* llama-bench's options, which differ between versions; "" where it has none. */
    const char *depth_option, *pair_option; /* -d DEPTH; -gp DEPTH,TOKENS: decode alone (ik_llama.cpp) */
    const char *map_option, *map_value; /* a copy in memory instead of a mapping */
};

static const char PEER_HOW[] =
    "looked for llama-bench in PATH and for a python3 that can import llama_cpp. Put llama.cpp's llama-bench "
    "into PATH, or: pip install llama-cpp-python (built with clang; gcc 12 miscompiles its AMX code), or "
    "name one: --peer PATH";

/* A name in a buffer that may have cut it, as terminals and JSON can take it. */
static void peer_clean(char *name)
{
    utf8seq_trim(name);
    err_clean(name);
}

/* ---- python3 ---- */

/* One line said, one object heard; its "error" is ours. */
static err peer_ask(struct peer *p, const char *line, json_t **out, struct errinfo *info)
{
    const char *answer, *error;
    json_t *json = NULL;
    if (line) {
        TRY(subprocess_say(p->talk, line, info));
    }
    TRY(subprocess_hear(p->talk, &answer, info));
    TRY(json_parse(answer, strlen(answer), "the answer of the Python peer", &json, info));
    if (json_get_string(json, "peer", "error", &error, NULL) == ERR_OK) {
        err e = err_set(info, ERR_IO, "%s: %s", p->program, error);
        json_decref(json);
        return e;
    }
    *out = json;
    return ERR_OK;
}

/* "CPU : AVX2 = 1 | FMA = 1 |" → "CPU : AVX2 FMA": what is 0 is not listed anyway. */
static void peer_shorten(const char *system, char out[PEER_SYSTEM])
{
    size_t n = 0;
    while (*system && n + 1 < PEER_SYSTEM) {
        if (strncmp(system, " = 1 |", 6) == 0) {
            system += 6;
        } else {
            out[n++] = *system++;
        }
    }
    out[n] = '\0';
}

static err peer_python_open(struct peer *p, struct errinfo *info)
{
    char threads[PEER_NUMBER], chunk[PEER_NUMBER];
    const char *name, *version, *system;
    json_t *hello = NULL;
    snprintf(threads, sizeof threads, "%zu", p->options.threads);
    snprintf(chunk, sizeof chunk, "%zu", p->options.chunk);
    const char *argv[] = {p->program, "-c", (const char *)peerscript_text, p->options.model,
                          threads, chunk, NULL};
    TRY(subprocess_start(argv, &p->talk, info));
    subprocess_patience(p->talk, PEER_REMIND_S, 0);
    TRY(peer_ask(p, NULL, &hello, info));
    err e = json_get_string(hello, "peer", "peer", &name, info);
    e = e == ERR_OK ? json_get_string(hello, "peer", "version", &version, info) : e;
    e = e == ERR_OK ? json_get_string(hello, "peer", "system", &system, info) : e;
    if (e == ERR_OK) {
        snprintf(p->title, sizeof p->title, "%s %s", name, version);
        peer_shorten(system, p->system);
        peer_clean(p->title);
        peer_clean(p->system);
    }
    json_decref(hello);
    return e;
}

static err peer_python_start(struct peer *p, struct errinfo *info)
{
    char line[160];
    json_t *answer = NULL;
    if (p->test.kind == BENCHMARK_PREFILL) {
        snprintf(line, sizeof line, "{\"kind\":\"prefill\",\"tokens\":%zu,\"depth\":%zu}",
                 p->test.tokens, p->test.depth);
    } else {
        snprintf(line, sizeof line,
                 "{\"kind\":\"decode\",\"tokens\":%zu,\"depth\":%zu,\"batch\":%zu}", p->test.tokens,
                 p->test.depth, p->test.batch);
    }
    TRY(peer_ask(p, line, &answer, info));
    json_decref(answer);
    return ERR_OK;
}

static err peer_python_once(struct peer *p, double *tokens_per_s, struct errinfo *info)
{
    json_t *answer = NULL;
    TRY(peer_ask(p, "{\"kind\":\"once\"}", &answer, info));
    err e = json_get_double(answer, "the peer's answer", "tokens_per_s", tokens_per_s, info);
    json_decref(answer);
    return e;
}

/* ---- llama-bench ---- */

static err peer_output(const char *const *argv, double limit_s, struct strbuf *out,
                       struct errinfo *info)
{
    struct subprocess *s;
    TRY(subprocess_start(argv, &s, info));
    subprocess_patience(s, PEER_REMIND_S, limit_s);
    err e = subprocess_finish(s, out, info);
    subprocess_close(s);
    return e;
}

static err peer_bench_open(struct peer *p, struct errinfo *info)
{
    struct strbuf help = {0};
    const char *argv[] = {p->program, "--help", NULL};
    err e = peer_output(argv, PEER_HELP_S, &help, info);
    if (e == ERR_OK && (help.len == 0 || !strstr(help.data, "--n-gen"))) {
        e = err_set(info, ERR_UNSUPPORTED, "%s --help does not look like llama-bench's", p->program);
    }
    if (e == ERR_OK) {
        p->depth_option = strstr(help.data, "--n-depth") ? "-d" : "";
        p->pair_option = strstr(help.data, "-gp <pp,tg>") ? "-gp" : "";
        bool mode = strstr(help.data, "--load-mode") != NULL;
        p->map_option = mode ? "-lm" : strstr(help.data, "--mmap") ? "-mmp" : "";
        p->map_value = mode ? "none" : "0";
        snprintf(p->title, sizeof p->title, "llama-bench");
    }
    strbuf_deinit(&help);
    return e;
}

/* The one object of llama-bench's array. ik_llama.cpp tells about the model between the brackets. */
static err peer_bench_read(struct peer *p, const struct strbuf *text, double *tokens_per_s,
                           struct errinfo *info)
{
    json_t *first = NULL;
    const char *commit = "?";
    char name[33];
    size_t number = 0;
    const char *said = text->data ? text->data : "";
    const char *start = strchr(said, '{'), *end = strrchr(said, '}');
    if (!start || !end || end < start) {
        return err_set(info, ERR_CORRUPT, "llama-bench's output has no JSON object in it");
    }
    TRY(json_parse(start, (size_t)(end - start) + 1, "llama-bench's output", &first, info));
    err e = json_get_double(first, "llama-bench's output", "avg_ts", tokens_per_s, info);
    if (e == ERR_OK && json_get_string(first, "", "build_commit", &commit, NULL) == ERR_OK &&
        json_get_size(first, "", "build_number", &number, NULL) == ERR_OK) {
        snprintf(name, sizeof name, "%s", commit);
        peer_clean(name);
        snprintf(p->title, sizeof p->title, "llama-bench build %zu (%s)", number, name);
    }
    json_decref(first);
    return e;
}

static err peer_bench_once(struct peer *p, double *tokens_per_s, struct errinfo *info)
{
    char threads[PEER_NUMBER], chunk[PEER_NUMBER], tokens[PEER_NUMBER], depth[2 * PEER_NUMBER];
    bool prefill = p->test.kind == BENCHMARK_PREFILL;
    bool pair = p->test.depth > 0 && !*p->depth_option;
    snprintf(threads, sizeof threads, "%zu", p->options.threads);
    snprintf(chunk, sizeof chunk, "%zu", p->options.chunk);
    snprintf(tokens, sizeof tokens, "%zu", p->test.tokens);
    snprintf(depth, sizeof depth, "%zu%s%s", p->test.depth, pair ? "," : "", pair ? tokens : "");
    const char *argv[24] = {p->program, "-m", p->options.model, "-o", "json", "-r", "1", "-t", threads,
                            "-ub", chunk, "-p", prefill ? tokens : "0", "-n", prefill || pair ? "0" : tokens};
    size_t n = 15;
    if (p->options.chunk > PEER_BATCH) {
        argv[n++] = "-b"; /* which bounds -ub */
        argv[n++] = chunk;
    }
    if (p->test.depth > 0) {
        argv[n++] = pair ? p->pair_option : p->depth_option;
        argv[n++] = depth;
    }
    if (*p->map_option) {
        argv[n++] = p->map_option;
        argv[n++] = p->map_value;
    }
    struct strbuf out = {0};
    err e = peer_output(argv, 0, &out, info);
    e = e == ERR_OK ? peer_bench_read(p, &out, tokens_per_s, info) : e;
    strbuf_deinit(&out);
    return e;
}

/* ---- finding one ---- */

/* "llama-bench" in a folder of PATH, owned; NULL when there is none. */
static char *peer_find(const char *program)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        const char *colon = strchr(path, ':');
        size_t n = colon ? (size_t)(colon - path) : strlen(path);
        char *dir = mem_dup(path, n);
        char *full = dir ? file_join(dir, program) : NULL;
        mem_free(dir);
        if (full && file_exists(full) && !file_is_dir(full)) {
            return full;
        }
        mem_free(full);
        path = colon ? colon + 1 : NULL;
    }
    return NULL;
}

/* Whether the name of a program begins with "python". */
static bool peer_is_python(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strncmp(slash ? slash + 1 : path, "python", 6) == 0;
}

static err peer_try(struct peer *p, char *program, struct errinfo *info)
{
    mem_free(p->program);
    p->program = program;
    if (!program) {
        return err_set(info, ERR_NOTFOUND, "nothing found");
    }
    p->python = peer_is_python(program);
    err e = p->python ? peer_python_open(p, info) : peer_bench_open(p, info);
    if (e != ERR_OK) {
        subprocess_close(p->talk);
        p->talk = NULL;
    }
    return e;
}

static err peer_named(struct peer *p, const char *path, struct errinfo *info)
{
    char *program = file_is_dir(path) ? file_join(path, "llama-bench") : mem_dup(path, strlen(path));
    if (!program) {
        return err_set(info, ERR_NOMEM, "out of memory for the peer's path");
    }
    if (strchr(program, '/') && !file_exists(program)) {
        err e = err_set(info, ERR_NOTFOUND,
                        "--peer: there is no %s; name a llama-bench, a folder with one, or a python3 that "
                        "has llama_cpp", program);
        mem_free(program);
        return e;
    }
    return peer_try(p, program, info);
}

static err peer_look(struct peer *p, struct errinfo *info)
{
    struct errinfo first = {0}, second = {0};
    const char *order[] = {"llama-bench", "python3"};
    bool deep = p->options.deep;
    if (peer_try(p, peer_find(order[deep]), &first) == ERR_OK ||
        peer_try(p, peer_find(order[!deep]), &second) == ERR_OK) {
        return ERR_OK;
    }
    return err_set(info, ERR_NOTFOUND, "no llama.cpp to compare with: %s (%s: %s; %s: %s)", PEER_HOW,
                   order[deep], first.message, order[!deep], second.message);
}

err peer_new(const struct peer_options *o, struct peer **out, struct errinfo *info)
{
    struct peer *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for the peer");
    }
    p->options = *o;
    err e = o->path ? peer_named(p, o->path, info) : peer_look(p, info);
    if (e != ERR_OK) {
        peer_free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void peer_free(struct peer *p)
{
    if (p) {
        subprocess_close(p->talk);
        mem_free(p->program);
        mem_free(p);
    }
}

const char *peer_title(const struct peer *p)
{
    return p->title;
}

const char *peer_system(const struct peer *p)
{
    return p->system;
}

bool peer_can(const struct peer *p, const struct benchmark_test *t)
{
    if (p->python) {
        return true;
    }
    bool deep = *p->depth_option || (*p->pair_option && t->kind == BENCHMARK_DECODE);
    return t->batch == 1 && (t->depth == 0 || deep);
}

err peer_start(struct peer *p, const struct benchmark_test *t, struct errinfo *info)
{
    p->test = *t;
    return p->python ? peer_python_start(p, info) : ERR_OK; /* llama-bench warms up by itself */
}

err peer_once(struct peer *p, double *tokens_per_s, struct errinfo *info)
{
    double rate = 0;
    TRY(p->python ? peer_python_once(p, &rate, info) : peer_bench_once(p, &rate, info));
    if (!(rate >= PEER_SLOWEST && rate <= PEER_FASTEST)) {
        return err_set(info, ERR_CORRUPT, "%s says it made %g tokens per second", p->program, rate);
    }
    *tokens_per_s = rate;
    return ERR_OK;
}
