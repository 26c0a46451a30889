/* tensor/roof.c: see roof.h. The loops themselves are per CPU level, in cpu/roofloop_*.c. */
#include "tensor/roof.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cpuinfo.h"
#include "base/mem.h"
#include "tensor/cpu/roofloop.h"

enum {
    ROOF_BUFFER = 512 << 20,
    ROOF_BUFFER_MIN = 16 << 20,
    ROOF_GRAIN = 512, /* the read loops take multiples of this */
    ROOF_SLICES = 16,
    ROOF_ROUNDS = 20000,
    ROOF_CHAINS = 16,
};

static const double ROOF_SECONDS = 0.15; /* per quantity, at first */
static const double ROOF_SAMPLE = 0.1;   /* and later */

struct roof_loops {
    uint64_t (*read)(const void *p, size_t n);
    double (*flt[2])(
        size_t rounds); /* which is faster depends on the make of CPU; [1] may be NULL */
    double (*int8)(size_t rounds);
    const char *flt_name[2], *int8_name;
};

static double roof_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t roof_plain_read(const void *p, size_t n)
{
    const uint64_t *v = p;
    uint64_t sum = 0;
    for (size_t i = 0; i < n / sizeof *v; i++) {
        sum ^= v[i];
    }
    return sum;
}

static double roof_plain_float(size_t rounds)
{
    float acc[ROOF_CHAINS] = {0};
    for (size_t r = 0; r < rounds; r++) {
        for (int i = 0; i < ROOF_CHAINS; i++) {
            acc[i] = acc[i] * 0.5f + 1.0f;
        }
    }
    __asm__ volatile("" ::"m"(acc));
    return (double)rounds * ROOF_CHAINS * 2;
}

static double roof_plain_int8(size_t rounds)
{
    int32_t acc[ROOF_CHAINS] = {0};
    for (size_t r = 0; r < rounds; r++) {
        for (int i = 0; i < ROOF_CHAINS; i++) {
            acc[i] += (int8_t)acc[i] * (int8_t)(i + 3);
        }
        __asm__ volatile("" : "+m"(acc)); /* or the rounds fold into one */
    }
    return (double)rounds * ROOF_CHAINS * 2;
}

static const struct roof_loops roof_plain = {
    roof_plain_read, {roof_plain_float}, roof_plain_int8, {"plain c"}, "plain c"};

#if defined(__x86_64__)
static const struct roof_loops roof_levels[CPUINFO_LEVELS] = {
    [CPUINFO_AVX2] = {roofloop_avx2_read,
                      {roofloop_avx2_fma},
                      roofloop_avx2_int8,
                      {"avx2 fma"},
                      "avx2 int8"},
    [CPUINFO_AVX512] = {roofloop_avx512_read,
                        {roofloop_avx512_fma},
                        roofloop_avx512_int8,
                        {"avx512 fma"},
                        "avx512 vnni"},
    [CPUINFO_AVX512BF16] = {roofloop_avx512_read,
                            {roofloop_avx512_fma, roofloop_avx512bf16},
                            roofloop_avx512_int8,
                            {"avx512 fma", "avx512 bf16"},
                            "avx512 vnni"},
    [CPUINFO_AMX] = {roofloop_avx512_read,
                     {roofloop_amx_bf16},
                     roofloop_amx_int8,
                     {"amx bf16"},
                     "amx int8"},
};

static const struct roof_loops *roof_loops_of(enum cpuinfo_level level)
{
    return level == CPUINFO_REF ? &roof_plain : &roof_levels[level];
}
#else
static const struct roof_loops *roof_loops_of(enum cpuinfo_level level)
{
    (void)level;
    return &roof_plain;
}
#endif

/* Each thread walks round its own part of the buffer, one slice a pass: short passes find the
 * moments without disturbance, the round trip keeps every slice out of the caches. */
static double roof_read(const struct roof_loops *l, const char *buffer, size_t part, int n_threads,
                        double seconds)
{
    size_t slice = part / ROOF_SLICES / ROOF_GRAIN * ROOF_GRAIN;
    double best = 0, end = roof_now() + seconds;
    for (size_t pass = 0; pass < ROOF_SLICES || roof_now() < end; pass++) {
        double longest = 0;
#pragma omp parallel for schedule(static) num_threads(n_threads) reduction(max : longest)
        for (int i = 0; i < n_threads; i++) {
            double start = roof_now(); /* its own: starting late is not reading slowly */
            uint64_t sum = l->read(buffer + (size_t)i * part + pass % ROOF_SLICES * slice, slice);
            __asm__ volatile("" ::"r"(sum));
            longest = roof_now() - start;
        }
        double gbs = 1e-9 * (double)slice * n_threads / longest;
        best = gbs > best ? gbs : best;
    }
    return best;
}

/* All threads at once, each counting its own best pass: passes are so short that on a busy machine
 * hardly one would find every thread running. */
static double roof_ops(double (*loop)(size_t rounds), int n_threads, double seconds)
{
    double sum = 0, end = roof_now() + seconds;
#pragma omp parallel for schedule(static) num_threads(n_threads) reduction(+ : sum)
    for (int i = 0; i < n_threads; i++) {
        double best = 0;
        do {
            double start = roof_now();
            double rate = loop(ROOF_ROUNDS) / (roof_now() - start);
            best = rate > best ? rate : best;
        } while (roof_now() < end);
        sum += best;
    }
    return sum;
}

struct roof_gauge {
    int n_threads;
    const struct roof_loops *loops;
    int fastest; /* of loops->flt */
    char *buffer;
    size_t part; /* of the buffer, per thread */
    struct roof first;
};

static size_t roof_buffer_size(void)
{
    long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t size = ROOF_BUFFER;
    if (pages > 0 && page > 0 && (size_t)pages * (size_t)page / 8 < size) {
        size = (size_t)pages * (size_t)page / 8;
    }
    return size > ROOF_BUFFER_MIN ? size : ROOF_BUFFER_MIN;
}

static void roof_gauge_begin(struct roof_gauge *g)
{
    const struct roof_loops *l = g->loops;
    struct roof r = {.int8_name = l->int8_name};
    r.read_gbs = roof_read(l, g->buffer, g->part, g->n_threads, ROOF_SECONDS);
    r.read_gbs_one = roof_read(l, g->buffer, g->part, 1, ROOF_SECONDS);
    for (int i = 0; i < 2 && l->flt[i]; i++) {
        double flops = roof_ops(l->flt[i], g->n_threads, ROOF_SECONDS);
        if (flops > r.float_flops) {
            g->fastest = i;
            r.float_flops = flops;
            r.float_name = l->flt_name[i];
        }
    }
    r.int8_ops = roof_ops(l->int8, g->n_threads, ROOF_SECONDS);
    g->first = r;
}

err roof_gauge_new(struct compute *c, struct roof_gauge **out)
{
    size_t size = roof_buffer_size();
    struct roof_gauge *g = mem_calloc(1, sizeof *g);
    char *buffer = mem_alloc_aligned(size);
    if (!g || !buffer) {
        mem_free_aligned(buffer);
        mem_free(g);
        return ERR_NOMEM;
    }
    /* Threads that take turns on a CPU would each find a moment when it is theirs alone, and be added up. */
    int n_threads = c->n_threads < cpuinfo_cores() ? c->n_threads : cpuinfo_cores();
    size_t part = size / (size_t)n_threads / ROOF_GRAIN * ROOF_GRAIN;
    *g = (struct roof_gauge){.n_threads = n_threads,
                             .loops = roof_loops_of(c->level),
                             .buffer = buffer,
                             .part = part};
#pragma omp parallel for schedule(static) num_threads(g->n_threads)
    for (int i = 0; i < g->n_threads; i++) { /* the thread that reads a part also places it */
        memset(buffer + (size_t)i * part, 1, part);
    }
    roof_gauge_begin(g);
    *out = g;
    return ERR_OK;
}

void roof_gauge_free(struct roof_gauge *g)
{
    if (g) {
        mem_free_aligned(g->buffer);
        mem_free(g);
    }
}

const struct roof *roof_gauge_first(const struct roof_gauge *g)
{
    return &g->first;
}

double roof_gauge_read(struct roof_gauge *g)
{
    return roof_read(g->loops, g->buffer, g->part, g->n_threads, ROOF_SAMPLE);
}

double roof_flops(struct compute *c)
{
    const struct roof_loops *l = roof_loops_of(c->level);
    double best = 0;
    for (int i = 0; i < 2 && l->flt[i]; i++) {
        double flops = roof_ops(l->flt[i], c->n_threads, ROOF_SAMPLE);
        best = flops > best ? flops : best;
    }
    return best;
}

double roof_gauge_flops(struct roof_gauge *g)
{
    return roof_ops(g->loops->flt[g->fastest], g->n_threads, ROOF_SAMPLE);
}

err roof_measure(struct compute *c, struct roof *out)
{
    struct roof_gauge *g;
    TRY(roof_gauge_new(c, &g));
    *out = g->first;
    roof_gauge_free(g);
    return ERR_OK;
}
