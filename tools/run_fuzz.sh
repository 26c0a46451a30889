#!/usr/bin/env bash
# Builds every tests/fuzz/fuzz_*.c with clang's libFuzzer, AddressSanitizer and UBSan, and runs each for
# FUZZ_SECONDS (20; together at most FUZZ_TOTAL seconds when that is set). Seeds of fuzz_X are in tests/fuzz/seeds/X.
# What is found new is kept in BUILD-DIR/corpus; a crash is printed, its input kept, and fails the run. A target
# that takes its inputs to a model's first answer (tests/fuzz/modelstep.h) says how often, and must get there.
# Without clang or libFuzzer there is nothing to do. Usage: run_fuzz.sh [BUILD-DIR]
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-fuzz}
seconds=${FUZZ_SECONDS:-20}

probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 9; }' >"$probe/p.c"
if ! clang -fsanitize=fuzzer,address -o "$probe/p" "$probe/p.c" 2>/dev/null; then
    echo "[  SKIPPED ] fuzz: no clang with libFuzzer here"
    exit 0
fi
env -u MAKEFLAGS make -s -j"$(nproc)" BUILD="$build" CC=clang OPT=-O1 DEBUG=-gline-tables-only \
    SAN=address,undefined,fuzzer-no-link fuzzers || exit 1

targets=("$build"/fuzz/fuzz_*)
targets=($(printf '%s\n' "${targets[@]}" | grep -v '\.d$'))
if [ -n "${FUZZ_TOTAL:-}" ] && [ $((seconds * ${#targets[@]})) -gt "$FUZZ_TOTAL" ]; then
    seconds=$((FUZZ_TOTAL / ${#targets[@]}))
    [ "$seconds" -gt 0 ] || seconds=1
fi
status=0
for t in "${targets[@]}"; do
    name=$(basename "$t")
    seeds=tests/fuzz/seeds/${name#fuzz_}
    [ -d "$seeds" ] || seeds=
    mkdir -p "$build/corpus/$name"
    "$t" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$build/$name-" "$build/corpus/$name" $seeds \
        >"$probe/log" 2>&1
    rc=$?
    passes=$(awk '/^first_forward_passes:/ {print $2}' "$probe/log")
    if [ $rc -eq 0 ] && [ "$passes" != 0 ]; then
        runs=$(awk '/number_of_executed_units/ {print $2}' "$probe/log")
        echo "[       OK ] $name: $runs runs in ${seconds} s${passes:+, $passes first answers}"
    else
        tail -60 "$probe/log"
        [ $rc -ne 0 ] || echo "$name: no input reached a forward pass; are the seeds there?"
        echo "[  FAILED  ] $name"
        echo "[  FAILED  ] $name"
        status=1
    fi
done
exit $status
