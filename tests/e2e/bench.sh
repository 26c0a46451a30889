#!/usr/bin/env bash
# fathom bench among other programs and people: a peer that tells its version late, Ctrl-C, places nothing can be
# written to. What was measured is never lost.
set -u
. "$(dirname "$0")/expect.bash"
model=$work/chat.gguf
"$fathom" convert tests/golden/chatmodel "$model" >"$work/out" 2>&1 || exit 1
tests=(--prompt 4 --steps 2 --depth 0 --runs 2)

# A llama-bench: its --help, then $1 for each run.
peer() {
    printf '#!/bin/bash\nif [ "$1" == --help ]; then echo "--n-gen --n-depth --mmap"; exit; fi\n%s\n%s\n' "$1" \
        'echo "[{\"build_commit\":\"abc\",\"build_number\":7,\"avg_ts\":12.5}]"' >"$work/llama-bench"
    chmod +x "$work/llama-bench"
}
bench() { # options…; its streams in $o and $e, its exit code in $status
    "$fathom" bench "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    o=$(<"$work/out") e=$(<"$work/err")
}

peer :
bench "$model" "${tests[@]}" --compare llama.cpp --peer "$work/llama-bench" --json --report "$work/report"
has json_has_the_version_a_peer_tells_late '"version": "llama-bench build 7 \(abc\)"' "$o"
has so_has_the_page 'llama-bench build 7 \(abc\)' "$(<"$work/report/index.html")"
bench "$model" "${tests[@]}" --compare llama.cpp --peer "$work/llama-bench"
has so_has_the_table '^peer: llama-bench build 7 \(abc\)$' "$o"

# Ctrl-C while the second test's first run of the peer lasts.
peer "echo run >>$work/runs; [ \$(wc -l <$work/runs) -eq 3 ] && kill -INT \$PPID"
bench "$model" "${tests[@]}" --compare llama.cpp --peer "$work/llama-bench" --json
check ctrl_c_has_its_exit_code 130 $status
check ctrl_c_keeps_the_rows_there_are 'pp4 2
tg2 1' "$(sed -nE 's/^ *"name": "((pp|tg)[0-9]*)",/\1/p; s/^ *"runs": ([0-9]+),/\1/p' <<<"$o" | paste -d' ' - -)"
has ctrl_c_is_told 'stopped; 1 of 2 tests' "$e"
check and_the_peer_did_not_fail '' "$(grep failed <<<"$e")"

# The report's folder becomes a file while the tests run.
peer "rm -rf $work/report; touch $work/report"
bench "$model" "${tests[@]}" --compare llama.cpp --peer "$work/llama-bench" --json --report "$work/report"
check a_report_that_fails_is_a_failure 1 $status
has but_the_numbers_are_printed '"name": "tg2"' "$o"

# A peer that fails, at once or later, in the table and in JSON.
peer 'echo boom >&2; exit 1'
bench "$model" "${tests[@]}" --compare llama.cpp --peer "$work/llama-bench"
check a_peer_that_fails_is_a_failure 1 $status
has its_reason_is_told 'our numbers are complete, those of llama.cpp are not: .*boom' "$e"
has our_numbers_are_printed '^tg2 .* failed' "$o"
bench "$model" "${tests[@]}" --compare llama.cpp --peer "$work/llama-bench" --json
check so_it_is_with_json 1 $status
has and_json_is_whole '"name": "tg2"' "$o"

bench "$model" "${tests[@]}" --report /dev/null
has a_report_needs_a_folder 'cannot make folder /dev/null: Not a directory' "$e"
check and_says_so_before_measuring '' "$o"
bench --shape moe-100m "${tests[@]}" --write /proc/x.gguf
has a_file_needs_a_place 'cannot create /proc/x.gguf' "$e"
check and_says_so_before_weights_are_made '' "$(grep making <<<"$e")"

# A model that says it was made for a million positions: 512 bytes each.
cp -r tests/golden/chatmodel "$work/long"
sed -i 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 1048576/' "$work/long/config.json"
far=(--prompt 4 --steps 2 --depth 0,1000000 --runs 1 --threads 1 --kv-type f32 --json)
available=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
if [ "$available" -lt 120000000 ]; then
    bench "$work/long" "${far[@]}" --batch 256
    has what_no_memory_holds_is_refused 'the largest test needs 1[0-9.]* [TG]i?B beside the weights' "$e"
    check and_says_so_before_measuring_anything '' "$o"
fi
# Sanitizers take terabytes of addresses.
if [ "$available" -gt 6000000 ] && ! nm "$fathom" 2>/dev/null | grep -qE '__[a-z]+san_init'; then
    (ulimit -v 1500000 && exec "$fathom" bench "$work/long" "${far[@]}" --batch 4) >"$work/out" 2>"$work/err" </dev/null
    check memory_refused_in_the_midst_is_a_failure 1 $?
    has and_is_told 'the system refused' "$(<"$work/err")"
    has but_what_was_measured_is_printed '"name": "tg2x4"' "$(<"$work/out")"
fi

cp "$model" "$work/"$'b\xc3(.gguf'
bench "$work/"$'b\xc3(.gguf' "${tests[@]}" --json
has file_names_need_not_be_utf8 '"title": "b\?\("' "$o"
exit $failed
