#include "net/absent.h"

namespace capstan::net {

namespace {

struct Row {
  std::string_view prefix;
  std::string_view sentence;    // empty: it is there
  std::string_view in_ap = {};  // it never will be there; empty: as `sentence`
};

constexpr Row kRows[] = {
    {"/v3lockpb.Lock/", "",
     "refused: in AP mode both sides of a cut would be granted the same lock. Not applied. Locks "
     "are for nodes in CP mode."},
    {"/v3electionpb.Election/", "",
     "refused: in AP mode both sides of a cut would elect. Not applied. Elections are for nodes in "
     "CP mode."},
    {"/etcdserverpb.Maintenance/Snapshot",
     "backups are not in this build for AP mode; stop a node and copy its directory"},
    {"/etcdserverpb.Watch/", "watch is not in this build for AP mode; get the key again instead"},
};

}  // namespace

Absence absence_of(std::string_view path, Mode mode) {
  for (const Row& row : kRows) {
    if (!path.starts_with(row.prefix)) continue;
    const bool never = mode == Mode::kAp && !row.in_ap.empty();
    if (!never && row.sentence.empty()) break;
    Absence out;
    out.sentence = never ? row.in_ap : row.sentence;
    if (never) {
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
