#!/usr/bin/env bash
# The page in a real browser: its modules, and a walk through all that people do with it: with tools/page_mock.py,
# and with `fathom serve` and a tiny model. Names of cases may follow. FATHOM_PAGE=URL walks through a server that runs.
set -u
cd "$(dirname "$0")/../.."
source tests/e2e/expect.bash
source tests/e2e/serving.bash page
for program in chromium chromedriver python3; do
    command -v $program >/dev/null || {
        echo "[  SKIPPED ] the page in a browser: no $program (apt-get install chromium-driver)"
        exit 0
    }
done
python3 -c 'import selenium, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || {
    echo "[  SKIPPED ] the page in a browser: no selenium (python3 -m pip install selenium)"
    exit 0
}
python3 tests/e2e/page_units.py "$@" || failed=1
python3 tests/e2e/page_walk.py "$@" || failed=1
[ -n "${FATHOM_PAGE:-}" ] && exit "$failed"

# Answers end where they are cut, because the tiny model may not say that it is done: how long they last is known.
tiny chatmodel 32768
serve "$work/chatmodel" --temperature 0 --threads 1 --answer-tokens 40 \
    --logit-bias 256=-inf --logit-bias 257=-inf --logit-bias 258=-inf
FATHOM_PAGE=$url python3 tests/e2e/page_walk.py "$@" | sed -u 's/^\(\[.*\] \)\([a-z]\)/\1served_\2/'
[ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
end walk
exit "$failed"
