#include "cp/access.h"

#include <variant>

namespace capstan::cp {
namespace {

using Denied = std::optional<Refusal>;

class Check {
 public:
  Check(const Auth& auth, const Mvcc& mvcc, const std::optional<Principal>& who)
      : auth_(auth), mvcc_(mvcc), who_(who) {}

  Denied operator()(std::monostate) const { return std::nullopt; }
  Denied operator()(const RangeRequest& r) const { return auth_.must_read(who_, r.range); }
  Denied operator()(const PutView& r) const {
    const KeyRange key{std::string(r.key), ""};
    if (Denied no = auth_.must_write(who_, key)) return no;
    if (r.prev_kv) {
      if (Denied no = auth_.must_read(who_, key)) return no;
    }
    return r.lease != 0 ? keys_of(r.lease) : std::nullopt;
  }
  Denied operator()(const PutRequest& r) const { return (*this)(view_of(r)); }
  Denied operator()(const DeleteRangeRequest& r) const {
    if (Denied no = auth_.must_write(who_, r.range)) return no;
    return r.prev_kv ? auth_.must_read(who_, r.range) : std::nullopt;
  }
  Denied operator()(const TxnRequest& r) const {
    for (const Compare& compare : r.compare) {
      if (Denied no = auth_.must_read(who_, compare.range)) return no;
    }
    for (const auto* branch : {&r.success, &r.failure}) {
      for (const RequestOp& op : *branch) {
        if (Denied no = std::visit(*this, op.op)) return no;
      }
    }
    return std::nullopt;
  }

  Denied operator()(const LeaseRevokeRequest& r) const { return keys_of(r.id); }
  Denied operator()(const LeaseTimeToLiveRequest& r) const {
    if (Denied no = auth_.must_be_known(who_); no || !r.keys) return no;
    for (const std::string& key : mvcc_.keys_of(r.id)) {
      if (Denied no = auth_.must_read(who_, {key, ""})) return no;
    }
    return std::nullopt;
  }

  Denied operator()(const AuthRequest& r) const {
    return r.action < AuthRequest::Action::kStatus ? auth_.must_be_root(who_)
                                                   : auth_.must_ask(who_, r);
  }
  Denied operator()(const AlarmRequest& r) const {
    return r.action == AlarmRequest::Action::kList ? std::nullopt : auth_.must_be_root(who_);
  }
  Denied operator()(const MemberChangeRequest&) const { return auth_.must_be_root(who_); }
  Denied operator()(const HashRequest&) const { return auth_.must_be_root(who_); }
  Denied operator()(const DefragmentRequest&) const { return auth_.must_be_root(who_); }

  Denied operator()(const AuthenticateRequest&) const { return std::nullopt; }
  Denied operator()(const MoveLeaderRequest&) const { return std::nullopt; }
  Denied operator()(const StatusRequest&) const { return std::nullopt; }
  Denied operator()(const MembersRequest&) const { return std::nullopt; }
  Denied operator()(const LeaseTime&) const { return std::nullopt; }
  Denied operator()(const LeaseExpiry&) const { return std::nullopt; }

  // Leases, compaction.
  template <class Rest>
  Denied operator()(const Rest&) const {
    return auth_.must_be_known(who_);
  }

 private:
  Denied keys_of(std::int64_t lease) const {
    if (Denied no = auth_.must_be_known(who_)) return no;
    for (const std::string& key : mvcc_.keys_of(lease)) {
      if (Denied no = auth_.must_write(who_, {key, ""})) return no;
    }
    return std::nullopt;
  }

  const Auth& auth_;
  const Mvcc& mvcc_;
  const std::optional<Principal>& who_;
};

}  // namespace

Denied access_refusal(const Auth& auth, const Mvcc& mvcc, const Command& command) {
  if (!auth.enabled()) return std::nullopt;
  return std::visit(Check(auth, mvcc, command.who), command.body);
}

Denied access_refusal(const Auth& auth, const Mvcc& mvcc, const std::optional<Principal>& who,
                      const RequestBody& body) {
  if (!auth.enabled()) return std::nullopt;
  return std::visit(Check(auth, mvcc, who), body);
}

}  // namespace capstan::cp
