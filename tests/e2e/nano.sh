#!/usr/bin/env bash
# The model that came with the program: it is what a first start opens, its file is the one the card names, it talks,
# remembers and reckons, and its own guesses change no token.
set -u
source tests/e2e/expect.bash
unset FATHOM_BUNDLED FATHOM_MODEL
export FATHOM_MODELS=$work/none
folder=models/fathom-nano
if [ ! -e $folder/manifest ]; then
    echo "[  FAILED  ] no_model_came_with_the_program: $folder/manifest is not there"
    exit 1
fi

has a_first_start_opens_it '"default": true' "$("$fathom" list --json)"
sum=$(cut -d' ' -f1 <(sha256sum $folder/*.gguf))
has it_does_not_offer_to_think 'format fathom does not think' "$("$fathom" run --think --prompt Hello 2>&1)"
has its_file_is_the_manifests "$sum" "$(cat $folder/manifest)"
has its_file_is_the_cards "$sum" "$(cat $folder/README.md)"
check it_fits_into_40_megabytes yes "$([ "$(stat -c %s $folder/*.gguf)" -le 40000000 ] && echo yes)"
check nothing_of_it_is_fetched_or_written no "$([ -e "$FATHOM_MODELS" ] && echo yes || echo no)"

talk=$(printf '%s\n' 'Hello! My name is Anna.' 'What is 7 + 5?' 'What is my name?' | "$fathom" chat --temperature 0)
has it_talks_and_remembers_a_name 'Anna.*12.*Anna' "$(tr '\n' ' ' <<<"$talk")"
has it_says_what_it_is 'language model' "$("$fathom" run --prompt 'Who are you?' --temperature 0)"
story=$("$fathom" run --prompt 'Tell me a story about a fox.' --temperature 0)
has it_tells_a_story_of_what_was_asked '^Once .*fox.*\.$' "$story"

said() { # animal how
    "$fathom" run --prompt "Tell me a story about a $1." --temperature 0 --max-tokens 100 --json --deterministic \
        --speculate "$2"
}
tokens() { sed 's/.*"tokens": *\[\([0-9,]*\)\].*/\1/' <<<"$1"; }
guessed=$(said fox mtp)
check its_own_guesses_change_no_token "$(tokens "$(said fox off)")" "$(tokens "$guessed")"
# How many guesses are tried is up to the clock: on a busy machine few.
counts=$(for animal in bear bird cat; do said $animal mtp; done | cat - <(echo "$guessed") |
    sed 's/.*"drafted_tokens": *\([0-9]*\).*"accepted_tokens": *\([0-9]*\).*/\1 \2/')
most=$(awk '{ n += $1; right += $2 } END { print (right >= 8 && right >= 0.7 * n) ? "yes" : right " of " n }' <<<"$counts")
check and_most_are_right yes "$most"
exit $failed
