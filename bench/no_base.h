// A base that holds nothing, so that only what is above it is measured.
#pragma once

#include "core/base.h"

namespace capstan {

class NoBase final : public Base {
 public:
  Result<std::optional<std::string>> get(Space, ByteView) const override { return std::nullopt; }
  Status scan(Space, ByteView, ByteView, const Visitor&) const override { return {}; }
  Status scan_back(Space, ByteView, ByteView, const Visitor&) const override { return {}; }
  Result<std::unique_ptr<BaseView>> view() const override {
    return fail(ErrorCode::kNotFound, "no view");
  }
  Status install() override { return {}; }
  Status drop_staged() override { return {}; }
  std::uint64_t bytes_used() const override { return 0; }
  std::uint64_t bytes_live() const override { return 0; }

 protected:
  Status write(Generation, const ChangeSource&) override { return {}; }
};

}  // namespace capstan
