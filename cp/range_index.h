// Which ranges hold this key? The ranges of watches, by the keys they are on.
//
// A treap over (from, to), each node with the largest `to` below it (an interval tree); equal
// ranges share a node. A node's rank in the heap is the hash of its range, so the same ranges make
// the same tree in whatever order they came.
//
// Cost   insert and erase O(log n); each() O(log n + found) distinct ranges
// Source Seidel & Aragon, "Randomized search trees", 1996; CLRS, interval trees
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/hash.h"
#include "core/key_range.h"

namespace capstan::cp {

// T has a `std::size_t place`, which is the index's.
template <class T>
class RangeIndex {
 public:
  // `item` must not be in here yet.
  void insert(const KeyBounds& bounds, T* item) {
    insert(root_, bounds, rank_of(bounds), item);
    ++size_;
  }
  // `item` must be in here, under these bounds.
  void erase(const KeyBounds& bounds, T* item) {
    erase(root_, bounds, item);
    --size_;
  }
  std::size_t size() const { return size_; }

  // Every item whose range holds `key`.
  template <class Visit>
  void each(ByteView key, const Visit& visit) const {
    each(root_.get(), key, visit);
  }

 private:
  struct Node {
    std::string from, to;  // to empty: no end
    std::string reach;     // the largest `to` of this subtree
    std::uint64_t rank = 0;
    std::vector<T*> items;
    std::unique_ptr<Node> left, right;
  };
  using Link = std::unique_ptr<Node>;

  static std::uint64_t rank_of(const KeyBounds& bounds) {
    return xxh3(bounds.to, xxh3(bounds.from));
  }
  static bool ends_after(const std::string& a, const std::string& b) {
    return !b.empty() && (a.empty() || a > b);
  }
  static void renew(Node& node) {
    const std::string* reach = &node.to;
    for (const Link* child : {&node.left, &node.right}) {
      if (*child && ends_after((*child)->reach, *reach)) reach = &(*child)->reach;
    }
    node.reach = *reach;
  }
  static void lift(Link& link, Link Node::* side, Link Node::* other) {
    Link child = std::move((*link).*side);
    (*link).*side = std::move((*child).*other);
    renew(*link);
    (*child).*other = std::move(link);
    link = std::move(child);
    renew(*link);
  }
  static auto order(const Node& node) { return std::tie(node.from, node.to); }

  static void add(Node& node, T* item) {
    item->place = node.items.size();
    node.items.push_back(item);
  }
  static void insert(Link& link, const KeyBounds& bounds, std::uint64_t rank, T* item) {
    if (!link) {
      link = std::make_unique<Node>();
      link->from = bounds.from;
      link->to = link->reach = bounds.to;
      link->rank = rank;
      add(*link, item);
      return;
    }
    const auto wanted = std::tie(bounds.from, bounds.to);
    if (wanted == order(*link)) return add(*link, item);
    const bool left = wanted < order(*link);
    Link Node::* side = left ? &Node::left : &Node::right;
    insert((*link).*side, bounds, rank, item);
    if (((*link).*side)->rank > link->rank) {
      lift(link, side, left ? &Node::right : &Node::left);
    } else {
      renew(*link);
    }
  }

  static void erase(Link& link, const KeyBounds& bounds, T* item) {
    const auto wanted = std::tie(bounds.from, bounds.to);
    if (wanted != order(*link)) {
      erase(wanted < order(*link) ? link->left : link->right, bounds, item);
      return renew(*link);
    }
    auto& items = link->items;
    items[item->place] = items.back();
    items[item->place]->place = item->place;
    items.pop_back();
    if (items.empty()) remove(link);
  }

  // Sinks the node to where it has one child at most.
  static void remove(Link& link) {
    if (!link->left || !link->right) {
      link = std::move(link->left ? link->left : link->right);
      return;
    }
    if (link->left->rank > link->right->rank) {
      lift(link, &Node::left, &Node::right);
      remove(link->right);
    } else {
      lift(link, &Node::right, &Node::left);
      remove(link->left);
    }
    renew(*link);
  }

  template <class Visit>
  static void each(const Node* node, ByteView key, const Visit& visit) {
    for (; node != nullptr; node = node->right.get()) {
      if (!node->reach.empty() && key >= node->reach) return;
      each(node->left.get(), key, visit);
      if (key < node->from) return;
      if (node->to.empty() || key < node->to) {
        for (T* item : node->items) visit(*item);
      }
    }
  }

  Link root_;
  std::size_t size_ = 0;
};

}  // namespace capstan::cp
