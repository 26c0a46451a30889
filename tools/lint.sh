#!/usr/bin/env bash
# The laws of the tree, checked: layers, unique stems, symbol prefixes, sizes, words, READMEs, and no
# warnings from gcc and clang over every file. Usage: lint.sh BUILD (a finished build, for the symbols).
# Prints every violation as FILE: what; exits 1 when there was one. Only shell, awk, grep, nm.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-${FATHOM_BUILD:-build}}
bad=$(mktemp)
trap 'rm -f "$bad"' EXIT

files() { # tracked and new files, without build products
    git ls-files --cached --others --exclude-standard -- "$@" 2>/dev/null || find "$@" -type f
}
mapfile -t code < <(files src include tests bench | grep -E '\.(c|h|cu|cuh)$' | sort -u |
    while read -r f; do [ -e "$f" ] && echo "$f"; done)
src=()
for f in "${code[@]}"; do [[ $f == src/* || $f == include/* ]] && src+=("$f"); done

# Layers: what each may include besides itself. fathom.h is the engine's face.
check_layers() {
    awk '
    BEGIN {
        may["base"] = ""
        may["tensor"] = "base"
        may["formats"] = "base tensor"
        may["text"] = "base"
        may["dist"] = "base tensor"
        may["model"] = may["formats"] " formats text dist"
        may["engine"] = may["model"] " model fathom.h"
        may["train"] = may["engine"] " engine"
        may["server"] = may["train"]
        may["post"] = may["train"] " train"
        may["cli"] = may["post"] " post server"
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split(FILENAME, from, "/")
        split($0, quoted, "\"")
        n = split(quoted[2], to, "/")
        if (from[1] == "include") { from[2] = "base" }
        if (!(from[2] in may)) { print FILENAME ": unknown layer " from[2]; next }
        if (n == 1 && to[1] != "fathom.h") {
            print FILENAME ": include \"" quoted[2] "\" by its path from src/"
        } else if (to[1] != from[2] && index(" " may[from[2]] " ", " " to[1] " ") == 0) {
            print FILENAME ": layer " from[2] " may not include " quoted[2]
        }
    }' "${src[@]}"
}

# A stem may appear as .c and .h of one folder (a public header in include/ counts as beside its .c).
check_stems() {
    printf '%s\n' "${code[@]}" | awk -F/ '
    {
        stem = $NF
        sub(/\.[a-z]+$/, "", stem)
        dir = $0
        sub(/\/[^\/]*$/, "", dir)
        if (dir == "include") { next }
        if (stem in seen && seen[stem] != dir) { print $0 ": the stem " stem " is also in " seen[stem] }
        seen[stem] = dir
        if (stem ~ /^(utils?|helpers?|misc|common)$/) { print $0 ": not a noun of the field" }
    }'
}

# A non-static symbol is called after its file.
check_symbols() {
    local o stem
    for o in "$build"/obj/*/*.o "$build"/obj/*/*/*.o; do
        [ -e "$o" ] || continue
        stem=$(basename "$o" .o)
        local from="src/${o#"$build"/obj/}"
        [ -e "${from%.o}.c" ] || [[ $o == "$build"/obj/gen/* ]] || continue # its source is gone
        nm -g --defined-only "$o" | awk -v stem="$stem" -v file="${from%.o}.c" '
        NF == 3 && $3 != stem && index($3, stem "_") != 1 && $3 != "main" {
            print file ": the symbol " $3 " does not begin with " stem "_"
        }'
    done
}

# Lines per file, header and function; columns.
check_sizes() {
    awk '
    FNR == 1 { report(); file = FILENAME; lines = 0; open = 0 }
    { lines = FNR }
    {
        text = $0
        gsub(/[\200-\277]/, "", text) # count characters, not bytes
        # written for 100; a little over is no violation, nor are tables of strings in tests
        if (length(text) > (most = FILENAME ~ /^tests/ ? 160 : 112)) { print FILENAME ":" FNR ": " length(text) " columns, at most " most }
    }
    /\t/ && FILENAME !~ /golden/ { print FILENAME ":" FNR ": a tab" }
    /[ \t]$/ { print FILENAME ":" FNR ": blanks at the end of the line" }
    /^\{/ { open = FNR }
    /^\}/ && open {
        if (FNR - open + 1 > 120) {
            print FILENAME ":" open ": a function of " FNR - open + 1 " lines, at most 120"
        }
        open = 0
    }
    END { report() }
    function report(    max) {
        # headers of tensor/cpu are templates: code that is compiled once per CPU level
        max = file ~ /\.h$/ && file !~ /^tests|^src\/tensor\/cpu/ ? 250 : 1000
        if (file == "include/fathom.h") { max = 300 }
        if (file != "" && lines > max) { print file ": " lines " lines, at most " max }
    }' "${code[@]}"
}

# The first line of a file says what it is; intrinsics stay where they belong.
check_content() {
    local f
    for f in "${code[@]}"; do
        case $(head -c 2 "$f") in
        '/*' | '//') ;;
        *) echo "$f: does not begin with a comment that says what it is" ;;
        esac
    done
    grep -lE '<(x86|imm|[a-z]mm|arm_neon|arm_sve)[a-z0-9_]*\.h>|\b_mm(256|512)?_[a-z]' "${src[@]}" |
        grep -v '^src/tensor/cpu/' | sed 's/$/: intrinsics outside src\/tensor\/cpu/'
    grep -nE '\b(assert|abort|exit|_exit)[ ]*\(' "${src[@]}" /dev/null |
        grep -vE '^src/cli/(main|mapfault|subprocess)\.c:|^src/server/(sandbox_probe|pdfworker)\.c:|^[^:]*:[0-9]+:[ ]*(/?\*|//)|static_assert|_Static_assert' |
        sed 's/$/   (input never ends the program)/'
    grep -nE '\b(pthread_cond_timedwait|sem_timedwait|pthread_mutex_timedlock)\b' "${src[@]}" /dev/null |
        grep -v '^src/base/condition\.c:' |
        sed 's/$/   (condition_wait: the clock may be set)/'
    # Words that may not stay. Written apart here so that this file passes.
    files . | grep -vE '^tests/golden/|\.(gguf|safetensors|npy|bin|png)$' | while read -r f; do
        [ -f "$f" ] && grep -nHIE "TO""DO|FIX""ME|\bXX""X\b|/wo""rk/|/tmp/p""y|/tmp/w""t|/ro""ot/|/ho""me/[a-z]" "$f"
    done | cut -c1-160
}

check_readmes() {
    local d
    find src -type d | while read -r d; do
        [ "$d" = src ] && continue
        ls "$d"/*.[ch] >/dev/null 2>&1 || ls "$d"/*.cu >/dev/null 2>&1 || continue
        if [ ! -e "$d/README.md" ]; then
            echo "$d: no README.md"
        elif [ "$(wc -l <"$d/README.md")" -gt 30 ]; then
            echo "$d/README.md: over 30 lines"
        fi
    done
}

# The page: text never becomes markup, every module is embedded, sizes as elsewhere.
check_web() {
    local f
    files web | grep -E '\.js$' | while read -r f; do
        [ -e "$f" ] || continue
        grep -nHE 'innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\(|new Function' \
            "$f" | sed 's/$/   (text never becomes markup or code)/'
        [[ $(head -c 3 "$f") == '// ' ]] || echo "$f: does not begin with a comment that says what it is"
        awk '{ text = $0; gsub(/[\200-\277]/, "", text) }
            length(text) > 112 { print FILENAME ":" FNR ": " length(text) " columns, at most 112" }
            /\t/ { print FILENAME ":" FNR ": a tab" }
            /[ \t]$/ { print FILENAME ":" FNR ": blanks at the end of the line" }
            END { if (FNR > 400) { print FILENAME ": " FNR " lines, at most 400" } }' "$f"
        grep -q " $f " web/assets.list || echo "$f: web/assets.list does not name it"
    done
    [ "$(wc -l <web/README.md)" -le 30 ] || echo "web/README.md: over 30 lines"
}

check_map() {
    tools/map.sh | cmp -s - docs/map.md || echo "docs/map.md is out of date; run: make map"
}

# Both compilers over every file, tests included, warnings as errors; each header alone.
check_warnings() {
    local cc
    for cc in gcc clang; do
        command -v "$cc" >/dev/null || { echo "lint: no $cc here, not checked with it" >&2; continue; }
        env -u MAKEFLAGS make -s -k -j2 CC="$cc" BUILD="$build/lint-$cc" syntax 2>&1 |
            grep -E ': (fatal )?(error|warning):' |
            sed "s/^/$cc: /"
    done
}

for check in layers stems symbols sizes content readmes web map warnings; do
    "check_$check" >>"$bad"
done
cat "$bad"
n=$(wc -l <"$bad")
[ "$n" -eq 0 ] && echo "lint: ${#code[@]} files, no violation" && exit 0
echo "lint: $n violations"
exit 1
