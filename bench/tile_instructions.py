#!/usr/bin/env python3
"""What AMX tile instructions cost, by how many tiles hold something and by what stands between them, while the other
hardware thread of the core is idle ("quiet") and while it is busy ("shared"). Why matmul_amx.c keeps four sums and
does something between any two tile instructions.

    python3 bench/tile_instructions.py [--cpu 0] [--rounds 2000]

Writes a C program into a temporary folder, compiles it with gcc and runs it on one CPU. Prints medians of ticks of the
time stamp counter per product. The two states are told apart by how fast no-operations pass before and after each
sample, held against multiplications that wait for each other: beside a busy thread half as many do. A state that does not occur has no column; to make one, run something
on the core's other hardware thread. Needs a CPU with AMX. Run by hand, never by CI."""
import argparse
import pathlib
import subprocess
import tempfile

FRAME = r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>
static char *x;
static int by_number(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}
/* 4000 no-operations take 700 cycles alone; 300 multiplications 900, alone or not. */
static int is_shared(void)
{
    uint64_t start = __rdtsc(), nops, product = 3;
    for (int i = 0; i < 400; i++) {
        __asm__ volatile("nop;nop;nop;nop;nop;nop;nop;nop;nop;nop");
    }
    nops = __rdtsc() - start;
    start = __rdtsc();
    for (int i = 0; i < 30; i++) {
        __asm__ volatile("imul %%0,%%0;imul %%0,%%0;imul %%0,%%0;imul %%0,%%0;imul %%0,%%0;"
                         "imul %%0,%%0;imul %%0,%%0;imul %%0,%%0;imul %%0,%%0;imul %%0,%%0" : "+r"(product));
    }
    return nops > __rdtsc() - start;
}
#define LOOP(n, text) \
    for (int i = 0; i < n; i++) __asm__ volatile(text ::"r"(x), "r"((size_t)64) : "memory")
%(functions)s
static void (*const prepare[])(void) = {%(prepares)s};
static void (*const run[])(void) = {%(runs)s};
static const char *const name[] = {%(names)s};
enum { TESTS = sizeof name / sizeof *name, ROUNDS = %(rounds)d };
static double ticks[2][TESTS][ROUNDS];
static int n[2][TESTS];
int main(void)
{
    struct { uint8_t palette, start_row, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.bytes[i] = 64;
        c.rows[i] = 16;
    }
    if (syscall(SYS_arch_prctl, 0x1023, 18)) {
        puts("this machine has no AMX");
        return 1;
    }
    __asm__ volatile("ldtilecfg %%0" ::"m"(c) : "memory");
    x = aligned_alloc(4096, 8192);
    memset(x, 0, 8192);
    for (int r = 0; r < ROUNDS; r++) {
        for (int t = 0; t < TESTS; t++) {
            prepare[t]();
            int before = is_shared();
            uint64_t start = __rdtsc();
            run[t]();
            double each = (double)(__rdtsc() - start) / (50 * 6);
            if (before == is_shared()) {
                ticks[before][t][n[before][t]++] = each;
            }
        }
    }
    for (int t = 0; t < TESTS; t++) {
        printf("%%-52s", name[t]);
        for (int s = 0; s < 2; s++) {
            if (n[s][t] > 20) {
                qsort(ticks[s][t], n[s][t], sizeof(double), by_number);
                printf("  %%s %%5.1f", s ? "shared" : "quiet", ticks[s][t][n[s][t] / 2]);
            }
        }
        puts("");
    }
}
"""


def load(tile, at):
    return f"tileloadd {1024 * (at % 4)}(%0,%1,1), %%tmm{tile};"


def product(total):
    return f"tdpbf16ps %%tmm7, %%tmm6, %%tmm{total};"


def tests():
    """Name, what to do before, and what to time: six products."""
    gap = "nop;" * 8
    for sums in range(1, 7):
        held = "".join(load(i, 0) if i < sums or i > 5 else f"tilezero %%tmm{i};" for i in range(8))
        yield f"{sums} sums: products", held, "".join(product(i % sums) for i in range(6))
        yield f"{sums} sums: products, apart", held, "".join(product(i % sums) + gap for i in range(6))
        yield (f"{sums} sums: a load and a product", held,
               "".join(load(7, i) + product(i % sums) for i in range(6)))
        yield (f"{sums} sums: a load and a product, apart", held,
               "".join(load(7, i) + gap + product(i % sums) + gap for i in range(6)))


def program(rounds):
    functions, names = [], []
    for i, (name, before, timed) in enumerate(tests()):
        functions.append(f'static void prepare_{i}(void) {{ LOOP(1, "{before}"); }}\n'
                         f'static void run_{i}(void) {{ LOOP(50, "{timed}"); }}')
        names.append(name)
    numbers = range(len(names))
    return FRAME % {"functions": "\n".join(functions), "rounds": rounds,
                    "prepares": ", ".join(f"prepare_{i}" for i in numbers),
                    "runs": ", ".join(f"run_{i}" for i in numbers),
                    "names": ", ".join(f'"{n}"' for n in names)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cpu", type=int, default=0)
    p.add_argument("--rounds", type=int, default=2000)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, built = pathlib.Path(folder, "tiles.c"), pathlib.Path(folder, "tiles")
        source.write_text(program(args.rounds))
        subprocess.run(["gcc", "-O1", "-march=sapphirerapids", "-o", built, source], check=True)
        subprocess.run(["taskset", "-c", str(args.cpu), built], check=True)


if __name__ == "__main__":
    main()
