#!/bin/sh
# What a compaction gives back, how fast, and what clients feel of it: three CP nodes under a steady
# load of puts, one compaction in the middle.
#
#   bench/compaction.sh [PROGRAM] [FILL] [RATE]
#
# FILL (default 30s) is how long puts go in as fast as they can, to 20,000 keys; RATE (default 4000)
# puts a second go on while it is measured. Prints the 99th percentile before, during and after, and
# each node's disk, for docs/results/.
set -eu

program=${1:-build/capstan}
fill=${2:-30s}
rate=${3:-4000}
ports='25130 25140 25150'  # below what the kernel draws for outgoing connections
dir=$(mktemp -d "${TMPDIR:-/tmp}/capstan-compaction.XXXXXX")
trap 'kill -9 $(cat "$dir"/*.pid) 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

join=$(echo "$ports" | sed 's/[0-9]*/127.0.0.1:&/g; s/ /,/g')
export CAPSTAN_ENDPOINTS="$join" NO_COLOR=1

for name in n1 n2 n3; do
  "$program" serve --mode=cp --name="$name" --join="$join" --data-dir="$dir/$name" \
    --free-bytes-min=64MiB --log-level=warn >"$dir/$name.out" 2>"$dir/$name.err" &
  echo $! >"$dir/$name.pid"
done
tries=0
until "$program" put warm up >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 200 ] || { echo "the nodes did not come up" >&2; exit 1; }
  sleep 0.1
done

mib() { echo "$(($1 / 1024 / 1024)) MiB"; }
disk() { # of each node's base, allocated
  for name in n1 n2 n3; do
    mib $(($(stat -c %b "$dir/$name/base.lmdb") * 512))
  done | paste -sd' '
}
load() { # duration, output
  "$program" bench --endpoints="$join" --leader --clients=32 --keys=20000 --rate="$rate" \
    --duration="$1" --warmup=1s --json >"$2"
}
figure() { # file, name: the first in it, which is of all operations
  tr ',{' '\n\n' <"$1" | awk -F: -v name="\"$2\"" '$1 == name { print $2 / 1000; exit }'
}

"$program" bench --endpoints="$join" --leader --clients=16 --inflight=64 --keys=20000 \
  --duration="$fill" --json >"$dir/fill"
sleep 35  # until every node has checkpointed what it holds
echo "filled: $(disk)"
load 60s "$dir/before"
revision=$("$program" put warm up | sed 's/.*revision \([0-9]*\).*/\1/')
load 60s "$dir/during" &
sleep 2
began=$(date +%s%N)
"$program" compact "$revision" --physical --timeout=600s
echo "gone from the disk of one node: $((($(date +%s%N) - began) / 1000000)) ms, $revision revisions"
wait $!
load 60s "$dir/after"
sleep 35
echo "after: $(disk)"
for when in before during after; do
  echo "$when: p50 $(figure "$dir/$when" p50_us), p99 $(figure "$dir/$when" p99_us), longest" \
    "$(figure "$dir/$when" max_us) ms"
done
