#!/usr/bin/env bash
# Prints docs/map.md: one heading per file stem of src/, with the first sentence of its banner and its
# files, tests and fuzzers. `make map` writes it; `make lint` says when it is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

# The first sentence of a file's opening comment, without the path in front of it.
banner() {
    awk '
    { line = $0; done = sub(/\*\/.*/, "", line) }
    NR == 1 { sub(/^\/\* */, "", line); sub(/^[a-zA-Z0-9_\/.]+: */, "", line) }
    NR > 1 { sub(/^ *\* ?/, "", line) }
    NR > 1 && line ~ /^ *$/ { exit }
    {
        text = text (text == "" ? "" : " ") line
        if (match(text, /[^.]\.( |$)/)) {
            print substr(text, 1, RSTART + 1)
            printed = 1
            exit
        }
        if (done) { exit }
    }
    END {
        if (!printed) {
            sub(/[ ;:,]*$/, "", text)
            print text (text ~ /\.$/ ? "" : ".")
        }
    }' "$1" | sed 's/  */ /g; s/ *$//; s/:\.$/./; s/^[a-z]/\U&/'
}

echo "# The map

Where is it? A symbol begins with the stem of its file, stems are unique, so the stem is the address:
\`kvcache_append\` is under **kvcache**. Layers from the ground up; each folder's README gives the reading
order. Made by \`make map\` from the first sentence of every file."

for layer in base tensor tensor/ref tensor/cpu tensor/cuda formats text dist model engine train post server cli; do
    [ -d "src/$layer" ] || continue
    stems=$(find "src/$layer" -maxdepth 1 -name '*.[ch]' -o -maxdepth 1 -name '*.cu' | sed 's/.*\///; s/\.[a-z]*$//' | sort -u)
    [ -n "$stems" ] || continue
    printf '\n## %s\n' "$layer"
    for stem in $stems; do
        printf '\n### %s\n\n' "$stem"
        first="src/$layer/$stem.h"
        [ -e "$first" ] || first=$(ls "src/$layer/$stem".c* | head -1)
        text=$(banner "$first")
        case $text in [Ss]'ee '*) text= ;; esac
        [ ${#text} -le 240 ] || text="${text%%:*}."
        [ -z "$text" ] || printf '%s  \n' "$text"
        list=
        for f in "src/$layer/$stem".[ch] "src/$layer/$stem".cu "tests/$layer/test_$stem".c \
            "tests/fuzz/fuzz_$stem.c"; do
            [ ! -e "$f" ] || list="$list${list:+, }\`$f\`"
        done
        printf '%s\n' "$list"
    done
done
