#!/usr/bin/env bash
# OpenAI's Python client against `fathom serve`: with SmolLM2 where it is registered (./run fetches it), and with the
# tiny models of tests/golden, which learnt nothing of tools but must call them when told to. Skipped where the
# package is not there. `openai.sh --record` writes tests/e2e/recorded anew.
set -u
source tests/e2e/expect.bash
if ! python3 -c 'import openai, pydantic' 2>/dev/null; then
    echo "[  SKIPPED ] openai_client: no Python with the package openai here"
    exit 0
fi

serve() { # model, options: $url when it answers
    "$fathom" serve "$@" --port 0 --data "$work/data" --sandbox off --no-store >"$work/out" 2>"$work/err" &
    server=$!
    for _ in $(seq 200); do
        url=$(sed -n 's/^Fathom serves .* at \(http[^ ]*\)$/\1/p' "$work/out")
        [ -n "$url" ] && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/out" "$work/err"
    echo "[  FAILED  ] openai_server_starts"
    echo "[  FAILED  ] openai_server_starts"
    exit 1
}
end() {
    kill "$server"
    wait "$server"
    check "openai_$1_server_ends_well" 0 $?
    check "openai_$1_server_says_nothing_of_requests" "" "$(grep -i hello "$work/out" "$work/err")"
}
tiny() { # folder of tests/golden: with more room than it has learnt to use
    cp -r "tests/golden/$1" "$work/$1"
    sed -i 's/"max_position_embeddings": 512/"max_position_embeddings": 8192/' "$work/$1/config.json"
}

tiny chatmodel
tiny thinkmodel
serve "$work/chatmodel" --deterministic
python3 tests/e2e/openai_client.py "$url" chat ${1:+--record tests/e2e/recorded} || failed=1
end chat
serve "$work/thinkmodel" --deterministic
python3 tests/e2e/openai_client.py "$url" think ${1:+--record tests/e2e/recorded} || failed=1
end think
python3 tests/e2e/toolmodel.py "$work/toolmodel"
serve "$work/toolmodel" --deterministic --chat-format deepseek-v3.1
python3 tests/e2e/openai_client.py "$url" tools || failed=1
end tools
if "$fathom" list --json | grep -q '"name": "smollm2"'; then
    serve smollm2 --context 4096
    python3 tests/e2e/openai_client.py "$url" smollm2 || failed=1
    end smollm2
else
    echo "[  SKIPPED ] openai_smollm2: smollm2 is not here; tools/get_smollm2.sh fetches it"
fi
exit "$failed"
