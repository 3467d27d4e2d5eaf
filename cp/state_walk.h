// All rows of a CP state in a frozen view of the base, in slices: what is sent to a member that is
// far behind, and what goes into a backup.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base.h"
#include "cp/state_machine.h"

namespace capstan::cp {

class StateWalk {
 public:
  // Nullopt: the view holds no state (StateMachine::save).
  static std::optional<StateWalk> open(std::unique_ptr<BaseView> view);

  const StateMachine::Position& position() const { return position_; }
  Revision revision() const { return position_.revision; }
  // Appends rows of about `bytes`, sorted as the base wants them within one slice; the facts come
  // in the last one. False: that was the last.
  Result<bool> next(std::size_t bytes, std::vector<Change>& out);

 private:
  explicit StateWalk(std::unique_ptr<BaseView> view) : view_(std::move(view)) {}

  std::unique_ptr<BaseView> view_;
  StateMachine::Position position_;
  std::size_t space_ = 0;  // into the list of spaces
  std::string from_;       // the first key not taken of that space
};

}  // namespace capstan::cp
