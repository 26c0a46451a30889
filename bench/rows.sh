#!/usr/bin/env bash
# The rows of the speed table in docs/measurements.md, one command each.
#
#     bench/rows.sh                 lists the rows and their commands
#     bench/rows.sh ROW…            runs them; `all` runs every one
#     bench/rows.sh --help          this text
#
# Environment, with what holds without:
#   COMPARE=llama.cpp     or ik_llama.cpp, or none: Fathom alone
#   PEER=                 its llama-bench, a folder with one, or a python3 that has llama_cpp (llama.cpp's is looked
#                         for in PATH, ik_llama.cpp's must be named)
#   LLAMA_CPP_LIB_PATH=   another build of llama.cpp's libraries for that python3
#   MODELS=bench-models   folder for the files that are made once, up to 17 GB each
#   SMOLLM2=smollm2       a .gguf file in place of the model of that name
#   RUNS=5  THREADS=      counted runs of each test; threads (every core)
#   REPORT=               a folder that gets a page for each row
#   FATHOM=build/fathom   the program
#
# Relative paths begin at the folder rows.sh is called from.
# Ours and the peer's runs alternate; ratios are of medians. A row whose file does not fit in memory beside the
# peer's copy is mapped by both. BF16 and FP8 of the V2-Lite shape have no peer: 31 GB fit no 24 GB machine
# (layers then share weights, which no file can), and GGUF holds no FP8.
set -euo pipefail
self=$(readlink -f "$0")
case ${1:-} in
-h | --help)
    sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//;p}' "$self"
    exit
    ;;
esac
fathom=${FATHOM:-$(dirname "$(dirname "$self")")/build/fathom}
models=${MODELS:-bench-models}
runs=${RUNS:-5}
common=(--runs "$runs" ${THREADS:+--threads "$THREADS"})
peer=()
case ${COMPARE:-llama.cpp} in
none) ;;
llama.cpp | ik_llama.cpp) peer=(--compare "${COMPARE:-llama.cpp}" ${PEER:+--peer "$PEER"}) ;;
*)
    echo "rows.sh: COMPARE=$COMPARE is none of llama.cpp, ik_llama.cpp and none" >&2
    exit 2
    ;;
esac

# name | file made of shape and type, - for random weights in memory, @smollm2 | peer? | options
table() {
    cat <<'ROWS'
prefill-q4_k_m   | v2-lite  q4_k_m | peer | --prompt 512,2048 --steps 0
prefill-q8_0     | v2-lite  q8_0   | peer | --prompt 512 --steps 0
prefill-mxfp4    | v2-lite  mxfp4  | peer | --prompt 512 --steps 0
prefill-bf16     | -v2-lite bf16   | none | --prompt 512 --steps 0
prefill-fp8      | -v2-lite fp8    | none | --prompt 512 --steps 0
decode-q4_k_m    | v2-lite  q4_k_m | peer | --prompt 0 --steps 32 --depth 0,4096
decode-q8_0      | v2-lite  q8_0   | peer | --prompt 0 --steps 32 --depth 0,4096
batch-q4_k_m     | v2-lite  q4_k_m | peer | --prompt 0 --steps 16 --depth 0 --batch 4,16
frontier-q4_k_m  | v2-lite  q4_k_m | none | --prompt 512 --steps 16 --frontier
smollm2          | @smollm2        | peer | --prompt 512 --steps 64 --depth 0,4096
moe-100m         | moe-100m q8_0   | peer | --prompt 512 --steps 64 --depth 0,4096
start            | v2-lite  q4_k_m | none | --prompt 0 --steps 0
ROWS
}

# The command of a row into the array `command`; makes its file when asked to.
compose() { # source peer? options make?
    local shape type file
    read -r shape type <<<"$1"
    case $shape in
    @smollm2) command=("$fathom" bench "${SMOLLM2:-smollm2}") ;;
    -*) command=("$fathom" bench --shape "${shape#-}" --type "$type") ;;
    *)
        file=$models/$shape-$type.gguf
        command=("$fathom" bench "$file")
        if [ "$4" = make ] && [ ! -e "$file" ]; then
            mkdir -p "$models"
            "$fathom" bench --shape "$shape" --type "$type" --write "$file" --prompt 0 --steps 0
        fi
        ;;
    esac
    # shellcheck disable=SC2206  # options are words
    command+=($3 "${common[@]}")
    if [ "$2" = peer ]; then
        command+=("${peer[@]}")
    fi
}

# Better asked before a file of many gigabytes is made.
need_peer() {
    local name=${PEER:-}
    case ${name##*/} in
    '') [ "${COMPARE:-llama.cpp}" = llama.cpp ] &&
        { command -v llama-bench >/dev/null || python3 -c 'import llama_cpp' 2>/dev/null; } ;;
    python*) "$PEER" -c 'import llama_cpp' 2>/dev/null ;;
    *) [ -x "$PEER" ] ;; # a program or a folder
    esac && return
    echo "rows.sh: no ${COMPARE:-llama.cpp} to compare with${PEER:+ at $PEER}. Name its llama-bench, or a python3 that" \
        "has llama_cpp: PEER=PATH; or measure Fathom alone: COMPARE=none" >&2
    exit 1
}

# Words as a shell takes them.
quoted() {
    local line
    printf -v line '%q ' "$@"
    line=${line//\\,/,}
    echo "${line% }"
}

found=0
while IFS='|' read -r name source with options; do
    name=${name// /} with=${with// /}
    if [ $# -eq 0 ]; then
        compose "$source" "$with" "$options" show
        printf '%-16s %s\n' "$name" "$(quoted "${command[@]}")"
        continue
    fi
    for wanted in "$@"; do
        if [ "$wanted" = "$name" ] || [ "$wanted" = all ]; then
            found=1
            if [ "$with" = peer ] && [ ${#peer[@]} -gt 0 ]; then
                need_peer
            fi
            compose "$source" "$with" "$options" make
            if [ -n "${REPORT:-}" ]; then
                command+=(--report "$REPORT/$name")
            fi
            printf '\n## %s\n%s\n' "$name" "$(quoted "${command[@]}")"
            "${command[@]}" </dev/null
        fi
    done
done < <(table)
if [ $# -eq 0 ]; then
    echo
    sed -n '/^# Environment/,/^#$/{/^#$/d;s/^# //;p}' "$self"
elif [ $found -eq 0 ]; then
    echo "rows.sh: no such row: $*; without arguments all are listed" >&2
    exit 2
fi
