#include "net/absent.h"

namespace capstan::net {

namespace {

struct Row {
  std::string_view prefix;
  std::string_view sentence;
  std::string_view in_ap = {};  // empty: the same
  bool refused_in_ap = false;   // it will never be there in AP mode
};

constexpr Row kRows[] = {
    {"/v3lockpb.Lock/",
     "locks are not in this build; a transaction that puts a key if its create revision is 0 works",
     "refused: in AP mode both sides of a cut would be granted the same lock. Not applied. In CP "
     "mode a transaction that puts a key if its create revision is 0 works.",
     true},
    {"/v3electionpb.Election/",
     "elections are not in this build; a transaction that puts a key if its create revision is 0 "
     "works",
     "refused: in AP mode both sides of a cut would elect. Not applied. In CP mode a transaction "
     "that puts a key if its create revision is 0 works.",
     true},
    {"/etcdserverpb.Watch/", "watch is not in this build for AP mode; get the key again instead"},
    {"/etcdserverpb.Cluster/", "members are fixed at the start in this build"},
    {"/etcdserverpb.Auth/", "users and roles are not in this build"},
};

}  // namespace

Absence absence_of(std::string_view path, Mode mode) {
  for (const Row& row : kRows) {
    if (!path.starts_with(row.prefix)) continue;
    const bool ap = mode == Mode::kAp;
    Absence out;
    out.sentence = ap && !row.in_ap.empty() ? row.in_ap : row.sentence;
    if (ap && row.refused_in_ap) {
      out.code = GrpcCode::kFailedPrecondition;
      out.reason = Reason::kNotInAp;
    }
    return out;
  }
  // As grpc itself says it.
  const std::size_t slash = path.rfind('/');
  Absence out;
  out.sentence = "unknown method " +
                 std::string(slash == path.npos ? path : path.substr(slash + 1)) + " for service " +
                 std::string(slash == path.npos || slash == 0 ? "" : path.substr(1, slash - 1));
  return out;
}

}  // namespace capstan::net
