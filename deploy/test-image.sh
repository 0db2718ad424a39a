#!/usr/bin/env bash
# Tests the image as root, without a Docker engine and without pulling an image: buildah
# builds the last stage of the Dockerfile, with a folder in place of its build stage, and
# the program runs in it on a read-only root. Needs Go and buildah.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
b() { buildah --root "$work/store" --runroot "$work/run" "$@"; }
cleanup() {
  [ -z "${server:-}" ] || kill -KILL "$server" 2>/dev/null || true
  b rm --all >/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

expect() { # what, is, want
  [ "$2" = "$3" ] || { printf 'the image: %s is\n%s\nand not\n%s\n' "$1" "$2" "$3"; exit 1; }
}

# The command of the Dockerfile, so that the program is the same. Some machines turn off the
# stamping, which is on in the Go image.
build=$(grep -oE 'go build .*-o /out/clerksync \./cmd/clerksync$' deploy/Dockerfile)
CGO_ENABLED=0 GOFLAGS=-buildvcs=auto bash -c "${build/\/out\/clerksync/$work/build/out/clerksync}"
program=$work/build/out/clerksync
mkdir -p "$work/build/etc/ssl/certs" "$work/build/out/volumes"
mkdir -m 0700 "$work/build/out/volumes/data"
cp /etc/ssl/certs/ca-certificates.crt "$work/build/etc/ssl/certs/"

revision=$(git rev-parse HEAD)
version=$("$program" version --json | grep -oP '"version": *"\K[^"]*')
b build --quiet --pull=never --format docker --platform "linux/$(go env GOARCH)" --build-context build="$work/build" --file deploy/Dockerfile --tag clerksync \
  --build-arg VERSION="$version" --build-arg REVISION="$revision" . >/dev/null

of() { b inspect --type image --format "$1" clerksync; }
expect user "$(of '{{.OCIv1.Config.User}}')" 65532:65532
expect command "$(of '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}')" '[/clerksync] [serve]'
expect volumes "$(of '{{.OCIv1.Config.Volumes}}')" 'map[]' # see the Dockerfile
label() { of "{{index .OCIv1.Config.Labels \"org.opencontainers.image.$1\"}}"; }
expect title "$(label title)" clerksync
expect source "$(label source)" https://github.com/clerksync/clerksync
expect licenses "$(label licenses)" Apache-2.0
expect version "$(label version)" "$version"
expect revision "$(label revision)" "$revision"

container=$(b from --pull=never clerksync)
root=$(b mount "$container")
# No shell, no libc, no package manager.
expect files "$(cd "$root" && find . -not -type d | sort | xargs)" './LICENSE ./clerksync ./etc/ssl/certs/ca-certificates.crt'
expect 'the data folder' "$(stat -c '%u:%g %a' "$root/data")" '65532:65532 700'
size=$(du -sm "$root" | cut -f 1)
[ "$size" -le 48 ] || { printf 'the image has %s MiB, more than 48\n' "$size"; exit 1; }

expect 'what it says' "$(b run "$container" -- /clerksync version)" "$("$program" version)"
"$program" version | grep -qF "(${revision:0:12})"

# As Docker with --read-only, a volume at /data, and nothing else. PostgreSQL is away: the
# receiver needs only the event log.
export CLERK_WEBHOOK_SIGNING_SECRET
CLERK_WEBHOOK_SIGNING_SECRET=whsec_$(head -c 32 /dev/urandom | base64)
exec 3< <(DATABASE_URL=postgres://nobody@127.0.0.1:1/none CLERKSYNC_DATA_DIR=/data CLERKSYNC_ADDR=127.0.0.1:0 CLERKSYNC_ADMIN_ADDR=127.0.0.1:0 \
  exec unshare --mount bash -euc '
    mount --bind "$0" "$0"
    mount -o remount,bind,ro "$0"
    mount -t tmpfs -o mode=0700,uid=65532,gid=65532 data "$0/data"
    exec chroot --userspec=65532:65532 "$0" /clerksync serve' "$root" 2>&1)
server=$!
log=
while read -r -t 30 line <&3; do
  log+=$line$'\n'
  [[ $line != *'clerksync is at work'* ]] || break
done
[[ ${line:-} =~ endpoint=([^ ]+)\ admin=([^ ]+) ]] || { printf 'serve in the image:\n%s' "$log"; exit 1; }
endpoint=${BASH_REMATCH[1]} admin=${BASH_REMATCH[2]}
expect 'the user of the process' "$(grep -P '^[UG]id:' "/proc/$server/status" | xargs)" 'Uid: 65532 65532 65532 65532 Gid: 65532 65532 65532 65532'
curl -sSf "$admin/readyz" | grep -q '"ready":true'
"$program" send --url "$endpoint" testdata/events/user.created.json
kill "$server"
wait "$server"
server=
printf 'the image has %s MiB\n' "$size"
