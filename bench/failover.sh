#!/bin/sh
# How long until the next write is acknowledged after the leader of three CP nodes was killed with -9?
#
#   bench/failover.sh [PROGRAM] [TIMES]
#
# Each round kills the leader and at once puts through a survivor, which waits for the new leader;
# the time is from the kill to the answer, the start of the command included (about 10 ms). Then the
# killed node is started again. Prints every time and the median, for docs/results/.
set -eu

program=${1:-build/capstan}
times=${2:-20}
ports='25100 25110 25120'  # below what the kernel draws for outgoing connections
dir=$(mktemp -d)
trap 'kill -9 $(cat "$dir"/*.pid) 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

join=$(echo "$ports" | sed 's/[0-9]*/127.0.0.1:&/g; s/ /,/g')
export CAPSTAN_ENDPOINTS="$join" NO_COLOR=1

start() { # name
  "$program" serve --mode=cp --name="$1" --join="$join" --data-dir="$dir/$1" \
    --wal-segment-bytes=4MiB --free-bytes-min=64MiB --log-level=warn \
    >"$dir/$1.out" 2>"$dir/$1.err" &
  echo $! >"$dir/$1.pid"
}
await() { # command...: until it succeeds, at most about 20 s
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "gave up waiting for: $*" >&2; exit 1; }
    sleep 0.1
  done
}
all_answer() { # every node is reached, and one leads
  [ "$("$program" status --plain | awk -F'\t' '$4 ~ /n. n./ { n++ } END { print n + 0 }')" = 3 ]
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }

for name in n1 n2 n3; do start $name; done
await "$program" put warm up
round=1
while [ "$round" -le "$times" ]; do
  await all_answer
  await "$program" put warm up
  leader=$("$program" status --plain | awk -F'\t' '$3 == "leader" { print $1; exit }')
  survivor=$("$program" status --plain | awk -F'\t' '$3 == "follower" { print $2; exit }')
  began=$(now_ms)
  kill -9 "$(cat "$dir/$leader.pid")"
  if "$program" put after "round $round" --endpoints="$survivor" >/dev/null 2>"$dir/why"; then
    echo "$(($(now_ms) - began))" >>"$dir/times"
  else
    echo "round $round: $(cat "$dir/why")" >&2
  fi
  start "$leader"
  round=$((round + 1))
done
sort -n "$dir/times" | awk '{ t[NR] = $1; line = line " " $1 }
  END { print "ms:" line; print "median " t[int((NR + 1) / 2)] " ms of " NR }'
