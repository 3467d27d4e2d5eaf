// The network between simulated nodes: links that come up, fall silent and are redialled as the
// real transport does it, and messages that are late, lost, doubled, reordered or cut off.
//
//   link     one a pair of nodes. Up a moment after both ends live and can reach each other both
//            ways; silent for E (a cut, a pause): closed at both ends; redialled every 200 ms
//   message  travels in the connection it was sent in; once that is closed it is lost, or, where
//            the schedule says `late`, arrives all the same long after; a replayed one arrives a
//            second time, whatever has become of its connection, as long as the receiver lives
//   block    one direction of one pair swallows everything; blocks of several faults overlap
//   hole     around a node what is larger than kHoleBytes is lost, and, where the fault says so, with
//            it all that is sent behind it until the connection has been silent for E and is made
//            anew, as TCP has it
#pragma once

#include <vector>

#include "node/machine.h"
#include "tests/sim/counters.h"
#include "tests/sim/options.h"
#include "tests/sim/world.h"

namespace capstan::sim {

// A node as the network sees it.
class Port {
 public:
  virtual ~Port() = default;
  virtual void deliver(int from, node::PeerMessage message) = 0;
  virtual void link_up(int peer) = 0;
  virtual void link_down(int peer) = 0;
};

class SimNet {
 public:
  SimNet(World& world, const Options& options, Counters& counters, std::vector<Port*> ports);

  void send(int from, int to, node::PeerMessage message);

  void started(int node);
  // `abruptly`: as a machine that loses power; otherwise its kernel closes the connections.
  void died(int node, bool abruptly);
  // Its member is another one now: what the old one said does not arrive any more.
  void renewed(int node) { ++ends_[static_cast<std::size_t>(node)].member; }
  void paused(int node);
  void resumed(int node);

  void block(int from, int to);
  void unblock(int from, int to);
  bool blocked(int from, int to) const { return way(from, to).blocks > 0; }
  bool linked(int a, int b) const { return link(a, b).up; }
  static constexpr std::size_t kHoleBytes = 600;
  void open_hole(int node, Micros until, bool breaks);
  // No more loss, delay, duplicates or holes; blocks are lifted by whoever set them.
  void calm();

  // Chances for a test that wants an exact world.
  struct Tap {
    std::move_only_function<bool(int from, int to, const node::PeerMessage&)> drop;
  };
  Tap tap;

 private:
  struct Link {
    bool up = false;
    std::uint64_t connection = 0;  // counts them
    std::uint64_t silent_since =
        0;  // number of the present silence; a check of an older one is void
    bool dialling = false;
    int owed = -1;  // this end has not been told yet that the other one died
  };
  struct Way {
    int blocks = 0;
    Micros last_arrival = 0;
    std::uint64_t stuck = 0;  // the connection in which something large was lost
  };
  struct End {
    bool alive = false;
    bool paused = false;
    std::uint64_t life = 0;    // counts starts
    std::uint64_t member = 0;  // counts renewals
    Micros hole_until = 0;     // around it
    bool hole_breaks = false;
  };

  std::size_t pair(int a, int b) const;
  Link& link(int a, int b) { return links_[pair(std::min(a, b), std::max(a, b))]; }
  const Link& link(int a, int b) const { return links_[pair(std::min(a, b), std::max(a, b))]; }
  Way& way(int from, int to) { return ways_[pair(from, to)]; }
  const Way& way(int from, int to) const { return ways_[pair(from, to)]; }

  bool audible(int a, int b) const;
  bool lost_in_hole(int from, int to, const node::PeerMessage& message);
  void look(int a, int b);
  void watch_silence(int a, int b);
  void dial(int a, int b);
  void close(int a, int b);
  Micros delay();
  void tell_of_death(int a, int b);

  struct Flight {
    int from, to;
    std::uint64_t connection, receiver_life, sender;
    bool replayed = false;
  };
  void arrive(Flight flight, node::PeerMessage message);

  World& world_;
  Options options_;
  Counters& counters_;
  std::vector<Port*> ports_;
  std::vector<End> ends_;
  std::vector<Link> links_;
  std::vector<Way> ways_;
};

}  // namespace capstan::sim
