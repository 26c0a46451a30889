#!/usr/bin/env bash
# Turns the files of a list (web/assets.list says how it is written) into C source, so that the program carries
# its page. Usage: embed_web.sh LIST > OUT.c ; embed_web.sh --sources LIST prints the files that are there.
# Gives `webassets_table` and `webassets_table_size` (server/webassets.h).
set -euo pipefail
sources_only=
if [ "$1" = --sources ]; then
    sources_only=yes
    shift
fi

bytes() { # name: a C array of what stdin has
    echo "static const unsigned char $1[] = {"
    od -An -v -tx1 | sed 's/ \(..\)/0x\1,/g'
    echo '0};'
}

rows=
n=0
[ -n "$sources_only" ] || cat <<EOF2
/* Made by tools/embed_web.sh from $1 and what it names; edit those. */
#include "server/webassets.h"

EOF2
while read -r path source type; do
    case $path in '' | '#'*) continue ;; esac
    file=${source#\?}
    if [ ! -e "$file" ]; then
        [ "$file" != "$source" ] && continue
        echo "embed_web: $file is not there, but $1 names it" >&2
        exit 1
    fi
    if [ -n "$sources_only" ]; then
        echo "$file"
        continue
    fi
    bytes "plain_$n" <"$file"
    size=$(wc -c <"$file")
    packed=$(gzip -9nc "$file" | wc -c)
    if [ "$packed" -lt "$size" ]; then
        gzip -9nc "$file" | bytes "packed_$n"
        packed="packed_$n, $packed"
    else
        packed="NULL, 0"
    fi
    rows+="    {\"$path\", \"$type\", \"\\\"$(sha256sum "$file" | cut -c1-16)\\\"\","
    rows+=" plain_$n, $size, $packed},"$'\n'
    n=$((n + 1))
done <"$1"
[ -n "$sources_only" ] || cat <<EOF2

const struct webasset webassets_table[] = {
$rows};
const size_t webassets_table_size = $n;
EOF2
