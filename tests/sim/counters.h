// What really happened in a run, or in many: a fault that is switched on and never strikes proves
// nothing, so each is counted where it bites (a cut at the message it swallowed, lost data at the
// byte that was not there after the crash), and a total of zero is a failure of the simulator.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace capstan::sim {

class Counters {
 public:
  void add(const char* name, std::uint64_t count = 1) { counts_[name] += count; }
  std::uint64_t of(const std::string& name) const {
    const auto found = counts_.find(name);
    return found == counts_.end() ? 0 : found->second;
  }
  void merge(const Counters& other) {
    for (const auto& [name, count] : other.counts_) counts_[name] += count;
  }
  const std::map<std::string, std::uint64_t>& all() const { return counts_; }
  void set(const std::string& name, std::uint64_t count) { counts_[name] = count; }

 private:
  std::map<std::string, std::uint64_t> counts_;
};

}  // namespace capstan::sim
