#!/bin/sh
# What does an AP cluster send to heal, against what was missing?
#
#   bench/heal_bytes.sh [PROGRAM] [KEYS] [DIFFERING] [VALUE_BYTES]
#
# Fills three nodes with KEYS keys, cuts n1 off, writes DIFFERING of them anew at n2, heals, waits until
# all three are equal and reads the byte counters of the heal:
#   payload   key + value of each missing cell, once: what no protocol can avoid sending n1
#   frames    everything n1 received from its peers from the heal until equal, framing, heartbeats and
#             checksums included (capstan_peer_bytes_total)
#   sync      synchronisation messages alone, as the nodes count them; ident: finding out what is missing
# and, for the machine it ran on: the time, the most memory of its own each node had (pages of the
# base mapped from its file not counted) before and during the heal, and how often a node took
# another for suspect or unreachable while the heal was under way.
# Ends with 1 where a bound of the first issue does not hold: 1.10 x the payload, and 512 B + 32 B an
# actor to find out what is missing.
set -eu

program=${1:-build/capstan}
keys=${2:-1000000}
differing=${3:-100000}
value_bytes=${4:-256}
key_bytes=16
ports='25200 25210 25220'  # below what the kernel draws for outgoing connections
dir=$(mktemp -d)
trap 'kill -9 $(cat "$dir"/*.pid) 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

join=$(echo "$ports" | sed 's/[0-9]*/127.0.0.1:&/g; s/ /,/g')
export CAPSTAN_ENDPOINTS="$join" NO_COLOR=1

for name in n1 n2 n3; do
  "$program" serve --mode=ap --lab --name="$name" --join="$join" --data-dir="$dir/$name" \
    --free-bytes-min=64MiB --log-level=info >"$dir/$name.out" 2>&1 &
  echo $! >"$dir/$name.pid"
done

await() { # command...: until it succeeds, at most about two minutes
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 2400 ] && kill -0 $(cat "$dir"/*.pid) || {
      echo "gave up waiting for: $*" >&2
      tail -n 2 "$dir"/n?.out >&2
      exit 1
    }
    sleep 0.05
  done
}
different() { "$program" status --json | grep -o "\"$1\":\"[^\"]*\"" | sort -u | wc -l; }
equal() {
  memory_now >>"$dir/memory"
  [ "$(different vector)" = 1 ] && [ "$(different digest)" = 1 ]
}
connected() { [ "$("$program" status --json | grep -o '"reachable":true' | wc -l)" = 9 ]; }
sum_of() { # field: over all nodes
  "$program" status --json | grep -o "\"$1\":[0-9]*" | awk -F: '{ n += $2 } END { printf "%.0f\n", n }'
}
frames_in() { # what n1 has received from its peers
  curl -s "http://127.0.0.1:${ports%% *}/metrics" |
    awk '/^capstan_peer_bytes_total/ && /direction="in"/ { n += $2 } END { printf "%.0f\n", n }'
}
actors() { # in the vector of n1
  curl -s "http://127.0.0.1:25200/api/v1/status" | sed -n 's/.*"vector":"\([^"]*\)".*/\1/p' | wc -w
}
vector_at() { curl -s "http://127.0.0.1:$1/api/v1/status" | grep -o '"vector":"[^"]*"'; }
memory_now() { # a line: MiB of each node
  for name in n1 n2 n3; do
    awk '/^RssAnon/ { printf " %d", $2 / 1024 }' "/proc/$(cat "$dir/$name.pid")/status"
  done
  echo
}
most() { awk '{ for (i = 1; i <= NF; i++) if ($i > m[i]) m[i] = $i } END { print m[1], m[2], m[3] }' "$1"; }
silences() { # how often a node has missed another's frames so far
  cat "$dir"/n?.out | grep -c 'is suspected\|is unreachable' || true
}
others_equal() {
  memory_now >>"$dir/memory"
  [ -n "$(vector_at 25210)" ] && [ "$(vector_at 25210)" = "$(vector_at 25220)" ]; }
fill() { # endpoints, keys: writes each key once
  "$program" bench --op=put --preload --endpoints="$1" --keys="$2" --key-bytes=$key_bytes \
    --value-bytes="$value_bytes" --clients=16 --inflight=1 --warmup=0s --duration=1ms >/dev/null
}

await connected
fill 127.0.0.1:25200 "$keys"
await equal
"$program" lab cut n1 / n2,n3 --for=1h >/dev/null 2>&1
fill 127.0.0.1:25210 "$differing"
await others_equal
sent=$(sum_of sync_bytes_out)
ident=$(sum_of sync_ident_bytes)
payload_sent=$(sum_of sync_payload_bytes)
frames=$(frames_in)
before=$(memory_now)
: >"$dir/memory"
began=$(date +%s%N)
"$program" lab heal >/dev/null 2>&1
silent=$(silences)
await equal
silent=$(($(silences) - silent))
took=$((($(date +%s%N) - began) / 1000000))
frames=$(($(frames_in) - frames))
sent=$(($(sum_of sync_bytes_out) - sent))
ident=$(($(sum_of sync_ident_bytes) - ident))
payload_sent=$(($(sum_of sync_payload_bytes) - payload_sent))
missing=$((differing * (key_bytes + value_bytes)))
awk -v f="$frames" -v s="$sent" -v i="$ident" -v p="$payload_sent" -v m="$missing" -v t="$took" \
  -v k="$keys" -v d="$differing" \
  -v before="$before" -v during="$(most "$dir/memory")" -v silent="$silent" -v actors="$(actors)" 'BEGIN {
    printf "%d of %d keys differed; equal again after %.1f s (asked every 0.05 s)\n", d, k, t / 1000
    printf "payload missing at n1   %12.0f B\n", m
    printf "frames n1 received      %12.0f B   %.3f x the payload\n", f, f / m
    printf "sync messages, all      %12.0f B   of them ident %.0f B, key and value bytes %.0f B\n", s, i, p
    printf "memory, MiB             before%s, at most %s\n", before, during
    printf "suspicions in the heal  %d\n", silent
    bound = 512 + 32 * actors
    printf "bounds                  frames at most 1.100 x: %s; ident at most %d B (%d actors): %s\n",
      f <= 1.1 * m ? "yes" : "no", bound, actors, i <= bound ? "yes" : "no"
    exit !(f <= 1.1 * m && i <= bound)
  }'
