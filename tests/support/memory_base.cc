#include "tests/support/memory_base.h"

#include "core/check.h"

namespace capstan::test {

namespace {

using Rows = MemoryBase::Rows;

Rows& rows_of(MemoryBase::Contents& contents, Space space) {
  return contents.live[static_cast<std::size_t>(space)];
}
const Rows& rows_of(const MemoryBase::Contents& contents, Space space) {
  return contents.live[static_cast<std::size_t>(space)];
}

class MemoryView final : public BaseView {
 public:
  explicit MemoryView(MemoryBase::Contents contents) : contents_(std::move(contents)) {}
  Status scan(Space space, ByteView from, const Visitor& visit) const override {
    const Rows& rows = rows_of(contents_, space);
    for (auto it = rows.lower_bound(from); it != rows.end(); ++it) {
      if (!visit(it->first, it->second)) break;
    }
    return {};
  }

 private:
  MemoryBase::Contents contents_;
};

}  // namespace

bool MemoryBase::is_rotten(Space space, ByteView key) const {
  return rotten_ && rotten_->first == space && rotten_->second == key;
}

Result<std::optional<std::string>> MemoryBase::get(Space space, ByteView key) const {
  CAPSTAN_ASSERT(!key.empty());
  ++gets_;
  if (is_rotten(space, key)) return fail(ErrorCode::kCorrupt, "memory base: record");
  const Rows& rows = rows_of(contents_, space);
  const auto it = rows.find(key);
  if (it == rows.end()) return std::nullopt;
  return it->second;
}

Status MemoryBase::scan(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  const Rows& rows = rows_of(contents_, space);
  for (auto it = rows.lower_bound(from); it != rows.end(); ++it) {
    if (!to.empty() && it->first >= to) break;
    if (is_rotten(space, it->first)) return fail(ErrorCode::kCorrupt, "memory base: record");
    if (!visit(it->first, it->second)) break;
  }
  return {};
}

Status MemoryBase::scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  const Rows& rows = rows_of(contents_, space);
  auto it = to.empty() ? rows.end() : rows.lower_bound(to);
  while (it != rows.begin()) {
    --it;
    if (it->first < from) break;
    if (is_rotten(space, it->first)) return fail(ErrorCode::kCorrupt, "memory base: record");
    if (!visit(it->first, it->second)) break;
  }
  return {};
}

Result<std::unique_ptr<BaseView>> MemoryBase::view() const {
  return std::make_unique<MemoryView>(contents_);
}

Status MemoryBase::write(Generation to, const ChangeSource& changes) {
  if (write_error_) return std::unexpected(*write_error_);
  Contents& contents = to == Generation::kLive ? contents_ : staged_;
  std::optional<std::pair<Space, std::string>> last;
  changes.each([&](const ChangeRef& change) {
    CAPSTAN_ASSERT(!change.key.empty());
    std::pair<Space, std::string> place(change.space, change.key);
    CAPSTAN_ASSERT(!last || *last < place);  // sorted, no key twice
    if (change.value) {
      rows_of(contents, change.space).insert_or_assign(place.second, std::string(*change.value));
    } else {
      rows_of(contents, change.space).erase(place.second);
    }
    last = std::move(place);
    return true;
  });
  return {};
}

Status MemoryBase::install() {
  if (write_error_) return std::unexpected(*write_error_);
  contents_ = std::exchange(staged_, Contents());
  return {};
}

Status MemoryBase::drop_staged() {
  staged_ = Contents();
  return {};
}

std::uint64_t MemoryBase::bytes_used() const {
  std::uint64_t bytes = 0;
  for (const Rows& rows : contents_.live) {
    for (const auto& [key, value] : rows) bytes += key.size() + value.size();
  }
  return bytes;
}

}  // namespace capstan::test
