#include "tests/sim/mutants.h"

#include <cstdlib>

#include "cp/mutants.h"

namespace capstan::sim {

#ifdef CAPSTAN_MUTANTS
bool plant(Mode mode, const std::string& name) {
  const int number = std::atoi(name.c_str());
  if (mode != Mode::kCp || number == 0) return false;
  cp::Mutants::set(number);
  return true;
}
#else
bool plant(Mode, const std::string&) { return false; }
#endif

}  // namespace capstan::sim
