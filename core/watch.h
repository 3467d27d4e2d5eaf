// What a client may watch, and every message it is sent: the vocabulary of watches, as
// core/request.h is that of requests. The shapes and their meaning are etcd's v3 API.
//
// A stream carries any number of watches. It is pulled: whoever has room for a message asks for the
// next one, and what is not asked for waits as a position in history, never as a queue.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/request.h"

namespace capstan {

struct WatchRequest {
  KeyRange range;                   // an empty key: from "\0" on
  std::int64_t id = 0;              // chosen by the client; 0: by the stream, counting from 0
  std::int64_t start_revision = 0;  // <= 0: what comes after now
  bool prev_kv = false;
  bool progress_notify = false;  // a message without events now and then where nothing happens
  bool no_put = false, no_delete = false;
  bool fragment = false;  // a large message may come in parts
};

struct WatchEvent {
  bool deleted = false;  // then kv has its key and mod_revision alone
  KeyValue kv;
  std::optional<KeyValue> prev;  // if it was asked for, there was one, and history still has it
};

// Exactly one of: created (also of what could not be created: canceled too), canceled, events,
// progress (nothing set), the end of the stream.
struct WatchMessage {
  ReplyHeader header;
  std::int64_t id = 0;  // -1: the stream itself, or a watch that could not be created
  bool created = false;
  bool canceled = false;
  std::string cancel_reason;
  Revision compacted;              // not 0: canceled because history begins only there
  std::vector<WatchEvent> events;  // whole revisions, ascending
  bool may_split = false;          // the watch asked for fragments
  std::optional<Refusal> end;      // nothing follows
};

// Of one client. Messages of one watch come in order: created, then every event of its range from
// its start on, none missing and none twice, all of a revision in one message; then, if it ever
// ends, canceled.
class WatchStream {
 public:
  virtual ~WatchStream() = default;
  virtual void create(WatchRequest request) = 0;
  virtual void cancel(std::int64_t id) = 0;  // one that is not there: silence
  // Answered once every event up to the revision it names has been taken.
  virtual void ask_progress() = 0;
  // Nullopt: nothing now; `ready` will be called when that may have changed.
  virtual std::optional<WatchMessage> next() = 0;
};

// How much is looked at and remembered at once; nothing else is bounded by them.
struct WatchBounds {
  std::size_t message_bytes = 1024 * 1024;  // about; a revision is not divided
  std::size_t scan_changes = 4096;          // of history, in one turn and stream
  std::size_t hits = 32;                    // revisions remembered of one watch
};

struct WatchOptions {
  std::function<void()> ready;  // takes a note only; never called from within next()
  Caller caller = {};
  bool require_leader = false;  // the stream ends when its node knows of no leader for a while
};

}  // namespace capstan
