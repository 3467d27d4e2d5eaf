// What clients did and saw: one Operation a request, as recorded at the client. Everything that is
// judged (linearizability, staleness, accounts) is judged from this and the nodes' final states.
//
// Every put of a history writes a value that no other put writes, so that a value names its write:
// whoever read it, overwrote it or lost it can be told from the value alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/request.h"
#include "core/result.h"
#include "core/time.h"

namespace capstan::lab {

enum class OpKind : std::uint8_t { kGet, kPut, kDelete };
std::string_view to_text(OpKind kind);

struct Operation {
  std::uint32_t client = 0;  // a client has at most one operation open at a time
  std::uint32_t node = 0;    // which node was asked: 0 is n1
  OpKind kind = OpKind::kGet;
  std::string key{};
  std::string value{};  // put: what was written, unique in the history

  // One clock for all clients, any origin. Without any answer end stays kNever; an unknown one has
  // an end if the server said so, but may take effect after it.
  static constexpr Micros kNever = INT64_MAX;
  Micros start = 0;
  Micros end = kNever;

  Outcome outcome = Outcome::kUnknown;
  Reason reason = Reason::kNone;
  std::string write_id{};      // NAME:INCARNATION:SEQUENCE, where the reply had one
  std::uint64_t revision = 0;  // of the reply's header; a CP write: the revision it made
  // Get, outcome ok: what was read; nullopt: the key was absent.
  std::optional<std::string> read{};
  // Put or delete asked to return what it replaced, and answered: a read and a write in one step.
  bool saw_previous = false;
  std::optional<std::string> previous{};  // nullopt: the key was absent

  bool is_write() const { return kind != OpKind::kGet; }
  bool acknowledged() const { return outcome == Outcome::kOk || outcome == Outcome::kOkLocal; }
  friend bool operator==(const Operation&, const Operation&) = default;
};

// In any order.
using History = std::vector<Operation>;

enum class Verdict : std::uint8_t { kYes, kNo, kUnknown };
std::string_view to_text(Verdict verdict);  // yes, no, unknown

// "put k17 = v203 at n1, 1.204-1.206 s, ok n1:1:17": one operation for people. Times count from
// `origin`.
std::string describe(const Operation& op, Micros origin = 0);

// One JSON object a line; from_jsonl gives back what to_jsonl took.
std::string to_jsonl(const History& history);
Result<History> from_jsonl(std::string_view text);

}  // namespace capstan::lab
