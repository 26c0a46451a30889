#!/usr/bin/env bash
# OpenAI's Python client against `fathom serve`: with SmolLM2 where it is registered (./run fetches it), and with the
# tiny models of tests/golden, which learnt nothing of tools but must call them when told to. Skipped where the
# package is not there. `openai.sh --record` writes its part of tests/e2e/recorded anew.
set -u
source tests/e2e/expect.bash
source tests/e2e/serving.bash openai
if ! python3 -c 'import openai, pydantic' 2>/dev/null; then
    echo "[  SKIPPED ] openai_client: no Python with the package openai here"
    exit 0
fi

tiny chatmodel
tiny thinkmodel
tiny toolmodel
serve "$work/chatmodel" --deterministic
python3 tests/e2e/openai_client.py "$url" chat ${1:+--record tests/e2e/recorded} || failed=1
end chat
serve "$work/thinkmodel" --deterministic
python3 tests/e2e/openai_client.py "$url" think ${1:+--record tests/e2e/recorded} || failed=1
end think
serve "$work/toolmodel" --deterministic --chat-format deepseek-v3.1
python3 tests/e2e/openai_client.py "$url" tools ${1:+--record tests/e2e/recorded} || failed=1
end tools
if "$fathom" list --json | grep -q '"name": "smollm2"'; then
    serve smollm2
    python3 tests/e2e/openai_client.py "$url" smollm2 || failed=1
    end smollm2
else
    echo "[  SKIPPED ] openai_smollm2: smollm2 is not here; tools/get_smollm2.sh fetches it"
fi
exit "$failed"
