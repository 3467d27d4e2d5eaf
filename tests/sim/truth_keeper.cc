#include "tests/sim/truth_keeper.h"

namespace capstan::sim {

void TruthKeeper::turned(const cp::Engine& engine) {
  const Revision now = engine.revision();
  if (now.value < truth_.size()) return;
  engine.mvcc().changes({truth_.size()}, now,
                        [this](cp::Place place, const cp::ChangeView& change) {
                          if (place.revision == truth_.size()) truth_.push_back(truth_.back());
                          Snapshot& keys = truth_.back();
                          if (change.head) {
                            keys[std::string(change.key)] = cp::Mvcc::key_value_of(place, change);
                          } else {
                            keys.erase(std::string(change.key));
                          }
                          return true;
                        });
}

}  // namespace capstan::sim
