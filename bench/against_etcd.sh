#!/bin/sh
# Puts and linearizable gets of three Capstan CP nodes against three etcd nodes, by one generator.
#
#   bench/against_etcd.sh [PROGRAM] [ROUNDS] [SECONDS]
#
# Fresh clusters for every round, one store alive at a time, in turns (A B A B ...), gets before puts,
# load to the leader, 256-byte values; prints each round, the medians and their ratio. Then the 99th
# percentile of puts at the same offered rate for both. Needs etcd (Debian: etcd-server).
set -eu

program=${1:-build/capstan}
rounds=${2:-3}
seconds=${3:-5}
offered=${OFFERED_RATE:-4000}
command -v etcd >/dev/null || { echo "skipped: no etcd here" >&2; exit 0; }
dir=$(mktemp -d)
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
ports='25300 25310 25320'  # below what the kernel draws for outgoing connections
endpoints=127.0.0.1:25300,127.0.0.1:25310,127.0.0.1:25320
peers=n1=http://127.0.0.1:25301,n2=http://127.0.0.1:25311,n3=http://127.0.0.1:25321
export NO_COLOR=1 ETCD_LOG_LEVEL=error

stop() {
  for pid in "$dir"/*.pid; do
    [ -e "$pid" ] && kill -9 "$(cat "$pid")" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  rm -rf "${dir:?}"/*
}
start() { # store: the same flags for both, their own defaults for time-outs
  for port in $ports; do
    name=n$(((port - 25300) / 10 + 1))
    set -- "$1" --name "$name" --data-dir "$dir/$name" \
      --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
      --listen-peer-urls "http://127.0.0.1:$((port + 1))" \
      --initial-advertise-peer-urls "http://127.0.0.1:$((port + 1))" --initial-cluster "$peers"
    store=$1
    shift
    if [ "$store" = etcd ]; then
      etcd "$@" >"$dir/$name.out" 2>&1 &
    else
      "$program" serve --mode=cp --log-level=error "$@" >"$dir/$name.out" 2>&1 &
    fi
    echo $! >"$dir/$name.pid"
    set -- "$store"
  done
  tries=0
  until "$program" bench --endpoints="$endpoints" --leader --clients=1 --duration=50ms --warmup=0s \
    --keys=10 --json 2>/dev/null | grep -q '"ok":[1-9]'; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "$1 does not serve" >&2; exit 1; }
    sleep 0.1
  done
}
number() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" | head -1; }
measure() { # store, name, flags...
  store=$1 what=$2
  shift 2
  "$program" bench --endpoints="$endpoints" --leader --duration="${seconds}s" --warmup=1s --json "$@" \
    >"$dir.last"
  rate=$(number per_second <"$dir.last")
  p99=$(sed -n 's/.*"latency":{[^}]*"p99_us":\([0-9]*\).*/\1/p' "$dir.last")
  bad=$(($(number failed <"$dir.last") + $(number unknown <"$dir.last")))
  rm -f "$dir.last"
  echo "$store $what $rate $p99 $bad" | tee -a "$results"
}
results=$(mktemp)
echo "store what per_second p99_us not_ok"
round=1
while [ "$round" -le "$rounds" ]; do
  for store in capstan etcd; do
    start "$store"
    measure "$store" get-64x1 --op=get --keys=1000 --preload --clients=64 --inflight=1
    measure "$store" get-16x64 --op=get --keys=1000 --clients=16 --inflight=64
    measure "$store" put-64x1 --op=put --clients=64 --inflight=1
    measure "$store" put-16x64 --op=put --clients=16 --inflight=64
    measure "$store" "put-at-$offered/s" --op=put --clients=64 --inflight=16 --rate="$offered"
    stop
  done
  round=$((round + 1))
done
echo
sort -k2,2 -k1,1 -k3,3n "$results" | awk '
  { key = $2 SUBSEP $1; n[key]++; rate[key, n[key]] = $3; names[$2] = 1
    late[key, n[key]] = $4 }
  function median(values, key,   i, j, t, v, count) {
    count = n[key]
    for (i = 1; i <= count; i++) v[i] = values[key, i] + 0
    for (i = 1; i <= count; i++) for (j = i + 1; j <= count; j++) if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
    return v[int((count + 1) / 2)]
  }
  END {
    printf "%-16s %12s %12s %7s   %10s %10s\n", "medians", "capstan/s", "etcd/s", "ratio", "p99 ms", "etcd p99"
    for (name in names) {
      a = name SUBSEP "capstan"; b = name SUBSEP "etcd"
      printf "%-16s %12.0f %12.0f %7.2f   %10.2f %10.2f\n", name, median(rate, a), median(rate, b),
        median(rate, a) / (median(rate, b) > 0 ? median(rate, b) : 1), median(late, a) / 1000, median(late, b) / 1000
    }
  }'
rm -f "$results"
