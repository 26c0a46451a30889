#!/usr/bin/env bash
# llm.c's side of bench/train_speed.py: its CPU trainer, timed on random weights of GPT-2's smallest size.
#
#     git clone https://github.com/karpathy/llm.c ../llm.c      nothing of it is in this repository
#     bench/train_llmc.sh ../llm.c [STEPS]                      STEPS (3) steps; one line of JSON
#     bench/train_llmc.sh ../llm.c on-demand                    one step and line for every line read
#
# Environment: OMP_NUM_THREADS (every core), CC (gcc), WORK (a new folder, removed at the end): the program and
# 500 MB of weights.
#
# Built as its Makefile builds train_gpt2: -Ofast -march=native -fopenmp. The program below includes its
# train_gpt2.c without its main(), as its own test does, writes a checkpoint in its format (124M parameters, 12
# layers of 768, vocabulary 50257) and times what its main() times: forward, clearing, backward and AdamW of
# B=4 rows of T=64 tokens, its defaults, in float32. Random tokens.
#
# step_s is forward, clearing and backward, update_s AdamW. flops_per_s counts as src/train/trainflops.h does: 6 per
# weight of matrices and head (50257 rows) and token, attention over half the context; norms and activations not.
set -euo pipefail
case ${1:-} in
'' | -h | --help)
    sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//;p}' "$0"
    exit
    ;;
esac
llmc=$(readlink -f "$1")
steps=${2:-3}
if [ ! -e "$llmc/train_gpt2.c" ]; then
    echo "train_llmc.sh: $llmc has no train_gpt2.c: git clone https://github.com/karpathy/llm.c" >&2
    exit 1
fi
if [ -z "${WORK:-}" ]; then
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
fi
cat >"$WORK/time_gpt2.c" <<'C'
#define TESTING
#include "train_gpt2.c"

enum { ROWS = 4, CONTEXT = 64 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t draw(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

/* Weights of deviation 0.02; those of norms 1, biases 0. */
static void make(const char *path)
{
    int header[256] = {20240326, 3, 1024, 50257, 12, 12, 768, 50304};
    GPT2Config config = {1024, 50257, 50304, 12, 12, 768};
    size_t sizes[NUM_PARAMETER_TENSORS];
    FILE *f = fopen(path, "wb");
    fill_in_parameter_sizes(sizes, config);
    fwrite(header, sizeof header, 1, f);
    for (int i = 0; i < NUM_PARAMETER_TENSORS; i++) {
        int is_norm = i == 2 || i == 8 || i == 14, is_bias = i % 2 == 1 && i > 1;
        for (size_t k = 0; k < sizes[i]; k++) {
            float v = is_norm ? 1 : is_bias ? 0 : 0.0346f * ((float)draw() * 0x1p-30f - 1);
            fwrite(&v, sizeof v, 1, f);
        }
    }
    if (fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static int step; /* done */

static void time_step(GPT2 *m, double seconds[2])
{
    int tokens[ROWS * CONTEXT + 1];
    for (int i = 0; i <= ROWS * CONTEXT; i++) {
        tokens[i] = (int)(draw() % 50257);
    }
    double begun = now();
    gpt2_forward(m, tokens, tokens + 1, ROWS, CONTEXT);
    gpt2_zero_grad(m);
    gpt2_backward(m);
    seconds[1] = now() - begun;
    gpt2_update(m, 1e-4f, 0.9f, 0.999f, 1e-8f, 0.0f, ++step);
    seconds[0] = now() - begun;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(GPT2 *m, int n)
{
    static double all[2][1000];
    for (int i = 0; i < n; i++) {
        double s[2];
        time_step(m, s);
        all[0][i] = s[0];
        all[1][i] = s[1];
    }
    qsort(all[0], n, sizeof **all, order);
    qsort(all[1], n, sizeof **all, order);
    double layers = 12.0 * 12 * 768 * 768;
    double flops = 6 * (layers + 50257.0 * 768 + 12.0 * 12 * (64 + 64) * CONTEXT / 2);
    double s = all[0][n / 2], fb = all[1][n / 2], tokens = ROWS * CONTEXT;
    fprintf(stderr, "{\"tokens_per_s\": %.2f, \"flops_per_s\": %.6g, \"step_s\": %.4f, \"update_s\": %.4f, "
                    "\"whole_tokens_per_s\": %.2f, \"loss\": %.4f, \"flops_per_token\": %.0f}\n",
            tokens / fb, flops * tokens / fb, fb, s - fb, tokens / s, m->mean_loss, flops);
}

int main(int argc, char **argv)
{
    GPT2 m;
    if (argc == 2) {
        make(argv[1]);
        return 0;
    }
    gpt2_build_from_checkpoint(&m, argv[1]); /* says what it reads, on stdout */
    report(&m, 1);                           /* memory is there from now on */
    if (strcmp(argv[2], "on-demand") != 0) {
        report(&m, atoi(argv[2]) > 1000 ? 1000 : atoi(argv[2]));
        return 0;
    }
    for (int c; (c = getchar()) != EOF;) {
        if (c == '\n') {
            report(&m, 1);
        }
    }
    return 0;
}
C
if [ ! -e "$WORK/time_gpt2" ]; then
    ${CC:-gcc} -Ofast -march=native -fopenmp -DOMP -Wno-unused-result -Wno-ignored-pragmas -Wno-unknown-pragmas \
        -I "$llmc" -o "$WORK/time_gpt2" "$WORK/time_gpt2.c" -lm
fi
if [ ! -e "$WORK/gpt2_124M.bin" ]; then
    "$WORK/time_gpt2" "$WORK/part.bin"
    mv "$WORK/part.bin" "$WORK/gpt2_124M.bin"
fi
# What llm.c says of the file goes away; the first line, of the step that is not counted, too. It says so on
# stderr, as stdout is llm.c's.
"$WORK/time_gpt2" "$WORK/gpt2_124M.bin" "$steps" 2>&1 >/dev/null | sed -u 1d
