#!/usr/bin/env bash
# The program as scripts see it: exit codes, streams, closed and full outputs.
set -u
fathom=${FATHOM_BUILD:-build}/fathom
FATHOM_MODELS=$(mktemp -d)
export FATHOM_MODELS FATHOM_BUNDLED=/no/such/folder
out=$FATHOM_MODELS/out
err=$FATHOM_MODELS/err
trap 'rm -rf "$FATHOM_MODELS"' EXIT
failures=0

# expect NAME STATUS STDOUT-PATTERN STDERR-PATTERN COMMAND…; an empty pattern means an empty stream
expect() {
    local name=$1 status=$2 o=$3 e=$4 got
    shift 4
    "$@" >"$out" 2>"$err" </dev/null
    got=$?
    if [ "$got" -eq "$status" ] && matches "$o" "$out" && matches "$e" "$err"; then
        echo "[       OK ] $name"
        return
    fi
    echo "$name: $* gave $got (expected $status)"
    head -5 "$out" "$err"
    echo "[  FAILED  ] $name"
    echo "[  FAILED  ] $name"
    failures=1
}
matches() {
    if [ -z "$1" ]; then [ ! -s "$2" ]; else grep -q -- "$1" "$2"; fi
}

expect help_is_on_stdout 0 'usage: fathom VERB' '' "$fathom" --help
expect version_is_one_line 0 '^fathom [0-9.]*$' '' "$fathom" --version
expect nothing_asked_is_wrong_usage 2 '' 'usage: fathom VERB' "$fathom"
expect unknown_verb_suggests 2 '' 'did you mean "list"' "$fathom" lsit
expect who_wants_to_delete_a_model_hears_how 2 '' 'deleted with its folder' "$fathom" remove mine
expect unknown_option_suggests 2 '' 'did you mean --json' "$fathom" list --jsn
expect no_models_is_not_an_error 0 '' 'no models here yet' "$fathom" list
expect a_misspelt_folder_is_named 0 '^\[\]$' 'FATHOM_MODELS names /nonex, and there is no such folder' \
    env FATHOM_MODELS=/nonex "$fathom" list --json
expect list_says_how_to_delete 0 'delete its folder' '' "$fathom" list --help
expect the_variable_that_named_a_model_is_named 1 '' 'FATHOM_MODEL says foo: there is no model "foo"' \
    env FATHOM_MODEL=foo "$fathom" run --prompt hello
expect a_recipe_is_looked_for_before_data 1 '' 'nosuch.ini' "$fathom" train nosuch.ini
expect json_is_json_when_empty 0 '^\[\]$' '' "$fathom" list --json
expect catalogue_names_licences 0 'deepseek-r1 .*GB  yes    MIT ' '' "$fathom" list --catalogue
expect missing_default_says_how 1 '' 'Get it: ./run pull smollm2' "$fathom" run --prompt hello
expect pull_of_it_says_the_same 2 '' 'Get it: ./run pull smollm2' "$fathom" pull smollm2
expect missing_model_says_how 1 '' 'fathom pull deepseek-v2-lite' "$fathom" run deepseek-v2-lite --prompt hello
expect run_takes_a_text_for_a_model 1 '' 'If "why is it so" is the text, write: --prompt "why is it so"' "$fathom" run 'why is it so'
expect run_takes_a_second_word_for_a_model 1 '' 'If "why is" is the text, write: --prompt "why is"' "$fathom" run --prompt why is
expect tokenize_takes_a_text_for_a_model 1 '' 'If "hello" is the text, write: --text "hello"' "$fathom" tokenize hello
model=tests/golden/chatmodel
expect pull_suggests_names 2 '' 'did you mean deepseek-r1-distill-qwen-1.5b' "$fathom" pull deepseek-r1-distil
expect pull_of_nothing_fails 1 '' 'x.gguf' "$fathom" pull http://127.0.0.1:9/x.gguf --retries 0
expect and_leaves_no_trace 0 '' 'no models here yet' "$fathom" list
cp -r tests/golden/tokenizer/smollm "$FATHOM_MODELS/lacks" # a token for byte 255, as SmolLM2 does
sed -i 's/"ÿ"/"nothing like it"/' "$FATHOM_MODELS/lacks/tokenizer.json"
expect tokenize_says_what_it_left_out 0 '"lost_bytes":2' '2 bytes left out' \
    bash -c "printf '\\377hello\\377' | $fathom tokenize $FATHOM_MODELS/lacks --json"
expect tokenize_names_the_wrong_id 2 '' '--ids: "x" is not a whole number' "$fathom" tokenize $model --ids 1,x
expect bench_names_the_option 2 '' '--prompt: "abc" is not a whole number' "$fathom" bench --prompt abc
expect bench_wants_one_list_of_depths 2 '' 'either --depth or --frontier' "$fathom" bench $model --depth 0 --frontier
expect bench_type_goes_with_shape 2 '' '--type goes with --shape' "$fathom" bench $model --type q8_0
expect bench_lists_its_own_type_too 2 '' 'q2_k fp8$' "$fathom" bench --shape v3 --type nonsense
expect bench_knows_its_shapes_before_it_measures 2 '' 'no published shape is called "x"' "$fathom" bench --shape x
expect bench_takes_the_name_its_table_has 0 'mostly f8_e4m3' 'random weights in memory for moe-100m f8_e4m3, about' \
    "$fathom" bench --shape moe-100m --type f8_e4m3 --prompt 4 --steps 0 --runs 1
expect bench_refuses_depths_past_the_model 2 '' '--depth 600 and 32 --steps are 632 positions; .* at most 512' \
    "$fathom" bench $model --depth 600
expect bench_refuses_prompts_past_the_model 2 '' '--prompt 600: .* at most 512' "$fathom" bench $model --prompt 600
expect bench_says_what_frontier_leaves_out 0 '"roof_unit": "bytes/s"' 'depth 16384 left out' \
    "$fathom" bench $model --prompt 0 --steps 2 --frontier --runs 1 --json
expect bench_says_that_threads_share_cpus 0 '512 threads share [0-9]* CPU' '' \
    "$fathom" bench $model --prompt 0 --steps 0 --runs 1 --threads 512
expect bench_without_tests_has_no_table 0 '^start ' '' \
    bash -c "$fathom bench $model --prompt 0 --steps 0 --runs 1 >$FATHOM_MODELS/b; grep -v tokens/s $FATHOM_MODELS/b"
expect bench_explains_its_table 0 'tg32x4@4096  *32 tokens' '' "$fathom" bench --help
expect bench_tells_its_limit_plainly 0 'limit was measured beside every run: [0-9.][0-9. to]* GB/s' '' \
    "$fathom" bench $model --prompt 0 --steps 2 --depth 0 --runs 1
expect bench_misses_its_peer_at_once 1 '' 'there is no /nowhere/llama-bench' "$fathom" bench --shape v3 --type q8_0 \
    --write "$FATHOM_MODELS/never.gguf" --compare llama.cpp --peer /nowhere/llama-bench
expect rows_explain_themselves 0 'COMPARE=llama.cpp  *or ik_llama.cpp, or none' '' bash bench/rows.sh --help
expect rows_list_what_can_be_set 0 '^  MODELS=' '' bash bench/rows.sh
expect rows_want_a_peer_before_they_make_a_file 1 '' 'measure Fathom alone: COMPARE=none' \
    env PEER=/nowhere MODELS="$FATHOM_MODELS" bash bench/rows.sh moe-100m
expect doctor_divides 0 'tokens/s divided by their' '' "$fathom" doctor
expect bench_peer_goes_with_compare 2 '' '--peer goes with --compare' "$fathom" bench $model --peer /bin/true
expect bench_compares_only_files_both_open 2 '' 'fathom convert makes one' \
    "$fathom" bench $model --compare llama.cpp --prompt 4 --steps 0 --runs 1
expect bench_writes_a_report 0 '"start": {' '' \
    "$fathom" bench $model --prompt 8 --steps 2 --depth 0 --batch 1,2 --runs 2 --json --report "$FATHOM_MODELS/report"
expect the_report_is_a_page 0 '<h1>chatmodel</h1>' '' cat "$FATHOM_MODELS/report/index.html"
expect the_report_has_its_numbers 0 '"name": "tg2x2"' '' cat "$FATHOM_MODELS/report/bench.json"
"$fathom" convert $model "$FATHOM_MODELS/chat.gguf" >"$out" 2>&1
cat >"$FATHOM_MODELS/python3" <<'PEER'
#!/bin/sh
echo '{"peer":"played","version":"1","system":""}'
read -r x; echo '{"ready":true}'; read -r x; echo '{"tokens_per_s":5}'
echo 'GGML_ASSERT: played' >&2
PEER
chmod +x "$FATHOM_MODELS/python3"
expect bench_goes_on_when_the_peer_fails_and_fails_at_its_end 1 '"name": "tg2"' 'llama.cpp failed: .*GGML_ASSERT: played; going on' \
    "$fathom" bench "$FATHOM_MODELS/chat.gguf" --prompt 4 --steps 2 --depth 0 --runs 1 --json --compare llama.cpp \
    --peer "$FATHOM_MODELS/python3"
expect pull_of_nonsense_is_wrong_usage 2 '' 'neither a name' "$fathom" pull nonsense
expect an_empty_prompt_is_wrong_usage 2 '' 'the prompt is empty' "$fathom" run $model --prompt ''
expect text_without_its_option_is_told_where_it_goes 2 '' 'text goes with --prompt "hi"' "$fathom" run $model hi
expect words_of_a_text_want_quotes 2 '' 'wants quotes: --prompt "why …"' "$fathom" run --prompt why is the sky
expect serve_says_where_a_model_goes 2 '' 'MODEL is said without it' "$fathom" serve --model "$model"
expect serve_knows_short_forms 2 '' 'did you mean --context' "$fathom" serve --ctx 20
expect a_document_that_was_cut_is_called_so 0 '^{' 'cut at --max-tokens 2' \
    "$fathom" run $model --prompt hello --json-object --max-tokens 2
expect logprobs_need_json 2 '' 'add --json' "$fathom" run $model --prompt hello --logprobs 2
cp -r tests/golden/model/llama-tied "$FATHOM_MODELS/nan"
header=$((8 + $(od -An -tu8 -N8 "$FATHOM_MODELS/nan/model.safetensors")))
{ head -c $header tests/golden/model/llama-tied/model.safetensors
  tail -c +$((header + 1)) tests/golden/model/llama-tied/model.safetensors | tr '\000-\377' '[\377*]'
} >"$FATHOM_MODELS/nan/model.safetensors"
expect logits_of_damaged_weights_are_called_so 0 'logits' 'no finite numbers' \
    "$fathom" eval "$FATHOM_MODELS/nan" --logits-out "$FATHOM_MODELS/l.npy" --tokens 1,2,3
# A model cut short while a chat has it mapped: the file is named, and the exit code is an error's.
cut_while_in_use() {
    cp -r $model "$FATHOM_MODELS/cut"
    mkfifo "$FATHOM_MODELS/typed"
    "$fathom" chat "$FATHOM_MODELS/cut" <"$FATHOM_MODELS/typed" &
    exec 9>"$FATHOM_MODELS/typed"
    for _ in $(seq 100); do
        sleep 0.1
        grep -q cut/model.safetensors /proc/$!/maps && break
    done
    sleep 0.5
    : >"$FATHOM_MODELS/cut/model.safetensors"
    echo hello >&9
    exec 9>&-
    wait $!
}
expect a_model_cut_short_in_use_is_named 1 '' 'cut/model.safetensors was cut short by another program' cut_while_in_use
expect full_disk_is_an_error 1 '' 'cannot write the output' \
    bash -c "exec $fathom list --catalogue >/dev/full"
[ -e "$FATHOM_MODELS/smollm2" ] && failures=1
exit $failures
