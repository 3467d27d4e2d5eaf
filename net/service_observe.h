// Who leads an election, and each later word of that leader and of its successors. Not every word
// that ever was: who leads only between two looks is passed over, the latest is always told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/watch.h"
#include "net/service_step.h"

namespace capstan::net {

class Observe final : public ServiceCall {
 public:
  Observe(Asker asker, std::function<void()> ready, ObserveRequest request);

  std::optional<ServiceMessage> next() override;

 private:
  void look();
  void follow(KeyRange range, Revision seen);
  std::optional<ServiceMessage> take_look(Reply& reply);
  // The next of the events that came, if it is a word.
  std::optional<ServiceMessage> take_event();

  const Asker asker_;
  std::function<void()> ready_;
  Step step_;
  const std::string name_;
  bool anybody_leads_ = false;
  std::unique_ptr<WatchStream> stream_;  // of the leader's key, or of all while nobody leads
  WatchMessage news_;                    // from `told_` on not yet told
  std::size_t told_ = 0;
};

}  // namespace capstan::net
