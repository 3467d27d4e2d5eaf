// What a peer can send inside a CP frame. Whatever the bytes, they decode to a well-formed message
// or to an error, and a message that decodes survives another round unchanged.
//
// Few random bytes are a Cap'n Proto message, so most inputs are edits of a valid one: the first
// byte names the message, then come (position, value) pairs.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/coding.h"
#include "net/codec_cp.h"
#include "tests/fuzz/reached.h"

namespace {

using namespace capstan;
using namespace capstan::cp;

std::vector<std::string> samples() {
  const Actor life{NodeId{0x1234}, 3};
  const Roll roll{{MemberId{1}, life}, {MemberId{2}, Actor{NodeId{9}, 1}}};
  const SharedBytes data = shared_bytes("some packed commands");
  const Entry entry{Term{4}, Index{8}, EntryKind::kCommands, data};
  const Entry config{Term{5}, Index{9}, EntryKind::kConfig, shared_bytes("c")};
  std::vector<Body> bodies{
      Hello{Standing::kNormal, life, roll},
      VoteRequest{true, false, {Term{4}, Index{7}}},
      VoteReply{true, true, life, roll},
      Append{{Term{4}, Index{7}}, Index{6}, {entry, config}},
      AppendReply{true, true, life, Index{9}, {Term{4}, Index{5}}},
      Heartbeat{Index{6}, Round{3}, Index{9}, MemberId{2}, life},
      HeartbeatReply{Round{3}, Index{9}, Index{9}, true, true},
      TimeoutNow{},
      Restored{life},
      Forward{life, 5, {"one command", "another"}},
      ForwardRefused{life, 5, Reason::kNotLeader, "why"},
      ReadRequest{life, 6},
      ReadReply{life, 6, false, Index{9}},
      SnapshotReply{{Term{4}, Index{7}}, 2, life, 3, true},
  };
  SnapshotChunk chunk;
  chunk.last = {Term{4}, Index{7}};
  chunk.config.voters = {MemberId{1}, MemberId{2}, MemberId{3}};
  chunk.number = 2;
  chunk.changes = {{Space::kNow, "key", "value"}, {Space::kNow, "gone", std::nullopt}};
  bodies.push_back(chunk);
  std::vector<std::string> out;
  for (Body& body : bodies) out.push_back(net::encode(Message{Term{5}, std::move(body)}));
  return out;
}

std::string edited(ByteView script) {
  static const std::vector<std::string> valid = samples();
  Reader in(script);
  std::string bytes = valid[in.u8() % valid.size()];
  while (in.left() >= 3) {
    const std::size_t at = in.u8() + std::size_t{256} * (in.u8() % 4);
    const char value = static_cast<char>(in.u8());
    if (at < bytes.size()) bytes[at] = value;
  }
  return bytes;
}

test::Reached messages("messages");

void round_trip(ByteView bytes) {
  const Result<Message> message = net::decode_cp(bytes);
  messages.saw(message.has_value());
  if (!message) return;
  const std::string again = net::encode(*message);
  const Result<Message> same = net::decode_cp(again);
  CAPSTAN_ASSERT(same.has_value());
  CAPSTAN_ASSERT(net::encode(*same) == again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const char*>(data), size);
  round_trip(input);
  if (!input.empty()) round_trip(edited(input));
  return 0;
}
