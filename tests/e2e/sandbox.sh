#!/usr/bin/env bash
# `fathom serve` behind its sandbox: every thread is in it, answers come all the same, it ends as it should; and where
# it cannot be had nothing is served. Skipped, and said, where the kernel or a container forbids it.
set -u
fathom=${FATHOM_BUILD:-build}/fathom
model=tests/golden/chatmodel
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

verdict() { # NAME, after a condition
    if [ $? -eq 0 ]; then
        echo "[       OK ] $1"
    else
        cat "$dir"/* 2>/dev/null
        echo "[  FAILED  ] $1"
        echo "[  FAILED  ] $1"
        failures=1
    fi
}

if ! "$fathom" doctor --no-egress >"$dir/doctor" 2>&1; then
    echo "[  SKIPPED ] a_server_in_its_sandbox: $(tail -1 "$dir/doctor")"
    exit 0
fi

# One request, as text; bash speaks TCP itself.
ask() {
    local body='{"messages":[{"role":"user","content":"Hello"}],"max_tokens":4}'
    exec 8<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Type: application/json\r\n' "$port" >&8
    printf 'Connection: close\r\nContent-Length: %d\r\n\r\n%s' ${#body} "$body" >&8
    timeout 20 cat <&8 >"$dir/reply"
    exec 8>&-
}

"$fathom" serve "$model" --data "$dir/data" --port 0 --cache 16 --threads 2 >"$dir/out" 2>&1 &
server=$!
for ((i = 0; i < 100; i++)); do
    grep -q 'Ctrl-C' "$dir/out" && break
    sleep 0.1
done
port=$(sed -n '1s#.*http://127.0.0.1:\([0-9]*\).*#\1#p' "$dir/out")
grep -q 'sandbox: no connection goes out' "$dir/out"
verdict the_server_says_so
ask && grep -q '"completion_tokens":' "$dir/reply"
verdict it_answers
[ "$(cat /proc/$server/task/*/status | grep -c '^Seccomp:.2')" -eq "$(ls /proc/$server/task | wc -l)" ] &&
    ! cat /proc/$server/task/*/status | grep '^CapEff:' | grep -qv '0000000000000000'
verdict every_thread_is_in_it
kill -TERM $server
wait $server
verdict it_ends_well

# A datagram socket that it was started with could send to anybody: named and refused, by number.
"$fathom" serve "$model" --data "$dir/data" --port 0 --cache 16 >"$dir/refused" 2>&1 9<>/dev/udp/127.0.0.1/9
[ $? -ne 0 ] && grep -q 'descriptor 9' "$dir/refused" && ! grep -q 'serves' "$dir/refused"
verdict without_the_sandbox_nothing_is_served
exit $failures
