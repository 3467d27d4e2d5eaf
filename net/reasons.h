// What a refusal looks like in each client protocol: our reasons beside etcd's codes and texts.
//
// etcd's clients compare the text of an error, so where etcd has one for the case it goes out to
// the letter and our own sentence travels beside it (metadata `capstan-detail`). Where etcd has
// none, our sentence is the message.
#pragma once

#include <string>
#include <string_view>

#include "core/request.h"

namespace capstan::net {

// gRPC's numbers.
enum class GrpcCode : int {
  kOk = 0,
  kCanceled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

inline constexpr std::size_t kGrpcCodes = 17;

struct GrpcStatus {
  GrpcCode code = GrpcCode::kOk;
  std::string_view text;  // etcd's, to the letter; empty: etcd has none for this
};

// How a call ends that says more than one thing, or says it late.
struct CallEnd {
  GrpcCode code = GrpcCode::kOk;
  std::string text;
  Reason reason = Reason::kInvalid;
  std::string detail = {};  // ours, beside etcd's text
};

// Of a stream that was refused late.
CallEnd end_of(const Refusal& why);

// An unknown outcome is Unavailable "etcdserver: request timed out..." whatever the reason: the one
// answer every etcd client already treats as "may have happened".
GrpcStatus grpc_status_of(Outcome outcome, Reason reason);

// grpc-message of a reply that is not ok: etcd's text, else the reply's detail, else a sentence.
std::string grpc_message_of(const Reply& reply);

// The way back, for clients. kNone if the text is not etcd's or names no case of ours.
Reason reason_of_etcd_text(std::string_view text);
// kNone for a word that is no reason of ours.
Reason reason_of_word(std::string_view word);

// True for reasons that can only come before anything was applied.
bool certainly_not_applied(Reason reason);

// As etcd's JSON gateway maps codes.
int http_status_of(GrpcCode code);
// Of a reply on /api/v1: 200 for ok and ok-local, 504 for unknown.
int http_status_of(Outcome outcome, Reason reason);

// A sentence when the reply brought none.
std::string_view default_sentence(Reason reason);

}  // namespace capstan::net
