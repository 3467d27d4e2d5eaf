#include "net/peer_hello.h"

#include <doctest/doctest.h>

#include <string>

#include "core/random.h"

namespace capstan::net {
namespace {

Hello hello(const std::string& name, std::uint64_t id) {
  return {.mode = Mode::kCp,
          .cluster = ClusterId{7},
          .token_hash = 8,
          .self = MemberId{id},
          .to = {},
          .node = NodeId{100 + id},
          .name = name,
          .members = {{"n1", "10.0.0.1:2380"}, {"n2", "10.0.0.2:2380"}},
          .client_urls = {"http://10.0.0.1:2379"}};
}

TEST_CASE("hello: what is said comes back; what later versions add behind is ignored") {
  Hello sent = hello("n1", 1);
  sent.knock = true;
  sent.to = MemberId{2};
  sent.witness = "n2";
  sent.known = {{MemberId{3}, "n3", "10.0.0.3:2380"}, {MemberId{4}, "", "10.0.0.4:2380", true}};
  const std::string bytes = encode_hello(sent);
  for (const std::string& wire : {bytes, bytes + "more"}) {
    const Result<Hello> got = decode_hello(wire);
    REQUIRE(got);
    CHECK(encode_hello(*got) == bytes);
    CHECK(got->knock);
    CHECK(got->members == sent.members);
    CHECK(got->client_urls == sent.client_urls);
    CHECK(got->witness == "n2");
    CHECK(got->known == sent.known);
  }
}

TEST_CASE("hello: every truncation is refused, and no mutation does harm") {
  const Hello sent = hello("n1", 1);
  const std::string bytes = encode_hello(sent);
  const std::size_t before_witness = bytes.size() - 9;            // no name, no id
  const std::size_t before_members_changed = before_witness - 3;  // flags, address, nobody known
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(decode_hello(ByteView(bytes).substr(0, size)).has_value() ==
          (size == before_members_changed || size == before_witness));
  }
  Rng rng(1);
  std::size_t decoded = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string bad = bytes;
    for (std::uint64_t n = 1 + rng.below(4); n > 0; --n) {
      bad[rng.below(bad.size())] = static_cast<char>(rng.next());
    }
    if (const Result<Hello> got = decode_hello(bad)) {
      ++decoded;
      // What people are told stays printable, whatever a peer calls itself.
      std::string shown = mismatch(hello("n2", 2), *got).value_or("");
      for (const std::string& url : printable_urls(*got)) shown += url;
      for (char c : shown) {
        if (c < ' ' || c > '~') FAIL("control character in: " << shown);
      }
    }
  }
  CHECK(decoded > 1000);
}

TEST_CASE("hello: what does not fit is one sentence with both nodes, both facts and the way out") {
  const Hello us = hello("n1", 1);
  const auto said = [&](auto change) {
    Hello them = hello("n2", 2);
    change(them);
    return mismatch(us, them).value_or("fits");
  };
  CHECK(said([](Hello&) {}) == "fits");
  CHECK(said([](Hello& h) { h.to = MemberId{1}; }) == "fits");
  CHECK(said([](Hello& h) { h.format = 2; }) ==
        "n2 speaks peer format 2, n1 speaks 1: run the same version of capstan on both");
  CHECK(said([](Hello& h) { h.mode = Mode::kAp; }) ==
        "n2 was started with --mode=ap, n1 with --mode=cp: give every node the same --mode");
  CHECK(said([](Hello& h) { h.members.pop_back(); }) ==
        "n2 was started with 1 member, n1 with 2: give every node the same list of members "
        "(--join or --initial-cluster)");
  CHECK(said([](Hello& h) { h.members[1].address = "10.0.0.9:2380"; }) ==
        "n2 was started with n2=10.0.0.9:2380, n1 with n2=10.0.0.2:2380: give every node the same "
        "list of members (--join or --initial-cluster)");
  CHECK(said([](Hello& h) { h.witness = "n2"; }) ==
        "n2 was started with --witness=n2, n1 without --witness: give every node the same");
  CHECK(said([](Hello& h) {
          h.witness = "n2";
          h.formed = true;
        }) == "fits");
  CHECK(said([](Hello& h) { h.token_hash = 9; }).find("different cluster tokens") !=
        std::string::npos);
  CHECK(said([](Hello& h) { h.cluster = ClusterId{6}; }).find("another cluster") !=
        std::string::npos);
  CHECK(said([](Hello& h) { h.to = MemberId{3}; }) ==
        "n2 looks for another member where n1 answers: check --join");
  CHECK(said([](Hello& h) { h.self = MemberId{1}; }) ==
        "another node calls itself n1 too: give each node a name of its own");
  CHECK(mismatch(us, us) == "n1 reached itself at an address of another member: check --join");
}

}  // namespace
}  // namespace capstan::net
