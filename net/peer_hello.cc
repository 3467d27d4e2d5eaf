#include "net/peer_hello.h"

#include <algorithm>

#include "core/coding.h"
#include "core/limits.h"

namespace capstan::net {

std::string printable(ByteView text, std::size_t size_max) {
  std::string out(text.substr(0, size_max));
  std::replace_if(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

std::string encode_hello(const Hello& hello) {
  std::string out;
  put_u32(out, hello.format);
  put_u8(out, hello.knock ? 1 : 0);
  put_u8(out, static_cast<std::uint8_t>(hello.mode));
  put_u64(out, hello.cluster.value);
  put_u64(out, hello.token_hash);
  put_u64(out, hello.self.value);
  put_u64(out, hello.to.value);
  put_u64(out, hello.node.value);
  put_bytes(out, hello.name);
  put_varint(out, hello.members.size());
  for (const HelloMember& member : hello.members) {
    put_bytes(out, member.name);
    put_bytes(out, member.address);
  }
  put_varint(out, hello.client_urls.size());
  for (const std::string& url : hello.client_urls) put_bytes(out, url);
  put_u8(out, static_cast<std::uint8_t>(hello.formed | hello.asks << 1));
  put_bytes(out, hello.address);
  put_varint(out, hello.known.size());
  for (const KnownMember& member : hello.known) {
    put_u64(out, member.id.value);
    put_bytes(out, member.name);
    put_bytes(out, member.address);
  }
  put_bytes(out, hello.witness);
  const auto known_witness = std::ranges::find(hello.known, true, &KnownMember::witness);
  put_u64(out, known_witness == hello.known.end() ? 0 : known_witness->id.value);
  return out;
}

Result<Hello> decode_hello(ByteView payload) {
  Reader in(payload);
  Hello hello;
  hello.format = in.u32();
  hello.knock = in.u8() != 0;
  hello.mode = static_cast<Mode>(in.u8());
  hello.cluster = {in.u64()};
  hello.token_hash = in.u64();
  hello.self = {in.u64()};
  hello.to = {in.u64()};
  hello.node = {in.u64()};
  hello.name = printable(in.bytes());
  const std::uint64_t count = in.varint();
  if (!in.plausible(count, 2)) return fail(ErrorCode::kMalformed, "hello");
  for (std::uint64_t i = 0; i < count; ++i) {
    HelloMember member;
    member.name = in.bytes();
    member.address = in.bytes();
    hello.members.push_back(std::move(member));
  }
  const std::uint64_t urls = in.varint();
  if (!in.plausible(urls, 1)) return fail(ErrorCode::kMalformed, "hello");
  for (std::uint64_t i = 0; i < urls; ++i) hello.client_urls.emplace_back(in.bytes());
  if (in.ok() && !in.done()) {  // a build before members could change ends here
    const std::uint8_t flags = in.u8();
    hello.formed = (flags & 1) != 0;
    hello.asks = (flags & 2) != 0;
    hello.address = printable(in.bytes(), kPeerAddressMax);
    const std::uint64_t known = in.varint();
    if (!in.plausible(known, 10)) return fail(ErrorCode::kMalformed, "hello");
    for (std::uint64_t i = 0; i < known; ++i) {
      KnownMember member;
      member.id = {in.u64()};
      member.name = printable(in.bytes());
      member.address = printable(in.bytes(), kPeerAddressMax);
      hello.known.push_back(std::move(member));
    }
  }
  if (in.ok() && !in.done()) {  // a build before witnesses ends here
    hello.witness = printable(in.bytes());
    const MemberId witness{in.u64()};
    for (KnownMember& member : hello.known) member.witness = witness && member.id == witness;
  }
  // What a later format adds behind is not for us.
  if (!in.ok()) return fail(ErrorCode::kMalformed, "hello");
  return hello;
}

namespace {

constexpr std::string_view kSameList =
    ": give every node the same list of members (--join or --initial-cluster)";

std::string members_text(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " member" : " members");
}

// The first entry of `a` that is not in `b`, as "n3=10.0.0.3:2380".
std::string first_missing(const std::vector<HelloMember>& a, const std::vector<HelloMember>& b) {
  for (const HelloMember& member : a) {
    if (std::find(b.begin(), b.end(), member) == b.end()) {
      return printable(member.name) + '=' + printable(member.address);
    }
  }
  return {};
}

}  // namespace

std::optional<std::string> mismatch(const Hello& ours, const Hello& theirs) {
  const std::string us = ours.name, them = theirs.name;
  if (theirs.format != ours.format) {
    return them + " speaks peer format " + std::to_string(theirs.format) + ", " + us + " speaks " +
           std::to_string(ours.format) + ": run the same version of capstan on both";
  }
  if (theirs.token_hash != ours.token_hash) {
    return them + " and " + us +
           " were started with different cluster tokens: they belong to different clusters, or " +
           "--initial-cluster-token is wrong on one of them";
  }
  if (theirs.mode != ours.mode) {
    return them + " was started with --mode=" + std::string(to_text(theirs.mode)) + ", " + us +
           " with --mode=" + std::string(to_text(ours.mode)) + ": give every node the same --mode";
  }
  if (theirs.asks) return std::nullopt;
  const bool lists_hold = theirs.cluster != ours.cluster || !(theirs.formed || ours.formed);
  if (lists_hold && theirs.members.size() != ours.members.size()) {
    return them + " was started with " + members_text(theirs.members.size()) + ", " + us +
           " with " + std::to_string(ours.members.size()) + std::string(kSameList);
  }
  if (lists_hold && theirs.members != ours.members) {
    return them + " was started with " + first_missing(theirs.members, ours.members) + ", " + us +
           " with " + first_missing(ours.members, theirs.members) + std::string(kSameList);
  }
  if (lists_hold && theirs.witness != ours.witness) {
    const auto said = [](const Hello& hello) {
      return hello.witness.empty() ? "without --witness"
                                   : "with --witness=" + printable(hello.witness);
    };
    return them + " was started " + said(theirs) + ", " + us + " " + said(ours) +
           ": give every node the same";
  }
  if (theirs.cluster != ours.cluster) {
    return them + " belongs to another cluster than " + us + ": check --join and the cluster token";
  }
  if (theirs.self == ours.self) {
    return theirs.node == ours.node
               ? us + " reached itself at an address of another member: check --join"
               : "another node calls itself " + us + " too: give each node a name of its own";
  }
  if (theirs.to && theirs.to != ours.self) {
    return them + " looks for another member where " + us + " answers: check --join";
  }
  return std::nullopt;
}

std::vector<std::string> printable_urls(const Hello& hello) {
  std::vector<std::string> out;
  for (const std::string& url : hello.client_urls) {
    if (out.size() == 16) break;
    out.push_back(printable(url));
  }
  return out;
}

}  // namespace capstan::net
