#!/usr/bin/env bash
# `fathom convert` and `quantize` end to end: the tiny model says the same before and after; and, where
# the Python package llama_cpp is there (FATHOM_PYTHON names an interpreter), llama.cpp opens our files
# and computes the golden logits. Prints cmocka-like lines for tools/run_tests.sh.
set -u
source tests/e2e/expect.bash
python=${FATHOM_PYTHON:-python3}
model=tests/golden/chatmodel
answer() { # model
    "$fathom" run "$1" --prompt hello --max-tokens 8 --temperature 0 2>&1
}

said=$(answer $model)
"$fathom" convert $model "$work/m.gguf" >/dev/null
check a_folder_becomes_gguf_and_says_the_same "$said" "$(answer "$work/m.gguf")"
"$fathom" convert "$work/m.gguf" "$work/back" >/dev/null
check gguf_becomes_a_folder_and_says_the_same "$said" "$(answer "$work/back")"
"$fathom" quantize "$work/m.gguf" "$work/q.gguf" q8_0 >/dev/null
check a_q8_0_file_says_the_same "$said" "$(answer "$work/q.gguf")"
"$fathom" quantize "$work/m.gguf" "$work/q.gguf" q4_k_m 2>"$work/stderr"
check a_file_that_is_there_is_not_written_over 2 $?
check and_the_way_to_do_it_is_named 1 "$(grep -c 'already there; --force' "$work/stderr")"
check and_it_stays_as_it_was "$said" "$(answer "$work/q.gguf")"
"$fathom" quantize "$work/m.gguf" "$work/q.gguf" q4_k_m --json --force >"$work/report.json"
check quantize_reports_json 1 "$(grep -c '"type": "q4_k_m"' "$work/report.json")"
check quantize_reports_what_fell_back 1 "$(tr -d '\n' <"$work/report.json" | grep -cE '"fallbacks": *\{[^}]*"q5_0": *[0-9]+')"
"$fathom" quantize "$work/m.gguf" "$work/x.gguf" q4km 2>"$work/stderr"
check an_unknown_type_exits_2 2 $?
check an_unknown_type_gets_a_suggestion 1 "$(grep -c 'did you mean q4_k_m?' "$work/stderr")"
"$fathom" convert "$work/none.gguf" "$work/x.gguf" 2>/dev/null
check a_missing_model_exits_1 1 $?
check a_failed_conversion_leaves_nothing 0 "$(find "$work" -name 'x.gguf*' | wc -l)"
cp "$work/m.gguf" "$work/same.gguf"
ln -s same.gguf "$work/link.gguf"
"$fathom" quantize "$work/same.gguf" "$work/link.gguf" q8_0 --force 2>/dev/null
check writing_over_the_model_that_is_read_is_refused 2 $?
check the_model_is_still_there 0 "$(cmp "$work/m.gguf" "$work/same.gguf" >/dev/null; echo $?)"

if "$python" -c 'import llama_cpp, numpy' 2>/dev/null; then
    "$python" bench/gguf_opens_in_llamacpp.py >"$work/peer" 2>&1
    check llama_cpp_computes_the_golden_logits_from_our_files 0 $?
    [ $failed -eq 0 ] || cat "$work/peer"
else
    echo "[  SKIPPED ] llama_cpp_computes_the_golden_logits_from_our_files: no llama_cpp for $python"
fi
exit $failed
