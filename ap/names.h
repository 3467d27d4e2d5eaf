// Names for people: which member a disk is, and how a dot, a vector and a digest are written.
//
// A node id is drawn by a disk, a member is a place in the list; beats bring the two together, and
// what was learned is kept with the checkpoints, so that a write of a disk that is long gone still
// carries its member's name.
#pragma once

#include <map>
#include <string>

#include "core/engine.h"
#include "core/table.h"
#include "crdt/version_vector.h"

namespace capstan::ap {

class Names {
 public:
  Names(const EngineConfig& config, Table& table) : config_(config), table_(table) {}
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;

  void load();
  void save();
  void learn(NodeId node, MemberId member);

  // The member's name; 16 hex digits for one that is not in the list.
  std::string member(MemberId id) const;
  // NAME:INCARNATION:SEQUENCE; the node's hex digits where its member is not known.
  std::string id(const Dot& dot) const;
  // "n1:1=17 n2:1=9", by node id: equal vectors have equal texts wherever the names are known.
  std::string text(const VersionVector& vector) const;
  static std::string hex(std::uint64_t value);

 private:
  std::string node(NodeId id) const;
  const EngineConfig& config_;
  Table& table_;
  std::map<NodeId, MemberId> members_;
  bool unsaved_ = false;
};

}  // namespace capstan::ap
