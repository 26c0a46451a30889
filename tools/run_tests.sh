#!/usr/bin/env bash
# Runs the given cmocka test programs and scripts, then tests/e2e/*.sh, prints what failed (at the end once more,
# where whoever sees only the end finds it), and ends with one line "N passed, N failed, N skipped" over all test
# cases. Usage: run_tests.sh BUILD TEST…
# A script counts as one case, or as many as it prints cmocka's "[       OK ] name" lines; it finds the
# program in $FATHOM_BUILD/fathom. No program may take longer than 15 minutes.
set -u
build=$1
shift
passed=0
failed=0
skipped=0
log=$(mktemp)
failures=$(mktemp)
trap 'rm -f "$log" "$failures"' EXIT
report() { # name status: what it printed, and for the end the lines that name the failure
    cat "$log"
    echo "failed: $1 (status $2)" >>"$failures"
    { grep -E '^\[  (ERROR|FAILED)|^[^ ]+:[0-9]+: error' "$log" | head -n 20; tail -n 10 "$log"; } |
        sed 's/^/    /' >>"$failures"
}
one() { # name command…
    local name=$1 start=$SECONDS
    shift
    timeout 900 "$@" >"$log" 2>&1
    local rc=$? ok bad left
    ok=$(grep -c '^\[       OK \]' "$log")
    bad=$(grep -c '^\[  FAILED  \] [a-z]' "$log")
    bad=$((bad / 2)) # cmocka names each failure at its end and again in the summary
    left=$(grep -c '^\[  SKIPPED \] ' "$log") # cmocka and scripts name what they cannot run here
    case $name in *.sh) if [ $rc -eq 0 ] && [ $((ok + left)) -eq 0 ]; then ok=1; fi ;; esac
    if [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    printf '%-44s %4d passed %3d failed %3d skipped %4ds\n' "$name" "$ok" "$bad" "$left" \
        $((SECONDS - start))
    [ $rc -eq 0 ] || report "$name" $rc
    passed=$((passed + ok))
    failed=$((failed + bad))
    skipped=$((skipped + left))
}
export FATHOM_BUILD=$build FUZZ_TOTAL=60
for t in "$@"; do
    name=${t#"$build"/}
    one "${name#tests/}" "$t"
done
for t in tests/e2e/*.sh; do [ -e "$t" ] && one "${t#tests/}" "$t"; done
cat "$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
