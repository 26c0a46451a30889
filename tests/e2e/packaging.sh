#!/usr/bin/env bash
# What lies in packaging/ is what nginx and systemd understand; where they are not installed, said and skipped.
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

verdict() { # NAME, after a command
    if [ $? -eq 0 ]; then
        echo "[       OK ] $1"
    else
        cat "$dir/log"
        echo "[  FAILED  ] $1"
        echo "[  FAILED  ] $1"
        failures=1
    fi
}

# Certificates, logs, sockets and names of machines are the test's.
nginx=$(PATH=$PATH:/usr/sbin command -v nginx)
if [ -n "$nginx" ] && command -v openssl >/dev/null; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=chat.example.org \
        -keyout "$dir/key.pem" -out "$dir/fullchain.pem" 2>"$dir/log"
    cp "$dir/fullchain.pem" "$dir/machines-ca.pem"
    sed -e "s#/etc/nginx/fathom/#$dir/#; s#/var/log/nginx/#$dir/#; s#machine[12].example.org#127.0.0.1#" \
        -e "s#listen 80;#listen unix:$dir/80;#; s#listen 443 #listen unix:$dir/443 #; /listen \[/d" \
        packaging/nginx.conf >"$dir/fathom.conf"
    cat >"$dir/nginx.conf" <<EOF
pid $dir/pid;
error_log $dir/error.log;
events {}
http { include $dir/fathom.conf; }
EOF
    "$nginx" -t -c "$dir/nginx.conf" -e "$dir/error.log" >"$dir/log" 2>&1
    verdict nginx_understands_its_file
else
    echo "[  SKIPPED ] nginx_understands_its_file: no nginx or no openssl here"
fi

# The household's certificate, by the lines that docs/deployment.md gives.
if openssl version 2>/dev/null | grep -q '^OpenSSL [3-9]'; then
    (cd "$dir" && bash -e) >"$dir/log" 2>&1 < <(sed -n '/^    openssl/,/^    rm /{/^    rm /!p}' docs/deployment.md)
    vouches() { # CERTIFICATE NAME
        openssl verify -x509_strict -purpose sslserver -CAfile "$dir/authority.crt" -verify_hostname "$2" "$dir/$1"
    }
    vouches home.crt fathom.home >>"$dir/log" 2>&1
    verdict the_authority_of_a_household_vouches_for_its_server
    openssl req -x509 -CA "$dir/authority.crt" -CAkey "$dir/authority.key" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -days 2 -subj /CN=example.org -addext subjectAltName=DNS:example.org -addext basicConstraints=critical,CA:FALSE \
        -keyout "$dir/other.key" -out "$dir/other.crt" >"$dir/log" 2>&1
    vouches other.crt example.org 2>&1 | tee "$dir/log" | grep -q 'permitted subtree violation'
    verdict and_for_no_other
else
    echo "[  SKIPPED ] the_authority_of_a_household_vouches_for_its_server: no openssl 3 here"
fi

# How the program was linked, and, unless it looks for such slips by itself, compiled (Makefile).
program=${FATHOM_BUILD:-build}/fathom
readelf -hldW --dyn-syms "$program" >"$dir/log"
grep -q "Type: *DYN (Position-Independent" "$dir/log" && grep -q GNU_RELRO "$dir/log" &&
    grep -q "Flags:.* NOW" "$dir/log" && grep -q "GNU_STACK.* RW  *0x" "$dir/log" && ! grep -q "LOAD.* RWE" "$dir/log"
verdict the_program_lies_anywhere_and_runs_no_data
if grep -q "__[atu][a-z]*san_" "$dir/log"; then
    echo "[  SKIPPED ] the_program_watches_its_stack_and_copies: sanitizers do"
else
    grep -q "__stack_chk_fail" "$dir/log" && grep -q "__memcpy_chk" "$dir/log"
    verdict the_program_watches_its_stack_and_copies
fi

# The program need not be installed for it.
if command -v systemd-analyze >/dev/null; then
    sed 's#^ExecStart=/usr/local/bin/fathom#ExecStart=/bin/true#' packaging/fathom.service >"$dir/fathom.service"
    systemd-analyze verify "$dir/fathom.service" >"$dir/log" 2>&1 && [ ! -s "$dir/log" ]
    verdict systemd_understands_its_unit
else
    echo "[  SKIPPED ] systemd_understands_its_unit: no systemd-analyze here"
fi
# What `make install` lays out: the models that came with the program are found from there.
install -D "${FATHOM_BUILD:-build}/fathom" "$dir/usr/bin/fathom"
mkdir -p "$dir/usr/share/fathom/models" "$dir/none"
cp -R tests/golden/chatmodel "$dir/usr/share/fathom/models/came"
printf 'fathom-model 1\nsource x\nlicence MIT\nopen .\nfile %064d 1 config.json\n' 0 >"$dir/usr/share/fathom/models/came/manifest"
env -u FATHOM_BUNDLED FATHOM_MODELS="$dir/none" "$dir/usr/bin/fathom" list --json >"$dir/log" 2>&1
grep -q "\"path\": \"$dir/usr/.*share/fathom/models/came\"" "$dir/log"
verdict an_installed_program_finds_its_models
make -n install PREFIX="$dir/usr" 2>&1 | grep -q "cp -R models $dir/usr/share/fathom/"
verdict make_install_lays_them_there
exit $failures
