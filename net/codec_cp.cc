#include "net/codec_cp.h"

#ifdef __clang__
// Cap'n Proto 0.9 compares StringPtr with literals in both orders, which C++20 finds ambiguous.
#include <kj/string.h>
namespace kj {
inline bool operator==(const char* a, const StringPtr& b) { return b == StringPtr(a); }
inline bool operator!=(const char* a, const StringPtr& b) { return !(b == StringPtr(a)); }
}  // namespace kj
#endif

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/array.h>
#include <kj/exception.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "core/check.h"
#include "core/limits.h"
#include "cp.capnp.h"

namespace capstan::net {
namespace {

using cp::EntryId;
using cp::Message;

// Far above any index or term a cluster lives to see; below it, adding a list's length is safe.
constexpr std::uint64_t kNumberMax = 1ull << 62;
constexpr std::size_t kCommandsMax = 65'536;
constexpr std::size_t kEntriesMax = 65'536;
constexpr std::size_t kChangesMax = 262'144;
constexpr std::size_t kDetailBytesMax = 1024;

capnp::Data::Reader data_of(ByteView bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
}
ByteView bytes_of(capnp::Data::Reader data) {
  return {reinterpret_cast<const char*>(data.begin()), data.size()};
}

// ---- Encode -------------------------------------------------------------------------------------

void write(schema::CpLife::Builder to, const Actor& life) {
  to.setNode(life.node.value);
  to.setIncarnation(life.incarnation);
}
void write(schema::CpEntryId::Builder to, const EntryId& id) {
  to.setTerm(id.term.value);
  to.setIndex(id.index.value);
}
template <class Builder>
void write_roll(Builder to, const cp::Roll& roll) {
  auto list = to.initRoll(static_cast<capnp::uint>(roll.size()));
  for (capnp::uint i = 0; i < roll.size(); ++i) {
    list[i].setMember(roll[i].member.value);
    write(list[i].initLife(), roll[i].life);
  }
}

void write(schema::CpMessage::Builder to, const cp::Hello& hello) {
  auto out = to.initHello();
  out.setStanding(static_cast<std::uint8_t>(hello.standing));
  write(out.initLife(), hello.life);
  write_roll(out, hello.roll);
}
void write(schema::CpMessage::Builder to, const cp::VoteRequest& request) {
  auto out = to.initVoteRequest();
  out.setPre(request.pre);
  out.setTransfer(request.transfer);
  write(out.initLast(), request.last);
}
void write(schema::CpMessage::Builder to, const cp::VoteReply& reply) {
  auto out = to.initVoteReply();
  out.setPre(reply.pre);
  out.setGranted(reply.granted);
  write(out.initLife(), reply.life);
  write_roll(out, reply.roll);
}
void write(schema::CpMessage::Builder to, const cp::Append& append) {
  auto out = to.initAppend();
  write(out.initPrev(), append.prev);
  out.setCommit(append.commit.value);
  auto list = out.initEntries(static_cast<capnp::uint>(append.entries.size()));
  for (capnp::uint i = 0; i < append.entries.size(); ++i) {
    const cp::Entry& entry = append.entries[i];
    CAPSTAN_ASSERT(entry.index.value == append.prev.index.value + i + 1);
    list[i].setTerm(entry.term.value);
    list[i].setKind(static_cast<std::uint8_t>(entry.kind));
    if (entry.bytes() > 0) list[i].setData(data_of(*entry.data));
  }
}
void write(schema::CpMessage::Builder to, const cp::AppendReply& reply) {
  auto out = to.initAppendReply();
  out.setRejected(reply.rejected);
  out.setCounts(reply.counts);
  write(out.initLife(), reply.life);
  out.setIndex(reply.index.value);
  write(out.initHint(), reply.hint);
}
void write(schema::CpMessage::Builder to, const cp::Heartbeat& heartbeat) {
  auto out = to.initHeartbeat();
  out.setCommit(heartbeat.commit.value);
  out.setRound(heartbeat.round.value);
  out.setTip(heartbeat.tip.value);
  if (!heartbeat.restoring) return;
  out.setRestoring(heartbeat.restoring.value);
  write(out.initLife(), heartbeat.life);
}
void write(schema::CpMessage::Builder to, const cp::HeartbeatReply& reply) {
  auto out = to.initHeartbeatReply();
  out.setRound(reply.round.value);
  out.setTip(reply.tip.value);
  out.setReceived(reply.received.value);
  out.setCounts(reply.counts);
  out.setLearned(reply.learned);
}
void write(schema::CpMessage::Builder to, const cp::TimeoutNow&) { to.setTimeoutNow(); }
void write(schema::CpMessage::Builder to, const cp::Restored& restored) {
  write(to.initRestored(), restored.life);
}
void write(schema::CpMessage::Builder to, const cp::Forward& forward) {
  auto out = to.initForward();
  write(out.initOrigin(), forward.origin);
  out.setNumber(forward.number);
  auto list = out.initCommands(static_cast<capnp::uint>(forward.commands.size()));
  for (capnp::uint i = 0; i < forward.commands.size(); ++i) {
    list.set(i, data_of(forward.commands[i]));
  }
}
void write(schema::CpMessage::Builder to, const cp::ForwardRefused& refused) {
  auto out = to.initForwardRefused();
  write(out.initOrigin(), refused.origin);
  out.setNumber(refused.number);
  out.setReason(static_cast<std::uint8_t>(refused.reason));
  out.setDetail(refused.detail.substr(0, kDetailBytesMax));
}
void write(schema::CpMessage::Builder to, const cp::ReadRequest& request) {
  auto out = to.initReadRequest();
  write(out.initOrigin(), request.origin);
  out.setNumber(request.number);
}
void write(schema::CpMessage::Builder to, const cp::ReadReply& reply) {
  auto out = to.initReadReply();
  write(out.initOrigin(), reply.origin);
  out.setNumber(reply.number);
  out.setRefused(reply.refused);
  out.setIndex(reply.index.value);
}
void write(schema::CpMessage::Builder to, const cp::StateDigest& digest) {
  auto out = to.initStateDigest();
  out.setIndex(digest.index.value);
  out.setFingerprint(digest.fingerprint);
}
void write(schema::CpMessage::Builder to, const cp::SnapshotChunk& chunk) {
  auto out = to.initSnapshotChunk();
  write(out.initLast(), chunk.last);
  out.setNumber(chunk.number);
  out.setSequence(chunk.sequence);
  out.setFinal(chunk.final);
  auto list = out.initChanges(static_cast<capnp::uint>(chunk.changes.size()));
  for (capnp::uint i = 0; i < chunk.changes.size(); ++i) {
    const Change& change = chunk.changes[i];
    list[i].setSpace(static_cast<std::uint8_t>(change.space));
    list[i].setKey(data_of(change.key));
    if (change.value) {
      list[i].setValue(data_of(*change.value));
    } else {
      list[i].setErased(true);
    }
  }
}
void write(schema::CpMessage::Builder to, const cp::SnapshotReply& reply) {
  auto out = to.initSnapshotReply();
  write(out.initLast(), reply.last);
  out.setNumber(reply.number);
  write(out.initLife(), reply.life);
  out.setExpected(reply.expected);
  out.setInstalled(reply.installed);
}

// A first segment that holds the whole message, so that it is built and copied once.
std::size_t words_needed(const Message& message) {
  std::size_t bytes = 256;
  if (const auto* append = std::get_if<cp::Append>(&message.body)) {
    for (const cp::Entry& entry : append->entries) bytes += entry.bytes() + 40;
  } else if (const auto* forward = std::get_if<cp::Forward>(&message.body)) {
    for (const std::string& command : forward->commands) bytes += command.size() + 16;
  } else if (const auto* chunk = std::get_if<cp::SnapshotChunk>(&message.body)) {
    for (const Change& change : chunk->changes) {
      bytes += change.key.size() + (change.value ? change.value->size() : 0) + 48;
    }
  } else {
    bytes += kMembersMax * 40;
  }
  return bytes / sizeof(capnp::word) + 1;
}

// ---- Decode -------------------------------------------------------------------------------------

// Reads what a field says and remembers if any of it was impossible.
class Checker {
 public:
  std::uint64_t number(std::uint64_t v) {
    require(v < kNumberMax);
    return v;
  }
  void require(bool condition) { ok_ = ok_ && condition; }
  bool ok() const { return ok_; }

  Actor life(schema::CpLife::Reader from) { return {{from.getNode()}, from.getIncarnation()}; }
  EntryId id(schema::CpEntryId::Reader from) {
    return {{number(from.getTerm())}, {number(from.getIndex())}};
  }
  template <class List>
  cp::Roll roll(List list) {
    cp::Roll out;
    require(list.size() <= kMembersMax);
    for (capnp::uint i = 0; ok_ && i < list.size(); ++i) {
      const MemberId member{list[i].getMember()};
      require(out.empty() || out.back().member < member);
      out.push_back({member, life(list[i].getLife())});
    }
    return out;
  }

 private:
  bool ok_ = true;
};

cp::Append read_append(Checker& check, Term term, schema::CpAppend::Reader from) {
  cp::Append out;
  out.prev = check.id(from.getPrev());
  out.commit = {check.number(from.getCommit())};
  const auto list = from.getEntries();
  check.require(list.size() <= kEntriesMax);
  EntryId last = out.prev;
  for (capnp::uint i = 0; check.ok() && i < list.size(); ++i) {
    const EntryId id{{check.number(list[i].getTerm())}, next(last.index)};
    check.require(id.term >= last.term && id.term <= term && id.term.value > 0);
    check.require(list[i].getKind() <= static_cast<std::uint8_t>(cp::EntryKind::kConfig));
    const ByteView data = bytes_of(list[i].getData());
    if (list[i].getKind() == static_cast<std::uint8_t>(cp::EntryKind::kConfig)) {
      const std::optional<cp::Config> config = cp::decode_config(data);
      check.require(config && !config->voters.empty());
    }
    if (!check.ok()) break;
    out.entries.push_back({id.term, id.index, static_cast<cp::EntryKind>(list[i].getKind()),
                           data.empty() ? nullptr : shared_bytes(std::string(data))});
    last = id;
  }
  check.require(out.prev.term <= term);
  return out;
}

cp::Forward read_forward(Checker& check, schema::CpForward::Reader from) {
  cp::Forward out{check.life(from.getOrigin()), check.number(from.getNumber()), {}};
  const auto list = from.getCommands();
  check.require(list.size() <= kCommandsMax);
  for (capnp::uint i = 0; check.ok() && i < list.size(); ++i) {
    check.require(list[i].size() > 0);
    out.commands.emplace_back(bytes_of(list[i]));
  }
  return out;
}

cp::SnapshotChunk read_chunk(Checker& check, schema::CpSnapshotChunk::Reader from) {
  cp::SnapshotChunk out;
  out.last = check.id(from.getLast());
  out.number = from.getNumber();
  out.sequence = from.getSequence();
  out.final = from.getFinal();
  const auto list = from.getChanges();
  check.require(list.size() <= kChangesMax);
  for (capnp::uint i = 0; check.ok() && i < list.size(); ++i) {
    const auto change = list[i];
    check.require(change.getSpace() < static_cast<std::uint8_t>(Space::kCount));
    check.require(change.getKey().size() > 0);
    if (!check.ok()) break;
    std::optional<std::string> value;
    if (!change.getErased()) value = std::string(bytes_of(change.getValue()));
    out.changes.push_back({static_cast<Space>(change.getSpace()),
                           std::string(bytes_of(change.getKey())), std::move(value)});
  }
  return out;
}

// Small bodies, one each.
cp::Body read_body(Checker& check, Term term, schema::CpMessage::Reader from) {
  switch (from.which()) {
    case schema::CpMessage::HELLO: {
      const auto in = from.getHello();
      check.require(in.getStanding() <= static_cast<std::uint8_t>(cp::Standing::kImpaired));
      return cp::Hello{static_cast<cp::Standing>(in.getStanding()), check.life(in.getLife()),
                       check.roll(in.getRoll())};
    }
    case schema::CpMessage::VOTE_REQUEST: {
      const auto in = from.getVoteRequest();
      const cp::VoteRequest out{in.getPre(), in.getTransfer(), check.id(in.getLast())};
      check.require(out.last.term <= term);
      return out;
    }
    case schema::CpMessage::VOTE_REPLY: {
      const auto in = from.getVoteReply();
      return cp::VoteReply{in.getPre(), in.getGranted(), check.life(in.getLife()),
                           check.roll(in.getRoll())};
    }
    case schema::CpMessage::APPEND:
      return read_append(check, term, from.getAppend());
    case schema::CpMessage::APPEND_REPLY: {
      const auto in = from.getAppendReply();
      return cp::AppendReply{in.getRejected(),
                             in.getCounts(),
                             check.life(in.getLife()),
                             {check.number(in.getIndex())},
                             check.id(in.getHint())};
    }
    case schema::CpMessage::HEARTBEAT: {
      const auto in = from.getHeartbeat();
      return cp::Heartbeat{{check.number(in.getCommit())},
                           {check.number(in.getRound())},
                           {check.number(in.getTip())},
                           {in.getRestoring()},
                           check.life(in.getLife())};
    }
    case schema::CpMessage::HEARTBEAT_REPLY: {
      const auto in = from.getHeartbeatReply();
      return cp::HeartbeatReply{{check.number(in.getRound())},
                                {check.number(in.getTip())},
                                {check.number(in.getReceived())},
                                in.getCounts(),
                                in.getLearned()};
    }
    case schema::CpMessage::TIMEOUT_NOW:
      return cp::TimeoutNow{};
    case schema::CpMessage::RESTORED:
      return cp::Restored{check.life(from.getRestored())};
    case schema::CpMessage::FORWARD:
      return read_forward(check, from.getForward());
    case schema::CpMessage::FORWARD_REFUSED: {
      const auto in = from.getForwardRefused();
      check.require(in.getReason() > 0);
      check.require(in.getReason() <= static_cast<std::uint8_t>(Reason::kNotLab));
      check.require(in.getDetail().size() <= kDetailBytesMax);
      if (!check.ok()) return cp::ForwardRefused{};
      return cp::ForwardRefused{check.life(in.getOrigin()), check.number(in.getNumber()),
                                static_cast<Reason>(in.getReason()),
                                std::string(in.getDetail().cStr(), in.getDetail().size())};
    }
    case schema::CpMessage::READ_REQUEST: {
      const auto in = from.getReadRequest();
      return cp::ReadRequest{check.life(in.getOrigin()), check.number(in.getNumber())};
    }
    case schema::CpMessage::READ_REPLY: {
      const auto in = from.getReadReply();
      return cp::ReadReply{check.life(in.getOrigin()),
                           check.number(in.getNumber()),
                           in.getRefused(),
                           {check.number(in.getIndex())}};
    }
    case schema::CpMessage::STATE_DIGEST: {
      const auto in = from.getStateDigest();
      return cp::StateDigest{{check.number(in.getIndex())}, in.getFingerprint()};
    }
    case schema::CpMessage::SNAPSHOT_CHUNK:
      return read_chunk(check, from.getSnapshotChunk());
    case schema::CpMessage::SNAPSHOT_REPLY: {
      const auto in = from.getSnapshotReply();
      return cp::SnapshotReply{check.id(in.getLast()), in.getNumber(), check.life(in.getLife()),
                               in.getExpected(), in.getInstalled()};
    }
  }
  check.require(false);  // a kind of a newer version
  return cp::TimeoutNow{};
}

Result<Message> decode_words(kj::ArrayPtr<const capnp::word> words) {
  capnp::ReaderOptions limits;
  limits.traversalLimitInWords = 2 * words.size() + 1024;  // nothing is read twice
  limits.nestingLimit = 8;
  capnp::FlatArrayMessageReader reader(words, limits);
  const auto root = reader.getRoot<schema::CpMessage>();
  Checker check;
  Message message;
  message.term = {check.number(root.getTerm())};
  message.body = read_body(check, message.term, root);
  if (!check.ok()) return fail(ErrorCode::kMalformed, "cp message: a field is out of its bounds");
  return message;
}

}  // namespace

std::string encode(const Message& message) {
  capnp::MallocMessageBuilder builder(static_cast<capnp::uint>(words_needed(message)),
                                      capnp::AllocationStrategy::GROW_HEURISTICALLY);
  auto root = builder.initRoot<schema::CpMessage>();
  root.setTerm(message.term.value);
  std::visit([&root](const auto& body) { write(root, body); }, message.body);
  const auto segments = builder.getSegmentsForOutput();
  if (segments.size() == 1) {
    // The flat form of one segment: its count less one, its size, then itself.
    const std::uint32_t head[2] = {0, static_cast<std::uint32_t>(segments[0].size())};
    std::string out;
    out.reserve(sizeof head + segments[0].size() * sizeof(capnp::word));
    out.append(reinterpret_cast<const char*>(head), sizeof head);
    const auto bytes = segments[0].asBytes();
    out.append(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
    return out;
  }
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(builder);
  const auto bytes = words.asBytes();
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

Result<Message> decode_cp(ByteView frame) {
  if (frame.empty() || frame.size() % sizeof(capnp::word) != 0 || frame.size() > kFrameBytesMax) {
    return fail(ErrorCode::kMalformed, "cp message: " + std::to_string(frame.size()) + " bytes");
  }
  const std::size_t count = frame.size() / sizeof(capnp::word);
  try {
    if (reinterpret_cast<std::uintptr_t>(frame.data()) % alignof(capnp::word) == 0) {
      return decode_words({reinterpret_cast<const capnp::word*>(frame.data()), count});
    }
    kj::Array<capnp::word> aligned = kj::heapArray<capnp::word>(count);
    std::memcpy(aligned.begin(), frame.data(), frame.size());
    return decode_words(aligned);
  } catch (const kj::Exception& e) {  // truncated or hostile; it validates on access
    return fail(ErrorCode::kMalformed, e.getDescription().cStr());
  }
}

}  // namespace capstan::net
