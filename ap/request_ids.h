// A client that got no answer asks again with the same request id; the second time must not write.
// This node remembers what its last requests wrote, the newest 65 536 of them, while it runs. An id
// says nothing to other nodes: in AP a retry goes back to the node that was asked first.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "crdt/dot.h"

namespace capstan::ap {

class RequestIds {
 public:
  static constexpr std::size_t kKept = 65'536;

  std::optional<Dot> find(const std::string& id) const {
    if (id.empty()) return std::nullopt;
    const auto at = dots_.find(id);
    return at == dots_.end() ? std::nullopt : std::optional(at->second);
  }
  void remember(const std::string& id, const Dot& dot) {
    if (id.empty() || !dots_.try_emplace(id, dot).second) return;
    order_.push_back(id);
    if (order_.size() > kKept) {
      dots_.erase(order_.front());
      order_.pop_front();
    }
  }

 private:
  std::map<std::string, Dot> dots_;
  std::deque<std::string> order_;
};

}  // namespace capstan::ap
