#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>

#include "core/check.h"

namespace capstan::sim {

namespace {

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kSend:
      return "send";
    case Kind::kDeliver:
      return "deliver";
    case Kind::kDrop:
      return "drop";
    case Kind::kLinkUp:
      return "link-up";
    case Kind::kLinkDown:
      return "link-down";
    case Kind::kTurn:
      return "turn";
    case Kind::kDurable:
      return "durable";
    case Kind::kCheckpoint:
      return "checkpoint";
    case Kind::kStart:
      return "start";
    case Kind::kCrash:
      return "crash";
    case Kind::kFault:
      return "fault";
    case Kind::kAsk:
      return "ask";
    case Kind::kAnswer:
      return "answer";
    case Kind::kCommit:
      return "commit";
    case Kind::kRole:
      return "role";
    case Kind::kVector:
      return "vector";
    case Kind::kText:
      return "note";
  }
  return "?";
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return hash ^ (hash >> 29);
}

}  // namespace

std::string to_text(const Note& note) {
  char line[160];
  std::snprintf(line, sizeof line, "%10.3f ms  %-10s %llu %llu %llu ",
                static_cast<double>(note.at) / 1000.0, name_of(note.kind),
                static_cast<unsigned long long>(note.a), static_cast<unsigned long long>(note.b),
                static_cast<unsigned long long>(note.c));
  return line + note.text;
}

Streams::Streams(std::uint64_t seed)
    : options(seed * 16 + 1),
      network(seed * 16 + 2),
      disk(seed * 16 + 3),
      clock(seed * 16 + 4),
      workload(seed * 16 + 5),
      faults(seed * 16 + 6),
      nodes(seed * 16 + 7),
      watchers(seed * 16 + 8),
      leases(seed * 16 + 9),
      backups(seed * 16 + 10),
      auth(seed * 16 + 11),
      outcomes(seed * 16 + 12),
      ranges(seed * 16 + 13) {}

void World::at(Micros when, Event event) {
  queue_.push_back({std::max(when, now_), scheduled_++, std::move(event)});
  std::push_heap(queue_.begin(), queue_.end(), later);
}

bool World::step() {
  if (failed() || queue_.empty()) return false;
  std::pop_heap(queue_.begin(), queue_.end(), later);
  Entry entry = std::move(queue_.back());
  queue_.pop_back();
  CAPSTAN_ASSERT(entry.when >= now_);
  now_ = entry.when;
  ++events_;
  entry.event();
  return true;
}

void World::run_until(Micros until) {
  while (!failed() && !queue_.empty() && queue_.front().when <= until) step();
  if (!failed()) now_ = std::max(now_, until);
}

void World::note(Kind kind, std::uint64_t a, std::uint64_t b, std::uint64_t c, std::string text) {
  hash_ = mixed(hash_, static_cast<std::uint64_t>(now_) * 32 + static_cast<std::uint64_t>(kind));
  hash_ = mixed(mixed(mixed(hash_, a), b), c);
  for (const char letter : text) hash_ = mixed(hash_, static_cast<unsigned char>(letter));
  Note& slot = recent_[notes_++ % recent_.size()];
  slot = {now_, kind, a, b, c, std::move(text)};
  if (print_) std::puts(to_text(slot).c_str());
}

std::string World::tail() const {
  std::string lines;
  const std::uint64_t kept = std::min<std::uint64_t>(notes_, recent_.size());
  for (std::uint64_t i = notes_ - kept; i < notes_; ++i) {
    lines += to_text(recent_[i % recent_.size()]) + '\n';
  }
  return lines;
}

void World::fail(std::string oracle, std::string what) {
  if (failed()) return;
  oracle_ = std::move(oracle);
  what_ = std::move(what);
  note(Kind::kText, 0, 0, 0, "FAILED " + oracle_ + ": " + what_);
}

}  // namespace capstan::sim
