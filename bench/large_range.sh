#!/bin/sh
# What reading a gigabyte of keys costs a node: how much its resident memory grows while it is read,
# over gRPC and over HTTP, what 4 s of writing beside it feel, and how fast it goes. One CP node.
#
#   bench/large_range.sh [PROGRAM] [MIB]
#
# MIB (default 1024) of values of 1 KiB are put first. Wants etcdctl and curl.
set -eu

program=${1:-build/capstan}
mib=${2:-1024}
port=25160 # below what the kernel draws for outgoing connections
dir=$(mktemp -d "${TMPDIR:-/tmp}/capstan-range.XXXXXX")
trap 'kill -9 $(cat "$dir"/*.pid) 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

at=127.0.0.1:$port
export CAPSTAN_ENDPOINTS="$at" NO_COLOR=1 ETCDCTL_API=3

"$program" serve --mode=cp --name=n1 --join="$at" --data-dir="$dir/n1" --log-level=warn \
  >"$dir/n1.out" 2>"$dir/n1.err" &
echo $! >"$dir/n1.pid"
node=$(cat "$dir/n1.pid")
tries=0
until "$program" put warm up >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 200 ] || { echo "the node did not come up" >&2; exit 1; }
  sleep 0.1
done

resident() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$node/status"; }
# The most that was resident since it was last asked.
peak() {
  awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$node/status"
  echo 5 >"/proc/$node/clear_refs"
}
figure() { # file, name: the first in it, which is of all operations
  tr ',{' '\n\n' <"$1" | awk -F: -v name="\"$2\"" '$1 == name { print $2 / 1000; exit }'
}
now() { date +%s%N; }

"$program" bench --endpoints="$at" --clients=8 --inflight=64 --keys=$((mib * 1024)) \
  --value-bytes=1024 --preload --op=get --duration=1s --json >"$dir/fill"
sleep 35 # until it has checkpointed what it holds
sync
read_all() { # name, command...: what it costs
  name=$1
  shift
  peak >/dev/null
  before=$(resident)
  "$program" bench --endpoints="$at" --clients=4 --rate=500 --keys=1000 --duration=4s --warmup=0s \
    --json >"$dir/beside" &
  beside=$!
  sleep 0.5 # until it is at it
  began=$(now)
  bytes=$("$@" | wc -c)
  took=$((($(now) - began) / 1000000))
  wait $beside
  echo "$name: $((bytes / 1048576)) MiB in $took ms; resident $before MiB before, $(peak) MiB at most;" \
    "99th percentile of 500 puts/s beside it $(figure "$dir/beside" p99_us) ms"
}
read_all 'nothing' true
read_all 'etcdctl' etcdctl --endpoints="$at" --command-timeout=300s get '' --from-key
read_all 'gateway' curl -s "http://$at/v3/kv/range" -d '{"key":"AA==","range_end":"AA=="}'
read_all 'count over the gateway' curl -s "http://$at/v3/kv/range" \
  -d '{"key":"AA==","range_end":"AA==","count_only":true}'
