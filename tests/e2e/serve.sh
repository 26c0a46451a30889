#!/usr/bin/env bash
# `fathom serve` as a program: it is stingy with nobody, ends in the middle of a stream, and says what is wrong with its
# options.
set -u
source tests/e2e/expect.bash
source tests/e2e/asking.bash

(
    ulimit -Sn 64 # of open files: what a shell may be stingy with, the server asks for itself
    exec "$fathom" serve "$model" --data "$work/data" --port 0 --cache 16 --threads 1 --sandbox off >"$work/out" 2>"$work/err"
) &
server=$!
for _ in $(seq 200); do
    grep -q 'Ctrl-C' "$work/out" && break
    sleep 0.05
done
port=$(sed -n 's/^Fathom serves .* at http:[^ ]*:\([0-9]*\)$/\1/p' "$work/out")
has serve_says_where_it_is '^[0-9]+$' "$port"

reply=$(ask POST /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"temperature\":0}")
has serve_answers 'Hello! 你好 🐳' "$reply"

has a_chat_without_a_key ' 201 ' "$(ask POST /api/chats '{"title":"x"}')"
"$fathom" serve "$model" --no-store --port "$port" --sandbox off >"$work/o" 2>"$work/e" </dev/null
has a_port_in_use_says_which_is_free 'another program listens there.*--port [0-9]+ is free' "$(cat "$work/e")"

crowd=()
for _ in $(seq 150); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" && crowd+=("$fd")
done
has serve_answers_beside_a_crowd_that_says_nothing ' 200 OK' "$(ask GET /health "")"
for fd in "${crowd[@]}"; do exec {fd}>&-; done

has metrics_are_there '^fathom_answers_total [1-9]' "$(ask GET /metrics "")"

# In the middle of a stream that has no end of its own.
body='{"messages":[{"role":"user","content":"hello"}],"logit_bias":{"258":-100},"temperature":1,"max_tokens":470,"stream":true}'
exec 7<>"/dev/tcp/127.0.0.1/$port"
printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
    "${#body}" "$body" >&7
read -r -t 5 line <&7
start=$SECONDS
kill -TERM "$server"
wait "$server"
check serve_ends_in_the_middle_of_a_stream 0 $?
has soon '^[0-3]$' $((SECONDS - start))
exec 7>&-
check serve_logs_nothing_else "" "$(cat "$work/err")"

has serve_says_goodbye 'Fathom stops' "$(cat "$work/out")"

# For others: where it is, and what whoever starts it should know.
"$fathom" keys create --name anna --balance 5 --data "$work/data" >"$work/key" 2>&1
on_a_lan() { # options; leaves what it said in $said
    rm -f "$work/lan"
    "$fathom" serve "$model" --lan --host box.home --data "$work/data" --port 0 --cache 16 --threads 1 --sandbox off "$@" >"$work/lan" 2>&1 &
    server=$!
    for _ in $(seq 200); do
        grep -q 'Ctrl-C' "$work/lan" 2>/dev/null && break
        sleep 0.05
    done
    kill "$server"
    wait "$server"
    said=$(cat "$work/lan")
}
on_a_lan
has others_find_it_by_its_name 'others .* http://box.home:[0-9]+' "$said"
has it_warns_without_tls 'without TLS' "$said"
has it_tells_of_chats_that_no_key_shows 'no key shows: 1.*' "$said"
has it_tells_of_a_balance_that_never_falls 'balance that never falls: 1; .*--prices FILE' "$said"
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=box.home \
        -keyout "$work/box.key" -out "$work/box.crt" 2>/dev/null
    chmod 644 "$work/box.key"
    on_a_lan --tls-cert "$work/box.crt" --tls-key "$work/box.key"
    has it_tells_of_a_tls_key_that_others_can_read 'can read the TLS key: chmod o= .*box.key' "$said"
    chmod 600 "$work/box.key"
    on_a_lan --tls-cert "$work/box.crt" --tls-key "$work/box.key"
    check and_of_no_other 0 "$(grep -c 'the TLS key' "$work/lan")"
else
    echo "[  SKIPPED ] it_tells_of_a_tls_key_that_others_can_read: no openssl here"
fi

wrong() { # name, status, pattern, options
    local name=$1 status=$2 pattern=$3
    shift 3
    "$fathom" serve "$@" --no-store --sandbox off >"$work/o" 2>"$work/e" </dev/null
    check "$name" "$status" $?
    has "${name}_is_said" "$pattern" "$(cat "$work/e")"
}
wrong a_model_that_is_none 1 'no-such-model' no-such-model --port 0
wrong half_a_certificate 2 'tls-cert and --tls-key' "$model" --tls-cert /dev/null --port 0
printf -- '-----BEGIN PRIVATE KEY-----\nAAAA\n' >"$work/key.pem"
printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n' >"$work/cert.pem"
wrong a_key_for_a_certificate 2 'tls-cert: .*key.pem holds a PRIVATE KEY, and a CERTIFICATE was expected' \
    "$model" --tls-cert "$work/key.pem" --tls-key "$work/cert.pem" --port 0
wrong a_certificate_for_a_key 2 'tls-key: .*cert.pem holds a CERTIFICATE, and a PRIVATE KEY' \
    "$model" --tls-cert "$work/cert.pem" --tls-key "$work/cert.pem" --port 0
printf -- '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n' >"$work/locked.pem"
wrong an_encrypted_key 2 'locked.pem is encrypted' \
    "$model" --tls-cert "$work/cert.pem" --tls-key "$work/locked.pem" --port 0
wrong a_certificate_that_is_none 2 'holds no PEM' "$model" --tls-cert "$model/config.json" --tls-key "$work/key.pem" --port 0
wrong a_host_with_a_scheme 2 'a name alone, like fathom.home' "$model" --host http://foo --port 0
wrong more_memory_than_there_is 2 'of memory is free' "$model" --cache 99999999 --port 0
printf 'currency EUR\n* | 1\n' >"$work/prices"
wrong prices_that_are_none 1 'prices: prices, line 2' "$model" --prices "$work/prices" --port 0
wrong a_port_that_is_none 2 '65536' "$model" --port 65536
wrong a_host_that_means_all 2 'to listen for other machines: --lan' "$model" --host 0.0.0.0 --port 0
wrong a_context_past_the_model 1 '513 positions was asked for; .* at most 512' "$model" --context 513 --port 0
wrong a_key_in_a_store_that_is_none 2 '--require-key needs a key, and --no-store has none' "$model" --require-key --port 0
wrong a_folder_for_a_store_that_is_none 2 'either it or --data' "$model" --data "$work/never" --port 0
wrong a_file_that_is_missing 1 '--prices: .*nofile' "$model" --prices "$work/nofile" --port 0
wrong a_socket_that_is_a_file 2 'no socket' "$model" --socket "$work/prices"
"$fathom" serve "$model" --require-key --data "$work/fresh" --port 0 --sandbox off >"$work/o" 2>"$work/e" </dev/null
has a_missing_key_is_made_where_it_is_looked_for "keys create --name me --data $work/fresh" "$(cat "$work/e")"
exit "$failed"
