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
