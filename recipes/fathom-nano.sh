#!/usr/bin/env bash
# fathom-nano from its texts: vocabulary, datasets, pretraining, conversations, practice, quantising. What is done is not
# done again, and learning goes on where it was stopped (Ctrl-C saves), so run it until it says done.
#
#     recipes/fathom-nano.sh TEXTS OUT
#
#   TEXTS   the folder with books.txt.zst, wiki.txt.zst and the others that recipes/README.md names
#   OUT     a folder for all that comes out; OUT/models/fathom-nano is the model
#
# Environment, with what holds without:
#   MINUTES=            end after so many minutes of learning, to go on later
#   BASE= CHAT= PRACTICE=  further settings of the three stages: BASE='schedule.tokens=1e6 run.checkpoint_every=10'
#   TYPE=q4_k_s         the routed experts' quantised type
#   DENSE=q8_0          the quantised type of all else
#   THREADS=  FATHOM=build/fathom
set -euo pipefail
self=$(readlink -f "$0")
if [ $# -ne 2 ]; then
    sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//;p}' "$self"
    exit 2
fi
recipes=$(dirname "$self")
fathom=$(readlink -f "${FATHOM:-$recipes/../build/fathom}")
texts=$(readlink -f "$1")
mkdir -p "$2"
cd "$2"
ends=${MINUTES:+$((SECONDS + 60 * MINUTES))}

# make_once WHAT COMMAND…: unless WHAT is there.
make_once() {
    local what=$1
    shift
    [ -e "$what" ] || "$@"
}

text_data() {
    local sources=() name
    for name in books wiki dialogues factbook; do
        sources+=(--source "$name=$texts/$name.txt.zst" --val "$name=$texts/val.$name.txt.zst")
    done
    "$fathom" data text --tokenizer tokenizer "${sources[@]}" --licence 'wiki=CC BY-SA 3.0' \
        --licence 'books=public domain in the United States' --licence 'dialogues=CC BY-SA 4.0' \
        --licence 'factbook=CC0'
}

conversations() {
    python3 "$recipes/../tools/conversations.py" --texts "$texts" --out chat.new
    mv chat.new chat
}

chat_data() {
    local sources=() name
    for name in talk smalltalk facts writing exercises; do
        sources+=(--chat "$name=chat/$name.jsonl")
    done
    "$fathom" data chatdata --tokenizer tokenizer "${sources[@]}" --licence 'facts=CC0' --licence 'exercises=MIT' \
        --licence smalltalk=MIT --licence 'talk=CC BY-SA 4.0, BSD-3-Clause' --licence 'writing=CC BY-SA 3.0, public domain'
}

practice_data() {
    "$fathom" data practicedata --tokenizer tokenizer --chat practice=chat/practice.jsonl --chat talk=chat/talk.jsonl \
        --chat facts=chat/facts.jsonl --chat writing=chat/writing.jsonl --licence 'facts=CC0' --licence practice=MIT \
        --licence 'talk=CC BY-SA 4.0, BSD-3-Clause' --licence 'writing=CC BY-SA 3.0, public domain'
}

# learn RECIPE DATA SETTING…: to its end, or until the minutes are over.
learn() {
    local name=$1 data=$2 s set=()
    shift 2
    [ ! -e "runs/$name/model.gguf" ] || return 0
    for s in "$@"; do
        set+=(--set "$s")
    done
    if [ -n "$ends" ]; then
        [ "$SECONDS" -lt "$ends" ] || { echo "fathom-nano: the minutes are over; run me again" >&2; exit 0; }
        set+=(--minutes $(((ends - SECONDS + 59) / 60)))
    fi
    [ ! -e "runs/$name/recipe.json" ] || set+=(--resume)
    "$fathom" train "$recipes/$name.ini" --data "$data" --out "runs/$name" --report "page-$name" \
        ${THREADS:+--threads "$THREADS"} ${set+"${set[@]}"}
    [ -e "runs/$name/model.gguf" ] || exit 0 # it has said how to go on
}

# The model as it is shipped, where `fathom` finds it by name.
ship() {
    local file=fathom-nano-${TYPE:-q4_k_s}.gguf
    [ -e "$file" ] || "$fathom" quantize runs/fathom-nano-practice/model.gguf "$file" "${TYPE:-q4_k_s}" --dense "${DENSE:-q8_0}"
    FATHOM_MODELS=models "$fathom" pull "file:$PWD/$file" --name fathom-nano --licence MIT \
        --source "trained by recipes/fathom-nano.sh"
}

# shellcheck disable=SC2086 # settings are words
{
    make_once tokenizer "$fathom" tokenizer train --vocab-size 8192 --out tokenizer --text "$texts/books.txt.zst" \
        --text "$texts/wiki.txt.zst" --text "$texts/dialogues.txt.zst" --text "$texts/factbook.txt.zst"
    make_once text text_data
    make_once chat conversations
    make_once chatdata chat_data
    make_once practicedata practice_data
    learn fathom-nano text ${BASE:-}
    learn fathom-nano-chat chatdata ${CHAT:-}
    learn fathom-nano-practice practicedata ${PRACTICE:-}
    make_once models/fathom-nano ship
}
echo "fathom-nano: done: $PWD/models/fathom-nano"
