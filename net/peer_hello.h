// The first words of two nodes: who is there, and may we talk at all?
//
// A hello is the same in both directions. Each side compares the other's with its own; what does
// not fit is said as one sentence that names both nodes, what each was told, and the way out. The
// payload is coding.h's encoding and not Cap'n Proto, because it must be readable between versions:
// fields are only ever added at the end (docs/formats.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/types.h"

namespace capstan::net {

inline constexpr std::uint32_t kPeerFormat = 1;  // of everything inside frames
inline constexpr std::size_t kHelloBytesMax = 64 * 1024;

struct HelloMember {
  std::string name;
  std::string address;  // host:port
  friend auto operator<=>(const HelloMember&, const HelloMember&) = default;
};
struct KnownMember {
  MemberId id;
  std::string name;     // empty: never heard of
  std::string address;  // host:port
  bool witness = false;
  friend auto operator<=>(const KnownMember&, const KnownMember&) = default;
};

struct Hello {
  std::uint32_t format = kPeerFormat;
  bool knock = false;  // not to become a link: please dial me
  Mode mode = Mode::kCp;
  ClusterId cluster;
  std::uint64_t token_hash = 0;
  MemberId self;
  MemberId to;  // whom the sender believes to speak to; 0 when it cannot know
  NodeId node;
  std::string name;
  std::vector<HelloMember> members;      // all the sender was started with, sorted
  std::vector<std::string> client_urls;  // where the sender takes clients; not compared
  // The cluster exists, and keeps the list of its members itself: what a node was started with is
  // not compared any more.
  bool formed = false;
  std::string address = {};  // host:port, where others reach the sender
  // A node that is to join and has no id yet: who is this cluster? Never becomes a link; the answer
  // is a hello with what is known.
  bool asks = false;
  std::vector<KnownMember> known = {};
  std::string witness = {};  // which of `members`; empty: none
};

// A peer's words as they may be shown: at most `size_max` bytes, nothing a terminal would obey.
std::string printable(ByteView text, std::size_t size_max = 200);

std::string encode_hello(const Hello& hello);
// The name comes out printable. Errors: kMalformed.
Result<Hello> decode_hello(ByteView payload);

// Why `theirs` and `ours` cannot belong together, for people; nullopt when they do.
//   "n2 was started with 2 members, n1 with 1: give every node the same --join"
std::optional<std::string> mismatch(const Hello& ours, const Hello& theirs);

// The client addresses a peer announced, made safe to show: at most 16 of 200 bytes each.
std::vector<std::string> printable_urls(const Hello& hello);

}  // namespace capstan::net
