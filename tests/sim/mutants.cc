#include "tests/sim/mutants.h"

#include <cstdlib>

#include "ap/mutants.h"
#include "core/mutants.h"
#include "cp/mutants.h"

namespace capstan::sim {

#ifdef CAPSTAN_MUTANTS

namespace {

struct Named {
  const char* name;
  bool* bug;
};
const Named kApBugs[] = {
    {"reuse_actor", &ap::mutants::reuse_actor},
    {"no_removal_index", &ap::mutants::no_removal_index},
    {"early_cover", &ap::mutants::early_cover},
    {"forget_ahead", &ap::mutants::forget_ahead},
    {"fifo_only", &ap::mutants::fifo_only},
    {"gc_unsafe", &ap::mutants::gc_unsafe},
    {"gc_ack_only", &ap::mutants::gc_ack_only},
    {"no_horizon", &ap::mutants::no_horizon},
};

}  // namespace

bool plant(Mode mode, const std::string& name) {
  if (mode == Mode::kCp && name == "30") return mutants::no_directory_sync = true;
  if (mode == Mode::kCp && name == "31") return mutants::rot_cut_as_torn = true;
  if (mode == Mode::kCp && name == "33") return mutants::sync_error_ignored = true;
  if (mode == Mode::kCp) {
    cp::Mutants::set(std::atoi(name.c_str()));
    return std::atoi(name.c_str()) > 0;
  }
  for (const Named& bug : kApBugs) {
    if (name == bug.name) return *bug.bug = true;
  }
  return false;
}

#else

bool plant(Mode, const std::string&) { return false; }

#endif

}  // namespace capstan::sim
