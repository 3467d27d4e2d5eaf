// Is a recorded history linearizable, key by key? A register per key with put, get, delete, and
// puts and deletes that return what they replaced.
//
// Linearizability is local [HW §3.3], so each key is judged alone. Per key we look for an order of
// its operations that respects real time and in which every read returns the last value written:
//
//   ok        takes effect somewhere between its start and its end
//   unknown   takes effect at any moment after its start, or never
//   failed    never takes effect; its answer says nothing
//
// The search is Wing and Gong's with a memo of (operations placed, value) already seen to fail
// [Lowe §4]. A value written once is never replaced while someone must still see it. An unknown put
// whose value nobody saw is left out beforehand: it can only be in the way.
//
// cost      near linear for real histories; the worst case is exponential, so `steps_max` bounds
// it.
//           The bound counts steps and not seconds: the same history gets the same verdict
//           anywhere.
// source    [HW] Herlihy & Wing, TOPLAS 1990; Wing & Gong, JPDC 1993; [Lowe] "Testing for
//           linearizability", CCPE 2017
#pragma once

#include <cstdint>
#include <string>

#include "lab/history.h"

namespace capstan::lab {

struct LinearizableOptions {
  std::uint64_t steps_max = 2'000'000;  // per key
};

struct LinearizableResult {
  Verdict verdict = Verdict::kYes;
  std::string key;             // of the first key, in byte order, that is not "yes"
  std::string counterexample;  // for people, several lines; empty when yes
  std::uint64_t keys = 0;
  std::uint64_t operations = 0;  // judged; those that can say nothing are not counted
  std::uint64_t steps = 0;
};

// A "no" on any key beats an "unknown" on another. Initially every key is absent.
LinearizableResult check_linearizable(const History& history, LinearizableOptions options = {});

}  // namespace capstan::lab
