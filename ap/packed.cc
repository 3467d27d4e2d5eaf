#include "ap/packed.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/check.h"
#include "core/limits.h"
#include "core/overloaded.h"

namespace capstan::ap {
namespace {

constexpr std::uint8_t kFormat = 2;
// Far beyond any clock we would believe, far below where adding one would wrap.
constexpr std::uint64_t kStampMax = std::uint64_t{1} << 62;
constexpr std::uint64_t kSequenceMax = std::uint64_t{1} << 56;
constexpr std::size_t kActorsMax = 4096;

std::uint64_t zigzag(std::int64_t v) {
  return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63);
}
std::int64_t unzigzag(std::uint64_t v) {
  return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1);
}

// Milliseconds as a difference, the counter as it is: neighbours are written close in time.
class StampCoder {
 public:
  void put(std::string& out, Stamp stamp) {
    const auto ms = static_cast<std::int64_t>(stamp.value >> 16);
    put_varint(out, zigzag(ms - last_ms_));
    put_varint(out, stamp.value & 0xffff);
    last_ms_ = ms;
  }
  Stamp read(Reader& in) {
    const auto difference = static_cast<std::uint64_t>(unzigzag(in.varint()));
    const std::uint64_t ms = static_cast<std::uint64_t>(last_ms_) + difference;
    const std::uint64_t counter = in.varint();
    if (counter > 0xffff || ms >= (kStampMax >> 16)) {
      in.reject();
      return {};
    }
    last_ms_ = static_cast<std::int64_t>(ms);
    return {(ms << 16) | counter};
  }

 private:
  std::int64_t last_ms_ = 0;
};

void put_hash(std::string& out, const Hash128& hash) {
  put_u64(out, hash.low);
  put_u64(out, hash.high);
}
Hash128 read_hash(Reader& in) {
  Hash128 hash;
  hash.low = in.u64();
  hash.high = in.u64();
  return hash;
}

Stamp read_stamp(Reader& in) {
  const std::uint64_t value = in.u64();
  if (value >= kStampMax) in.reject();
  return {value};
}

Sequence read_sequence(Reader& in) {
  const std::uint64_t value = in.varint();
  if (value == 0 || value > kSequenceMax) in.reject();
  return {value};
}

std::string read_key(Reader& in) {
  const ByteView key = in.bytes();
  if (key.empty() || key.size() > kKeyBytesMax) in.reject();
  return std::string(key);
}

// The value of a tombstone has no bytes at all, not even a length.
std::string read_value(Reader& in, bool deletes) {
  if (deletes) return {};
  const ByteView value = in.bytes();
  if (value.size() > kRequestBytesMax) in.reject();
  return std::string(value);
}

void expect_format(Reader& in) {
  if (in.u8() != kFormat) in.reject();
}

template <class T>
Result<T> finished(Reader& in, T value, const char* what) {
  if (!in.done()) return fail(ErrorCode::kMalformed, what);
  return value;
}

}  // namespace

void put_actor(std::string& out, const Actor& actor) {
  put_u64(out, actor.node.value);
  put_varint(out, actor.incarnation);
}

Actor read_actor(Reader& in) {
  Actor actor;
  actor.node.value = in.u64();
  const std::uint64_t incarnation = in.varint();
  actor.incarnation = static_cast<Incarnation>(incarnation);
  if (!actor.node || incarnation != actor.incarnation) in.reject();
  return actor;
}

void put_dot(std::string& out, const Dot& dot) {
  put_actor(out, dot.actor);
  put_varint(out, dot.sequence.value);
}

Dot read_dot(Reader& in) {
  Dot dot;
  dot.actor = read_actor(in);
  dot.sequence = read_sequence(in);
  return dot;
}

void put_vector(std::string& out, const VersionVector& vector) {
  put_varint(out, vector.entries().size());
  for (const auto& [actor, sequence] : vector.entries()) put_dot(out, {actor, sequence});
}

VersionVector read_vector(Reader& in) {
  VersionVector vector;
  const std::uint64_t count = in.varint();
  if (count > kActorsMax || !in.plausible(count, 10)) in.reject();
  Actor last;
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    const Dot dot = read_dot(in);
    if (i > 0 && !(last < dot.actor)) in.reject();
    last = dot.actor;
    if (in.ok()) vector.raise(dot.actor, dot.sequence);
  }
  return vector;
}

// Runs of neighbouring buckets with equal vectors, as a session leaves them.
void put_ahead(std::string& out, const AheadVectors& ahead) {
  std::string runs;
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < ahead.size();) {
    std::size_t end = i + 1;
    while (end < ahead.size() && ahead[end].first == ahead[end - 1].first + 1 &&
           ahead[end].second == ahead[i].second) {
      ++end;
    }
    put_u8(runs, ahead[i].first);
    put_varint(runs, end - i);
    put_vector(runs, ahead[i].second);
    ++count;
    i = end;
  }
  put_varint(out, count);
  out.append(runs);
}

AheadVectors read_ahead(Reader& in) {
  AheadVectors ahead;
  const std::uint64_t runs = in.varint();
  if (runs > kBuckets) in.reject();
  std::size_t next = 0;
  for (std::uint64_t i = 0; i < runs && in.ok(); ++i) {
    const std::size_t first = in.u8();
    const std::uint64_t length = in.varint();
    const VersionVector vector = read_vector(in);
    if (first < next || length == 0 || length > kBuckets - first) in.reject();
    if (!in.ok()) break;
    for (std::size_t b = first; b < first + length; ++b) {
      ahead.emplace_back(static_cast<Bucket>(b), vector);
    }
    next = first + length;
  }
  return ahead;
}

std::string pack_delta(const Delta& delta) {
  CAPSTAN_ASSERT(delta.updates.size() == delta.last.value - delta.first.value + 1);
  std::string out;
  std::size_t bytes = 128;
  for (const Update& u : delta.updates) bytes += u.key.size() + u.value.size() + 16;
  out.reserve(bytes);
  put_u8(out, kFormat);
  put_dot(out, {delta.origin, delta.first});
  put_vector(out, delta.deps);
  put_ahead(out, delta.ahead);
  put_varint(out, delta.updates.size());
  StampCoder stamps;
  for (const Update& u : delta.updates) {
    put_u8(out, u.deletes ? 1 : 0);
    stamps.put(out, u.stamp);
    put_bytes(out, u.key);
    if (!u.deletes) put_bytes(out, u.value);
  }
  return out;
}

Result<Delta> unpack_delta(SharedBytes bytes) {
  Reader in(*bytes);
  Delta delta;
  expect_format(in);
  const Dot first = read_dot(in);
  delta.origin = first.actor;
  delta.first = first.sequence;
  delta.deps = read_vector(in);
  delta.ahead = read_ahead(in);
  const std::uint64_t count = in.varint();
  if (count == 0 || !in.plausible(count, 5)) in.reject();
  StampCoder stamps;
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    Update u;
    u.sequence = {delta.first.value + i};
    const std::uint8_t flags = in.u8();
    if (flags > 1) in.reject();
    u.deletes = flags == 1;
    u.stamp = stamps.read(in);
    u.key = read_key(in);
    u.value = read_value(in, u.deletes);
    delta.updates.push_back(std::move(u));
  }
  // Its own dots below `first` are implied; claiming more of them would be nonsense.
  if (delta.deps.of(delta.origin) >= delta.first) in.reject();
  delta.last = {delta.first.value + (count > 0 ? count - 1 : 0)};
  delta.packed = std::move(bytes);
  return finished(in, std::move(delta), "ap delta");
}

std::string pack_slice(const SyncSlice& slice) {
  std::map<Actor, std::uint64_t> actors;
  std::size_t bytes = 256;
  for (const CellState& c : slice.cells) {
    actors.emplace(c.dot.actor, 0);
    bytes += c.key.size() + c.value.size() + 16;
  }
  std::string out;
  out.reserve(bytes);
  put_u8(out, kFormat);
  put_u64(out, slice.session);
  put_u32(out, slice.run);
  put_varint(out, slice.number);
  put_varint(out, slice.first_bucket);
  put_varint(out, slice.end_bucket);
  put_u8(out, static_cast<std::uint8_t>((slice.unfinished ? 1 : 0) | (slice.last ? 2 : 0) |
                                        (slice.full ? 4 : 0)));
  put_bytes(out, std::string(slice.whole_buckets.begin(), slice.whole_buckets.end()));
  put_vector(out, slice.vector);
  put_ahead(out, slice.ahead);
  put_vector(out, slice.trimmed);
  if (slice.last) put_u64(out, slice.forgotten.value);
  put_varint(out, actors.size());
  std::uint64_t number = 0;
  for (auto& [actor, index] : actors) {
    put_actor(out, actor);
    index = number++;
  }
  put_varint(out, slice.cells.size());
  StampCoder stamps;
  std::vector<std::uint64_t> last(actors.size(), 0);
  for (const CellState& c : slice.cells) {
    const std::uint64_t index = actors[c.dot.actor];
    put_varint(out, index << 1 | (c.deletes ? 1 : 0));
    put_varint(out, zigzag(static_cast<std::int64_t>(c.dot.sequence.value - last[index])));
    last[index] = c.dot.sequence.value;
    stamps.put(out, c.stamp);
    put_bytes(out, c.key);
    if (!c.deletes) put_bytes(out, c.value);
  }
  return out;
}

Result<SyncSlice> unpack_slice(SharedBytes bytes) {
  Reader in(*bytes);
  SyncSlice slice;
  expect_format(in);
  slice.session = in.u64();
  slice.run = in.u32();
  const std::uint64_t number = in.varint();
  slice.number = static_cast<std::uint32_t>(number);
  if (number != slice.number) in.reject();
  const std::uint64_t first = in.varint();
  const std::uint64_t end = in.varint();
  if (first > end || end > kBuckets) in.reject();
  slice.first_bucket = static_cast<std::uint16_t>(first);
  slice.end_bucket = static_cast<std::uint16_t>(end);
  const std::uint8_t flags = in.u8();
  if (flags > 7) in.reject();
  slice.unfinished = (flags & 1) != 0;
  slice.last = (flags & 2) != 0;
  slice.full = (flags & 4) != 0;
  if (slice.unfinished && slice.last) in.reject();
  if (slice.last && end != kBuckets) in.reject();
  const ByteView whole = in.bytes();
  if (whole.size() > kBuckets) in.reject();
  if (in.ok()) slice.whole_buckets.assign(whole.begin(), whole.end());
  slice.vector = read_vector(in);
  slice.ahead = read_ahead(in);
  slice.trimmed = read_vector(in);
  if (slice.last) slice.forgotten = read_stamp(in);
  const std::uint64_t actor_count = in.varint();
  if (actor_count > kActorsMax || !in.plausible(actor_count, 9)) in.reject();
  std::vector<Actor> actors;
  for (std::uint64_t i = 0; i < actor_count && in.ok(); ++i) actors.push_back(read_actor(in));
  const std::uint64_t count = in.varint();
  if (!in.plausible(count, 6)) in.reject();
  StampCoder stamps;
  std::vector<std::uint64_t> last(actors.size(), 0);
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    CellState c;
    const std::uint64_t who = in.varint();
    c.deletes = (who & 1) != 0;
    if ((who >> 1) >= actors.size()) {
      in.reject();
      break;
    }
    std::uint64_t& sequence = last[who >> 1];
    sequence += static_cast<std::uint64_t>(unzigzag(in.varint()));
    if (sequence == 0 || sequence > kSequenceMax) in.reject();
    c.dot = {actors[who >> 1], {sequence}};
    c.stamp = stamps.read(in);
    c.key = read_key(in);
    c.value = read_value(in, c.deletes);
    slice.cells.push_back(std::move(c));
  }
  slice.packed = std::move(bytes);
  return finished(in, std::move(slice), "ap sync slice");
}

namespace {

std::string pack_small(const Beat& b) {
  std::string out;
  put_u8(out, kFormat);
  put_actor(out, b.actor);
  put_vector(out, b.vector);
  put_u64(out, b.ahead_hash);
  put_hash(out, b.digest);
  put_u64(out, b.clock.value);
  put_u64(out, b.forgotten.value);
  put_u8(out, b.you.node ? 1 : 0);
  if (b.you.node) put_actor(out, b.you);
  put_u8(out, b.exposed ? 1 : 0);
  put_varint(out, b.life);
  put_varint(out, b.views.size());
  for (const MemberView& v : b.views) {
    put_u64(out, v.member.value);
    put_varint(out, v.life);
    put_u8(out, static_cast<std::uint8_t>(v.liveness));
  }
  return out;
}

std::uint32_t read_life(Reader& in) {
  const std::uint64_t life = in.varint();
  if (life > UINT32_MAX / 2) in.reject();
  return static_cast<std::uint32_t>(life);
}

bool read_flag(Reader& in) {
  const std::uint8_t flag = in.u8();
  if (flag > 1) in.reject();
  return flag == 1;
}

Result<Body> unpack_beat(Reader& in) {
  Beat b;
  expect_format(in);
  b.actor = read_actor(in);
  b.vector = read_vector(in);
  b.ahead_hash = in.u64();
  b.digest = read_hash(in);
  b.clock = read_stamp(in);
  b.forgotten = read_stamp(in);
  if (read_flag(in)) b.you = read_actor(in);
  b.exposed = read_flag(in);
  b.life = read_life(in);
  const std::uint64_t count = in.varint();
  if (count > kMembersMax) in.reject();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    MemberView v;
    v.member.value = in.u64();
    v.life = read_life(in);
    const std::uint8_t liveness = in.u8();
    if (liveness > 2) in.reject();
    v.liveness = static_cast<Liveness>(liveness);
    b.views.push_back(v);
  }
  return finished<Body>(in, std::move(b), "ap beat");
}

std::string pack_small(const SyncRequest& r) {
  std::string out;
  put_u8(out, kFormat);
  put_u64(out, r.session);
  put_vector(out, r.vector);
  put_ahead(out, r.ahead);
  put_u8(out, r.full ? 1 : 0);
  if (r.full) {
    CAPSTAN_ASSERT(r.digests.size() == kBuckets);
    for (const Hash128& h : r.digests) put_hash(out, h);
  }
  return out;
}

Result<Body> unpack_request(Reader& in) {
  SyncRequest r;
  expect_format(in);
  r.session = in.u64();
  r.vector = read_vector(in);
  r.ahead = read_ahead(in);
  const std::uint8_t full = in.u8();
  if (full > 1) in.reject();
  r.full = full == 1;
  if (r.full && in.plausible(kBuckets, 16)) {
    for (std::size_t i = 0; i < kBuckets; ++i) r.digests.push_back(read_hash(in));
  }
  return finished<Body>(in, std::move(r), "ap sync request");
}

}  // namespace

Kind kind_of(const Body& body) {
  // The order of the variant is the order of the numbers.
  static_assert(std::variant_size_v<Body> == 9);
  return static_cast<Kind>(body.index() + 1);
}

std::string pack(const Body& body) {
  return std::visit(Overloaded{
                        [](const Delta& m) { return m.packed ? *m.packed : pack_delta(m); },
                        [](const SyncSlice& m) { return m.packed ? *m.packed : pack_slice(m); },
                        [](const Beat& m) { return pack_small(m); },
                        [](const SyncRequest& m) { return pack_small(m); },
                        [](const Ping& m) {
                          std::string out;
                          put_u64(out, m.number);
                          return out;
                        },
                        [](const Pong& m) {
                          std::string out;
                          put_u64(out, m.number);
                          put_u64(out, m.about.value);
                          return out;
                        },
                        [](const PingFor& m) {
                          std::string out;
                          put_u64(out, m.number);
                          put_u64(out, m.target.value);
                          return out;
                        },
                        [](const SyncMore& m) {
                          std::string out;
                          put_u64(out, m.session);
                          return out;
                        },
                        [](const SyncRefused& m) {
                          std::string out;
                          put_u64(out, m.session);
                          put_u8(out, static_cast<std::uint8_t>(m.why));
                          return out;
                        },
                    },
                    body);
}

Result<Body> unpack(Kind kind, SharedBytes bytes) {
  Reader in(*bytes);
  switch (kind) {
    case Kind::kDelta: {
      Result<Delta> delta = unpack_delta(std::move(bytes));
      if (!delta) return std::unexpected(delta.error());
      return Body{std::move(*delta)};
    }
    case Kind::kSyncSlice: {
      Result<SyncSlice> slice = unpack_slice(std::move(bytes));
      if (!slice) return std::unexpected(slice.error());
      return Body{std::move(*slice)};
    }
    case Kind::kBeat:
      return unpack_beat(in);
    case Kind::kSyncRequest:
      return unpack_request(in);
    case Kind::kPing: {
      const Ping m{in.u64()};
      return finished<Body>(in, m, "ap ping");
    }
    case Kind::kPong: {
      Pong m;
      m.number = in.u64();
      m.about.value = in.u64();
      return finished<Body>(in, m, "ap pong");
    }
    case Kind::kPingFor: {
      PingFor m;
      m.number = in.u64();
      m.target.value = in.u64();
      return finished<Body>(in, m, "ap ping-for");
    }
    case Kind::kSyncMore: {
      const SyncMore m{in.u64()};
      return finished<Body>(in, m, "ap sync-more");
    }
    case Kind::kSyncRefused: {
      SyncRefused m;
      m.session = in.u64();
      const std::uint8_t why = in.u8();
      if (why > 1) in.reject();
      m.why = static_cast<SyncRefused::Why>(why);
      return finished<Body>(in, m, "ap sync-refused");
    }
  }
  return fail(ErrorCode::kMalformed, "ap message of an unknown kind");
}

}  // namespace capstan::ap
