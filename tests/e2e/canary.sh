#!/usr/bin/env bash
# What people and models write is written nowhere in the clear: marked words, in every field of every request of the API
# and of the page, right and wrong, are in no output of `fathom serve` and in no file: in its sandbox and without, when the
# disk takes nothing any more, and when it crashes.
set -u
source tests/e2e/expect.bash
source tests/e2e/asking.bash
c=canaryQ7zWx3
hi='"messages":[{"role":"user","content":"hello"}],"max_tokens":4'

sing_to_the_api() {
    local body
    for body in "{$hi,\"user\":\"$c\"}" "{$hi,\"model\":\"$c\"}" "{$hi,\"$c\":1}" "{$hi,\"stop\":\"$c\"}" "{$hi,\"seed\":\"$c\"}" \
        "{\"messages\":[{\"role\":\"user\",\"content\":\"$c\"}],\"max_tokens\":4}" "{\"messages\":[{\"role\":\"$c\",\"content\":\"\"}]}" \
        "{\"messages\":[{\"role\":\"system\",\"content\":\"$c\"},{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":4,\"stream\":true}" \
        "{$hi,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"$c\",\"description\":\"$c\"}}]}" "{$hi,\"grammar\":\"$c\"}" \
        "{$hi,\"response_format\":{\"type\":\"$c\"}}" "{$hi,\"logit_bias\":{\"$c\":1}}" "$c" "{\"$c\"" "{$hi,\"metadata\":{\"a\":\"$c\"}}"; do
        ask POST /v1/chat/completions "$body"
        ask POST /v1/messages "${body/hello/$c}"
    done
    ask POST /v1/responses "{\"input\":\"$c\",\"max_output_tokens\":4}"
    ask POST /v1/completions "{\"prompt\":\"$c\",\"echo\":true,\"max_tokens\":2}"
    ask POST /v1/tokenize "{\"content\":\"$c\"}"
    ask GET "/v1/models/$c?$c=$c" ""
    ask "$c" "/$c" ""
    ask GET /v1/models "" "Authorization: Bearer $c"$'\r\n'"X-$c: $c"$'\r\n'"Cookie: fathom_session=$c"$'\r\n'
    ask GET /v1/models "" "Authorization: Bearer fathom-$c"$'\r\n'
    ask GET /v1/models "" "Origin: http://$c"$'\r\n'
}

sing_to_the_page() {
    local body chat
    for body in "{\"title\":\"$c\",\"folder\":\"$c\",\"system\":\"$c\",\"settings\":{\"stop\":[\"$c\"]}}" "{\"$c\":1}" "$c" \
        "{\"settings\":{\"$c\":1}}"; do
        ask POST /api/chats "$body"
    done
    chat=$(ask POST /api/chats "{\"title\":\"$c\"}" | field id)
    ask POST "/api/chats/$chat/messages" "{\"content\":\"$c\",\"attachments\":[{\"name\":\"$c\",\"text\":\"$c\"}],\"settings\":{\"stop\":[\"$c\"]}}"
    ask POST "/api/chats/$c/messages" "{\"content\":\"$c\",\"think\":\"$c\"}"
    ask POST /api/count "{\"content\":\"$c\"}"
    ask PUT /api/presets "{\"presets\":[{\"name\":\"$c\",\"system\":\"$c\",\"settings\":{}}]}"
    ask POST /api/login "{\"key\":\"fathom-$c\"}"
    ask POST /api/keys "{\"name\":\"$c\"}"
    ask POST /api/import "{\"$c\":\"$c\"}"
    ask GET "/api/chats?search=$c&folder=$c&before=$c" "" "Last-Event-ID: $c"$'\r\n'
    ask GET "/api/answers/$c/stream?from=$c" "" "Cookie: fathom_session=$c"$'\r\n'
}

pdf() { # text, operator: a file of one page, which needs no table of its parts to be read
    local draw="BT /F1 18 Tf 20 200 Td ($1) $2 ET"
    printf '%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n'
    printf '3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj\n'
    printf '4 0 obj<</Length %d>>stream\n%s\nendstream endobj\n' ${#draw} "$draw"
    printf '5 0 obj<</Type/Font/Subtype/Type1/BaseFont/%s>>endobj\ntrailer<</Root 1 0 R/Info<</Title(%s)>>>>\n' "${3:-Helvetica}" "$c"
}
sing_in_files() { # what is wrong in them a reader of PDF files may want to tell
    local type=application/pdf file
    for file in "$(pdf "$c" Tj)" "$(pdf a "$c")" "$(pdf "$c" Tj "$c")" "%PDF-1.4 $c" "$c"; do
        ask POST /api/extract "$file"
    done
    type=text/$c ask POST /api/extract "$c"
}

sing() { # how the server is
    : >"$work/replies"
    { sing_to_the_api; sing_to_the_page; sing_in_files; } >>"$work/replies"
    has "the_canary_was_sung_$1" "$c" "$(tr -d '\0' <"$work/replies")"
    check "nor_is_it_in_the_metrics_$1" "" "$(ask GET /metrics "" | grep -a "$c")"
}
listen() { # how the server was
    wait "$server" "$reader" 2>/dev/null
    check "what_is_asked_is_not_in_the_log_$1" "" "$(grep -a "$c" "$work/log")"
    check "nor_in_the_data_folder_$1" "" "$(grep -rla "$c" "$work/data")"
}

start --sandbox off
sing without_a_sandbox
kill -TERM "$server"
listen without_a_sandbox
sandbox=()
if "$fathom" doctor --no-egress >"$work/doctor" 2>&1; then
    start
    sing in_the_sandbox
    kill -TERM "$server"
    listen in_the_sandbox
else
    echo "[  SKIPPED ] the_canary_was_sung_in_the_sandbox: $(tail -1 "$work/doctor")"
    sandbox=(--sandbox off)
fi

start "${sandbox[@]}"
prlimit --pid "$server" --fsize=0
has the_disk_takes_nothing ' 50[0-9] ' "$(ask POST /api/chats '{"title":"a"}')"
sing on_a_full_disk
kill -SEGV "$server"
listen on_a_full_disk_and_in_a_crash
check no_core_is_left "" "$(find . "$work" -maxdepth 1 -name 'core*' -newer "$work/doctor")"
exit "$failed"
