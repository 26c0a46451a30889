/* base/cpuinfo.c: see cpuinfo.h. */
#include "base/cpuinfo.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const cpuinfo_names[CPUINFO_LEVELS] = {"ref", "avx2", "avx512", "avx512bf16", "amx"};

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

enum { CPUINFO_ARCH_REQ_XCOMP_PERM = 0x1023, CPUINFO_XFEATURE_TILEDATA = 18 };

/* Bits of CPUID leaf 7 that GCC 12 has no builtin name for. */
static bool cpuinfo_leaf7(int subleaf, int reg, int bit)
{
    unsigned r[4];
    if (!__get_cpuid_count(7, (unsigned)subleaf, &r[0], &r[1], &r[2], &r[3])) {
        return false;
    }
    return (r[reg] >> bit) & 1u;
}

enum cpuinfo_level cpuinfo_best(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return CPUINFO_REF;
    }
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
                  __builtin_cpu_supports("avx512vbmi2");
    if (!avx512) {
        return CPUINFO_AVX2;
    }
    if (!cpuinfo_leaf7(1, 0, 5)) { /* EAX bit 5: AVX512_BF16 */
        return CPUINFO_AVX512;
    }
    bool amx = cpuinfo_leaf7(0, 3, 22) && cpuinfo_leaf7(0, 3, 24) && cpuinfo_leaf7(0, 3, 25) &&
               syscall(SYS_arch_prctl, CPUINFO_ARCH_REQ_XCOMP_PERM, CPUINFO_XFEATURE_TILEDATA) == 0;
    return amx ? CPUINFO_AMX : CPUINFO_AVX512BF16;
}

const char *cpuinfo_model(void)
{
    static _Thread_local char model[49];
    unsigned r[12];
    for (unsigned i = 0; i < 3; i++) {
        if (!__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3])) {
            return "unknown x86-64 processor";
        }
    }
    memcpy(model, r, 48);
    return model;
}
#else
enum cpuinfo_level cpuinfo_best(void)
{
    return CPUINFO_REF;
}

const char *cpuinfo_model(void)
{
    return "processor without fast kernels (not x86-64)";
}
#endif

/* `by`: what the name came from, for messages. */
static err cpuinfo_find(const char *by, const char *wish, enum cpuinfo_level *out,
                        struct errinfo *info)
{
    enum cpuinfo_level best = cpuinfo_best();
    for (int i = 0; i < CPUINFO_LEVELS; i++) {
        if (strcmp(wish, cpuinfo_names[i]) == 0) {
            if (i > (int)best) {
                return err_set(info, ERR_ARGUMENT, "%s%s, but this processor reaches only %s", by,
                               wish, cpuinfo_names[best]);
            }
            *out = (enum cpuinfo_level)i;
            return ERR_OK;
        }
    }
    return err_set(info, ERR_ARGUMENT, "%s%s is unknown; use ref, avx2, avx512, avx512bf16 or amx", by,
                   wish);
}

err cpuinfo_choose(enum cpuinfo_level *out, struct errinfo *info)
{
    const char *wish = getenv("FATHOM_CPU");
    if (!wish || !*wish) {
        *out = cpuinfo_best();
        return ERR_OK;
    }
    return cpuinfo_find("FATHOM_CPU=", wish, out, info);
}

err cpuinfo_named(const char *name, enum cpuinfo_level *out, struct errinfo *info)
{
    return cpuinfo_find("CPU level ", name, out, info);
}

const char *cpuinfo_level_name(enum cpuinfo_level level)
{
    return level < CPUINFO_LEVELS ? cpuinfo_names[level] : "unknown";
}

/* The cgroup v2 CPU quota rounded up to whole processors; 0 when there is none. */
static int cpuinfo_quota(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f) {
        return 0;
    }
    long quota, period;
    int n = fscanf(f, "%ld %ld", &quota, &period);
    fclose(f);
    return n == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

int cpuinfo_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                           : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = cpuinfo_quota();
    if (quota > 0 && quota < cores) {
        cores = quota;
    }
    return cores > 0 ? cores : 1;
}
