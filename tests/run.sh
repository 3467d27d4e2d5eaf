#!/bin/sh
# Runs every test; ./run test calls it once the packages are there.
#
# One line a suite, failures in full, and as the last line "N passed, N failed, N skipped". A suite is
# a doctest program or anything whose own last such line can be added up; one that ends without it,
# or with an exit code its counts do not explain, counts as one failure.
set -u

jobs=$1
tests=$(cd "$(dirname "$0")" && pwd)
here=$(dirname "$tests")
logs=$here/build/test-logs
# Where the sanitizers report, each process into a file of its own: what they find in a node that its
# test kills, and never asks how it ended, is seen there.
findings=$logs/findings
mkdir -p "$findings"
passed=0 failed=0 skipped=0

say() { printf '%s\n' "$*"; }

# `address` and `fuzz` share a build.
asan='-DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_C_COMPILER=clang-19 -DCMAKE_BUILD_TYPE=Debug
  -DCAPSTAN_SANITIZE=address -DCAPSTAN_MUTANTS=ON -DCAPSTAN_FUZZ=ON'

configure_and_build() { # directory, cmake arguments..., "--", targets...
  dir=$here/$1
  shift
  arguments=''
  while [ "$1" != -- ]; do
    arguments="$arguments $1"
    shift
  done
  shift
  started=$(date +%s)
  log=$logs/$(basename "$dir").log
  # shellcheck disable=SC2086 # a list of words
  if cmake -S "$here" -B "$dir" -G Ninja $arguments >"$log" 2>&1 &&
    ninja -C "$dir" -j "$jobs" "$@" >>"$log" 2>&1; then
    printf '%-28s built %38s s\n' "$(basename "$dir")" $(($(date +%s) - started))
  else
    tail -n 40 "$log"
    say "$(basename "$dir") does not build; the full log is $log"
    failed=$((failed + 1))
    return 1
  fi
}

# The clients that come from npm; where it cannot be reached their tests say so.
export NODE_PATH="$here/build/npm/node_modules"
npm_clients() {
  [ -e "$NODE_PATH/etcd3" ] && return
  mkdir -p "$here/build/npm" && cp "$tests/node/npm"/package*.json "$here/build/npm" &&
    (cd "$here/build/npm" && npm ci --no-audit --no-fund --cache "$here/build/npm/cache") >"$logs/npm.log" 2>&1 && return
  say "npm ci did not work, see $logs/npm.log: the tests with npm's etcd3 are skipped"
  skipped=$((skipped + 1))
}

# Adds up what a suite printed: doctest's summary, or the last "N passed, N failed[, N skipped]".
counts_of() {
  awk '
    /^\[doctest\] test cases:/ {
      n = split($0, part, "|")
      for (i = 2; i <= n; i++) {
        split(part[i], word, " ")
        if (word[2] == "passed") p = word[1]
        if (word[2] == "failed") f = word[1]
      }
      seen = 1
    }
    /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { p = $1; f = $3; s = $5 + 0; seen = 1 }
    END { if (seen) print p + 0, f + 0, s + 0 }' "$1"
}

suite() { # name, command...
  name=$1
  shift
  log=$logs/$(printf %s "$name" | tr ' /' '--').log
  rm -f "$findings"/*
  started=$(date +%s)
  "$@" >"$log" 2>&1 </dev/null
  code=$?
  [ $code -ne 77 ] || code=0 # skipped, which its counts say
  found=$(head -n 60 "$findings"/* 2>/dev/null)
  # shellcheck disable=SC2046 # three numbers
  set -- $(counts_of "$log")
  if [ $# -lt 3 ] || { [ "$code$found" != 0 ] && [ "$2" -eq 0 ]; }; then
    set -- "${1:-0}" 1 "${3:-0}"
  fi
  printf '%-28s %6d passed %4d failed %3d skipped %6d s\n' "$name" "$1" "$2" "$3" \
    $(($(date +%s) - started))
  if [ "$2" -gt 0 ]; then
    tail -n 60 "$log"
    [ -z "$found" ] || say "$found"
    say "-- $name ended with code $code; the full log is $log"
  fi
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

rooms() { # build directory, label, NAME=VALUE...: runs every ROOM_tests in it
  directory=$1
  label=$2
  shift 2
  for program in "$here/$directory"/tests/*_tests; do
    [ -x "$program" ] && suite "$label$(basename "$program" _tests)" env "$@" "$program"
  done
}

# A program without counts of its own: its exit code is one verdict, and 77 means "skipped".
verdict() {
  "$@"
  case $? in
    0) say '1 passed, 0 failed' ;;
    77) say '0 passed, 0 failed, 1 skipped' ;;
    *) say '0 passed, 1 failed' && return 1 ;;
  esac
}

# Optimised, as shipped: every room, the simulator's schedules, stock clients, the firewall.
release() {
  configure_and_build build -DCMAKE_BUILD_TYPE=Release -DCAPSTAN_TESTS=ON -- all || return
  rooms build ''
  suite 'sim 1,000 CP' verdict "$here/build/tests/sim" --mode=cp --seed=1 --count=1000 --jobs="$jobs"
  suite 'sim 20,000 AP' verdict "$here/build/tests/sim" --mode=ap --seed=1 --count=20000 --jobs="$jobs"
  suite 'kernel firewall' verdict sh "$here/lab/netns.sh" "$here/build/capstan"
  suite 'grey failures' verdict sh "$here/lab/grey.sh" "$here/build/capstan"
  suite 'soak, 40 s' verdict "$here/build/tests/soak" --seconds=40
  suite 'the exercise' sh "$here/lab/exercise.sh" "$here/build/capstan" check "$here/docs/exercise.md"
}

# Under AddressSanitizer and UndefinedBehaviorSanitizer, with the planted bugs compiled in.
address() {
  # shellcheck disable=SC2086 # a list of words
  configure_and_build build-asan $asan -- capstan all_tests || return
  # Five times as slow, so these walk shorter here; `release` and `fuzz` walk them in full.
  rooms build-asan 'asan ' CAPSTAN_SHARE=20 \
    UBSAN_OPTIONS="print_stacktrace=1:log_path=$findings/ubsan" ASAN_OPTIONS="log_path=$findings/asan"
}

# The hunt for planted bugs: thousands of schedules, for which a build without sanitizers is made in
# less time than one with them would lose. Seeds are the same schedules as in `release`: the order
# in which a compiler evaluates arguments is part of them.
bugs() {
  configure_and_build build-bugs -DCMAKE_BUILD_TYPE=Release -DCAPSTAN_MUTANTS=ON -- sim || return
  suite 'planted bugs' sh "$tests/sim/mutants.sh" "$here/build-bugs/tests/sim"
}

# What has threads, under ThreadSanitizer: the trace, the disk thread, the loop, whole nodes. The
# log's tests have none and cut it after every byte, which takes minutes here.
thread() {
  configure_and_build build-tsan -DCMAKE_BUILD_TYPE=Debug -DCAPSTAN_SANITIZE=thread \
    -- capstan core_tests net_tests node_tests || return
  for room in core net node; do
    suite "tsan $room" env CAPSTAN_SHARE=20 \
      TSAN_OPTIONS="halt_on_error=1:log_path=$findings/tsan" \
      "$here/build-tsan/tests/${room}_tests" --test-case-exclude='wal:*'
  done
}

# Decoders against mutated input, guided by coverage. CAPSTAN_FUZZ_RUNS is for the long walk. Each
# input has 5 s and no allocation of its may pass 64 MiB; the process, which keeps up to 256 MiB of
# freed memory aside to catch uses of it, 512 MiB.
fuzz() {
  # shellcheck disable=SC2086 # a list of words
  configure_and_build build-asan $asan -- fuzzers || return
  # libFuzzer ends with 77 by itself when it has found something; here that would mean "skipped".
  for program in "$here"/build-asan/tests/fuzz/*_fuzz; do
    suite "fuzz $(basename "$program" _fuzz)" verdict "$program" \
      -runs="${CAPSTAN_FUZZ_RUNS:-100000}" -seed=1 -timeout=5 -malloc_limit_mb=64 \
      -rss_limit_mb=512 -error_exitcode=1 -artifact_prefix="$logs/" -print_final_stats=1
  done
}

# ./run test [TIER...]
shift
[ $# -eq 0 ] && set -- release address bugs thread fuzz
npm_clients
for tier in "$@"; do
  case $tier in
    release | address | bugs | thread | fuzz) "$tier" ;;
    *) say "no tier \"$tier\"; there are: release address bugs thread fuzz" && exit 2 ;;
  esac
done

say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
