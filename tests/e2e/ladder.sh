#!/usr/bin/env bash
# bench/ladder.sh without a run: the steps wait for every learning rate, the table leaves out what was not validated.
set -u
. "$(dirname "$0")/expect.bash"

ladder() {
    DATA=$work OUT=$work/ladder FATHOM=false bench/ladder.sh "$@" 2>&1
}
done_run() { # folder, bits per byte
    mkdir -p "$work/ladder/$1"
    echo "{\"kind\":\"val\",\"step\":9,\"tokens\":1e6,\"flops\":1e12,\"seconds\":5,\"bits_per_byte\":$2,\"sources\":[]}" \
        >"$work/ladder/$1/metrics.jsonl"
    touch "$work/ladder/$1/done"
}
for run in b0-128-lr1e-3 b0-128-lr2e-3 b0-128-lr4e-3 b1-128-lr1e-3 b1-128-lr2e-3 b1-128-lr4e-3 muon-128-lr0.003; do
    done_run "rates/$run-s1" 2
done
says=$(ladder steps)
check steps_wait_for_the_rates 1 $?
has and_say_which_is_missing 'muon at 0.006 is not done' "$says"
if command -v python3 >/dev/null; then
    done_run b0-128-lr2e-3-s1 1.75
    mkdir -p "$work/ladder/b1-128-lr2e-3-s1"
    echo '{"kind":"step","step":1}' >"$work/ladder/b1-128-lr2e-3-s1/metrics.jsonl"
    touch "$work/ladder/b1-128-lr2e-3-s1/done"
    says=$(ladder table)
    check a_table_is_made 0 $?
    has of_what_was_validated '\| b0 \| 128 \| 2e-3 \| 1 \| 1.0M \| 1e\+12 \| 5 \| 1.7500 ' "$says"
    has and_the_rest_is_named 'b1-128-lr2e-3-s1/metrics.jsonl has no validation' "$says"
else
    echo '[  SKIPPED ] a_table_is_made: no python3'
fi
exit $failed
