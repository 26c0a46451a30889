# tests/e2e/asking.bash: sourced, after expect.bash, by the scripts that start `fathom serve` and talk to it themselves.
# Without curl: bash speaks TCP.
model=tests/golden/chatmodel

start() { # options: $server answers on $port; what it says goes to $work/log, by $reader: no limit of files is its log's
    rm -f "$work/pipe" "$work/said"
    mkfifo "$work/pipe"
    tee -a "$work/log" <"$work/pipe" >"$work/said" &
    reader=$!
    "$fathom" serve "$model" --data "$work/data" --port 0 --cache 16 --threads 1 "$@" >"$work/pipe" 2>&1 &
    server=$!
    for _ in $(seq 400); do
        grep -q 'Ctrl-C' "$work/said" 2>/dev/null && break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.02
    done
    port=$(sed -n 's/^Fathom serves .* at http:[^ ]*:\([0-9]*\)$/\1/p' "$work/said")
}
ask() { # method, path, body of $type, further header lines: the reply
    local LC_ALL=C # lengths in bytes
    exec 8<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n%s' "$1" "$2" "$port" "${4:-}" >&8
    [ -z "$3" ] || printf 'Content-Type: %s\r\nContent-Length: %d\r\n' "${type:-application/json}" "${#3}" >&8
    printf '\r\n%s' "$3" >&8
    timeout 20 cat <&8
    exec 8>&-
} 2>/dev/null
field() { # name: the first string of that name on stdin
    grep -ao "\"$1\":\"[^\"]*\"" | head -1 | cut -d'"' -f4
}
