# tests/e2e/serving.bash: sourced, after expect.bash, by the scripts that try a client ($1, its name in the results)
# against `fathom serve`.
client=$1

serve() { # model, options: $url when it answers
    rm -f "$work/out"
    "$fathom" serve "$@" --port 0 --sandbox off --no-store >"$work/out" 2>"$work/err" &
    server=$!
    for _ in $(seq 200); do
        url=$(sed -n 's/^Fathom serves .* at \(http[^ ]*\)$/\1/p' "$work/out" 2>/dev/null)
        [ -n "$url" ] && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/out" "$work/err"
    echo "[  FAILED  ] ${client}_server_starts"
    echo "[  FAILED  ] ${client}_server_starts"
    exit 1
}
end() {
    kill "$server"
    wait "$server"
    check "${client}_$1_server_ends_well" 0 $?
    check "${client}_$1_server_says_nothing_of_requests" "" "$(grep -i hello "$work/out" "$work/err")"
}
tiny() { # folder of tests/golden, positions (8192): with more room than it has learnt to use
    cp -r "tests/golden/$1" "$work/$1"
    sed -i 's/"max_position_embeddings": 512/"max_position_embeddings": '"${2:-8192}/" "$work/$1/config.json"
}

