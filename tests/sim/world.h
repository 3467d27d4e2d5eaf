// The world of one simulated run: time, an ordered queue of events, randomness and a trace.
//
//   events are ordered by (time, number of their scheduling); time jumps to the next one
//   one generator a concern, split from the seed: a draw added to one does not shift the others
//   every step worth knowing is noted: its hash is the run's fingerprint (same seed, same hash),
//   and the last few notes are what a failure prints
//
// Everything below runs on one thread and reads no clock.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/random.h"
#include "core/time.h"

namespace capstan::sim {

enum class Kind : std::uint8_t {
  kSend,        // a: from, b: to, c: size
  kDeliver,     // a: from, b: to
  kDrop,        // a: from, b: to
  kLinkUp,      // a, b
  kLinkDown,    // a, b
  kTurn,        // a: node
  kDurable,     // a: node, b: position
  kCheckpoint,  // a: node
  kStart,       // a: node, b: incarnation
  kCrash,       // a: node, b: records that were not durable
  kFault,       // text
  kAsk,         // a: client, b: node, c: operation
  kAnswer,      // a: client, b: operation, c: outcome
  kCommit,      // a: node, b: index, c: term
  kRole,        // a: node, b: term
  kVector,      // a: node, b: digest
  kText,
};

struct Note {
  Micros at = 0;
  Kind kind = Kind::kText;
  std::uint64_t a = 0, b = 0, c = 0;
  std::string text;
};
std::string to_text(const Note& note);

struct Streams {
  explicit Streams(std::uint64_t seed);
  Rng options, network, disk, clock, workload, faults, nodes, watchers, leases, backups, auth,
      outcomes, ranges;
};

class World {
 public:
  using Event = std::move_only_function<void()>;

  explicit World(std::uint64_t seed) : rng(seed), seed_(seed) {}

  Micros now() const { return now_; }
  std::uint64_t seed() const { return seed_; }

  void at(Micros when, Event event);
  void after(Micros delay, Event event) { at(now_ + delay, std::move(event)); }
  // Runs the next event; false when there is none or the run has failed.
  bool step();
  // Runs everything up to and including `until`, then stands at `until`.
  void run_until(Micros until);

  void note(Kind kind, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
            std::string text = {});
  std::uint64_t trace_hash() const { return hash_; }
  std::uint64_t events() const { return events_; }
  // The last notes, oldest first, a line each.
  std::string tail() const;
  // Prints every note as it comes.
  void print_notes(bool on) { print_ = on; }

  // The first broken oracle wins; afterwards the world stands still.
  void fail(std::string oracle, std::string what);
  bool failed() const { return !oracle_.empty(); }
  const std::string& oracle() const { return oracle_; }
  const std::string& what() const { return what_; }

  Streams rng;

 private:
  struct Entry {
    Micros when;
    std::uint64_t number;
    Event event;
  };
  static bool later(const Entry& a, const Entry& b) {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }

  std::uint64_t seed_;
  Micros now_ = 0;
  std::uint64_t scheduled_ = 0, events_ = 0;
  std::uint64_t hash_ = 0xcbf29ce484222325;
  std::vector<Entry> queue_;  // a heap, the next event on top
  std::array<Note, 50> recent_;
  std::uint64_t notes_ = 0;
  bool print_ = false;
  std::string oracle_, what_;
};

}  // namespace capstan::sim
