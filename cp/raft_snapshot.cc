// Raft's share of sending and installing state; the pieces themselves are cp/snapshot.h's.
#include <utility>

#include "core/check.h"
#include "cp/raft.h"

namespace capstan::cp {

void Raft::snapshot_sent(MemberId peer, EntryId last) {
  const auto at = progress_.find(peer);
  if (at == progress_.end() || at->second.state != Progress::State::kSnapshot) return;
  Progress& progress = at->second;
  progress.match = std::max(progress.match, last.index);
  // The window may have moved on meanwhile; then replicate() asks for another.
  progress.to_replicate();
}

void Raft::snapshot_failed(MemberId peer) {
  const auto at = progress_.find(peer);
  if (at == progress_.end() || at->second.state != Progress::State::kSnapshot) return;
  at->second.to_probe(next(at->second.match));
}

void Raft::snapshot_installed(EntryId last, Config config) {
  CAPSTAN_ASSERT(installing_);
  CAPSTAN_ASSERT(last.index > commit_);
  log_.reset(last);
  configs_ = {{last.index, std::move(config)}};
  ++config_version_;
  commit_ = handed_out_ = checkpointed_ = last.index;
  verified_ = leader_ ? last.index : Index{};
  installing_ = false;
  say("snapshot_installed", "up to index " + std::to_string(last.index.value));
}

}  // namespace capstan::cp
