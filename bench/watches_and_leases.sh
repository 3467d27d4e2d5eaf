#!/bin/sh
# What many watches and leases cost one node, in memory, in time and to others, and the same of etcd.
#
#   bench/watches_and_leases.sh [PROGRAM] [COUNT] [ETCD]
#
# COUNT (default 100000) watches, and then as many leases. ETCD (default: etcd, where it is there) is
# asked the same afterwards. Wants node, and the modules that ./run test puts into build/npm.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
program=${1:-build/capstan}
count=${2:-100000}
etcd=${3-$(command -v etcd || true)}
port=25170 # below what the kernel draws for outgoing connections
dir=$(mktemp -d "${TMPDIR:-/tmp}/capstan-watches.XXXXXX")
trap 'kill -9 $(cat "$dir"/*.pid) 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
export NODE_PATH="${NODE_PATH:-$here/../build/npm/node_modules}"
at=127.0.0.1:$port

measure() { # name, pid
  tries=0
  until curl -sf "http://$at/v3/maintenance/status" -d '{}' >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "$1 did not come up" >&2; exit 1; }
    sleep 0.1
  done
  echo "$1"
  node "$here/watches_and_leases.js" "$at" "$2" "$count"
  kill -9 "$2"
  wait "$2" 2>/dev/null || true
}

"$program" serve --mode=cp --name=n1 --join="$at" --data-dir="$dir/n1" --log-level=warn \
  >"$dir/n1.out" 2>"$dir/n1.err" &
echo $! >"$dir/n1.pid"
measure capstan "$(cat "$dir/n1.pid")"
[ -n "$etcd" ] || exit 0
"$etcd" --name=e1 --data-dir="$dir/e1" --listen-client-urls="http://$at" \
  --advertise-client-urls="http://$at" --listen-peer-urls="http://127.0.0.1:$((port + 1))" \
  --initial-advertise-peer-urls="http://127.0.0.1:$((port + 1))" \
  --initial-cluster="e1=http://127.0.0.1:$((port + 1))" --log-level=error >"$dir/e1.out" 2>&1 &
echo $! >"$dir/e1.pid"
measure etcd "$(cat "$dir/e1.pid")"
