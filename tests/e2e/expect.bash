# tests/e2e/expect.bash: sourced by the scripts beside it: a folder for the script's files, gone afterwards, and
# checks that print cmocka-like lines for tools/run_tests.sh. A script ends with `exit $failed`.
fathom=${FATHOM_BUILD:-build}/fathom
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

check() { # name, expected, found
    if [ "$2" == "$3" ]; then
        echo "[       OK ] $1"
    else
        printf 'expected: %s\nfound:    %s\n' "$2" "$3"
        echo "[  FAILED  ] $1"
        echo "[  FAILED  ] $1"
        failed=1
    fi
}
has() { # name, pattern, text
    check "$1" yes "$(grep -qE -- "$2" <<<"$3" && echo yes || echo "no: $3")"
}
