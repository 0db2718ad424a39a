#!/usr/bin/env bash
# Tests the image as root, without a Docker engine and without pulling an image: buildah
# builds it with this machine's Go in place of the Go image, and the program runs in it on a
# read-only root. Needs Go, git and buildah, and /bin in /usr.
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

# The stand-in for the Go image: empty, with the folders of this machine mounted while it builds.
mkdir -p "$work/go"/{usr,go,root,etc/ssl/certs}
mkdir -m 1777 "$work/go/tmp"
ln -s usr/bin usr/lib usr/lib64 "$work/go/"
cp /etc/ssl/certs/ca-certificates.crt "$work/go/etc/ssl/certs/"
base=$(b from scratch)
b add --quiet "$base" "$work/go" / >/dev/null
b config --env PATH=/goroot/bin:/usr/bin:/bin --env GOPATH=/go --env GOCACHE=/gocache --env GOTOOLCHAIN=local --env "GOPROXY=$(go env GOPROXY)" "$base"
version=$(sed -n 's/^ARG GO_VERSION=//p' deploy/Dockerfile)
b commit --quiet "$base" "docker.io/library/golang:$version-bookworm" >/dev/null

revision=$(git rev-parse HEAD)
b build --quiet --pull=never --format docker --platform "linux/$(go env GOARCH)" --file deploy/Dockerfile --tag clerksync \
  --volume /usr:/usr:ro --volume "$(go env GOROOT):/goroot:ro" --volume "$(go env GOMODCACHE):/go/pkg/mod" --volume "$(go env GOCACHE):/gocache" \
  --build-arg VERSION=v0.0.0-test --build-arg REVISION="$revision" . >/dev/null

of() { b inspect --type image --format "$1" clerksync; }
expect user "$(of '{{.OCIv1.Config.User}}')" 65532:65532
expect command "$(of '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}')" '[/clerksync] [serve]'
expect volumes "$(of '{{.OCIv1.Config.Volumes}}')" 'map[]' # see the Dockerfile
label() { of "{{index .OCIv1.Config.Labels \"org.opencontainers.image.$1\"}}"; }
expect title "$(label title)" clerksync
expect source "$(label source)" https://github.com/clerksync/clerksync
expect licenses "$(label licenses)" Apache-2.0
expect version "$(label version)" v0.0.0-test
expect revision "$(label revision)" "$revision"

container=$(b from --pull=never clerksync)
root=$(b mount "$container")
# No shell, no libc, no package manager.
expect files "$(cd "$root" && find . -not -type d | sort | xargs)" './LICENSE ./clerksync ./etc/ssl/certs/ca-certificates.crt'
expect 'the data folder' "$(stat -c '%u:%g %a' "$root/data")" '65532:65532 700'
size=$(du -sm "$root" | cut -f 1)
[ "$size" -le 48 ] || { printf 'the image has %s MiB, more than 48\n' "$size"; exit 1; }

# The program has its version from .git, which the context has to have whole.
said=$(b run "$container" -- /clerksync version)
[[ $said == "clerksync v"*" (${revision:0:12}), "* ]] || { printf 'the image says %s\n' "$said"; exit 1; }
[ -n "$(git status --porcelain)" ] || [[ $said != *dirty* ]] || { printf '.dockerignore hides tracked files: %s\n' "$said"; exit 1; }

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
"$root/clerksync" send --url "$endpoint" testdata/events/user.created.json
kill "$server"
wait "$server"
server=
printf 'the image has %s MiB: %s\n' "$size" "$said"
