#!/usr/bin/env bash
# How much compute each step from GPT-2's recipe to a small mixture of experts saves: equal data, bits per byte of
# held-out text against FLOPs and seconds. The steps are recipes/ladder/*.ini (its README says what they are).
#
#     bench/ladder.sh rates     three learning rates for B0, B1 and Muon, at the smallest size and a quarter of
#                               the tokens
#     bench/ladder.sh steps     the steps at the smallest size
#     bench/ladder.sh dense     B1 and B0 at larger sizes, until each is as good as the last step
#     bench/ladder.sh seeds     the last step, and B0 and B1 up to SEEDS_UP_TO, with the other seeds
#     bench/ladder.sh table     what is there so far: OUT/table.md
#     bench/ladder.sh all       the five, in that order
#     bench/ladder.sh --help    this text
#
# Environment, with what holds without:
#   DATA=                 the dataset (`fathom data` makes one); needed
#   OUT=runs/ladder       a folder for each run. One that is done is not run again, one that was cut off goes on
#   TOKENS=10e6           to learn from, for every run
#   SIZES='192 256 384 512'   widths of the larger dense models; heads of 64, 8 layers
#   SEEDS='2'             further seeds; the first is 1
#   SEEDS_UP_TO=256       the widest dense model that gets them
#   MORE=                 further settings for every run: 'data.context=256 run.validate_rows=64'
#   THREADS=  FATHOM=build/fathom
#
# Seconds are those of steps alone, and mean something only where nothing else runs. A learning rate is chosen at
# the smallest size and goes with 1 / width.
set -euo pipefail
self=$(readlink -f "$0")
case ${1:---help} in
-h | --help)
    sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//;p}' "$self"
    exit
    ;;
esac
top=$(dirname "$(dirname "$self")")
fathom=${FATHOM:-$top/build/fathom}
data=${DATA:?ladder.sh: DATA=DIR is needed: a dataset (fathom data)}
out=${OUT:-runs/ladder}
all_tokens=${TOKENS:-10e6}
tokens=$all_tokens
sizes=${SIZES:-192 256 384 512}
seeds=${SEEDS:-2}
seeds_up_to=${SEEDS_UP_TO:-256}
more=${MORE:-}
mkdir -p "$out"

calc() {
    awk "BEGIN { printf \"%.6g\", $1 }"
}

# Bits per byte of a finished run.
score() {
    grep '"kind": *"val"' "$out/$1/metrics.jsonl" | tail -n 1 |
        sed 's/"sources".*//;s/.*"bits_per_byte": *\([0-9.e-]*\).*/\1/'
}

# run NAME STEP SEED SETTING…: what is not done yet.
run() {
    local name=$1 step=$2 seed=$3 set=() s
    shift 3
    [ -e "$out/$name/done" ] && return
    for s in "schedule.tokens=$tokens" "data.seed=$seed" $more "$@"; do
        set+=(--set "$s")
    done
    echo "$name: $(date +%H:%M)"
    mkdir -p "$out/$name"
    "$fathom" train "$top/recipes/ladder/$step.ini" --data "$data" --out "$out/$name" --resume \
        ${THREADS:+--threads "$THREADS"} "${set[@]}" >> "$out/$name/log" 2>&1 || {
        tail -n 3 "$out/$name/log" >&2
        exit 1
    }
    grep -q '^done:' "$out/$name/log" || {
        echo "ladder.sh: $name was stopped; the same command goes on" >&2
        exit 1
    }
    rm -rf "$out/$name/checkpoints" "$out/$name/model.gguf"
    touch "$out/$name/done"
    echo "$name: $(score "$name") bits/byte"
}

# dense STEP WIDTH RATE: the settings of B0 or B1 at a width, one a line.
dense() {
    local d=$2 lr
    lr=$(calc "$3 * 128 / $2")
    echo "optimizer.lr=$lr"
    if [ "$1" = b0 ]; then
        printf '%s\n' "optimizer.lr_embeddings=$lr" "optimizer.lr_vectors=$lr" "model.n_embd=$d" \
            "model.n_head=$((d / 64))"
    else
        printf '%s\n' "model.hidden_size=$d" "model.num_attention_heads=$((d / 64))" \
            "model.num_key_value_heads=$((d / 64))" "model.intermediate_size=$(((8 * d / 3 + 31) / 32 * 32))"
    fi
}

rates() {
    case $1 in
    b0) echo 1e-3 2e-3 4e-3 ;;
    b1) echo 1e-3 2e-3 4e-3 ;;
    muon) echo 0.003 0.006 0.012 ;;
    esac
}

# The rate whose run is best, of those that are there.
best_rate() {
    local lr
    for lr in $(rates "$1"); do
        if [ -e "$out/rates/$1-128-lr$lr-s1/done" ]; then
            echo "$(score "rates/$1-128-lr$lr-s1") $lr"
        fi
    done | sort -g | sed -n '1s/.* //p'
}

# run_dense STEP WIDTH RATE SEED [FOLDER/]
run_dense() {
    local settings
    mapfile -t settings < <(dense "$1" "$2" "$3")
    run "${5:-}$1-$2-lr$3-s$4" "$1" "$4" "${settings[@]}"
}

all_rates() {
    local lr step tokens
    tokens=$(calc "$all_tokens / 4")
    for step in b0 b1; do
        for lr in $(rates $step); do
            run_dense $step 128 "$lr" 1 rates/
        done
    done
    for lr in $(rates muon); do
        run "rates/muon-128-lr$lr-s1" muon 1 "optimizer.lr=$lr"
    done
}

# The best of some rates is not the best of all.
need_rates() {
    local lr step
    for step in b0 b1 muon; do
        for lr in $(rates $step); do
            if [ ! -e "$out/rates/$step-128-lr$lr-s1/done" ]; then
                echo "ladder.sh: the learning rates come first (bench/ladder.sh rates): $step at $lr is not done" >&2
                exit 1
            fi
        done
    done
}

steps() {
    local lr step
    need_rates
    run_dense b0 128 "$(best_rate b0)" 1
    run_dense b1 128 "$(best_rate b1)" 1
    lr=$(best_rate b1)
    run "tied-128-lr$lr-s1" tied 1 "optimizer.lr=$lr"
    lr=$(best_rate muon)
    for step in muon skips mla bigram moe; do
        run "$step-128-lr$lr-s1" $step 1 "optimizer.lr=$lr"
    done
}

need_steps() {
    if ! ls "$out"/moe-128-lr*-s1/done > /dev/null 2>&1; then
        echo "ladder.sh: the steps come first (bench/ladder.sh steps)" >&2
        exit 1
    fi
}

# Up to the first width that is as good as the last step.
larger() {
    local step lr d goal
    need_steps
    goal=$(score "moe-128-lr$(best_rate muon)-s1")
    for step in b1 b0; do
        lr=$(best_rate $step)
        for d in $sizes; do
            run_dense $step "$d" "$lr" 1
            [ "$(calc "$(score "$step-$d-lr$lr-s1") <= $goal")" = 0 ] || break
        done
    done
}

again() {
    local seed step lr d
    need_steps
    for seed in $seeds; do
        lr=$(best_rate muon)
        run "moe-128-lr$lr-s$seed" moe "$seed" "optimizer.lr=$lr"
        for step in b1 b0; do
            lr=$(best_rate $step)
            for d in 128 $sizes; do
                if [ "$d" -le "$seeds_up_to" ] && [ -e "$out/$step-$d-lr$lr-s1/done" ]; then
                    run_dense $step "$d" "$lr" "$seed"
                fi
            done
        done
    done
}

table() {
    python3 "$top/bench/ladder_table.py" "$out" > "$out/table.md.tmp"
    mv "$out/table.md.tmp" "$out/table.md"
    cat "$out/table.md"
}

for stage in "$@"; do
    case $stage in
    rates) all_rates ;;
    steps) steps ;;
    dense) larger ;;
    seeds) again ;;
    table) table ;;
    all)
        all_rates
        steps
        larger
        again
        table
        ;;
    *)
        echo "ladder.sh: $stage is none of rates, steps, dense, seeds, table, all (--help)" >&2
        exit 1
        ;;
    esac
done
