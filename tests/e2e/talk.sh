#!/usr/bin/env bash
# `fathom chat`, `run` and `eval` end to end, with the tiny model that knows a few dialogues by heart.
# Prints cmocka-like lines for tools/run_tests.sh.
set -u
source tests/e2e/expect.bash
model=tests/golden/chatmodel
export XDG_STATE_HOME=$work/state
chat() { # lines on stdin
    "$fathom" chat $model --temperature 0 "$@" 2>"$work/stderr"
}

hello='Hello! 你好 🐳'
check chat_remembers_the_turn_before "$hello
Hello again." "$(printf 'hello\nagain\n' | chat)"
check chat_forgets_after_clear "$hello
the conversation starts anew
There was nothing before." "$(printf 'hello\n/clear\nagain\n' | chat)"
check chat_joins_quoted_lines "I saw two lines." "$(printf '"""two\nlines"""\n' | chat)"
check chat_joins_backslash_lines "I saw two lines." "$(printf 'two\\\nlines\n' | chat)"
check chat_follows_the_system_text "system text set
Hi.
1 2 3" "$(printf '/system Be brief.\nhello\ncount\n' | chat)"
check chat_takes_a_system_option "1 2 3" "$(printf 'count\n' | chat --system 'Be brief.')"

out=$(printf 'hello\nagain\n/stats\n' | chat)
has chat_reads_only_new_tokens 'read 50, .*; 43 more were known from before$' "$out"
has chat_counts_what_it_made 'answers  2; made 32 tokens' "$out"
has chat_counts_guesses 'guesses  ([0-9]+ tokens guessed ahead, [0-9]+ right|none tried)' "$out"
has drafts_longer_than_are_made_are_refused '--draft 4: 1 to 3 tokens' "$(chat --draft 4 </dev/null; cat "$work/stderr")"
has drafts_without_guessing_are_refused 'nothing is guessed' "$(chat --draft 2 --speculate off </dev/null; cat "$work/stderr")"
has chat_says_when_guessing_is_off 'guesses  off' "$(printf 'hello\n/stats\n' | chat --speculate off)"

printf 'hello\n/save %s/chat.json\n' "$work" | chat >/dev/null
check chat_goes_on_with_a_saved_talk "loaded 2 messages from $work/chat.json
Hello again." "$(printf '/load %s/chat.json\nagain\n' "$work" | chat)"
check chat_loads_at_the_start "loaded 2 messages from $work/chat.json
Hello again." "$(printf 'again\n' | chat --load "$work/chat.json")"
printf '/save %s/brief.json\n' "$work" | chat --load "$work/chat.json" --system 'Be brief.' >/dev/null
has chat_takes_a_system_text_over_that_of_the_file '"system": "Be brief."' "$(cat "$work/brief.json")"
has chat_says_what_it_replaced 'saved 2 messages, replaced .*/chat.json' "$(printf 'hello\n/save %s/chat.json\n' "$work" | chat)"
has chat_knows_the_home_folder "loaded 2 messages from $work/chat.json" "$(echo '/load ~/chat.json' | HOME=$work chat)"
printf 'hello\n/save %s/no/x y.json\n' "$work" | chat >/dev/null
has chat_names_the_file_it_cannot_write 'no/x y.json: ' "$(cat "$work/stderr")"
printf '/system\n  /clear extra\n' | chat >/dev/null
has chat_knows_that_there_is_no_system_text 'there is no system text' "$(cat "$work/stderr")"
has chat_refuses_surplus_words '/clear takes nothing after it, got "extra"' "$(cat "$work/stderr")"
retry() { # a model in doubt
    printf 'hello\n/retry\n/retry\n/retry\n' |
        chat --top-p 1 --logit-bias 32=10 --logit-bias 72=-inf --logit-bias 101=-inf --seed 1 --max-tokens 8
}
check chat_draws_another_answer_at_temperature_0 yes "$([ "$(retry | sort -u | wc -l)" -gt 1 ] && echo yes || retry)"
echo notes >"$work/notes"
printf 'hello\n/save %s/notes\n/save %s/chat.json\n' "$work" "$work" | chat >/dev/null
has chat_saves_over_chats_only 'notes is already there and no saved chat' "$(cat "$work/stderr")"
check and_leaves_other_files_alone notes "$(cat "$work/notes")"
head -c 80 "$work/chat.json" >"$work/cut.json"
printf '/load %s/cut.json\nhello\n' "$work" | chat >"$work/out"
check chat_fails_in_a_script_when_a_command_failed 1 $?
check chat_keeps_talking_after_a_failed_command "$hello" "$(cat "$work/out")"
has chat_says_what_is_wrong_with_a_file 'cut.json' "$(cat "$work/stderr")"

printf '/hlep\n' | chat >/dev/null
has chat_suggests_commands 'did you mean /help' "$(cat "$work/stderr")"
printf '/edit\n' | chat >/dev/null
has chat_sends_nobody_out_for_a_slip 'there is no command /edit; /help lists them' "$(cat "$work/stderr")"
printf '/think on\n' | chat >/dev/null
has chat_says_when_a_model_cannot_think 'does not think' "$(cat "$work/stderr")"
has chat_lists_its_commands '/retry' "$(printf '/help\n' | chat)"
printf 'hello\n' | chat --context 30 >"$work/out"
has chat_says_when_the_context_is_full 'context of 30 tokens is full: /clear' "$(cat "$work/stderr")"
printf 'hello\nagain\n' | chat --context 50 >"$work/out"
has chat_refuses_what_does_not_fit 'has 68 tokens and the context holds 50' "$(cat "$work/stderr")"
check chat_is_plain_in_a_pipe 0 "$(printf 'hello\nagain\n' | chat | grep -c $'\033')"
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    history=$work/state/fathom/chat_history
    typed() { # what a terminal shows when somebody types something; options
        printf 'canaryQ8\n/exit\n' | XDG_STATE_HOME=$work/state TERM=xterm timeout 20 \
            script -qec "$fathom chat $model --temperature 0 --max-tokens 3 --threads 1 $*" /dev/null
    }
    has chat_says_that_what_is_typed_is_forgotten 'forgotten at the end \(--keep-history' "$(typed)"
    check and_it_is "" "$(grep -rl canaryQ8 "$work/state" 2>/dev/null)"
    has chat_says_where_what_is_typed_is_kept "kept as plain text in $history" "$(typed --keep-history)"
    check and_there_it_is "$history" "$(grep -rl canaryQ8 "$work/state")"
    has chat_says_what_was_kept_before "What was kept before is in $history" "$(typed)"
    rm -r "$work/state"
fi
check chat_keeps_no_history_in_a_pipe no "$([ -e "$work/state/fathom/chat_history" ] && echo yes || echo no)"

check run_answers_a_prompt "$hello" "$("$fathom" run $model --prompt hello --temperature 0)"
check run_reads_stdin "$hello" "$(echo hello | "$fathom" run $model --temperature 0)"
check run_stops_before_a_string "Hello" "$("$fathom" run $model --prompt hello --temperature 0 --stop '! 你')"
json=$("$fathom" run $model --prompt hello --temperature 0 --max-tokens 3 --logprobs 2 --seed 7 --json)
has run_json_has_the_promised_fields '^\{"text":"Hel","tokens":\[72,101,108\],"prompt_tokens":24,"completion_tokens":3,"prefill_tps":[0-9.]+,"decode_tps":[0-9.]+,"finish_reason":"length","seed":7,"drafted_tokens":[0-9]+,"accepted_tokens":[0-9]+,"logprobs":\[\{"id":72,"token":"H","logprob":-0.0' "$json"
has run_json_has_null_where_nothing_was_timed '"completion_tokens":1,"prefill_tps":[0-9.]+,"decode_tps":null' \
    "$("$fathom" run $model --prompt hello --max-tokens 1 --json)"
loop() { # ends only by the guard, or at the context's end
    "$fathom" run $model --prompt hello --logit-bias 32=100 --json --context 300 "$@"
}
has run_help_says_what_a_draft_may_be "1 to 3, with --deterministic 1 to 15" "$("$fathom" run --help)"
has run_stops_an_answer_that_loops '"finish_reason":"loop"' "$(loop)"
has run_lets_loops_go_on_when_asked '"completion_tokens":276,.*"finish_reason":"length"' "$(loop --allow-loops)"
printf 'count\n' | chat --logit-bias 32=100 >/dev/null
has chat_says_that_it_stopped_a_loop 'said the same over and over; --allow-loops' "$(cat "$work/stderr")"
"$fathom" run $model --prompt hello --context 30 >"$work/out" 2>"$work/stderr"
has run_says_when_the_context_cut_the_answer 'context of 30 tokens is full' "$(cat "$work/stderr")"
a=$("$fathom" run $model --raw --prompt x --temperature 2 --top-p 1 --seed 5 --max-tokens 20 --json | grep -o '"tokens":[^]]*')
b=$("$fathom" run $model --raw --prompt x --temperature 2 --top-p 1 --seed 5 --max-tokens 20 --json | grep -o '"tokens":[^]]*')
check run_repeats_with_the_same_seed "$a" "$b"
"$fathom" run $model --prompt hello --temperature 0 --max-tokens 4 --session "$work/s" >"$work/out"
check run_goes_on_with_a_session "Hell" "$(cat "$work/out")"
has run_sessions_are_continued '^o' "$("$fathom" run $model --raw --prompt '' --temperature 0 --session "$work/s")"
"$fathom" run $model --raw --prompt '' 2>"$work/stderr"
has run_needs_text_where_no_token_begins_one 'no token that begins a text; give some text' "$(cat "$work/stderr")"
"$fathom" run $model --prompt hello --session "$work/no/s" >"$work/out" 2>"$work/stderr"
check run_finds_an_unwritable_session_before_the_answer "" "$(cat "$work/out")"
has and_names_it 'no/s: ' "$(cat "$work/stderr")"
check run_bans_tokens "no" "$("$fathom" run $model --prompt hello --temperature 0 --logit-bias 72=-inf | grep -q H && echo yes || echo no)"
"$fathom" run $model --prompt hello --logit-bias nonsense 2>"$work/stderr"
check run_refuses_bad_options_with_2 2 $?
"$fathom" run $model --prompt hello --context 513 2>"$work/stderr"
check run_refuses_a_context_beyond_the_model 1 $?
has run_says_both_numbers '513 .* 512' "$(cat "$work/stderr")"

printf 'The quick brown fox jumps over the lazy dog. %.0s' 1 2 3 4 5 6 7 8 >"$work/text"
json=$("$fathom" eval $model --perplexity "$work/text" --context 64 --json)
has eval_scores_half_of_each_window '^\{"perplexity":[0-9.]+,"bits_per_byte":[0-9.]+,"tokens":155,"bytes":155\}$' "$json"
json=$("$fathom" eval $model --perplexity "$work/text" --context 64 --stride 16 --json)
has eval_stride_scores_every_token '"tokens":359,"bytes":359\}$' "$json"
json=$(FATHOM_CPU=ref "$fathom" eval $model --perplexity "$work/text" --context 64 --against $model --against-cpu ref \
    --deterministic --kv-type f32 --chunk 1 --json)
has eval_against_itself_finds_nothing '"ratio":1.00000000,.*"kl":0.000000000,.*"same_best":1.000000,"tokens":155,' "$json"
"$fathom" eval $model --perplexity "$work/text" --against-cpu ref 2>"$work/stderr"
check eval_wants_a_reference_for_its_level 2 $?
cp -r $model "$work/broken" # the end of its weights is NaN
printf '\377%.0s' {1..64} |
    dd of="$work/broken/model.safetensors" bs=1 conv=notrunc status=none \
        seek=$(($(stat -c %s $model/model.safetensors) - 64))
for against in "" "--against $model" "--against $work/broken"; do
    json=$("$fathom" eval "$work/broken" --perplexity "$work/text" --context 64 $against --json 2>"$work/stderr")
    check eval_of_a_broken_model_is_a_failure '1 ' "$? $json"
    has eval_says_what_is_broken 'predictions are no finite numbers' "$(cat "$work/stderr")"
done
"$fathom" eval $model --logits-out "$work/l.npy" --tokens 1,2,3 >/dev/null
check eval_writes_numpy_files $((128 + 3 * 259 * 4)) "$(stat -c %s "$work/l.npy")"
has eval_numpy_header_names_the_shape "'shape': \(3, 259\)" "$(head -c 128 "$work/l.npy" | tr -d '\0\223')"
cat >"$work/task" <<'LINES'
{"prompt": "hello", "answer": "你好"}
{"prompt": "again", "answer": "There was nothing before."}
{"prompt": "count", "answer": "eleven"}
LINES
check eval_asks_questions '{"items":3,"right":2,"exact":1,"accuracy":0.666667,"accuracy_exact":0.333333}' \
    "$("$fathom" eval $model --task "$work/task" --chat --json)"
echo '{"prompt": "one two three four", "choices": [" seven", " five six", " ten"], "answer": 1}' >"$work/task"
has eval_compares_choices '"items":1' "$("$fathom" eval $model --task "$work/task" --json)"
echo '{"prompt": "x", "choices": ["a"], "answer": 0}' >"$work/task"
"$fathom" eval $model --task "$work/task" 2>"$work/stderr"
has eval_names_the_bad_line 'task line 1: 1 choices' "$(cat "$work/stderr")"
echo '{"prompt": "x", "choices": ["a", "b"], "answer": "a"}' >"$work/task"
has eval_says_what_an_answer_is 'number of the right one, counted from 0' "$("$fathom" eval $model --task "$work/task" 2>&1)"
printf '\nno json\n' >"$work/task"
has eval_names_the_place_once 'task line 2, column 1: not valid JSON' "$("$fathom" eval $model --task "$work/task" 2>&1)"
"$fathom" eval $model --perplexity "$work/text" --context 513 2>"$work/stderr"
check eval_refuses_a_context_beyond_the_model 1 $?
has and_says_both_numbers '513 .* 512' "$(cat "$work/stderr")"
has eval_prints_the_window_it_used 'each window of 360; the text has 360' "$("$fathom" eval $model --perplexity "$work/text" --context 400)"
printf 'ab' >"$work/text"
has eval_says_that_a_text_is_too_short 'the text has 2 tokens; at least 4' "$("$fathom" eval $model --perplexity "$work/text" 2>&1)"
exit $failed
