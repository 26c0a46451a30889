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

# ask METHOD PATH TYPE BODY: one request, its reply to $dir/reply; bash speaks TCP itself.
ask() {
    exec 8<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Type: %s\r\n' "$1" "$2" "$port" "$3" >&8
    printf 'Connection: close\r\nContent-Length: %d\r\n\r\n%s' ${#4} "$4" >&8
    timeout 30 cat <&8 >"$dir/reply"
    exec 8>&-
}

"$fathom" serve "$model" --port 0 --cache 16 --threads 2 --data "$dir/data" >"$dir/out" 2>&1 &
server=$!
for ((i = 0; i < 200; i++)); do
    grep -q 'Ctrl-C' "$dir/out" && break
    sleep 0.1
done
port=$(sed -n 's#.*http://127.0.0.1:\([0-9]*\).*#\1#p' "$dir/out" | head -1)
helpers=$(cat /proc/$server/task/$server/children)
json=application/json
grep -q 'sandbox  no connection goes out' "$dir/out"
verdict the_server_says_so
ask POST /v1/chat/completions $json '{"messages":[{"role":"user","content":"Hello"}],"max_tokens":4}' &&
    grep -q '"completion_tokens":' "$dir/reply"
verdict it_answers
ask POST /api/chats $json '{"title":"a chat"}' && grep -q ' 201 ' "$dir/reply" &&
    ask GET '/api/chats?search=chat' $json '' && grep -q '"a chat"' "$dir/reply" && [ -s "$dir/data/fathom.db" ]
verdict it_keeps_chats
[ "$(cat /proc/$server/task/*/status | grep -c '^Seccomp:.2')" -eq "$(ls /proc/$server/task | wc -l)" ] &&
    ! cat /proc/$server/task/*/status | grep '^CapEff:' | grep -qv '0000000000000000'
verdict every_thread_is_in_it

# A PDF needs no table of its parts to be read.
page='%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length 42>>stream
BT /F1 18 Tf 20 200 Td (a small page) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
'
ask GET /api/session $json ''
if grep -q '"pdf":true' "$dir/reply"; then
    ask POST /api/extract application/pdf "$page" && grep -q 'a small page' "$dir/reply"
    verdict it_has_pdf_files_read
    [ "$(echo "$helpers" | wc -w)" -eq 2 ] &&
        ! cat $(printf '/proc/%s/status ' $helpers) | grep -qE '^Seccomp:.0|^CapEff:.*[1-9a-f]'
    verdict its_readers_are_locked_in_too
else
    echo "[  SKIPPED ] it_has_pdf_files_read: no pdftotext here (package poppler-utils)"
fi

kill -TERM $server
wait $server
verdict it_ends_well
for ((i = 0; i < 50; i++)); do
    alive=0
    for h in $helpers; do [ -d "/proc/$h" ] && ! grep -q '^State:.Z' "/proc/$h/status" 2>/dev/null && alive=1; done
    [ $alive -eq 0 ] && break
    sleep 0.1
done
[ $alive -eq 0 ]
verdict nobody_is_left_behind

# A datagram socket that it was started with could send to anybody: named and refused, by number.
"$fathom" serve "$model" --data "$dir/data" --port 0 --cache 16 >"$dir/refused" 2>&1 9<>/dev/udp/127.0.0.1/9
[ $? -ne 0 ] && grep -q 'descriptor 9' "$dir/refused" && ! grep -q 'serves' "$dir/refused"
verdict without_the_sandbox_nothing_is_served
exit $failures
