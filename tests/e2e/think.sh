#!/usr/bin/env bash
# Models that think before they answer, as V3.1 (when asked to) and as R1 (always): the tiny thinking model's
# thoughts are kept apart in a pipe, on a terminal, in JSON and in saved talks. Prints cmocka-like lines for
# tools/run_tests.sh.
set -u
source tests/e2e/expect.bash
model=tests/golden/thinkmodel
export XDG_STATE_HOME=$work/state
chat() { # lines on stdin
    "$fathom" chat "$model" --temperature 0 "$@" 2>"$work/stderr"
}
run() { # prompt, options
    local prompt=$1
    shift
    "$fathom" run "$model" --temperature 0 --prompt "$prompt" "$@" 2>"$work/stderr"
}
talk() { # what a person at a terminal sees of one `fathom run`
    TERM=xterm script -qec "$fathom run $model --temperature 0 --prompt $*" /dev/null </dev/null | tr -d '\r'
}

thoughts='Two and three\.\\nThat makes 5\.' # as JSON spells them, for grep
each_way() { # name
    check "$1_answers_at_once_unless_asked" "It is 5." "$(run sum)"
    check "$1_thinks_and_a_pipe_gets_the_answer" "It is 5." "$(run sum --think)"
    has "$1_json_keeps_thoughts_apart" '^\{"text":"It is 5\.",.*"finish_reason":"stop",.*"reasoning":"'"$thoughts"'"\}$' \
        "$(run sum --think --json | sed 's/"seed":[0-9]*,//')"
    has "$1_json_of_an_answer_at_once_has_no_reasoning" '^\{"text":"It is 5\.".*"accepted_tokens":[0-9]+\}$' "$(run sum --no-think --json)"
    check "$1_r1_always_thinks" "It is 5." "$(run sum --chat-format deepseek-r1)"
    has "$1_r1_json" '^\{"text":"It is 5\.",.*"reasoning":"'"$thoughts"'\\n"\}$' \
        "$(run sum --chat-format deepseek-r1 --json)"
}
each_way control_tokens
# The files of R1 itself say that the two tokens are no control tokens.
cp -r tests/golden/thinkmodel "$work/plain"
sed -E -i 's#("content": "</?think>"[^}]*)"special": true#\1"special": false#g' "$work/plain/tokenizer.json"
check the_copy_differs 1 "$(cmp -s $model/tokenizer.json "$work/plain/tokenizer.json"; echo $?)"
model=$work/plain
each_way plain_tokens
model=tests/golden/thinkmodel

check less_than_signs_in_thoughts_and_answers_are_text "a <b> é" "$(run tag --think)"
has less_than_signs_in_thoughts_stay '"reasoning":"x < y, and </b> is a tag\."' "$(run tag --think --json)"
run sum --no-think --chat-format deepseek-r1 >/dev/null
check r1_cannot_be_told_not_to_think 2 $?

check an_answer_cut_in_its_thoughts_is_empty "" "$(run sum --think --max-tokens 9)"
has and_says_why 'cut at --max-tokens 9, still thinking' "$(cat "$work/stderr")"
has and_json_has_the_thoughts_so_far '^\{"text":"",.*"finish_reason":"length",.*"reasoning":"Two and t"\}$' \
    "$(run sum --think --max-tokens 9 --json)"
printf '/think on\nsum\n' | chat --max-tokens 9 >/dev/null
has chat_says_so_too 'cut at --max-tokens 9, still thinking' "$(cat "$work/stderr")"

check thoughts_that_no_answer_follows_leave_it_empty "" "$(run sum --think --stop That)"
check and_that_is_said '[the model ended without an answer, still thinking]' "$(cat "$work/stderr")"
check an_answer_says_nothing_more "It is 5.|" "$(run sum --think)|$(cat "$work/stderr")"

check chat_thinks_when_asked_to "It is 5.
thinking is off
thinking is on
thinking is on
Then 6." "$(printf 'sum\n/think\n/think on\n/think\nmore\n' | chat)"
check chat_says_that_r1_always_thinks "It is 5." "$(printf '/think off\nsum\n' | chat --chat-format deepseek-r1)"
has and_says_so 'always thinks' "$(cat "$work/stderr")"
printf '/think on\nsum\n/save %s/chat.json\n' "$work" | chat >/dev/null
has saved_talks_keep_the_thoughts '"reasoning": "Two and three' "$(cat "$work/chat.json")"
check thoughts_of_earlier_turns_are_not_repeated "loaded 2 messages from $work/chat.json
Then 6." "$(printf '/load %s/chat.json\nmore\n' "$work" | chat)"

if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    seen=$(talk sum --think)
    has a_terminal_shows_thoughts_dimmed_before_the_answer $'\033\\[2mTwo and three\\.' "$seen"
    check no_escapes_without_colour 0 "$(NO_COLOR=1 talk sum --think | grep -c $'\033')"
    check and_the_answer_after_them "That makes 5."$'\033[0m'"

It is 5." "$(tail -n +2 <<<"$seen" | head -3)"
    has a_terminal_shows_that_no_guess_was_tried 'no guess seemed worth trying' \
        "$(talk sum --speculate lookup --max-tokens 1)"
else
    echo "[  SKIPPED ] a_terminal_shows_thoughts_dimmed_before_the_answer: no script(1)"
fi
exit $failed
