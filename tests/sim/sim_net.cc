#include "tests/sim/sim_net.h"

#include <algorithm>

#include "core/limits.h"
#include "tests/sim/codec_check.h"

namespace capstan::sim {

SimNet::SimNet(World& world, const Options& options, Counters& counters, std::vector<Port*> ports)
    : world_(world),
      options_(options),
      counters_(counters),
      ports_(std::move(ports)),
      ends_(ports_.size()),
      links_(ports_.size() * ports_.size()),
      ways_(ports_.size() * ports_.size()) {}

std::size_t SimNet::pair(int a, int b) const {
  return static_cast<std::size_t>(a) * ports_.size() + static_cast<std::size_t>(b);
}

bool SimNet::audible(int a, int b) const {
  const End& x = ends_[static_cast<std::size_t>(a)];
  const End& y = ends_[static_cast<std::size_t>(b)];
  return x.alive && y.alive && !x.paused && !y.paused && !blocked(a, b) && !blocked(b, a);
}

// Something about the pair changed: start to wait for silence, or to dial.
void SimNet::look(int a, int b) {
  Link& l = link(a, b);
  if (audible(a, b)) {
    ++l.silent_since;  // the pending check is void
    if (!l.up) dial(a, b);
  } else if (l.up) {
    watch_silence(a, b);
  }
}

void SimNet::watch_silence(int a, int b) {
  const std::uint64_t silence = ++link(a, b).silent_since;
  const Micros jitter = world_.rng.network.between(0, kTick);
  world_.after(kElectionTimeout + jitter, [this, a, b, silence] {
    if (link(a, b).silent_since == silence && !audible(a, b)) close(a, b);
  });
}

void SimNet::close(int a, int b) {
  Link& l = link(a, b);
  if (!l.up) return;
  l.up = false;
  world_.note(Kind::kLinkDown, static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b));
  counters_.add("link closed");
  for (const auto& [end, peer] : {std::pair{a, b}, std::pair{b, a}}) {
    if (ends_[static_cast<std::size_t>(end)].alive) {
      ports_[static_cast<std::size_t>(end)]->link_down(peer);
    }
  }
  look(a, b);
}

void SimNet::dial(int a, int b) {
  Link& l = link(a, b);
  if (l.dialling) return;
  l.dialling = true;
  const Micros wait = l.connection == 0 ? 5 * kMillisecond : kRedialInterval;
  world_.after(world_.rng.network.between(0, wait) + 2 * delay(), [this, a, b] {
    Link& mine = link(a, b);
    mine.dialling = false;
    if (mine.up || !audible(a, b)) return;
    tell_of_death(a, b);
    mine.up = true;
    ++mine.connection;
    way(a, b).last_arrival = way(b, a).last_arrival = world_.now();
    world_.note(Kind::kLinkUp, static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b));
    counters_.add("link opened");
    ports_[static_cast<std::size_t>(a)]->link_up(b);
    ports_[static_cast<std::size_t>(b)]->link_up(a);
  });
}

void SimNet::started(int node) {
  End& end = ends_[static_cast<std::size_t>(node)];
  end.alive = true;
  end.paused = false;
  ++end.life;
  for (int peer = 0; peer < static_cast<int>(ports_.size()); ++peer) {
    if (peer != node) look(node, peer);
  }
}

void SimNet::died(int node, bool abruptly) {
  ends_[static_cast<std::size_t>(node)].alive = false;
  for (int peer = 0; peer < static_cast<int>(ports_.size()); ++peer) {
    if (peer == node) continue;
    Link& l = link(node, peer);
    if (l.owed == node) l.owed = -1;
    if (!l.up) continue;
    l.up = false;
    l.owed = peer;
    ++l.silent_since;
    const std::uint64_t connection = l.connection;
    world_.after(abruptly ? kElectionTimeout : delay(), [this, node, peer, connection] {
      if (link(node, peer).connection == connection) tell_of_death(node, peer);
    });
  }
}

void SimNet::tell_of_death(int a, int b) {
  Link& l = link(a, b);
  const int end = std::exchange(l.owed, -1);
  if (end < 0 || !ends_[static_cast<std::size_t>(end)].alive) return;
  ports_[static_cast<std::size_t>(end)]->link_down(end == a ? b : a);
}

void SimNet::paused(int node) {
  ends_[static_cast<std::size_t>(node)].paused = true;
  for (int peer = 0; peer < static_cast<int>(ports_.size()); ++peer) {
    if (peer != node) look(node, peer);
  }
}

void SimNet::resumed(int node) {
  ends_[static_cast<std::size_t>(node)].paused = false;
  for (int peer = 0; peer < static_cast<int>(ports_.size()); ++peer) {
    if (peer != node) look(node, peer);
  }
}

void SimNet::block(int from, int to) {
  ++way(from, to).blocks;
  look(from, to);
}

void SimNet::unblock(int from, int to) {
  --way(from, to).blocks;
  look(from, to);
}

void SimNet::open_hole(int node, Micros until, bool breaks) {
  End& end = ends_[static_cast<std::size_t>(node)];
  end.hole_until = until;
  end.hole_breaks = breaks;
}

bool SimNet::lost_in_hole(int from, int to, const node::PeerMessage& message) {
  Way& w = way(from, to);
  const std::uint64_t connection = link(from, to).connection;
  if (w.stuck == connection) return true;
  const End& a = ends_[static_cast<std::size_t>(from)];
  const End& b = ends_[static_cast<std::size_t>(to)];
  const bool hole = world_.now() < std::max(a.hole_until, b.hole_until);
  if (!hole || bytes_of(message) <= kHoleBytes) return false;
  counters_.add("lost in a hole");
  const bool breaks = (world_.now() < a.hole_until && a.hole_breaks) ||
                      (world_.now() < b.hole_until && b.hole_breaks);
  if (!breaks) return true;
  w.stuck = connection;
  world_.after(kElectionTimeout, [this, from, to, connection] {
    if (link(from, to).up && link(from, to).connection == connection) close(from, to);
  });
  return true;
}

void SimNet::calm() {
  for (End& end : ends_) end.hole_until = 0;
  options_.slow = options_.loss = options_.duplicates = options_.replays = 0;
  options_.late = false;
  options_.ordered = true;
  options_.delay_max = std::min<Micros>(options_.delay_max, options_.delay_min + kMillisecond);
}

Micros SimNet::delay() {
  return world_.rng.network.between(options_.delay_min, options_.delay_max);
}

void SimNet::send(int from, int to, node::PeerMessage message) {
  Rng& rng = world_.rng.network;
  const auto a = static_cast<std::uint64_t>(from), b = static_cast<std::uint64_t>(to);
  world_.note(Kind::kSend, a, b, message.index(), describe_message(message));
  if (!link(from, to).up) {
    counters_.add("message without link");
    return;
  }
  if (blocked(from, to)) {
    counters_.add("cut swallowed");
    world_.note(Kind::kDrop, a, b);
    return;
  }
  if (lost_in_hole(from, to, message)) {
    world_.note(Kind::kDrop, a, b);
    return;
  }
  if (rng.chance(options_.loss) || (tap.drop && tap.drop(from, to, message))) {
    counters_.add("lost");
    world_.note(Kind::kDrop, a, b);
    return;
  }
  if (options_.codec) {
    counters_.add("through the codec");
    Result<node::PeerMessage> again = through_bytes(message);
    if (!again) return world_.fail("codec", again.error().context);
    message = std::move(*again);
  }
  const Flight flight{from, to, link(from, to).connection, ends_[b].life, ends_[a].member};
  if (rng.chance(options_.replays)) {
    Flight again = flight;
    again.replayed = true;
    world_.after(rng.between(0, options_.replay_max),
                 [this, again, m = message]() mutable { arrive(again, std::move(m)); });
  }
  const int copies = rng.chance(options_.duplicates) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    Micros when = world_.now() + delay();
    if (rng.chance(options_.slow)) {
      when += rng.between(0, options_.slow_max);
      counters_.add("slow");
    }
    Micros& last = way(from, to).last_arrival;
    if (options_.ordered) {
      when = std::max(when, last);
    } else if (when < last) {
      counters_.add("reordered");
    }
    last = std::max(last, when);
    if (i > 0) counters_.add("duplicated");
    node::PeerMessage copy = i + 1 < copies ? message : std::move(message);
    world_.at(when,
              [this, flight, m = std::move(copy)]() mutable { arrive(flight, std::move(m)); });
  }
}

void SimNet::arrive(Flight flight, node::PeerMessage message) {
  const auto a = static_cast<std::uint64_t>(flight.from), b = static_cast<std::uint64_t>(flight.to);
  const Link& l = link(flight.from, flight.to);
  if (blocked(flight.from, flight.to)) {
    counters_.add("cut swallowed");
    world_.note(Kind::kDrop, a, b);
    return;
  }
  if (!ends_[b].alive || ends_[b].life != flight.receiver_life) return;
  if (ends_[a].member != flight.sender) return;
  if (flight.replayed) {
    counters_.add("replayed");
  } else if (!l.up || l.connection != flight.connection) {
    // Its connection is gone. What the receiver's kernel already held may still be read.
    if (!options_.late || !world_.rng.network.chance(0.3)) {
      world_.note(Kind::kDrop, a, b);
      return;
    }
    counters_.add("late packet");
  }
  ports_[b]->deliver(flight.from, std::move(message));
}

}  // namespace capstan::sim
