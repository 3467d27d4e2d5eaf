#!/bin/sh
# The exercise that Capstan grew out of, typed line by line on real nodes. Its transcript is what
# docs/exercise.md shows.
#
#   lab/exercise.sh PROGRAM               four walks, one after the other: cp and ap, two nodes and three
#   lab/exercise.sh PROGRAM cp|ap 2|3     one walk
#   lab/exercise.sh PROGRAM check [PAGE]  all four at once; prints what went otherwise than expected and
#                                         which lines of the page's transcripts were not seen; the last
#                                         line is "N passed, N failed"
#
# Each step is a command as a person types it on a host, with the exit code and the words its output
# must have. Hosts are those of lab/hosts.sh, on real nodes, cut by iptables. `sudo`, which root does
# not need and a host may not have, is a script here that runs its arguments. Lines that etcdctl logs
# about its own retries are counted, not shown. Needs etcdctl, curl and python3-etcd3.
#
# Exit 0: every step went as expected. 1: one did not. 77: skipped, and why.
set -u

program=${1:?"usage: lab/exercise.sh PROGRAM [cp|ap 2|3 | check [PAGE]]"}
action=${2:-all}
size=${3:-}
nodes=''   # process ids of the nodes
hosts=''
members='' # the hosts with a node
prefix=capstan$$
work=''
passed=0
failed=0
here=$(cd "$(dirname "$0")" && pwd)

# shellcheck source=lab/hosts.sh
. "$here/hosts.sh"

# ---- typing -------------------------------------------------------------------------------------

heading() { printf '\n==== %s\n' "$*"; }
remark() { printf '\n# %s\n' "$*"; }

# Runs a line on a host, in that host's own directory; sets `code` and `took`, fills `said`.
run_on() { # host, line
  began=$(millis)
  (cd "$work/host$1" && PATH=$work/bin:$PATH at "$1" timeout 60 sh -c "$2") \
    >"$work/raw" 2>&1 </dev/null
  code=$?
  took=$(($(millis) - began))
  awk '/"caller":"clientv3\/retry_interceptor/ { n++; next } { print }
    END { if (n) print "(and etcdctl logged " n (n == 1 ? " retry)" : " retries)") }' \
    "$work/raw" >"$work/said"
}

show() { # host, line
  if [ "$1" = 4 ]; then printf '\nclient$ %s\n' "$2"; else printf '\nnode%s$ %s\n' "$1" "$2"; fi
  cat "$work/said"
  printf '[exit %s, %d.%02d s]\n' "$code" $((took / 1000)) $((took % 1000 / 10))
}

# The verdict on the step that was just printed.
judge() { # exit code, pattern (empty: any output; -: none)
  wanted=''
  [ "$code" -eq "$1" ] || wanted="exit $1"
  case $2 in
  '') ;;
  -) [ ! -s "$work/said" ] || wanted='no output' ;;
  *) grep -Eq -- "$2" "$work/said" || wanted="/$2/" ;;
  esac
  if [ -z "$wanted" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf '!! otherwise than expected: %s\n' "$wanted"
    for i in $members; do sed "s/^/!! node$i: /" "$work/host$i.log" | tail -n 8; done
  fi
}

typed() { # host, exit code, pattern, line
  run_on "$1" "$4"
  show "$1" "$4"
  judge "$2" "$3"
}

# Starts a node and shows what it says once it is ready and every pattern has come.
served() { # host, line, pattern...
  at_host=$1
  line=$2
  shift 2
  set -- ' ready: ' "$@"
  : >"$work/host$at_host.log"
  (cd "$work/host$at_host" &&
    exec ip netns exec "$prefix-$at_host" env PATH="$work/bin:$PATH" sh -c "exec $line") \
    >"$work/host$at_host.log" 2>&1 &
  nodes="$nodes $!"
  eval "node$at_host=$!" # let_node_1_lead pauses it
  for pattern in "$@"; do within 8000 grep -Eq -- "$pattern" "$work/host$at_host.log"; done
  code=0
  sed 's/^20[0-9-]*T\([0-9:]*\)\.[0-9]*Z/\1/' "$work/host$at_host.log" >"$work/said"
  printf '\nnode%s$ %s &\n' "$at_host" "$line"
  cat "$work/said"
  for pattern in "$@"; do judge 0 "$pattern"; done
}

# A line a node writes sooner or later.
hears() { # host, pattern
  within 5000 grep -Eq -- "$2" "$work/host$1.log"
  code=$?
  sed 's/^20[0-9-]*T\([0-9:]*\)\.[0-9]*Z/\1/' "$work/host$1.log" | grep -E -- "$2" | tail -n 1 >"$work/said"
  printf '\nnode%s has said:\n' "$1"
  cat "$work/said"
  judge 0 "$2"
}

# Waits for what must come, and tells how long it took.
comes() { # what, ms, command...
  what=$1
  limit_ms=$2
  shift 2
  began=$(millis)
  within "$limit_ms" "$@"
  code=$?
  took=$(($(millis) - began))
  : >"$work/said"
  printf '\n# %s after %d.%02d s\n' "$what" $((took / 1000)) $((took % 1000 / 10))
  judge 0 ''
}

stop_all() {
  stop_nodes
  rm -rf "$work"/host*/*.capstan
}

ask() { # host, command...
  on=$1
  shift
  at "$on" "$program" "$@"
}
reads() { # host, key, value
  [ "$(ask "$1" get "$2" 2>/dev/null)" = "$3" ]
}
same_everywhere() { # key
  first=$(ask 1 get "$1" 2>/dev/null) && [ -n "$first" ] || return 1
  for i in $members; do reads "$i" "$1" "$first" || return 1; done
}
alone() { # host
  ask "$1" status --node="node$1" --plain 2>/dev/null | cut -f 4 | grep -q '^nobody$'
}
leads() { # host
  ask "$1" status --node="node$1" --plain 2>/dev/null | cut -f 3 | grep -q '^leader$'
}
leads_no_more() { ! leads "$1"; }
says_no_leader() { # host
  ask "$1" status --node="node$1" --json 2>/dev/null | grep -q '"leader": *"0*"'
}
one_of_these_leads() { # host...: sets `leader`
  for leader in "$@"; do leads "$leader" && return; done
  return 1
}
# Who leads is drawn by lot; the walk reads better if it is node 1. So whoever else leads is paused until
# another does. Of two nodes neither can lead alone, so there the lot is drawn again.
let_node_1_lead() {
  [ "$mode" = cp ] || return 0
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    # shellcheck disable=SC2086 # a list of hosts
    within 5000 one_of_these_leads $members || return 1
    [ "$leader" != 1 ] || return 0
    if [ "$size" = 2 ]; then
      at 1 iptables -w -A INPUT -s 10.77.0.2 -j DROP
      within 5000 leads_no_more 2
      at 1 iptables -w -D INPUT -s 10.77.0.2 -j DROP
    else
      paused=$leader
      eval "kill -STOP \$node$paused"
      within 5000 one_of_these_leads 1 $((5 - paused))
      eval "kill -CONT \$node$paused"
      within 5000 leads_no_more "$paused"
    fi
  done
}

# ---- the lines of the exercise, as written ------------------------------------------------------

N1=http://localhost:2379
N2=http://10.77.0.2:2379 # <NODE2_IP> filled in

start_1='--name node1 --initial-advertise-peer-urls http://localhost:2380 --listen-peer-urls http://localhost:2380'
start_1_urls='--listen-client-urls http://localhost:2379,http://127.0.0.1:2379'
start_1_end='--advertise-client-urls http://localhost:2379 --initial-cluster node1=http://localhost:2380'
start_2='--name node2 --initial-advertise-peer-urls http://10.77.0.2:2380 --listen-peer-urls http://10.77.0.2:2380 --listen-client-urls http://10.77.0.2:2379 --advertise-client-urls http://10.77.0.2:2379 --initial-cluster node1=http://localhost:2380,node2=http://10.77.0.2:2380'
status_1="etcdctl --endpoints=$N1 endpoint status"
put_1="etcdctl --endpoints=$N1 put key1 \"value1\""
get_2="etcdctl --endpoints=$N2 get key1"

iptables_lines() { # -A or -D, number of the peer
  typed 1 0 - "sudo iptables $1 INPUT -s 10.77.0.$2 -j DROP"
  typed 1 0 - "sudo iptables $1 OUTPUT -d 10.77.0.$2 -j DROP"
}

script() {
  cat <<'END'
import subprocess
import time
import etcd3

etcd = etcd3.client()

def write_key(key, value):
    try:
        etcd.put(key, value)
        print(f"Write success: {key} -> {value}")
    except Exception as e:
        print(f"Write failed: {e}")

def read_key(key):
    try:
        value, _ = etcd.get(key)
        print(f"Read success: {key} -> {value.decode() if value else 'None'}")
    except Exception as e:
        print(f"Read failed: {e}")

# Write during normal operation
write_key("test_key", "value1")

# Simulate partition
subprocess.run(["sudo", "iptables", "-A", "INPUT", "-s", "NODE2_IP", "-j", "DROP"])
subprocess.run(["sudo", "iptables", "-A", "OUTPUT", "-d", "NODE2_IP", "-j", "DROP"])
time.sleep(2)

# Attempt to write and read during partition
write_key("test_key", "value2")
read_key("test_key")

# Resolve partition
subprocess.run(["sudo", "iptables", "-D", "INPUT", "-s", "NODE2_IP", "-j", "DROP"])
subprocess.run(["sudo", "iptables", "-D", "OUTPUT", "-d", "NODE2_IP", "-j", "DROP"])
time.sleep(2)

# Verify consistency
read_key("test_key")
END
}

# Says what the server said: python3-etcd3's own exceptions leave it out.
reasons() {
  cat <<'END'

from urllib.parse import unquote
def why(e):
    call = e.__context__
    said = dict(call.trailing_metadata())
    return said["capstan-outcome"] + ", " + unquote(said.get("capstan-detail", call.details()))
END
}

the_script() {
  script >"$work/host1/test.py"
  typed 1 0 "host/network .NODE2_IP. not found" 'python3 test.py'
  sed -i 's/NODE2_IP/10.77.0.2/' "$work/host1/test.py"
  if [ "$size" = 2 ]; then
    both 1 0 'Write failed: etcd connection failed' 0 'Write success: test_key -> value2' \
      'python3 test.py'
  else
    typed 1 0 'Write success: test_key -> value2' 'python3 test.py'
  fi
  reasons >"$work/reasons"
  sed -i -e "/^etcd = /r $work/reasons" -e 's/{e}/{why(e)}/' "$work/host1/test.py"
  [ "$size" = 2 ] || sed -i '/10.77.0.2/{p;s/10.77.0.2/10.77.0.3/}' "$work/host1/test.py"
  remark "the script with ${size} nodes' addresses and with what the server said"
  both 1 0 'Write failed: failed, refused: no quorum' 0 'Write success: test_key -> value2' \
    'python3 test.py'
  judge 0 'Read success: test_key -> value'
  comes 'all read the same' 5000 same_everywhere test_key
  typed 2 0 '^value' 'capstan get test_key'
}

# ---- corrected ----------------------------------------------------------------------------------

# The flags of the exercise with addresses that others reach, and one list for all.
corrected() { # host
  printf '%s' "capstan serve --mode=$mode --name node$1" \
    " --initial-advertise-peer-urls http://10.77.0.$1:2380 --listen-peer-urls http://10.77.0.$1:2380" \
    " --listen-client-urls http://10.77.0.$1:2379,http://127.0.0.1:2379" \
    " --advertise-client-urls http://10.77.0.$1:2379 --initial-cluster $list"
}

pick() { # cp, ap
  if [ "$mode" = cp ]; then printf '%s' "$1"; else printf '%s' "$2"; fi
}
# The same line in both modes, and what each must answer.
both() { # host, exit and pattern in cp, exit and pattern in ap, line
  if [ "$mode" = cp ]; then typed "$1" "$2" "$3" "$6"; else typed "$1" "$4" "$5" "$6"; fi
}

walk_2() {
  heading '1. Setting up, as written, with capstan serve in place of etcd'
  typed 1 2 '--mode is missing' "capstan serve $start_1 $start_1_urls $start_1_end"
  start="capstan serve --mode=$mode"
  typed 1 2 'lists 127.0.0.1:2379 twice' "$start $start_1 $start_1_urls $start_1_end"
  served 1 "$start $start_1 ${start_1_urls%,*} $start_1_end" 'the list names this node alone'
  typed 1 0 'localhost:2379, [0-9a-f]+, 3.4.23, .*true' "$status_1"
  served 2 "$start $start_2" 'node1 is listed at localhost:2380'
  [ "$mode" = ap ] || judge 0 '2 voters tolerate no failure'
  typed 1 0 '^OK$' "$put_1"
  both 2 1 'cluster is not formed yet' 0 - "$get_2"
  both 2 4 'refused: the cluster is not formed yet.* node2 waits for node1' \
    0 'ok .local. node2:' 'capstan put key1 value1 --endpoints=10.77.0.2'
  both 2 0 'waits for node1' 0 'node1 not heard' "etcdctl --endpoints=$N2 endpoint status"
  stop_all

  heading '1. The same, with node 1 at an address node 2 can reach'
  list=node1=http://10.77.0.1:2380
  served 1 "$(corrected 1)"
  list=$list,node2=http://10.77.0.2:2380
  served 2 "$(corrected 2)"
  hears 2 'node2 was started with 2 members, node1 with 1'
  hears 1 'node2 was started with 2 members, node1 with 1'
  stop_all

  heading '1. Corrected: one list for both'
  served 1 "$(corrected 1)"
  served 2 "$(corrected 2)"
  comes 'both serve' 10000 same_write
  let_node_1_lead
  look_at_all

  heading '2. A network partition'
  typed 1 0 '^OK$' "etcdctl --endpoints=$N1 put key1 before"
  typed 2 0 '^before$' "$get_2"
  let_node_1_lead
  iptables_lines -A 2
  both 1 1 'etcdserver: request timed out, possibly due to previous leader failure' 0 '^OK$' "$put_1"
  both 1 1 '^Error: etcdserver: no leader' 0 '^OK$' "$put_1"
  comes 'node1 has noticed the cut' 5000 alone 1
  both 1 4 'refused: no quorum. node1 reaches 1 of 2 voters' \
    0 'ok .local. .*on 1 of 2 replicas; node2 unreachable' 'capstan put key1 value1'
  typed 1 1 'context deadline exceeded' "$get_2"

  heading '3. Observing behaviour'
  both 2 1 '^Error: etcdserver: no leader' 0 '^before$' "$get_2"
  both 2 4 'refused: no quorum' 0 "node2's view, node1 not heard for" 'capstan get key1'
  both 2 0 '^before$' 0 '^before$' "$get_2 --consistency=s"
  both 2 0 'as of revision [0-9]+, at least .* old' 0 "node2's view" 'capstan get key1 --stale'
  look_at_all cut

  heading '4. Consistency or availability'
  [ "$mode" = ap ] || tuning
  both 2 1 'etcdserver: no leader' 0 '^OK$' "etcdctl --endpoints=$N2 put key1 value2"
  both 2 4 'Not applied; safe to retry' 0 'ok .local. .*on 1 of 2 replicas; node1 unreachable' \
    'capstan put key2 only-on-node2'

  heading '5. Resolving the partition'
  iptables_lines -D 2
  comes 'node2 and node1 read the same' 5000 same_everywhere key1
  after_heal

  heading '7. The script'
  the_script

  heading 'What else of etcdctl the exercise leads to'
  more
}

same_write() { ask 1 put key0 before && same_everywhere key0; }

look_at_all() { # cut or nothing
  all=$N1,$N2
  [ "$size" = 2 ] || all=$all,http://10.77.0.3:2379
  if [ $# -eq 0 ]; then
    typed 1 0 'localhost:2379, [0-9a-f]+' "$status_1"
    typed 1 0 '10.77.0.2:2379' "etcdctl --endpoints=$all endpoint status -w table"
    typed 1 0 '10.77.0.2:2379 is healthy' "etcdctl --endpoints=$all endpoint health"
    typed 1 0 'started, node2' "etcdctl --endpoints=$N1 member list"
    typed 1 0 'all equal' 'capstan status'
    return
  fi
  both 1 0 'no leader' 0 'node2.* not heard for' "etcdctl --endpoints=$N1 endpoint status -w table"
  both 1 1 'is unhealthy: failed to commit proposal: etcdserver: no leader' \
    0 'is healthy' "etcdctl --endpoints=$N1 endpoint health"
  typed 1 0 'started, node2' "etcdctl --endpoints=$N1 member list"
  typed 1 0 'node1 has reached nobody for' 'capstan status'
  if [ "$size" = 2 ]; then
    both 2 0 'no leader' 0 'node1 not heard for' "etcdctl --endpoints=$N2 endpoint status -w table"
    typed 2 0 'node2 has reached nobody for' 'capstan status'
  else
    others=$N2,http://10.77.0.3:2379
    typed 2 0 '10.77.0.2' "etcdctl --endpoints=$others endpoint status -w table"
    typed 2 0 '10.77.0.3:2379 is healthy' "etcdctl --endpoints=$others endpoint health"
    typed 2 0 'node1 ' 'capstan status'
  fi
}

tuning() {
  typed 1 2 'less than 5 heartbeats' \
    'capstan serve --mode=cp --heartbeat-interval 100 --election-timeout 300'
  typed 1 2 'no flag --quorum' 'capstan serve --mode=cp --quorum=1'
}

after_heal() {
  typed 1 0 '^value' "etcdctl --endpoints=$N1 get key1" # CP: the one that was unknown
  typed 2 0 '^value' "$get_2"
  both 1 3 'not here' 0 'only-on-node2' 'capstan get key2'
  typed 1 0 'all equal' 'capstan status'
  [ "$mode" = cp ] || typed 1 0 '"loser_value":"value1".*"winner_value":"value2"' \
    'curl -s http://localhost:2379/api/v1/conflicts'
}

more() {
  typed 1 0 '^OK$' "etcdctl --endpoints=$N1 put key1 last"
  typed 1 0 "^test_key$" "etcdctl --endpoints=$N1 get key tesu --keys-only"
  typed 1 0 '^last$' "etcdctl --endpoints=$N1 get key --prefix"
  both 1 0 '^before$' 1 'FailedPrecondition desc = refused: an AP cluster has no common history' \
    "etcdctl --endpoints=$N1 get key0 --rev=2"
  both 1 0 '^SUCCESS$' 1 'A transaction without compares works here' \
    "printf 'value(\"key1\") = \"last\"\\n\\nput key1 swapped\\n\\nget key1\\n\\n' | etcdctl --endpoints=$N1 txn"
  typed 1 0 '^SUCCESS$' "printf '\\nput a 1\\nput b 2\\n\\n\\n' | etcdctl --endpoints=$N1 txn"
  typed 1 0 '^1$' "etcdctl --endpoints=$N1 del a"
  both 1 0 'compacted revision 2' 1 'FailedPrecondition desc = refused: an AP cluster' \
    "etcdctl --endpoints=$N1 compaction 2"
  both 1 0 'granted with TTL' 1 'leases are not in this build for AP mode' \
    "etcdctl --endpoints=$N1 lease grant 60"
  both 1 0 '^mine$' 1 'no honest meaning in AP mode' \
    "etcdctl --endpoints=$N1 lock l echo mine"
}

walk_3() {
  heading '1. Setting up, corrected, three nodes'
  list=node1=http://10.77.0.1:2380,node2=http://10.77.0.2:2380,node3=http://10.77.0.3:2380
  served 1 "$(corrected 1)"
  served 2 "$(corrected 2)"
  served 3 "$(corrected 3)"
  comes 'all serve' 10000 same_write
  let_node_1_lead
  look_at_all

  heading '2. The two lines as written: node1 and node2 do not hear each other, node3 hears both'
  typed 1 0 '^OK$' "etcdctl --endpoints=$N1 put key1 before"
  let_node_1_lead
  iptables_lines -A 2
  typed 1 0 '^OK$' "$put_1"
  if [ "$mode" = cp ]; then
    comes 'node2 knows of no leader' 5000 says_no_leader 2
  else
    comes 'node2 has it by way of node3' 5000 reads 2 key1 value1
  fi
  both 2 1 'no leader' 0 '^value1$' "$get_2"
  both 2 4 'no leader. node2 reaches 2 of 3 voters.* node1, whom it does not hear, may lead' 0 '^ok' \
    'capstan put key1 value2'
  if [ "$mode" = cp ]; then
    typed 3 0 'node1 and node2 do not hear each other, but node3 hears both' 'capstan status'
  else
    comes 'the nodes read the same, node3 between them' 5000 same_everywhere key1
    typed 3 0 'all equal' 'capstan status'
  fi

  heading '2. The same two lines for node3 as well: a partition, node1 | node2 node3'
  let_node_1_lead
  iptables_lines -A 3
  both 1 1 'etcdserver: request timed out, possibly due to previous leader failure' 0 '^OK$' "$put_1"
  both 1 1 '^Error: etcdserver: no leader' 0 '^OK$' "$put_1"
  comes 'node1 has noticed the cut' 5000 alone 1
  both 1 4 'refused: no quorum. node1 reaches 1 of 3 voters' \
    0 'ok .local. .*on 1 of 3 replicas; node2 node3 unreachable' 'capstan put key1 value1'
  comes 'the other side accepts' 5000 ask 2 put key2 new --timeout=1s

  heading '3. Observing behaviour'
  typed 2 0 '^OK$' "etcdctl --endpoints=$N2 put key1 value2"
  typed 2 0 '^value2$' "$get_2"
  both 1 4 'refused: no quorum' 0 '^value1$' 'capstan get key1'
  both 1 0 - 0 - "etcdctl --endpoints=$N1 get key2 --consistency=s"
  both 1 3 'not here as of revision [0-9]+, at least' 3 "not here .*node1's view" \
    'capstan get key2 --stale'
  both 4 0 '^value2$' 0 '^value' \
    'etcdctl --endpoints=http://10.77.0.1:2379,http://10.77.0.2:2379 get key1'
  look_at_all cut

  heading '5. Resolving the partition'
  iptables_lines -D 2
  iptables_lines -D 3
  comes 'all read the same' 5000 same_everywhere key1
  typed 1 0 '^value' "etcdctl --endpoints=$N1 get key1"
  typed 1 0 '^new$' 'capstan get key2'
  typed 1 0 'all equal' 'capstan status'

  heading '7. The script'
  let_node_1_lead
  the_script
}

# ---- all of it ----------------------------------------------------------------------------------

missing_tools() {
  for tool in etcdctl curl /usr/bin/python3; do
    command -v $tool >/dev/null || { say "needs $tool"; return; }
  done
  /usr/bin/python3 -c 'import etcd3' 2>/dev/null || say 'needs python3-etcd3'
}

# What a line looks like on any run: without numbers, ids, the widths and units they bring.
masked() { # file
  awk '{
    gsub(/[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]/, "ID")
    sub(/took = .*/, "took")
    gsub(/[0-9]+(\.[0-9]+)?/, "#")
    gsub(/# ms/, "# s")
    gsub(/[-+ ]+/, " ")
    print
  }' "$1"
}

# Lines of the page's console blocks that no walk has shown; one that ends in ... is a beginning.
page_lines() { # page, transcript
  awk '/^```/ { inside = /^```console/ ? 1 : 0; next } inside && NF' "$1" >"$work/page"
  masked "$work/page" >"$work/page.masked"
  masked "$2" >"$work/seen.masked"
  paste "$work/page.masked" "$work/page" | awk -F '\t' '
    NR == FNR { seen[$0]; next }
    { wanted = $1; found = wanted in seen }
    !found && sub(/ ?\.\.\.$/, "", wanted) {
      for (line in seen) if (index(line, wanted) == 1) { found = 1; break }
    }
    !found { print $2 }' "$work/seen.masked" -
}

one_walk() { # mode, size
  mode=$1
  size=$2
  members='1 2'
  [ "$size" = 2 ] || members='1 2 3'
  hosts="$members 4" # the last is a client's
  mkdir "$work/bin"
  ln -s "$program" "$work/bin/capstan"
  ln -s /usr/bin/python3 "$work/bin/python3"
  printf '#!/bin/sh\nexec "$@"\n' >"$work/bin/sudo"
  chmod +x "$work/bin/sudo"
  for i in $hosts; do mkdir "$work/host$i"; done
  build_hosts
  printf '\n#### %s, %s nodes\n' "$mode" "$size"
  "walk_$size"
}

every_walk() { # "&" for all at once
  for walk in 'cp 2' 'ap 2' 'cp 3' 'ap 3'; do
    # shellcheck disable=SC2086 # two words
    sh "$0" "$program" $walk >"$work/$walk" 2>&1 &
    nodes="$nodes $!"
    [ "$1" = '&' ] || { wait $!; sed '$d' "$work/$walk"; }
  done
  # shellcheck disable=SC2086 # a list of process ids
  wait $nodes
  nodes=''
  for walk in 'cp 2' 'ap 2' 'cp 3' 'ap 3'; do
    # A machine that pauses unseats leaders: all at once, a walk has a second chance alone.
    if [ "$1" = '&' ] && ! tail -n 1 "$work/$walk" | grep -q ', 0 failed$'; then
      grep -h '^!! otherwise' "$work/$walk" | sed "s/^!!/$walk, repeated:/"
      # shellcheck disable=SC2086 # two words
      sh "$0" "$program" $walk >"$work/$walk" 2>&1 &
      nodes=$!
      wait $!
      nodes=''
    fi
    result=$(tail -n 1 "$work/$walk")
    case $result in
    *' passed, '*' failed')
      passed=$((passed + ${result%% *}))
      result=${result#*, }
      failed=$((failed + ${result%% *}))
      ;;
    *)
      failed=$((failed + 1))
      say "the walk \"$walk\" did not end"
      ;;
    esac
  done
}

program=$(realpath "$program")
reason=$(why_not)
[ -n "$reason" ] || reason=$(missing_tools)
if [ -n "$reason" ]; then
  say "skipped: $reason"
  [ "$action" != check ] || say '0 passed, 0 failed, 1 skipped'
  exit 77
fi
trap 'clean_up; exit 130' INT TERM HUP
trap clean_up EXIT
work=$(mktemp -d)
case $action in
cp | ap)
  case $size in 2 | 3) ;; *) say 'how many nodes, 2 or 3?' >&2 && exit 2 ;; esac
  one_walk "$action" "$size"
  ;;
all) every_walk '' ;;
check)
  every_walk '&'
  for walk in "$work"/[ca]p*; do grep -q '^!!' "$walk" && cat "$walk"; done
  if [ -n "$size" ]; then
    cat "$work"/[ca]p* >"$work/everything"
    page_lines "$size" "$work/everything" >"$work/unseen"
    passed=$((passed + $(wc -l <"$work/page") - $(wc -l <"$work/unseen")))
    failed=$((failed + $(wc -l <"$work/unseen")))
    sed "s|^|not seen, yet in $size: |" "$work/unseen"
  fi
  ;;
*) say "no action \"$action\"" >&2 && exit 2 ;;
esac
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
