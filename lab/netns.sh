#!/bin/sh
# The partition of the exercise with the kernel's own firewall, on real nodes, in both modes.
#
#   lab/netns.sh PROGRAM             run it: three hosts, cut one off, try both sides, heal, check
#   lab/netns.sh PROGRAM cp|ap       the same in one mode
#   lab/netns.sh PROGRAM up cp|ap    only build the hosts and start the nodes, until Ctrl-C; meanwhile:
#   lab/netns.sh PROGRAM cut 1       host 1 drops the other hosts' packets, in and out
#   lab/netns.sh PROGRAM heal 1      and takes the rules back
#
# lab/hosts.sh says what a host is. The cut is the two lines of the exercise, on the host that is cut
# off:
#
#   iptables -A INPUT -s 10.77.0.2 -j DROP;  iptables -A OUTPUT -d 10.77.0.2 -j DROP
#
# Exit 0: each mode kept its promises. 1: one did not. 77: skipped, and why (needs root). Times are
# reported, not judged; they include starting the command line, some 20 ms a call.
set -u

program=${1:?"usage: lab/netns.sh PROGRAM [cp|ap | up cp|ap | cut N | heal N]"}
action=${2:-both}
hosts='1 2 3'
nodes=''   # process ids of the nodes
prefix=capstan
work=''
failed=0

# shellcheck source=lab/hosts.sh
. "$(dirname "$0")/hosts.sh"

# ---- the exercise -------------------------------------------------------------------------------

reads() { # host, key, value
  [ "$(capstan "$1" get "$2" 2>/dev/null)" = "$3" ]
}
all_read() { # key, value
  for i in $hosts; do reads "$i" "$1" "$2" || return 1; done
}
all_agree() { # key: sets `value`
  value=$(capstan 1 get "$1" 2>/dev/null) && [ -n "$value" ] && all_read "$1" "$value"
}

reaches_nobody() { # host
  capstan "$1" status --node="n$1" --plain 2>/dev/null | cut -f 4 | grep -q '^nobody$'
}

# Writes on a host as fast as the command line goes, and notes the time of each success.
write_on() { # host, file
  n=0
  while [ -e "$work/writing" ]; do
    n=$((n + 1))
    capstan "$1" put "busy$((n % 10))" "$n" >/dev/null 2>&1 && millis >>"$2"
  done
}
wrote() { [ "$(wc -l <"$work/times")" -ge "$1" ]; } # that often or more
longest_gap() { awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { print most + 0 }' "$1"; }

put_timed() { # host, key, value: sets `code` and `took`
  began=$(millis)
  capstan "$1" put "$2" "$3" >"$work/said" 2>&1
  code=$?
  took=$(($(millis) - began))
}

exercise() { # mode
  say ''
  say "mode $1: n1 10.77.0.1, n2 10.77.0.2, n3 10.77.0.3, real packets dropped by iptables"
  start_nodes "$1" || return 1
  within 10000 capstan 1 put key1 before || { say 'no write was accepted before the cut'; return 1; }
  within 5000 all_read key1 before
  check 'before: every node reads the same' "$([ $? -eq 0 ] && echo yes || echo no)"
  alone=1
  [ "$1" = ap ] || within 10000 find_leader || { say 'nobody says it leads'; return 1; }
  other=$((alone % 3 + 1))
  told 'cut off' "n$alone$([ "$1" = ap ] || printf ', the leader')"

  cut_at=$(millis)
  rules -A "$alone"
  "during_$1"
  : >"$work/writing"
  : >"$work/times"
  write_on "$other" "$work/times" &
  writer=$!
  within 10000 wrote 20
  healed_at=$(millis)
  rules -D "$alone"
  "after_$1"
  within 10000 wrote $(($(wc -l <"$work/times") + 20))
  rm -f "$work/writing"
  wait "$writer"
  told "heal: longest pause between writes on n$other's side" "$(longest_gap "$work/times") ms"
  stop_nodes
}

during_cp() {
  (put_timed "$alone" inflight alone && echo "$code $took" >"$work/inflight") &
  first=$!
  within 10000 capstan "$other" put key1 majority --timeout=1s
  check "cut: the majority accepts again" "$([ $? -eq 0 ] && echo yes || echo no)"
  told '     after the cut began' "$(($(millis) - cut_at)) ms"
  wait "$first"
  read -r code took <"$work/inflight"
  check "cut: the write in flight is unknown (5) or refused (4), never accepted" \
    "$(case $code in 4 | 5) echo yes ;; *) echo no ;; esac)"
  told "     exit $code after" "$took ms"
  put_timed "$alone" refused alone
  check "cut: a later write on n$alone is refused (exit 4)" "$([ $code -eq 4 ] && echo yes || echo no)"
  told '     in' "$took ms"
  sed 's/^/     | /' "$work/said"
  capstan "$alone" get key1 >/dev/null 2>&1
  check "cut: a linearizable read on n$alone is refused too" "$([ $? -eq 4 ] && echo yes || echo no)"
  check "cut: a stale read there still shows the old value" \
    "$([ "$(capstan "$alone" get key1 --stale 2>/dev/null)" = before ] && echo yes || echo no)"
}

after_cp() {
  within 10000 reads "$alone" key1 majority
  check "heal: n$alone answers with what the majority wrote" "$([ $? -eq 0 ] && echo yes || echo no)"
  told '     after the heal began' "$(($(millis) - healed_at)) ms"
  within 5000 all_read key1 majority
  check 'heal: every node reads the same' "$([ $? -eq 0 ] && echo yes || echo no)"
  capstan "$other" get refused >/dev/null 2>&1
  check 'heal: the refused write was not applied' "$([ $? -eq 3 ] && echo yes || echo no)"
}

during_ap() {
  put_timed "$alone" key1 alone
  check "cut: n$alone alone accepts a write" "$([ $code -eq 0 ] && echo yes || echo no)"
  told '     in' "$took ms"
  put_timed "$other" key1 majority
  check "cut: so does the other side, to the same key" "$([ $code -eq 0 ] && echo yes || echo no)"
  capstan "$alone" put onlyhere yes >/dev/null 2>&1
  check 'cut: each side reads its own' \
    "$(reads "$alone" key1 alone && reads "$other" key1 majority && echo yes || echo no)"
  within 5000 reaches_nobody "$alone"
  put_timed "$alone" key2 alone
  sed 's/^/     | /' "$work/said"
}

after_ap() {
  within 10000 all_read onlyhere yes
  check "heal: what only n$alone had is everywhere" "$([ $? -eq 0 ] && echo yes || echo no)"
  within 10000 all_agree key1
  check 'heal: every node reads the same for the key both sides wrote' \
    "$([ $? -eq 0 ] && echo yes || echo no)"
  told '     after the heal began' "$(($(millis) - healed_at)) ms"
  told '     and it is' "${value:-nothing}"
  capstan "$other" status --json 2>/dev/null | tr -d ' \n' | grep -q '"conflicts":[1-9]'
  check 'heal: the write that lost is on record' "$([ $? -eq 0 ] && echo yes || echo no)"
}

# ---- main ---------------------------------------------------------------------------------------

case $action in
cut) rules -A "${3:?which host?}"; exit ;;
heal) rules -D "${3:?which host?}"; exit ;;
both | cp | ap) prefix=capstan$$ ;;
up) ;;
*) say "no action \"$action\"" >&2; exit 2 ;;
esac

reason=$(why_not)
if [ -n "$reason" ]; then
  say "skipped: $reason"
  exit 77
fi
trap 'clean_up; exit 130' INT TERM HUP
trap clean_up EXIT
work=$(mktemp -d)
build_hosts
if [ "$action" = up ]; then
  start_nodes "${3:?cp or ap?}" || exit 1
  cat "$work"/*.log
  say "on host 1: ip netns exec $prefix-1 $program put key1 value1 --endpoints=10.77.0.1"
  say "cut it off: $0 $program cut 1       Ctrl-C ends all"
  wait
else
  [ "$action" = both ] && action='cp ap'
  for mode in $action; do exercise "$mode" || failed=1; done
fi
exit $failed
