#!/usr/bin/env bash
# Turns a file into C source, so that the program carries it. Usage: embed.sh FILE SYMBOL > OUT.c
# Gives `const unsigned char SYMBOL[]` (with a NUL after the end) and `const size_t SYMBOL_size`.
set -euo pipefail
cat <<EOF
/* Made by tools/embed.sh from $1; edit that. */
#include <stddef.h>

extern const unsigned char $2[];
extern const size_t $2_size;

const unsigned char $2[] = {
$(od -An -v -tx1 "$1" | sed 's/ \(..\)/0x\1,/g')
0};
const size_t $2_size = sizeof $2 - 1;
EOF
