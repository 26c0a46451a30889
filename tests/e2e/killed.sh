#!/usr/bin/env bash
# `fathom serve` is killed in the middle of everything, again and again: each turn that it said was stored is there
# when it is back, every answer is whole or says that it was interrupted, and the export reads. And whatever else it
# said was done is done, though it was killed at once.
set -u
source tests/e2e/expect.bash
source tests/e2e/asking.bash
lives=30

: >"$work/told"
lost="" broken=""
for life in $(seq $lives); do
    start --sandbox off
    for turn in 1 2 3 4 5 6; do
        chat=$(ask POST /api/chats '{}' | field id)
        reply=$(ask POST "/api/chats/$chat/messages" "{\"content\":\"turn $life.$turn\",\"settings\":{\"max_tokens\":400}}")
        grep -q '^HTTP/1.1 201' <<<"$reply" && echo "$chat turn $life.$turn" >>"$work/told"
    done &
    asker=$!
    sleep "0.$((RANDOM % 15 + 5))"
    kill -KILL "$server"
    wait "$server" "$asker" 2>/dev/null
done
start --sandbox off
while read -r chat content; do
    reply=$(ask GET "/api/chats/$chat" "")
    grep -qF "\"content\":\"$content\"" <<<"$reply" || lost+="$chat "
    grep -q '"state":"writing"' <<<"$reply" && broken+="$chat "
done <"$work/told"
has turns_were_told '^[1-9][0-9]*$' "$(wc -l <"$work/told")"
check what_was_told_is_there "" "$lost"
check no_answer_is_still_written "" "$broken"
has all_of_it_is_exported '"format":"fathom-chats"' "$(ask GET /api/export "" | tr -d '\0')"

# One thing after the other.
again() {
    kill -KILL "$server"
    wait "$server" 2>/dev/null
    start --sandbox off
}
chat=$(ask POST /api/chats '{}' | field id)
answer=$(ask POST "/api/chats/$chat/messages" '{"content":"hello","settings":{"temperature":0}}' | grep -ao '"answer":.*' | field id)
whole=$(ask GET "/api/answers/$answer/stream" "" | sed -n '/^event: end/,/^data:/s/^data: //p')
again
has an_answer_ends '"state":"done"' "$whole"
has an_answer_whose_end_was_sent_is_there yes "$(ask GET "/api/chats/$chat" "" | grep -qF "${whole%%,\"stats\"*}" && echo yes)"
has a_chat_is_changed ' 200 ' "$(ask PATCH "/api/chats/$chat" '{"title":"another title","folder":"a folder"}')"
again
has a_change_is_there '"title":"another title","folder":"a folder"' "$(ask GET "/api/chats/$chat" "")"
has presets_are_put ' 20[04] ' "$(ask PUT /api/presets '{"presets":[{"name":"a preset","system":"s","settings":{}}]}')"
again
has a_preset_is_there '"name":"a preset"' "$(ask GET /api/presets "")"
made=$(ask POST /api/keys '{"name":"a key"}')
again
key=$(field key <<<"$made")
has a_key_opens ' 200 ' "$(ask GET /v1/models "" "Authorization: Bearer $key"$'\r\n')"
has a_key_is_revoked ' 204 ' "$(ask DELETE "/api/keys/$(field id <<<"$made")" "")"
again
has a_revoked_key_opens_nothing ' 401 ' "$(ask GET /v1/models "" "Authorization: Bearer $key"$'\r\n')"
all=$(ask GET "/api/chats/$chat/export?format=json" "" | tr -d '\r' | sed '1,/^$/d')
has a_chat_goes ' 204 ' "$(ask DELETE "/api/chats/$chat" "")"
again
has a_chat_that_went_is_gone ' 404 ' "$(ask GET "/api/chats/$chat" "")"
has a_file_is_imported ' 201 ' "$(ask POST /api/import "$all")"
again
has what_was_imported_is_there '"title":"another title"' "$(ask GET "/api/chats?search=another" "")"

# In the middle of a file of chats: all of them are there, or none.
in_file=3000 halves=""
one='{"chat":{"title":"of a file"},"messages":[{"id":"a","role":"user","content":"some words of it"}]}'
file="{\"format\":\"fathom-chats\",\"chats\":[$(printf "$one,%.0s" $(seq $((in_file - 1))))$one]}"
for life in 1 2 3; do
    ask POST /api/import "$file" >/dev/null &
    asker=$!
    sleep "0.$((RANDOM % 3 + 1))"
    again
    wait "$asker"
    there=$(ask GET /api/export "" | grep -ao '"title":"of a file"' | wc -l)
    [ $((there % in_file)) = 0 ] || halves+="$there "
done
check no_half_of_a_file_is_there "" "$halves"
kill -TERM "$server"
wait "$server"
check it_ends_as_it_should 0 $?
exit "$failed"
