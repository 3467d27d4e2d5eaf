// A backup of the state as a client asks for it: a checkpoint of what is applied now, then a frozen
// view of the base, walked as its client takes pieces.
//
// The view pins pages of the base, so there is one backup at a time, and a client that takes
// nothing for a while loses it.
#include <utility>

#include "core/trace.h"
#include "cp/backup.h"
#include "cp/engine_state.h"

namespace capstan::cp {
namespace {

constexpr Micros kPatience = 30 * kSecond;  // between two pieces

Refusal refused_backup(Reason reason, std::string detail) {
  return {reason, "refused: " + std::move(detail)};
}

}  // namespace

class Engine::State::Backup final : public BackupStream {
 public:
  Backup(Engine::State& engine, std::function<void()> ready)
      : engine_(engine), life_(engine.life), ready_(std::move(ready)) {
    wanted_ = engine.applied.index;
    taken_at_ = engine.now.monotonic;
  }
  ~Backup() override {
    if (life_.lock() && engine_.backup == this) engine_.backup = nullptr;
  }

  std::optional<std::expected<Piece, Refusal>> next() override {
    if (refusal_) return std::unexpected(*refusal_);
    if (!life_.lock()) {
      return std::unexpected(refused_backup(Reason::kShuttingDown, "the node is stopping."));
    }
    if (!writer_) return std::nullopt;
    taken_at_ = engine_.now.monotonic;
    Result<std::string> bytes = writer_->next(kBackupPieceBytes);
    if (!bytes) return std::unexpected(refused_backup(Reason::kCorrupt, bytes.error().context));
    Piece piece{engine_.reply().header, *std::move(bytes), false};
    piece.header.revision = writer_->head().revision;
    piece.last = piece.bytes.empty();
    if (piece.last) end();
    return piece;
  }

  // Once a turn: has the checkpoint come, and is anybody there?
  void look() {
    const bool late = engine_.now.monotonic - taken_at_ >= kPatience;
    if (late || engine_.stopping) {
      refusal_ = refused_backup(
          engine_.stopping ? Reason::kShuttingDown : Reason::kTimeout,
          engine_.stopping ? "the node is stopping."
                           : "nothing went on for " + seconds_text(kPatience) + ". Ask again.");
      end();
      return ready_();
    }
    if (writer_) return;
    if (engine_.checkpointed.index < wanted_) {
      if (!engine_.table.freezing()) engine_.checkpoint_due = true;
      return;
    }
    Result<std::unique_ptr<BaseView>> view = engine_.base.view();
    if (!view) return;
    std::optional<StateWalk> walk = StateWalk::open(*std::move(view));
    if (!walk) return;
    const Revision revision = walk->revision();
    writer_.emplace(engine_.config.cluster, revision, *std::move(walk));
    trace(Level::kInfo, "backup_begun",
          engine_.config.name + ": revision " + std::to_string(revision.value));
    ready_();
  }

 private:
  void end() {
    writer_.reset();
    if (engine_.backup == this) engine_.backup = nullptr;
  }

  Engine::State& engine_;
  std::weak_ptr<char> life_;
  std::function<void()> ready_;
  Index wanted_;
  Micros taken_at_ = 0;
  std::optional<BackupWriter> writer_;
  std::optional<Refusal> refusal_;

  friend struct Engine::State;
};

std::unique_ptr<BackupStream> Engine::State::open_backup(const Caller& caller,
                                                         std::function<void()> ready) {
  auto opened = std::make_unique<Backup>(*this, std::move(ready));
  const auto who = principal_of(caller);
  const std::optional<Refusal> no = who ? machine.auth().must_be_root(*who) : who.error();
  if (is_witness()) {
    opened->refusal_ = witness_refusal();
  } else if (no) {
    opened->refusal_ = *no;
  } else if (backup != nullptr) {
    opened->refusal_ = refused_backup(
        Reason::kOverloaded, config.name + " is being backed up by somebody else. Try again.");
  } else if (!applied.index || removed) {
    opened->refusal_ = refused_backup(Reason::kRecovering,
                                      config.name + " has no state yet, or is no member any more.");
  } else {
    backup = opened.get();
  }
  return opened;
}

void Engine::State::look_after_backup() {
  if (backup != nullptr) backup->look();
}

}  // namespace capstan::cp
