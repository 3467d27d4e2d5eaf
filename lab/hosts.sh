# Hosts for labs under the kernel's own firewall: sourced by netns.sh and exercise.sh.
#
# A host is a network namespace with one address, 10.77.0.N. They meet at a bridge in a namespace of
# its own, so the machine's own network and firewall are never touched and labs may run side by
# side. The sourcing script sets `program`, `hosts` (their numbers), `prefix` (of the namespaces) and
# `work` (a directory of its own, or empty), adds to `nodes` the processes it starts, and calls
# clean_up at its end.

say() { printf '%s\n' "$*"; }
millis() { date +%s%3N; }
address() { printf '10.77.0.%s' "$1"; }
at() { # host, command...
  host=$1
  shift
  ip netns exec "$prefix-$host" "$@"
}

# Repeats a command until it succeeds; fails after so many milliseconds.
within() { # ms, command...
  limit=$(($(millis) + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(millis)" -lt "$limit" ] || return 1
    sleep 0.01
  done
}

why_not() {
  [ "$(id -u)" -eq 0 ] || { say 'needs root for network namespaces'; return; }
  for tool in ip iptables; do
    command -v $tool >/dev/null || { say "needs $tool"; return; }
  done
  [ -x "$program" ] || { say "$program is not there"; return; }
  ip netns add "$prefix-probe" 2>/dev/null || { say 'no network namespaces here'; return; }
  ip netns exec "$prefix-probe" iptables -w -A INPUT -s 10.77.0.9 -j DROP 2>/dev/null ||
    say 'iptables does not work in a network namespace here'
  ip netns del "$prefix-probe"
}

build_hosts() {
  ip netns add "$prefix-sw"
  ip -n "$prefix-sw" link add br0 type bridge
  ip -n "$prefix-sw" link set br0 up
  for i in $hosts; do
    ip netns add "$prefix-$i"
    ip link add eth0 netns "$prefix-$i" type veth peer name "p$i" netns "$prefix-sw"
    ip -n "$prefix-sw" link set "p$i" master br0 up
    ip -n "$prefix-$i" addr add "$(address "$i")/24" dev eth0
    ip -n "$prefix-$i" link set lo up
    ip -n "$prefix-$i" link set eth0 up
  done
}

stop_nodes() {
  # shellcheck disable=SC2086 # a list of process ids
  [ -z "$nodes" ] || { kill $nodes; kill -CONT $nodes; wait $nodes; } 2>/dev/null
  nodes=''
}

clean_up() {
  trap '' INT TERM HUP
  stop_nodes
  for i in $hosts sw; do ip netns del "$prefix-$i" 2>/dev/null; done
  [ -z "$work" ] || rm -rf "$work"
}

rules() { # -A or -D, host
  for other in $hosts; do
    [ "$other" = "$2" ] && continue
    at "$2" iptables -w "$1" INPUT -s "$(address "$other")" -j DROP
    at "$2" iptables -w "$1" OUTPUT -d "$(address "$other")" -j DROP
  done
}

# ---- nodes on them, for netns.sh and grey.sh ----------------------------------------------------

capstan() { # host, command...: asks the node on that host, from that host
  host=$1
  shift
  at "$host" "$program" "$@" --endpoints="$(address "$host")"
}

start_nodes() { # mode
  for i in $hosts; do
    # not through at(): the process id must be the node's own
    ip netns exec "$prefix-$i" "$program" serve --mode="$1" --name="n$i" --listen="$(address "$i")" \
      --join=n1=10.77.0.1,n2=10.77.0.2,n3=10.77.0.3 --data-dir="$work/$1-n$i" \
      --wal-segment-bytes=4MiB >"$work/$1-n$i.log" 2>&1 &
    nodes="$nodes $!"
  done
  for i in $hosts; do
    within 15000 grep -q ' ready: ' "$work/$1-n$i.log" && continue
    say "n$i did not start:"
    tail -n 5 "$work/$1-n$i.log"
    return 1
  done
}

leads() { # host
  capstan "$1" status --json 2>/dev/null | tr -d ' \n' | grep -q "\"name\":\"n$1\"[^{}]*\"role\":\"leader\""
}
find_leader() { # sets `alone`
  for alone in $hosts; do leads "$alone" && return; done
  return 1
}

# ---- what was seen; `failed` is the verdict ------------------------------------------------------

check() { # what must hold, then yes or no
  [ "$2" = yes ] || failed=1
  printf '  %-66s %s\n' "$1" "$2"
}
told() { printf '  %-66s %s\n' "$1" "$2"; }
