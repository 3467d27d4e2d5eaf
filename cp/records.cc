#include "cp/records.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/check.h"
#include "core/coding.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;

std::optional<HardState> decode_hard_state(ByteView bytes) {
  Reader in(bytes);
  if (in.u8() != kFormat) return std::nullopt;
  HardState hard;
  hard.term = {in.varint()};
  hard.vote = {in.u64()};
  const std::uint8_t standing = in.u8();
  if (standing > static_cast<std::uint8_t>(Standing::kImpaired)) return std::nullopt;
  hard.standing = static_cast<Standing>(standing);
  const auto read_life = [&in] {
    const NodeId node{in.u64()};
    return Actor{node, static_cast<Incarnation>(in.varint())};
  };
  hard.life = read_life();
  const std::uint64_t size = in.varint();
  if (!in.plausible(size, 17)) return std::nullopt;
  for (std::uint64_t i = 0; i < size; ++i) {
    const MemberId member{in.u64()};
    hard.roll.push_back({member, read_life()});
  }
  if (!in.done()) return std::nullopt;
  return hard;
}

struct Position {
  EntryId id;
  std::uint8_t kind = 0;
};
std::optional<Position> decode_position(ByteView bytes) {
  Reader in(bytes);
  if (in.u8() != kFormat) return std::nullopt;
  Position at;
  at.id.term = {in.varint()};
  at.id.index = {in.varint()};
  at.kind = in.u8();
  if (!in.done()) return std::nullopt;
  return at;
}

std::string encode_position(EntryId id, std::uint8_t kind) {
  std::string out;
  put_u8(out, kFormat);
  put_varint(out, id.term.value);
  put_varint(out, id.index.value);
  put_u8(out, kind);
  return out;
}

// The entries the log ends with, as they come by.
struct Suffix {
  explicit Suffix(Index checkpointed) : checkpointed(checkpointed) {}
  const Index checkpointed;  // what lies up to here is in the base
  std::vector<Entry> entries;
  std::vector<std::uint64_t> positions;
  bool gap = false;

  void add(Entry entry, std::uint64_t position) {
    while (!entries.empty() && entries.back().index >= entry.index) {
      entries.pop_back();
      positions.pop_back();
    }
    if (!entries.empty() && entry.index != next(entries.back().index)) {
      // Behind a gap nothing may be kept: what it followed is not here. Unless it is in the base:
      // an install can be durable there before its mark is here, and the log then goes on behind
      // it.
      if (entry.index > next(checkpointed)) {
        gap = true;
        return;
      }
      entries.clear();
      positions.clear();
    }
    entries.push_back(std::move(entry));
    positions.push_back(position);
  }
  void restart() {
    entries.clear();
    positions.clear();
    gap = false;
  }
};

}  // namespace

Record hard_state_record(const HardState& hard) {
  Record record{RecordType::kHardState, {}, nullptr};
  std::string& out = record.head;
  const auto put_life = [&out](const Actor& life) {
    put_u64(out, life.node.value);
    put_varint(out, life.incarnation);
  };
  put_u8(out, kFormat);
  put_varint(out, hard.term.value);
  put_u64(out, hard.vote.value);
  put_u8(out, static_cast<std::uint8_t>(hard.standing));
  put_life(hard.life);
  put_varint(out, hard.roll.size());
  for (const RollEntry& entry : hard.roll) {
    put_u64(out, entry.member.value);
    put_life(entry.life);
  }
  return record;
}

Record entry_record(const Entry& entry) {
  return {RecordType::kEntry, encode_position(entry.id(), static_cast<std::uint8_t>(entry.kind)),
          entry.data};
}

Record restart_record(EntryId base) {
  return {RecordType::kMark, encode_position(base, 0), nullptr};
}

Replayed replay(const Recovered& recovered, EntryId base, const Config& config) {
  Replayed out;
  Suffix suffix(base.index);
  std::optional<HardState> hard;
  std::uint64_t hard_position = 0;
  for (const RecoveredRecord& record : recovered.records) {
    if (record.type == RecordType::kHardState) {
      hard = decode_hard_state(record.head);
      CAPSTAN_ASSERT(hard.has_value());  // the WAL's checksums say it is what we wrote
      hard_position = record.position;
    } else if (record.type == RecordType::kEntry || record.type == RecordType::kMark) {
      const auto at = decode_position(record.head);
      CAPSTAN_ASSERT(at.has_value());
      if (record.type == RecordType::kMark) {
        suffix.restart();
      } else {
        suffix.add({at->id.term, at->id.index, static_cast<EntryKind>(at->kind), record.body},
                   record.position);
      }
    }
  }
  RaftState& state = out.state;
  if (hard) state.hard = *hard;
  // A hard state written behind the last gap knows of it: it is impaired, or has been restored
  // since.
  const bool told = hard && hard_position >= recovered.impaired_last;
  const bool lost = !recovered.impaired.empty() && !told;
  // Something was written, but no hard state is left of it: we cannot know what we promised.
  const bool amnesia = !hard && (base.index.value > 0 || !suffix.entries.empty());
  state.impaired = lost || suffix.gap || amnesia;
  if (lost) {
    // A term or vote that lies in the rotten part must not be forgotten where it can still be read.
    for (const RecoveredRecord& record : recovered.salvaged) {
      if (record.type != RecordType::kHardState) continue;
      const auto seen = decode_hard_state(record.head);
      if (seen && seen->term >= state.hard.term) {
        state.hard.term = seen->term;
        state.hard.vote = seen->vote;
      }
    }
  }
  state.config = config;
  state.applied = base.index;
  state.base = base;

  // Fit the entries to the base: they must hold its last one, or begin right behind it.
  auto& entries = suffix.entries;
  if (entries.empty() || base.index.value + 1 < entries.front().index.value ||
      base.index > entries.back().index) {
    // Nothing that continues the base. Entries beyond it would be a gap.
    if (!entries.empty() && base.index.value + 1 < entries.front().index.value)
      state.impaired = true;
    return out;
  }
  if (base.index >= entries.front().index) {
    const std::size_t at = base.index.value - entries.front().index.value;
    if (entries[at].term != base.term) return out;  // an install replaced this log
    // What lies before the base stays, to help members a little behind; the first only gives its
    // name.
    state.base = entries.front().id();
    entries.erase(entries.begin());
    suffix.positions.erase(suffix.positions.begin());
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    out.positions.emplace_back(entries[i].index, suffix.positions[i]);
  }
  state.entries = std::move(entries);
  return out;
}

}  // namespace capstan::cp
