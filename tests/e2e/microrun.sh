#!/usr/bin/env bash
# Some minutes of a real run: a vocabulary and a mixture of experts of DeepSeek-V3's class learn from this
# repository's own text. The loss falls, the experts share the work, and a run that was stopped on the way
# ends with the same bits.
set -u
. "$(dirname "$0")/expect.bash"

# A document is 40 lines, so that validation asks for what the run has seen the like of.
cat README.md CONTRIBUTING.md docs/*.md src/*/*.h src/*/*.c |
    awk '{print} NR % 40 == 0 {print "<|endofdoc|>"}' >"$work/text.txt"
"$fathom" tokenizer train --vocab-size 2048 --out "$work/tokenizer" --text "$work/text.txt" >"$work/out" 2>&1
check a_vocabulary_is_learnt 0 $?
"$fathom" data "$work/data" --tokenizer "$work/tokenizer" --source own="$work/text.txt" --val-share 0.05 \
    >"$work/out" 2>&1
check the_text_is_packed 0 $?
cat >"$work/micro.ini" <<END
[model]
model_type = deepseek_v3
vocab_size = 2048
hidden_size = 128
num_hidden_layers = 4
intermediate_size = 512
first_k_dense_replace = 1
num_attention_heads = 2
num_key_value_heads = 2
kv_lora_rank = 64
qk_nope_head_dim = 48
qk_rope_head_dim = 16
v_head_dim = 64
n_routed_experts = 16
n_shared_experts = 1
num_experts_per_tok = 2
moe_intermediate_size = 64
n_group = 1
topk_group = 1
topk_method = noaux_tc
scoring_func = sigmoid
norm_topk_prob = true
routed_scaling_factor = 1.0
num_nextn_predict_layers = 1
max_position_embeddings = 512
rms_norm_eps = 1e-6
tie_word_embeddings = true
[data]
context = 256
[loss]
mtp_from = 0.5
balance_step = 0.01
[optimizer]
lr = 0.01
[schedule]
tokens = 800e3
sequences = 16
[run]
micro_sequences = 16
validate_every = 0
validate_rows = 64
checkpoint_every = 100
sample_tokens = 0
END
train() {
    "$fathom" train "$work/micro.ini" --data "$work/data" "$@" >"$work/out" 2>"$work/err"
}
val() {
    sed -n 's/.*"kind":"val".*"loss":\([0-9.]*\),"bits_per_byte":\([0-9.]*\),"sources".*/'"$1"'/p' "$work/whole/metrics.jsonl"
}
train --out "$work/whole"
check a_run_ends 0 $?
echo "validation: $(val '\1') nats per token, $(val '\2') bits per byte"
# It begins at ln 2048 = 7.6. Each text is seen once at most, so the last steps tell what was learnt; which documents
# validation asks for changes with every change of the text (of the first 64 rows, mostly prose and tables: 3.5 to 4.0). Here 3.03.
loss=$(sed -n 's/.*"kind":"step".*"loss":\([0-9.]*\),"mtp.*/\1/p' "$work/whole/metrics.jsonl" | tail -20 |
    awk '{s += $1} END {print s / NR}')
check the_loss_falls_below_3.3 yes "$(awk "BEGIN {print ($loss > 1 && $loss < 3.3) ? \"yes\" : \"no: $loss\"}")"
check and_that_of_texts_not_seen_below_4.6 yes "$(val '\1' | awk '{print ($1 > 1 && $1 < 4.6) ? "yes" : "no: " $1}')"
spread=$(sed -n 's/.*"kind":"step".*"load_spread":\([0-9.]*\).*/\1/p' "$work/whole/metrics.jsonl" | tail -20 |
    awk '{s += $1} END {print s / NR}')
echo "the busiest expert's share: $spread times the even one"
check experts_share_the_work yes "$(awk "BEGIN {print ($spread >= 1 && $spread < 1.8) ? \"yes\" : \"no: $spread\"}")"
"$fathom" train "$work/micro.ini" --data "$work/data" --out "$work/killed" >"$work/out" 2>"$work/err" &
while [ "$(find "$work/killed/checkpoints" -name 'step-*' 2>/dev/null | wc -l)" -eq 0 ] && kill -0 $! 2>/dev/null; do
    sleep 0.1
done
kill -9 $!
wait $! 2>/dev/null
train --out "$work/killed" --resume
check a_killed_run_goes_on 0 $?
check and_ends_with_the_same_bits "$(sha256sum <"$work/whole/model.gguf")" "$(sha256sum <"$work/killed/model.gguf")"
exit $failed
