#include "cp/auth.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"

namespace capstan::cp {
namespace {

using Action = AuthRequest::Action;

constexpr std::uint8_t kFormat = 1;
constexpr ByteView kKey = "cp/auth";
constexpr ByteView kUserPrefix = "cp/auth/u/", kRolePrefix = "cp/auth/r/";
constexpr ByteView kRoot = "root";  // of the user, and of the role

std::string user_key(const std::string& name) { return std::string(kUserPrefix) + name; }
std::string role_key(const std::string& name) { return std::string(kRolePrefix) + name; }

Refusal no_user(const std::string& name) {
  return {Reason::kUserNotFound, "there is no user \"" + name + "\""};
}
Refusal no_role(const std::string& name) {
  return {Reason::kRoleNotFound, "there is no role \"" + name + "\""};
}

// A row of the table that this build or an older one wrote.
Reader row_reader(ByteView row) {
  Reader in(row);
  const std::uint8_t format = in.u8();
  CAPSTAN_ASSERT(format == kFormat);
  return in;
}
std::string begin_row() {
  std::string row;
  put_u8(row, kFormat);
  return row;
}

bool reads(Permission::Kind kind) { return kind != Permission::Kind::kWrite; }
bool writes(Permission::Kind kind) { return kind != Permission::Kind::kRead; }

// Adds [from, to) to what is there, so that nothing overlaps or touches.
void join(std::map<std::string, std::string>& spans, std::string from, std::string to) {
  auto at = spans.upper_bound(from);
  if (at != spans.begin()) {
    const auto before = std::prev(at);
    if (before->second.empty() || before->second >= from) {
      from = before->first;
      if (before->second.empty() || (!to.empty() && before->second > to)) to = before->second;
      at = spans.erase(before);
    }
  }
  while (at != spans.end() && (to.empty() || at->first <= to)) {
    if (at->second.empty() || (!to.empty() && at->second > to)) to = at->second;
    at = spans.erase(at);
  }
  spans.emplace(std::move(from), std::move(to));
}

}  // namespace

// ---- Rows ---------------------------------------------------------------------------------------

void Auth::load() {
  enabled_ = false;
  revision_ = 1;
  key_.clear();
  digest_ = 0;
  users_.clear();
  roles_.clear();
  rights_.clear();
  if (const auto row = table_.get(Space::kMeta, kKey)) {
    Reader in = row_reader(*row);
    enabled_ = in.u8() != 0;
    revision_ = in.varint();
    key_ = in.bytes();
    digest_ = in.u64();
    CAPSTAN_ASSERT(in.done());
  }
  table_.scan(Space::kMeta, kUserPrefix, {}, [this](ByteView key, ByteView row) {
    if (!key.starts_with(kUserPrefix)) return false;
    User& user = users_[std::string(key.substr(kUserPrefix.size()))];
    Reader in = row_reader(row);
    user.hash = in.bytes();
    user.since = in.varint();
    for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
      user.roles.emplace(in.bytes());
    }
    CAPSTAN_ASSERT(in.done());
    return true;
  });
  table_.scan(Space::kMeta, kRolePrefix, {}, [this](ByteView key, ByteView row) {
    if (!key.starts_with(kRolePrefix)) return false;
    Role& role = roles_[std::string(key.substr(kRolePrefix.size()))];
    Reader in = row_reader(row);
    for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
      std::string from(in.bytes()), to(in.bytes());
      role[{std::move(from), std::move(to)}] = static_cast<Permission::Kind>(in.u8());
    }
    CAPSTAN_ASSERT(in.done());
    return true;
  });
}

void Auth::put(std::string key, std::string row) {
  digest_ = xxh3(row, xxh3(key, digest_));
  table_.put(Space::kMeta, std::move(key), std::move(row));
}

void Auth::drop(const std::string& key) {
  digest_ = xxh3(key, digest_);
  table_.erase(Space::kMeta, key);
}

void Auth::store() {
  std::string row = begin_row();
  put_u8(row, enabled_);
  put_varint(row, revision_);
  put_bytes(row, key_);
  digest_ = xxh3(row, digest_);
  put_u64(row, digest_);
  table_.put(Space::kMeta, std::string(kKey), std::move(row));
}

void Auth::store_user(const std::string& name) {
  const User& user = users_.at(name);
  std::string row = begin_row();
  put_bytes(row, user.hash);
  put_varint(row, user.since);
  put_varint(row, user.roles.size());
  for (const std::string& role : user.roles) put_bytes(row, role);
  put(user_key(name), std::move(row));
}

void Auth::store_role(const std::string& name) {
  const Role& role = roles_.at(name);
  std::string row = begin_row();
  put_varint(row, role.size());
  for (const auto& [range, kind] : role) {
    put_bytes(row, range.first);
    put_bytes(row, range.second);
    put_u8(row, static_cast<std::uint8_t>(kind));
  }
  put(role_key(name), std::move(row));
}

// ---- Changes ------------------------------------------------------------------------------------

std::optional<Refusal> Auth::apply(const AuthRequest& request) {
  ++revision_;  // a user that is made or changed here is so since now
  if (std::optional<Refusal> refusal = change(request)) {
    --revision_;
    return refusal;
  }
  rights_.clear();
  store();
  return std::nullopt;
}

std::optional<Refusal> Auth::change(const AuthRequest& request) {
  switch (request.action) {
    case Action::kEnable: {
      if (enabled_) return std::nullopt;
      const auto root = users_.find(std::string(kRoot));
      if (root == users_.end()) return Refusal{Reason::kRootUserMissing, "there is no user root"};
      if (!root->second.roles.contains(std::string(kRoot))) {
        return Refusal{Reason::kRootRoleMissing, "the user root does not have the role root"};
      }
      enabled_ = true;
      key_ = request.secret;
      return std::nullopt;
    }
    case Action::kDisable:
      enabled_ = false;
      key_.clear();
      return std::nullopt;
    case Action::kAddUser:
    case Action::kDeleteUser:
    case Action::kSetPassword:
    case Action::kGrantRole:
    case Action::kRevokeRole:
      return change_user(request);
    case Action::kAddRole:
    case Action::kDeleteRole:
    case Action::kGrantPermission:
    case Action::kRevokePermission:
      return change_role(request);
    case Action::kStatus:
    case Action::kUser:
    case Action::kUsers:
    case Action::kRole:
    case Action::kRoles:
      break;
  }
  CAPSTAN_ASSERT(false && "a question was applied");
  return std::nullopt;
}

std::optional<Refusal> Auth::change_user(const AuthRequest& request) {
  const auto at = users_.find(request.user);
  if (request.action == Action::kAddUser) {
    if (request.user.empty()) return Refusal{Reason::kUserEmpty, "a user needs a name"};
    if (at != users_.end()) {
      return Refusal{Reason::kUserExists, "there is a user \"" + request.user + "\" already"};
    }
    users_[request.user] = {request.secret, revision_, {}};
    store_user(request.user);
    return std::nullopt;
  }
  const bool locks_out = enabled_ && request.user == kRoot &&
                         (request.action == Action::kDeleteUser ||
                          (request.action == Action::kRevokeRole && request.role == kRoot));
  if (locks_out) {
    return Refusal{Reason::kInvalidAuth, "while auth is on, root stays root; disable auth first"};
  }
  if (at == users_.end()) return no_user(request.user);
  User& user = at->second;
  if (request.action == Action::kDeleteUser) {
    users_.erase(at);
    drop(user_key(request.user));
    return std::nullopt;
  }
  if (request.action == Action::kSetPassword) {
    user.hash = request.secret;
    user.since = revision_;
  } else if (request.action == Action::kGrantRole) {
    if (request.role != kRoot && !roles_.contains(request.role)) return no_role(request.role);
    user.roles.insert(request.role);
  } else if (user.roles.erase(request.role) == 0) {
    return Refusal{Reason::kRoleNotGranted,
                   "the user \"" + request.user + "\" has no role \"" + request.role + "\""};
  }
  store_user(request.user);
  return std::nullopt;
}

std::optional<Refusal> Auth::change_role(const AuthRequest& request) {
  const auto at = roles_.find(request.role);
  if (request.action == Action::kAddRole) {
    if (request.role.empty()) return Refusal{Reason::kRoleEmpty, "a role needs a name"};
    if (at != roles_.end()) {
      return Refusal{Reason::kRoleExists, "there is a role \"" + request.role + "\" already"};
    }
    roles_[request.role];
    store_role(request.role);
    return std::nullopt;
  }
  if (request.action == Action::kDeleteRole && enabled_ && request.role == kRoot) {
    return Refusal{Reason::kInvalidAuth,
                   "while auth is on, the role root stays; disable auth first"};
  }
  if (at == roles_.end()) return no_role(request.role);
  if (request.action == Action::kDeleteRole) {
    roles_.erase(at);
    drop(role_key(request.role));
    for (auto& [name, user] : users_) {
      if (user.roles.erase(request.role) > 0) store_user(name);
    }
    return std::nullopt;
  }
  const KeyRange& range = request.permission.range;
  if (request.action == Action::kGrantPermission) {
    at->second[{range.key, range.end}] = request.permission.kind;
  } else if (at->second.erase({range.key, range.end}) == 0) {
    return Refusal{Reason::kPermissionNotGranted,
                   "the role \"" + request.role + "\" has no permission of exactly this range"};
  }
  store_role(request.role);
  return std::nullopt;
}

// ---- Questions ----------------------------------------------------------------------------------

std::optional<Refusal> Auth::answer(const AuthRequest& question, AuthResult& out) const {
  if (question.action == Action::kUsers) {
    for (const auto& [name, user] : users_) out.names.push_back(name);
  } else if (question.action == Action::kRoles) {
    for (const auto& [name, role] : roles_) out.names.push_back(name);
  } else if (question.action == Action::kUser) {
    const auto at = users_.find(question.user);
    if (at == users_.end()) return no_user(question.user);
    out.names.assign(at->second.roles.begin(), at->second.roles.end());
  } else if (question.action == Action::kRole) {
    const auto at = roles_.find(question.role);
    if (at == roles_.end()) return no_role(question.role);
    for (const auto& [range, kind] : at->second) {
      out.permissions.push_back({kind, {range.first, range.second}});
    }
  } else {
    out.enabled = enabled_;
    out.revision = revision_;
  }
  return std::nullopt;
}

std::optional<Auth::Login> Auth::login(const std::string& user) const {
  const auto at = users_.find(user);
  if (at == users_.end()) return std::nullopt;
  return Login{{user, at->second.since}, at->second.hash};
}

// ---- Permissions --------------------------------------------------------------------------------

std::optional<Refusal> Auth::must_be_known(const std::optional<Principal>& who) const {
  if (!enabled_ || (who && who->is_node())) return std::nullopt;
  if (!who) return Refusal{Reason::kUserEmpty, "auth is on, and no user was named: log in"};
  const auto at = users_.find(who->name);
  const bool by_certificate = who->since == 0;
  if (at != users_.end() && (by_certificate || at->second.since == who->since)) {
    return std::nullopt;
  }
  if (by_certificate) {
    return Refusal{Reason::kPermissionDenied, "the certificate is of \"" + who->name +
                                                  "\", and there is no user of that name"};
  }
  return Refusal{Reason::kInvalidToken,
                 "the user \"" + who->name + "\" is gone or has another password: log in again"};
}

std::optional<Refusal> Auth::must_be_root(const std::optional<Principal>& who) const {
  if (!enabled_ || (who && who->is_node())) return std::nullopt;
  if (auto refusal = must_be_known(who)) return refusal;
  if (users_.at(who->name).roles.contains(std::string(kRoot))) return std::nullopt;
  return Refusal{Reason::kPermissionDenied,
                 "this needs the role root, which the user \"" + who->name + "\" does not have"};
}

std::optional<Refusal> Auth::must_ask(const std::optional<Principal>& who,
                                      const AuthRequest& question) const {
  if (question.action == Action::kStatus) return std::nullopt;
  if (auto refusal = must_be_known(who); refusal || !enabled_) return refusal;
  const bool own =
      (question.action == Action::kUser && question.user == who->name) ||
      (question.action == Action::kRole && users_.at(who->name).roles.contains(question.role));
  return own ? std::nullopt : must_be_root(who);
}

const Auth::Rights& Auth::rights_of(const std::string& name, const User& user) const {
  const auto [at, fresh] = rights_.try_emplace(name);
  if (!fresh) return at->second;
  for (const std::string& role : user.roles) {
    const auto found = roles_.find(role);
    if (found == roles_.end()) continue;
    for (const auto& [range, kind] : found->second) {
      const KeyBounds bounds({range.first, range.second});
      if (bounds.empty()) continue;
      if (reads(kind)) join(at->second.read, bounds.from, bounds.to);
      if (writes(kind)) join(at->second.write, bounds.from, bounds.to);
    }
  }
  return at->second;
}

std::optional<Refusal> Auth::must_hold(const std::optional<Principal>& who, const KeyRange& range,
                                       Spans Rights::* which) const {
  if (!enabled_ || (who && who->is_node())) return std::nullopt;
  if (auto refusal = must_be_known(who)) return refusal;
  const User& user = users_.at(who->name);
  if (user.roles.contains(std::string(kRoot))) return std::nullopt;
  const KeyBounds bounds(range);
  const Spans& spans = rights_of(who->name, user).*which;
  auto at = spans.upper_bound(bounds.from);
  if (at != spans.begin()) {
    const std::string& end = (--at)->second;
    if (end.empty() || (!bounds.to.empty() && bounds.to <= end)) return std::nullopt;
  }
  return Refusal{Reason::kPermissionDenied, "the user \"" + who->name + "\" may not " +
                                                (which == &Rights::read ? "read" : "write") +
                                                " all of what was asked for"};
}

std::optional<Refusal> Auth::must_read(const std::optional<Principal>& who,
                                       const KeyRange& range) const {
  return must_hold(who, range, &Rights::read);
}

std::optional<Refusal> Auth::must_write(const std::optional<Principal>& who,
                                        const KeyRange& range) const {
  return must_hold(who, range, &Rights::write);
}

}  // namespace capstan::cp
