#!/usr/bin/env bash
# Anthropic's Python client, and OpenAI's responses, against `fathom serve` with the tiny models of tests/golden. Skipped
# where a package is not there. `agents.sh --record` writes their part of tests/e2e/recorded anew.
set -u
source tests/e2e/expect.bash
source tests/e2e/serving.bash agents
tiny chatmodel
tiny thinkmodel
tiny toolmodel
record=${1:+--record tests/e2e/recorded}
try() { # kind
    local script
    for script in anthropic responses; do
        if ! python3 -c "import ${script/responses/openai}" 2>/dev/null; then
            echo "[  SKIPPED ] ${script}_$1: no Python with the package ${script/responses/openai} here"
        else
            python3 tests/e2e/${script}_client.py "$url" "$1" $record || failed=1
        fi
    done
}
serve "$work/chatmodel" --deterministic
try chat
end chat
serve "$work/thinkmodel" --deterministic
try think
end think
serve "$work/toolmodel" --deterministic --chat-format deepseek-v3.1
try tools
end tools
exit "$failed"
