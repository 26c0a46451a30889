#!/usr/bin/env bash
# The first conversation, with the real model where it is registered (./run fetches it): the same answer
# twice, in both spellings of its name, valid JSON, and a chat through a pipe.
set -eu
fathom=${FATHOM_BUILD:-build}/fathom
if ! "$fathom" list --json | grep -q '"name": "smollm2"'; then
    echo "[  SKIPPED ] smollm2 is not here; tools/get_smollm2.sh fetches it"
    exit 0
fi
path=$("$fathom" list --json | sed -n 's/.*"path": "\(.*smollm2.*\)",/\1/p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$fathom" run --prompt "The sky is" --temperature 0 --max-tokens 8 --json >"$work/a"
"$fathom" run "$path" --prompt "The sky is" --temperature 0 --max-tokens 8 --json >"$work/b"
for key in text tokens prompt_tokens completion_tokens prefill_tps decode_tps finish_reason; do
    grep -q "\"$key\"" "$work/a"
done
text() { sed 's/.*"text": *"\([^"]*\)".*/\1/' "$1"; }
[ "$(text "$work/a")" = "$(text "$work/b")" ]
printf 'Say hello.\n' | "$fathom" chat --temperature 0 --max-tokens 8 >"$work/c" 2>"$work/c.err"
[ -s "$work/c" ]
! grep -q "$(printf '\033')" "$work/c" # plain when piped
echo "[       OK ] smollm2 answers"
