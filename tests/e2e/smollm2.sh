#!/usr/bin/env bash
# The first conversation, with the real model where it is registered (./run fetches it): the same answer
# twice, in both spellings of its name, valid JSON, and a chat through a pipe.
set -eu
fathom=${FATHOM_BUILD:-build}/fathom
if ! "$fathom" list --json | grep -q '"name": "smollm2"'; then
    echo "[  SKIPPED ] smollm2 is not here; tools/get_smollm2.sh fetches it"
    exit 0
fi
export FATHOM_MODEL=smollm2
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

# Perplexity of the beginning of the GPL, which every Debian has: llama.cpp's is 16.2882 over the same 765 tokens
# (llama-cpp-python 0.3.36, bench/perplexity_vs_llamacpp.py); within 0.5%.
gpl=/usr/share/common-licenses/GPL-3
if [ -r "$gpl" ] && echo "3972dc9744f6499f0f9b2dbf76696f2ae7ad8af9b23dde66d6af86c9dfb36986  $gpl" | sha256sum -c --status; then
    head -c 9100 "$gpl" >"$work/gpl"
    "$fathom" eval smollm2 --perplexity "$work/gpl" --json >"$work/p"
    awk -F'[:,]' '/"tokens":765/ && $2 > 16.2882 * 0.995 && $2 < 16.2882 * 1.005 { ok = 1 } END { exit !ok }' "$work/p" ||
        { cat "$work/p"; exit 1; }
    echo "[       OK ] perplexity_is_llama_cpps"
else
    echo "[  SKIPPED ] perplexity_is_llama_cpps: no GPL-3 here"
fi

# With float32 rounding alone the greedy answers are the exact ones (float64, bench/answers_vs_exact.py), token for
# token. The reference ops would take minutes, so a machine without AVX2 leaves this out.
if ! grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
    echo "[  SKIPPED ] greedy_answers_are_the_exact_ones: no AVX2 here"
    exit 0
fi
while IFS=$'\t' read -r prompt ids; do
    printf -v prompt '%b' "$prompt"
    FATHOM_CPU=avx2 "$fathom" run smollm2 --raw --prompt "$prompt" --temperature 0 --repeat-penalty 1 --allow-loops \
        --deterministic --kv-type f32 --max-tokens 64 --json >"$work/d"
    said=$(sed 's/.*"tokens": *\[\([0-9,]*\)\].*/\1/' "$work/d")
    if [ "$said" != "$ids" ]; then
        printf '%s\nexactly: %s\nfathom:  %s\n' "$prompt" "$ids" "$said"
        exit 1
    fi
done <tests/golden/smollm2/answers.tsv
echo "[       OK ] greedy_answers_are_the_exact_ones"

# Guessing ahead changes the speed alone: a text that repeats itself, whose tokens are mostly guessed right.
poem='The apples fall, the wind comes down, the ladder leans, the lantern moves from tree to tree. '
said() { # how
    "$fathom" run smollm2 --raw --prompt "$poem$poem$poem" --temperature 0 --repeat-penalty 1 --allow-loops \
        --max-tokens 120 --speculate "$1" --json
}
said off >"$work/off"
said auto >"$work/auto"
tokens() { sed 's/.*"tokens": *\[\([0-9,]*\)\].*/\1/' "$1"; }
if [ "$(tokens "$work/off")" != "$(tokens "$work/auto")" ] ||
    ! awk -F'"accepted_tokens":' '$2 + 0 >= 20 { ok = 1 } END { exit !ok }' "$work/auto"; then
    cat "$work/off" "$work/auto"
    exit 1
fi
echo "[       OK ] guesses_change_no_token"
