// Handler: what the front door needs of the node behind it. node/ implements it; the door decodes
// client protocols into these calls and encodes what comes back.
//
// Everything runs on the loop thread. Answers and callbacks may be called at once or in a later
// turn, exactly once or (when the node stops) never; a client that left meanwhile is no concern of
// the handler, the door drops the answer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/backup.h"
#include "core/request.h"
#include "core/time.h"
#include "core/types.h"
#include "core/watch.h"

namespace capstan::net {

// Fault injection on one node's own links: frames to (`out`) and from (`in`) the named peer.
struct LabDrop {
  std::string peer;
  bool in = true;
  bool out = true;
};
struct LabCommand {
  enum class Kind { kDrop, kHeal, kShow };
  Kind kind = Kind::kShow;
  std::vector<LabDrop> drops;  // kDrop: in place of what was dropped before; kHeal: ignored
  Micros for_micros = 0;       // kDrop: ends by itself after this; 0: the default of 60 s
};
// A drop in force.
struct LabFault {
  std::string peer;
  bool in = false;
  bool out = false;
  Micros remaining = 0;
};
struct LabReply {
  Outcome outcome = Outcome::kOk;  // kFailed with kNotLab or kInvalid, else kOk
  Reason reason = Reason::kNone;
  std::string detail;
  std::vector<LabFault> faults;  // in force after the command
};
using LabAnswer = std::move_only_function<void(LabReply)>;

// One named condition of /livez or /readyz.
struct HealthCheck {
  std::string name;  // "loop", "disk", "quorum", "space", ...
  bool ok = true;
  std::string detail;  // a sentence when not ok
};
struct Health {
  bool live = true;   // the loop turns and the disk answers; never depends on peers
  bool ready = true;  // CP: a write could commit now; AP: open and caught up after start
  std::vector<HealthCheck> checks;
};

class Handler {
 public:
  virtual ~Handler() = default;

  // `answer` is called exactly once unless the node stops first.
  virtual void handle(Request request, Answer answer) = 0;

  // Opens a stream of watches; nullptr where there are none. The door drops it when its client
  // goes.
  virtual std::unique_ptr<WatchStream> watch(WatchOptions options) = 0;

  // Begins a backup; nullptr where there are none. Dropped likewise.
  virtual std::unique_ptr<BackupStream> backup(const Caller& caller,
                                               std::function<void()> ready) = 0;

  virtual Health health() = 0;

  // The whole of /metrics; the door's own counters are Door::counts().
  virtual std::string metrics_text() = 0;

  // The answer is kNotLab on a node that was started without --lab.
  virtual void lab(LabCommand command, LabAnswer answer) = 0;

  // The name people gave the member that holds this disk, for write ids ("n1:3:1204"). Empty when
  // unknown: the door then writes the number in hex.
  virtual std::string_view name_of(NodeId node) const = 0;
};

}  // namespace capstan::net
