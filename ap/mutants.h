// Planted bugs, one for each rule that this path rests on: a test turns one on and must see the
// oracles notice. Built in only under CAPSTAN_MUTANTS; otherwise they are constants and cost
// nothing.
#pragma once

namespace capstan::ap::mutants {

#ifdef CAPSTAN_MUTANTS
#define CAPSTAN_AP_MUTANT(name) inline bool name = false
#else
#define CAPSTAN_AP_MUTANT(name) inline constexpr bool name = false
#endif

CAPSTAN_AP_MUTANT(reuse_actor);       // I1  a wiped or rolled-back disk goes on as the same actor
CAPSTAN_AP_MUTANT(no_removal_index);  // I6  deletes leave no entry in the change index
CAPSTAN_AP_MUTANT(early_cover);       // I3  coverage is raised before the slice is complete
CAPSTAN_AP_MUTANT(forget_ahead);      // I4  a bucket that is ahead forgets its own vector
CAPSTAN_AP_MUTANT(fifo_only);         // I5  a delta is applied before what it depends on
CAPSTAN_AP_MUTANT(gc_unsafe);         // I7  tombstones go without anyone's word
CAPSTAN_AP_MUTANT(gc_ack_only);       // I7  ... or with only half of the condition
CAPSTAN_AP_MUTANT(keep_exposed);      // I9  a write older than a forgotten delete stays as it is
CAPSTAN_AP_MUTANT(no_horizon);        // I8  level 1 serves peers it has forgotten too much for

#undef CAPSTAN_AP_MUTANT

}  // namespace capstan::ap::mutants
