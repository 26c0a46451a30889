#!/usr/bin/env bash
# `fathom train` end to end: text to tokens to a model that runs; killed and resumed bit for bit; mistakes named.
set -u
. "$(dirname "$0")/expect.bash"

says() { # name, pattern, file
    has "$1" "$2" "$(cat "$3")"
}

for d in $(seq 150); do
    for i in $(seq 40); do
        echo -n "The number $((d * i % 97)) comes after $(((d * i + 96) % 97)). "
    done
    printf '\n<|endofdoc|>\n'
done >"$work/text.txt"
"$fathom" data "$work/data" --tokenizer tests/golden/tokenizer/smollm --source numbers="$work/text.txt" \
    --val-share 0.1 >"$work/out" 2>"$work/err"
check data_is_packed 0 $?
vocab=$(sed -n 's/.*of a vocabulary of \([0-9]*\).*/\1/p' "$work/out")
cat >"$work/tiny.ini" <<END
[model]
model_type = deepseek_v3
vocab_size = $vocab
hidden_size = 64
num_hidden_layers = 2
intermediate_size = 128
first_k_dense_replace = 1
num_attention_heads = 2
num_key_value_heads = 2
kv_lora_rank = 32
qk_nope_head_dim = 24
qk_rope_head_dim = 8
v_head_dim = 32
n_routed_experts = 8
n_shared_experts = 1
num_experts_per_tok = 2
moe_intermediate_size = 32
n_group = 1
topk_group = 1
topk_method = noaux_tc
scoring_func = sigmoid
norm_topk_prob = true
routed_scaling_factor = 1.0
max_position_embeddings = 128
rms_norm_eps = 1e-6
tie_word_embeddings = true
[data]
context = 64
[schedule]
tokens = 81920
sequences = 16
[run]
micro_sequences = 16
validate_every = 40
validate_rows = 16
checkpoint_every = 10
prompt = The number
sample_tokens = 12
[tasks]
order = $work/order.jsonl
END
cat >"$work/order.jsonl" <<END
{"prompt": "The number 31 comes", "choices": [" after", " tree", " blue blue"], "answer": 0}
{"prompt": "The", "choices": [" after", " number"], "answer": 1}
{"prompt": "The number 31 comes", "answer": "after"}
END
train() {
    "$fathom" train "$work/tiny.ini" --data "$work/data" "$@" >"$work/out" 2>"$work/err"
}
begin() { # in the background, as $!
    "$fathom" train "$work/tiny.ini" --data "$work/data" "$@" >"$work/out" 2>"$work/err" &
}

"$fathom" train "$work/tiny.ini" --plan >"$work/out" 2>"$work/err"
check plan_is_shown 0 $?
says plan_has_memory 'activations of a micro batch' "$work/err"
"$fathom" train "$work/tiny.ini" --speed 2 >"$work/out" 2>"$work/err"
check speed_is_measured_without_data 0 $?
says speed_counts_steps '^step .* tokens/s$' "$work/out"
"$fathom" train "$work/tiny.ini" --speed 1 --json >"$work/out" 2>"$work/err"
says speed_as_json '"flops_per_s":[0-9.]+' "$work/out"
"$fathom" train --keys >"$work/out" 2>"$work/err"
says keys_are_listed '  muon_steps  ' "$work/out"

train --out "$work/whole" --report "$work/page"
check a_run_ends 0 $?
says the_page_has_the_recipe 'model.n_routed_experts' "$work/page/index.html"
says a_run_validates 'step 80  validation: loss [0-9.]+, [0-9.]+ bits/byte \(numbers' "$work/out"
says a_run_asks_its_tasks 'step 80  order: 3 of 3 right' "$work/out"
says scores_are_logged '"kind":"task","step":80,"name":"order","score":1.0,"n":3' "$work/whole/metrics.jsonl"
says the_page_has_scores "1 of 1 over 3 questions" "$work/page/index.html"
first=$(sed -n 's/.*"step":1,.*"loss":\([0-9.]*\).*/\1/p' "$work/whole/metrics.jsonl" | head -1)
last=$(sed -n 's/^{"kind":"val","step":80,.*"loss":\([0-9.]*\).*/\1/p' "$work/whole/metrics.jsonl")
check the_loss_falls_to_a_third 1 "$(echo "$last $first" | awk '{print ($1 > 0 && $1 < $2 / 3)}')"
check each_step_is_logged_once 80 "$(grep -c '"kind":"step"' "$work/whole/metrics.jsonl")"
check old_checkpoints_are_pruned 2 "$(ls "$work/whole/checkpoints" | wc -l)"
text=$("$fathom" run "$work/whole/model.gguf" --raw --prompt 'The number 5 comes' --max-tokens 4 --temperature 0 2>"$work/err")
check the_model_runs 0 $?
check the_model_learnt_the_text ' after' "${text:0:6}"

train --out "$work/whole"
check a_run_is_not_written_over 2 $?
says and_says_how_to_go_on '--resume' "$work/err"

for delay in 0.7 1.1; do # killed wherever it happens to be
    begin --out "$work/parts" --resume
    sleep $delay
    kill -9 $!
    wait $! 2>/dev/null
done
train --out "$work/parts" --resume
check a_killed_run_is_resumed 0 $?
cmp "$work/whole/model.gguf" "$work/parts/model.gguf" >"$work/err"
check and_ends_with_the_same_bits 0 $?
check and_logs_each_step_once 80 "$(grep -c '"kind":"step"' "$work/parts/metrics.jsonl")"

printf '{"prompt": "%s", "answer": "none"}\n' "$(yes word | head -n 500 | tr '\n' ' ')" >"$work/long.jsonl"
mkdir -p "$work/nopage/index.html"
train --out "$work/on" --report "$work/nopage" --set tasks.long="$work/long.jsonl" --set schedule.tokens=20480
check a_page_or_a_question_does_not_end_a_run 0 $?
says the_page_is_noted 'step 1: the page was not written: .*nopage/index.html' "$work/err"
says the_question_is_noted 'step 20: the model was not asked: .* tokens do not fit' "$work/err"

begin --out "$work/asked" --set schedule.tokens=8e9
asked=$!
sleep 2
"$fathom" train "$work/tiny.ini" --data "$work/data" --out "$work/asked" --resume >"$work/second" 2>&1
check a_folder_has_one_process 1 $?
says and_the_second_is_told 'asked is in use by another process' "$work/second"
kill -TERM $asked
wait $asked
check sigterm_saves_and_ends 0 $?
says sigterm_says_how_to_go_on 'go on with' "$work/out"
train --out "$work/asked" --resume --set schedule.tokens=8e9 --set optimizer.lr=0.5
check another_recipe_is_refused 2 $?
says the_difference_is_named 'lr differs' "$work/err"
train --out "$work/huge" --set run.micro_sequences=1048576 --set schedule.sequences=1048576
check what_does_not_fit_is_refused 1 $?
says with_both_numbers 'the run takes .* but only .* are free' "$work/err"
train --out "$work/x" --set model.vocab_size=100
check a_small_vocabulary_is_refused 2 $?
for f in "$work"/asked/checkpoints/*/arrays-*; do
    truncate -s -1 "$f"
done
train --out "$work/asked" --resume --set schedule.tokens=8e9
check cut_checkpoints_are_not_resumed_from 1 $?
says and_are_named 'arrays-00001.safetensors' "$work/err"
exit $failed
