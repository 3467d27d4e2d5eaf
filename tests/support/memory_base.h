// core/base.h in memory, with LMDB's semantics: a commit is whole and durable, or did not happen.
// Its durable state is a value: keep contents(), crash, and build the next one from it.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "core/base.h"

namespace capstan::test {

class MemoryBase final : public Base {
 public:
  using Rows = std::map<std::string, std::string, std::less<>>;
  struct Contents {
    std::array<Rows, static_cast<std::size_t>(Space::kCount)> live;
    friend bool operator==(const Contents&, const Contents&) = default;
  };

  MemoryBase() = default;
  // As a process finds it after a crash: what was staged and not installed is gone.
  explicit MemoryBase(Contents contents) : contents_(std::move(contents)) {}
  const Contents& contents() const { return contents_; }

  // The next commits, stages and installs fail with this and change nothing, until it is cleared.
  void fail_writes(std::optional<Error> error) { write_error_ = std::move(error); }
  // Reads of this key fail as a bad checksum would.
  void rot(Space space, std::string key) { rotten_ = std::pair(space, std::move(key)); }

  std::uint64_t gets() const { return gets_; }  // so far

  Result<std::optional<std::string>> get(Space space, ByteView key) const override;
  Status scan(Space space, ByteView from, ByteView to, const Visitor& visit) const override;
  Status scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const override;
  Result<std::unique_ptr<BaseView>> view() const override;
  Status install() override;
  Status drop_staged() override;
  std::uint64_t bytes_used() const override;
  std::uint64_t bytes_live() const override { return bytes_used(); }

 protected:
  Status write(Generation to, const ChangeSource& changes) override;

 private:
  bool is_rotten(Space space, ByteView key) const;
  Contents contents_;
  Contents staged_;
  mutable std::uint64_t gets_ = 0;
  std::optional<Error> write_error_;
  std::optional<std::pair<Space, std::string>> rotten_;
};

}  // namespace capstan::test
