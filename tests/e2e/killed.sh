#!/usr/bin/env bash
# `fathom serve` is killed in the middle of everything, again and again: each turn that it said was stored is there
# when it is back, every answer is whole or says that it was interrupted, and the export reads. And marked words, in
# every field of the page's requests, are in no output and in no file. Without curl: bash speaks TCP.
set -u
source tests/e2e/expect.bash
model=tests/golden/chatmodel
canary=canaryPq5Lz8
lives=30

start() { # the server; its port in $port
    "$fathom" serve "$model" --data "$work/data" --port 0 --cache 16 --threads 1 --sandbox off >"$work/out" 2>>"$work/err" &
    server=$!
    for _ in $(seq 400); do
        grep -q 'Ctrl-C' "$work/out" && break
        sleep 0.02
    done
    port=$(sed -n 's/^Fathom serves .* at http:[^ ]*:\([0-9]*\)$/\1/p' "$work/out")
    cat "$work/out" >>"$work/outs"
}
ask() { # method, path, body, further header lines: the reply
    exec 8<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n%s' "$1" "$2" "$port" "${4:-}" >&8
    [ -z "$3" ] || printf 'Content-Type: application/json\r\nContent-Length: %d\r\n' "${#3}" >&8
    printf '\r\n%s' "$3" >&8
    timeout 20 cat <&8
    exec 8>&-
} 2>/dev/null
field() { # name: the first string of that name on stdin
    grep -o "\"$1\":\"[^\"]*\"" | head -1 | cut -d'"' -f4
}

: >"$work/told"
lost="" broken=""
for life in $(seq $lives); do
    start
    for turn in 1 2 3 4 5 6; do
        chat=$(ask POST /api/chats '{}' | field id)
        reply=$(ask POST "/api/chats/$chat/messages" "{\"content\":\"turn $life.$turn $canary\",\"settings\":{\"max_tokens\":400}}")
        grep -q '^HTTP/1.1 201' <<<"$reply" && echo "$chat turn $life.$turn $canary" >>"$work/told"
    done &
    asker=$!
    sleep "0.$((RANDOM % 15 + 5))"
    kill -KILL "$server"
    wait "$server" "$asker" 2>/dev/null
done
start
while read -r chat content; do
    reply=$(ask GET "/api/chats/$chat" "")
    grep -qF "\"content\":\"$content\"" <<<"$reply" || lost+="$chat "
    grep -q '"state":"writing"' <<<"$reply" && broken+="$chat "
done <"$work/told"
has turns_were_told '^[1-9][0-9]*$' "$(wc -l <"$work/told")"
check what_was_told_is_there "" "$lost"
check no_answer_is_still_written "" "$broken"
has all_of_it_is_exported '"format":"fathom-chats"' "$(ask GET /api/export "" | tr -d '\0')"

# What the page sends is written nowhere in the clear.
c=$canary
for body in "{\"title\":\"$c\",\"folder\":\"$c\",\"system\":\"$c\",\"settings\":{\"stop\":[\"$c\"]}}" "{\"$c\":1}" "$c" "{\"settings\":{\"$c\":1}}"; do
    chat=$(ask POST /api/chats "$body" | tee -a "$work/replies" | field id)
done
chat=$(ask POST /api/chats "{\"title\":\"$c\"}" | field id)
ask POST "/api/chats/$chat/messages" "{\"content\":\"$c\",\"attachments\":[{\"name\":\"$c\",\"text\":\"$c\"}],\"settings\":{\"stop\":[\"$c\"]}}" >>"$work/replies"
ask POST "/api/chats/$c/messages" "{\"content\":\"$c\",\"think\":\"$c\"}" >>"$work/replies"
ask POST /api/count "{\"content\":\"$c\"}" >>"$work/replies"
ask PUT /api/presets "{\"presets\":[{\"name\":\"$c\",\"system\":\"$c\",\"settings\":{}}]}" >>"$work/replies"
ask POST /api/login "{\"key\":\"fathom-$c\"}" >>"$work/replies"
ask POST /api/keys "{\"name\":\"$c\"}" >>"$work/replies"
ask POST /api/import "{\"$c\":\"$c\"}" >>"$work/replies"
ask GET "/api/chats?search=$c&folder=$c&before=$c" "" "Last-Event-ID: $c"$'\r\n' >>"$work/replies"
ask GET "/api/answers/$c/stream?from=$c" "" "Cookie: fathom_session=$c"$'\r\n' >>"$work/replies"
has the_canary_was_sung "$c" "$(cat "$work/replies")"
check nor_in_the_metrics "" "$(ask GET /metrics "" | grep -a "$c")"
kill -TERM "$server"
wait "$server"
check it_ends_as_it_should 0 $?
check what_is_asked_is_not_in_the_log "" "$(grep -a "$c" "$work/outs" "$work/err")"
check nor_in_the_data_folder "" "$(grep -rla "$c" "$work/data")"
exit "$failed"
