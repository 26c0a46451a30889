#!/usr/bin/env bash
# The page in a real browser: its modules, and a walk through all that people do with it: through
# tools/page_mock.py, and, where the small model is, through `fathom serve`. Names of cases may follow.
# FATHOM_PAGE=URL walks through a server that runs.
set -u
cd "$(dirname "$0")/../.."
fathom=${FATHOM_BUILD:-build}/fathom
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
[ -n "${FATHOM_PAGE:-}" ] && exit $failed

if ! "$fathom" list --json | grep -q '"name": "smollm2"'; then
    echo "[  SKIPPED ] the page over fathom serve: smollm2 is not here; tools/get_smollm2.sh fetches it"
    exit $failed
fi
log=$(mktemp)
"$fathom" serve smollm2 --port 0 --no-store --threads 1 >"$log" 2>&1 &
server=$!
trap 'kill $server; rm -f "$log"' EXIT
for _ in $(seq 100); do
    FATHOM_PAGE=$(sed -n 's/.* at \(http:[^ ]*\)$/\1/p' "$log")
    [ -n "$FATHOM_PAGE" ] && break
    sleep 0.1
done
export FATHOM_PAGE
[ $# -gt 0 ] || set -- an_answer_streams_with_its_thoughts stop_keeps_what_came answering_again_makes_a_sibling \
    editing_makes_a_branch_and_the_tree_shows_both a_reload_in_the_middle_of_an_answer_loses_nothing \
    the_side_bar_renames_pins_moves_finds_and_deletes exports_come_and_imports_go \
    files_are_attached_and_long_pastes_too pdf_is_read_by_the_server what_is_too_long_is_not_sent \
    a_chat_may_go_on_elsewhere settings_presets_and_temporary_chats hostile_text_stays_text keys_and_usage
python3 tests/e2e/page_walk.py "$@" | sed 's/^\(\[.*\] \)\([a-z]\)/\1served_\2/'
[ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
exit $failed
