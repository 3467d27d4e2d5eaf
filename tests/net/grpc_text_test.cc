#include "net/grpc_text.h"

#include <doctest/doctest.h>

#include "net/reasons.h"

namespace capstan::net {

TEST_CASE("grpc: a message survives percent encoding, and stays printable ASCII on the way") {
  const std::string sentence = "n1 reaches 1 of 3 voters (33 %); \xc3\xbc\n\t\x01";
  const std::string encoded = percent_encoded(sentence);
  CHECK(encoded == "n1 reaches 1 of 3 voters (33 %25); %C3%BC%0A%09%01");
  CHECK(percent_decoded(encoded) == sentence);
  // A broken escape is kept rather than refused.
  CHECK(percent_decoded("50% of %4") == "50% of %4");
  CHECK(percent_decoded("%zz%41") == "%zzA");
}

TEST_CASE("grpc: timeouts of every unit are read, and malformed ones are told apart") {
  CHECK(parse_grpc_timeout("4991724u") == 4991724);
  CHECK(parse_grpc_timeout("3S") == 3 * kSecond);
  CHECK(parse_grpc_timeout("3010m") == 3010 * kMillisecond);
  CHECK(parse_grpc_timeout("2M") == 120 * kSecond);
  CHECK(parse_grpc_timeout("1H") == 3600 * kSecond);
  CHECK(parse_grpc_timeout("1500n") == 2);  // rounded up: never shorter than asked
  CHECK(parse_grpc_timeout("99999999H") == Micros{99999999} * 3600 * kSecond);
  for (const char* bad : {"", "S", "3", "3s", "-3S", "3 S", "123456789S", "3SS"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_grpc_timeout(bad));
  }
}

TEST_CASE("grpc: a timeout as text is never shorter than it was") {
  for (const Micros timeout : {Micros{1}, Micros{99'999'999}, Micros{100'000'001},
                               Micros{99'999'999'001}, 1'000'000 * kSecond}) {
    CAPTURE(timeout);
    const std::string text = grpc_timeout_text(timeout);
    REQUIRE(parse_grpc_timeout(text));
    CHECK(*parse_grpc_timeout(text) >= timeout);
    CHECK(*parse_grpc_timeout(text) < timeout + timeout / 1000 + 1);
  }
}

TEST_CASE("grpc: the prefix of a message is a flag and its length, high byte first") {
  char bytes[kGrpcPrefixBytes];
  write_grpc_prefix(bytes, 0x01020304);
  CHECK(ByteView(bytes, sizeof bytes) == ByteView("\0\1\2\3\4", 5));
  CHECK(parse_grpc_prefix(ByteView(bytes, sizeof bytes)).length == 0x01020304);
  CHECK(parse_grpc_prefix(ByteView("\1\0\0\0\7", 5)).compressed);
}

TEST_CASE("grpc: each reason becomes the code and the very text etcd's clients compare") {
  struct Row {
    Reason reason;
    int code;
    const char* text;
  };
  const Row rows[] = {
      {Reason::kNoQuorum, 14, "etcdserver: no leader"},
      {Reason::kNoLeader, 14, "etcdserver: no leader"},
      {Reason::kNotLeader, 14, "etcdserver: leader changed"},
      {Reason::kLeaderLost, 14,
       "etcdserver: request timed out, possibly due to previous leader failure"},
      {Reason::kTimeout, 14, "etcdserver: request timed out"},
      {Reason::kOverloaded, 8, "etcdserver: too many requests"},
      {Reason::kNoSpace, 8, "etcdserver: mvcc: database space exceeded"},
      {Reason::kShuttingDown, 14, "etcdserver: server stopped"},
      {Reason::kRecovering, 14, ""},
      {Reason::kInvalid, 3, ""},
      {Reason::kTooLarge, 3, "etcdserver: request is too large"},
      {Reason::kKeyMissing, 3, "etcdserver: key is not provided"},
      {Reason::kKeyNotFound, 3, "etcdserver: key not found"},
      {Reason::kValueProvided, 3, "etcdserver: value is provided"},
      {Reason::kLeaseProvided, 3, "etcdserver: lease is provided"},
      {Reason::kLeaseNotFound, 5, "etcdserver: requested lease not found"},
      {Reason::kTooManyOps, 3, "etcdserver: too many operations in txn request"},
      {Reason::kDuplicateKey, 3, "etcdserver: duplicate key given in txn request"},
      {Reason::kCompacted, 11, "etcdserver: mvcc: required revision has been compacted"},
      {Reason::kFutureRevision, 11, "etcdserver: mvcc: required revision is a future revision"},
      {Reason::kNotInAp, 9, ""},
      {Reason::kNotSupported, 12, ""},
      {Reason::kWrongEpoch, 9, ""},
      {Reason::kNotLab, 7, ""},
  };
  for (const Row& row : rows) {
    CAPTURE(to_text(row.reason));
    const GrpcStatus status = grpc_status_of(Outcome::kFailed, row.reason);
    CHECK(static_cast<int>(status.code) == row.code);
    CHECK(status.text == row.text);
    CHECK_FALSE(default_sentence(row.reason).empty());
    CHECK(reason_of_word(to_text(row.reason)) == row.reason);
    // Where etcd has no text, ours goes out.
    Reply reply;
    reply.outcome = Outcome::kFailed;
    reply.reason = row.reason;
    reply.detail = "Our own sentence.";
    CHECK(grpc_message_of(reply) == (*row.text != '\0' ? row.text : "Our own sentence."));
  }
}

TEST_CASE("grpc: an unknown outcome is a timeout to etcd's clients, whatever the reason") {
  for (const Reason reason : {Reason::kNone, Reason::kTimeout, Reason::kNoQuorum}) {
    const GrpcStatus status = grpc_status_of(Outcome::kUnknown, reason);
    CHECK(status.code == GrpcCode::kUnavailable);
    CHECK(status.text == "etcdserver: request timed out");
  }
}

TEST_CASE("grpc: only errors that come before the log count as certainly not applied") {
  CHECK(certainly_not_applied(Reason::kTooLarge));
  CHECK(certainly_not_applied(Reason::kNotInAp));
  CHECK(certainly_not_applied(Reason::kNoSpace));
  CHECK_FALSE(certainly_not_applied(Reason::kTimeout));
  CHECK_FALSE(certainly_not_applied(Reason::kNoLeader));
  CHECK_FALSE(certainly_not_applied(Reason::kNone));
}

}  // namespace capstan::net
