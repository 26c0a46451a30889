/* base/cpuinfo.h: what this processor can do, asked once from CPUID and the kernel. */
#ifndef BASE_CPUINFO_H
#define BASE_CPUINFO_H

#include <stdbool.h>

#include "base/err.h"

/* Levels of the fast ops, each including the ones before it. */
enum cpuinfo_level {
    CPUINFO_REF,        /* plain C, any 64-bit CPU */
    CPUINFO_AVX2,       /* AVX2, FMA, F16C */
    CPUINFO_AVX512,     /* AVX-512 F, BW, DQ, VL, VNNI, VBMI, VBMI2 (Ice Lake) */
    CPUINFO_AVX512BF16, /* and BF16 (Zen 4) */
    CPUINFO_AMX,        /* and AMX tiles: BF16 and INT8 (Sapphire Rapids) */
    CPUINFO_LEVELS
};

/* The best level of this machine; AMX only if the kernel grants the tile state. Thread-safe. */
enum cpuinfo_level cpuinfo_best(void);

/* The best level, or the one named by the environment variable FATHOM_CPU (ref, avx2, avx512, avx512bf16, amx).
 * An unknown name, or a level this machine lacks, is ERR_ARGUMENT with both named. */
ERR_MUST_USE err cpuinfo_choose(enum cpuinfo_level *out, struct errinfo *info);

/* The level of that name, with the same errors. */
ERR_MUST_USE err cpuinfo_named(const char *name, enum cpuinfo_level *out, struct errinfo *info);

const char *cpuinfo_level_name(enum cpuinfo_level level); /* "ref", "avx2" … */
const char *cpuinfo_model(void);                          /* e.g. "Intel(R) Xeon(R) …"; static text */
int cpuinfo_cores(void); /* processors this process may run on (affinity and cgroup quota) */

#endif
