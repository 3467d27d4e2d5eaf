#!/bin/sh
# Failures that heartbeats do not see, on real nodes, by the kernel's own means: three CP nodes, and
# around their leader
#
#   hole    packets of 1000 bytes and more are dropped, in and out (an MTU hole)
#   crawl   its way to the others carries 4 kB a second
#   disk    its file system is frozen: no write or sync comes back
#
#   lab/grey.sh PROGRAM [hole|crawl|disk]...
#
# Each must be noticed within 5 s, by /readyz and by `capstan status`, and writes by way of the other
# nodes must be accepted again within 5 s. lab/hosts.sh says what a host is. Exit 0: so it was. 1: it
# was not. 77: skipped, and why (needs root; `disk` also loop devices and fsfreeze).
set -u

program=${1:?"usage: lab/grey.sh PROGRAM [hole|crawl|disk]..."}
shift
[ $# -gt 0 ] || set -- hole crawl disk
hosts='1 2 3'
nodes=''
prefix=grey$$
work=''
failed=0

# shellcheck source=lab/hosts.sh
. "$(dirname "$0")/hosts.sh"

soon=5000

# ---- the failures, around `alone` ---------------------------------------------------------------

around() { # -A or -D, what else a packet must be...
  flag=$1
  shift
  for other in $hosts; do
    [ "$other" = "$alone" ] && continue
    at "$alone" iptables -w "$flag" OUTPUT -d "$(address "$other")" "$@" -j DROP
    at "$alone" iptables -w "$flag" INPUT -s "$(address "$other")" "$@" -j DROP
  done
}
hole() { around "$1" -m length --length 1000:65535; }
crawl() {
  for other in $hosts; do
    [ "$other" = "$alone" ] || at "$alone" iptables -w "$1" OUTPUT -d "$(address "$other")" \
      -m hashlimit --hashlimit-above 4kb/s --hashlimit-mode dstip --hashlimit-name "to$other" -j DROP
  done
}
disk() {
  if [ "$1" = -A ]; then fsfreeze -f "$work/disk-n$alone"; else fsfreeze -u "$work/disk-n$alone"; fi
}

# ---- what is looked for -------------------------------------------------------------------------

not_ready() { # host
  [ "$(at "$1" curl -s -m 1 -o /dev/null -w '%{http_code}' "http://$(address "$1"):2379/readyz")" = 503 ]
}
complains() { # host: of whatever it is; a way may be so slow that it is none
  at "$1" curl -s -m 1 "http://$(address "$1"):2379/api/v1/status" | grep -q '"errors":\["'
}
follows() { ! leads "$1"; }
is_clean() { ! complains "$1"; }
noticed() { not_ready "$alone" && complains "$alone"; }

# Puts of 8 KiB on the leader's host, as long as the failure lasts.
load() {
  value=$(head -c 8192 /dev/zero | tr '\0' x)
  while [ -e "$work/loading" ]; do
    capstan "$alone" put "large" "$value" --timeout=1s >/dev/null 2>&1
  done
}

try() { # hole, crawl or disk
  say ''
  say "$1"
  start_nodes cp || return 1
  within 10000 capstan 1 put key before || { say 'no write was accepted before'; return 1; }
  within 10000 find_leader || { say 'nobody says it leads'; return 1; }
  other=$((alone % 3 + 1))
  told 'around' "n$alone, the leader"

  : >"$work/loading"
  "$1" -A
  began=$(millis)
  load &
  loader=$!
  within $soon noticed
  check "noticed by /readyz and status on n$alone within 5 s" "$([ $? -eq 0 ] && echo yes || echo no)"
  told '     after' "$(($(millis) - began)) ms"
  at "$alone" curl -s -m 1 "http://$(address "$alone"):2379/readyz" | grep '^\[-\]' | sed 's/^/     | /'
  within $((soon - $(millis) + began)) capstan "$other" put key meanwhile --timeout=1s
  check "a write by way of n$other is accepted within 5 s" "$([ $? -eq 0 ] && echo yes || echo no)"
  told '     after' "$(($(millis) - began)) ms"
  within 10000 capstan "$other" put key again --timeout=1s
  check "and another one" "$([ $? -eq 0 ] && echo yes || echo no)"
  within $((soon - $(millis) + began)) follows "$alone"
  check "n$alone leads no more within 5 s" "$([ $? -eq 0 ] && echo yes || echo no)"
  told '     after' "$(($(millis) - began)) ms"

  "$1" -D
  rm -f "$work/loading"
  wait "$loader"
  healed=$(millis)
  for i in $hosts; do
    within 15000 capstan "$i" put "key$i" after --timeout=1s && within 15000 is_clean "$i"
    check "healed: n$i accepts writes, and complains of nothing" "$([ $? -eq 0 ] && echo yes || echo no)"
  done
  told '     after' "$(($(millis) - healed)) ms"
  [ "$(capstan "$alone" get key 2>/dev/null)" = again ]
  check "healed: n$alone reads what was written meanwhile" "$([ $? -eq 0 ] && echo yes || echo no)"
  stop_nodes
  for i in $hosts; do rm -rf "$work/cp-n$i"/*; done
}

# ---- main ---------------------------------------------------------------------------------------

mount_disks() {
  for i in $hosts; do
    truncate -s 1G "$work/disk-n$i.img" && mkfs.ext4 -q "$work/disk-n$i.img" &&
      mkdir -p "$work/disk-n$i" "$work/cp-n$i" && mount -o loop "$work/disk-n$i.img" "$work/disk-n$i" &&
      mkdir "$work/disk-n$i/data" && mount --bind "$work/disk-n$i/data" "$work/cp-n$i" || return 1
  done
}
unmount_disks() {
  for i in $hosts; do
    fsfreeze -u "$work/disk-n$i" 2>/dev/null
    umount "$work/cp-n$i" "$work/disk-n$i" 2>/dev/null
  done
}
end() {
  trap '' INT TERM HUP
  rm -f "$work/loading"
  for i in $hosts; do fsfreeze -u "$work/disk-n$i" 2>/dev/null; done
  stop_nodes
  unmount_disks
  clean_up
}

reason=$(why_not)
if [ -n "$reason" ]; then
  say "skipped: $reason"
  exit 77
fi
trap 'end; exit 130' INT TERM HUP
trap end EXIT
work=$(mktemp -d)
build_hosts
for what in "$@"; do
  if [ "$what" = disk ] && ! { command -v fsfreeze >/dev/null && mount_disks 2>/dev/null; }; then
    say 'disk: skipped, no loop devices or no fsfreeze here'
    unmount_disks
    continue
  fi
  try "$what" || failed=1
done
exit $failed
