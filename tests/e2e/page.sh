#!/usr/bin/env bash
# The page in a real browser: its modules, and a walk through all that people do with it. FATHOM_PAGE=URL walks
# through a server that runs; else through tools/page_mock.py. Names of cases may follow.
set -u
cd "$(dirname "$0")/../.."
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
failed=0
python3 tests/e2e/page_units.py "$@" || failed=1
python3 tests/e2e/page_walk.py "$@" || failed=1
exit $failed
