// Users, roles and what they may do: part of the replicated state. It is asked where a command is
// applied and where a read is served, so that whoever was refused a moment ago and whoever is
// allowed now are told the same by every member.
//
//   cp/auth          is it on, the revision (of every change), the key that signs tokens
//   cp/auth/u/NAME   the hash of the password, since which revision, roles
//   cp/auth/r/NAME   permissions
//
// all in Space::kMeta, and in memory. A user with the role "root" may do everything; nobody else
// may change users, roles or members.
//
// Cost   a check: the permissions of the user's roles, joined once after each change, and a binary
//        search among them
// Source etcd v3 API
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/key_range.h"
#include "core/table.h"
#include "cp/command.h"

namespace capstan::cp {

inline constexpr std::size_t kAuthKeyBytes = 32;

class Auth {
 public:
  explicit Auth(Table& table) : table_(table) {}

  // Takes the rows from the table, as at start.
  void load();

  bool enabled() const { return enabled_; }
  std::uint64_t revision() const { return revision_; }
  // Signs tokens; empty while it is off.
  const std::string& key() const { return key_; }
  // One number of everything above.
  std::uint64_t digest() const { return digest_; }

  std::optional<Refusal> apply(const AuthRequest& change);
  // A question, as one who may ask it.
  std::optional<Refusal> answer(const AuthRequest& question, AuthResult& out) const;

  // The user as somebody who logs in now, and the hash its password must have.
  struct Login {
    Principal principal;
    std::string hash;
  };
  std::optional<Login> login(const std::string& user) const;

  // Why not; nullopt: yes. Nobody named is refused everything. Of one who is known from before a
  // change of its password: invalid_token.
  std::optional<Refusal> must_be_known(const std::optional<Principal>& who) const;
  std::optional<Refusal> must_be_root(const std::optional<Principal>& who) const;
  std::optional<Refusal> must_read(const std::optional<Principal>& who,
                                   const KeyRange& range) const;
  std::optional<Refusal> must_write(const std::optional<Principal>& who,
                                    const KeyRange& range) const;
  // Questions about itself and its own roles are free to everybody who is known.
  std::optional<Refusal> must_ask(const std::optional<Principal>& who,
                                  const AuthRequest& question) const;

 private:
  struct User {
    std::string hash;  // empty: has no password
    std::uint64_t since = 0;
    std::set<std::string> roles;
  };
  using Role = std::map<std::pair<std::string, std::string>, Permission::Kind>;  // by key and end
  // Ranges that overlap or touch, joined, by where they begin; an end that is empty is none.
  using Spans = std::map<std::string, std::string>;
  struct Rights {
    Spans read, write;
  };

  std::optional<Refusal> change(const AuthRequest& request);
  std::optional<Refusal> change_user(const AuthRequest& request);
  std::optional<Refusal> change_role(const AuthRequest& request);
  std::optional<Refusal> must_hold(const std::optional<Principal>& who, const KeyRange& range,
                                   Spans Rights::* which) const;
  const Rights& rights_of(const std::string& name, const User& user) const;
  void store();
  void store_user(const std::string& name);
  void store_role(const std::string& name);
  void put(std::string key, std::string row);
  void drop(const std::string& key);

  Table& table_;
  bool enabled_ = false;
  std::uint64_t revision_ = 1;
  std::string key_;
  std::uint64_t digest_ = 0;
  std::map<std::string, User> users_;
  std::map<std::string, Role> roles_;
  mutable std::map<std::string, Rights> rights_;  // of users who asked since the last change
};

}  // namespace capstan::cp
