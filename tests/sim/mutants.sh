#!/bin/sh
# Runs every planted bug until the simulator is red, within a budget of schedules each. A bug that is
# not caught fails: then an oracle or a fault is missing. Needs a build with CAPSTAN_MUTANTS.
#
#   mutants.sh PATH/TO/sim
set -u
sim=$1
caught=0 missed=0

hunt() { # mode, mutant, schedules
  if "$sim" --mode="$1" --mutant="$2" --seed=1 --count="$3" --jobs=2 >"$sim.mutant.log" 2>&1; then
    echo "MISSED $1 $2 in $3 schedules"
    missed=$((missed + 1))
  else
    echo "caught $1 $2: $(grep -m 1 RED "$sim.mutant.log") $(grep -m 1 oracle "$sim.mutant.log")"
    caught=$((caught + 1))
  fi
}

while read -r mode mutant schedules; do
  case $mode in '' | \#*) continue ;; esac
  hunt "$mode" "$mutant" "$schedules"
done <"$(dirname "$0")/mutants.txt"

echo "$caught passed, $missed failed"
[ "$missed" -eq 0 ]
