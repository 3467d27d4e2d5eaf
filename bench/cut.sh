#!/bin/sh
# How long does each answer take when the leader of three CP nodes is cut off alone, and how soon is
# all well after the heal? By frames dropped in the peer links, and by the kernel's firewall.
#
#   bench/cut.sh [PROGRAM] [TIMES]
#
# Dropped frames: `capstan compare --quick` with seeds 1 to TIMES, whose clients speak gRPC and keep a
# record of every operation; here are its figures of the CP side, a row a run:
#   unknown   the longest wait of a write in flight at the cut, answered `unknown`
#   refusal   99th percentile of the time to a refusal on n1 afterwards
#   silence   the majority's longest time without an accepted write during the cut
#   back      from the heal to n1's first accepted write
#   stall     the majority's longest time without an accepted write after the heal
# Firewall: lab/netns.sh PROGRAM cp, TIMES runs, needs root; its times include starting the command
# line. Prints every run and the medians, for docs/results/.
set -eu

program=${1:-build/capstan}
times=${2:-10}
here=$(cd "$(dirname "$0")" && pwd)
case $program in /*) ;; *) program=$PWD/$program ;; esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
cd "$dir"

medians() { # file: rows of numbers; "-" is left out
  awk '
    { columns = NF; for (i = 1; i <= NF; i++) if ($i != "-") v[i, ++n[i]] = $i + 0 }
    END {
      printf "median"
      for (i = 1; i <= columns; i++) {
        for (a = 2; a <= n[i]; a++) for (b = a; b > 1 && v[i, b - 1] > v[i, b]; b--) {
          t = v[i, b]; v[i, b] = v[i, b - 1]; v[i, b - 1] = t
        }
        printf " %9.1f", v[i, int((n[i] + 1) / 2)]
      }
      printf "\n"
    }' "$1"
}

echo "dropped frames, ms"
echo "   seed   unknown   refusal   silence      back     stall"
seed=1
while [ "$seed" -le "$times" ]; do
  "$program" compare --quick --seed "$seed" >/dev/null 2>&1 || echo "seed $seed: exit $?" >&2
  # Only runs in which the one cut off led; cp comes before ap, so the first of each field is meant.
  tr -d ' \n' <"out/compare-$seed.json" | sed 's/"ap":{.*//' | awk -v seed="$seed" '
    function field(name,   at) {
      at = match($0, "\"" name "\":-?[0-9]+")
      return at ? substr($0, at + length(name) + 3, RLENGTH - length(name) - 3) / 1000 : "-"
    }
    function of_majority(   rest) {
      rest = $0; sub(/.*"n2_n3":/, "", rest); match(rest, /"longest_silence_us":[0-9]+/)
      return substr(rest, RSTART + 21, RLENGTH - 21) / 1000
    }
    /"leader_at_cut":"n1"/ {
      printf "%s %s %s %s %s\n", field("unknown_us_max"), field("refusal_us_p99"), of_majority(),
        field("n1_writes_again_after_us"), field("others_longest_silence_after_heal_us")
    }' >row
  awk -v seed="$seed" '{ printf "%7d", seed; for (i = 1; i <= NF; i++) printf " %9.1f", $i; printf "\n" }' row
  cat row >>rows
  seed=$((seed + 1))
done
printf ' ' && medians rows

[ "$(id -u)" = 0 ] || { echo "firewall: skipped, needs root"; exit 0; }
echo
echo "kernel firewall, ms, one process a probe"
echo "     in flight  refusal  majority  back  stall"
: >rows
run=1
while [ "$run" -le "$times" ]; do
  sh "$here/../lab/netns.sh" "$program" cp >said || { cat said >&2; exit 1; }
  awk '
    /after the cut began/ { majority = $(NF - 1) }
    /exit [0-9]+ after/ { flight = $2 == 5 ? $(NF - 1) : "-" }
    / in  .* ms$/ { refusal = $(NF - 1) }
    /after the heal began/ { back = $(NF - 1) }
    /longest pause/ { stall = $(NF - 1) }
    END { print flight, refusal, majority, back, stall }' said >row
  printf '%6d %s\n' "$run" "$(cat row)"
  cat row >>rows
  run=$((run + 1))
done
medians rows
