#!/bin/sh
# Makes the certificates for nats.cluster.conf, valid for ten years:
#
#   nats-certs.sh FOLDER NAME[,ADDRESS…]…
#   nats-certs.sh certs nats-1,10.0.0.1 nats-2,10.0.0.2 nats-3,10.0.0.3
#
# FOLDER/NAME is for that server, FOLDER/ca for clerksync. The key of the CA is thrown
# away: to replace a certificate, run it again and replace all.
set -eu
[ $# -ge 2 ] || { echo "usage: nats-certs.sh FOLDER NAME[,ADDRESS…]…" >&2; exit 2; }
umask 022
folder=$1
shift

key=$(mktemp)
trap 'rm -f "$key" "$key.csr"' EXIT
mkdir -p "$folder/ca"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$key" -out "$folder/ca/ca.pem" \
  -days 3650 -subj "/CN=CA of clerksync's NATS" -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign" 2>/dev/null

for names; do
  name=${names%%,*}
  san=
  for address in $(echo "$names" | tr , ' '); do
    case $address in
      *[!0-9.]*) san="$san,DNS:$address" ;;
      *) san="$san,IP:$address" ;;
    esac
  done
  mkdir -p "$folder/$name"
  cp "$folder/ca/ca.pem" "$folder/$name/"
  (umask 077 && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$folder/$name/key.pem" -out "$key.csr" -subj "/CN=$name" 2>/dev/null)
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "${san#,}" |
    openssl x509 -req -in "$key.csr" -CA "$folder/ca/ca.pem" -CAkey "$key" -days 3650 -extfile /dev/stdin -out "$folder/$name/cert.pem" 2>/dev/null
done
