#include "cp/mvcc.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"

namespace capstan::cp {
namespace {

// The head of a version; the value is what follows it.
struct Head {
  std::uint64_t create = 0, mod = 0, version = 0;
  std::int64_t lease = 0;
};

Head read_head(Reader& in) {
  Head head;
  head.create = in.varint();
  head.mod = in.varint();
  head.version = in.varint();
  head.lease = static_cast<std::int64_t>(in.varint());
  return head;
}

std::string encoded(const Head& head, ByteView value) {
  std::string out;
  out.reserve(24 + value.size());
  put_varint(out, head.create);
  put_varint(out, head.mod);
  put_varint(out, head.version);
  put_varint(out, static_cast<std::uint64_t>(head.lease));
  out.append(value);
  return out;
}

KeyValue decoded(ByteView key, ByteView bytes) {
  Reader in(bytes);
  const Head head = read_head(in);
  KeyValue kv;
  kv.key = key;
  kv.create_revision = {head.create};
  kv.mod_revision = {head.mod};
  kv.version = head.version;
  kv.lease = head.lease;
  kv.value = in.raw(in.left());
  return kv;
}

void put_escaped(std::string& out, ByteView key) {
  for (char c : key) {
    out.push_back(c);
    if (c == '\0') out.push_back('\xff');
  }
  out.append("\0\1", 2);
}
std::string past_prefix(ByteView key) {
  std::string out;
  out.reserve(key.size() + 10);
  put_escaped(out, key);
  return out;
}
std::string past_key(ByteView key, std::uint64_t mod) {
  std::string out = past_prefix(key);
  put_u64_be(out, mod);
  return out;
}
struct PastKey {
  std::string key;
  std::uint64_t mod = 0;
};
PastKey parse_past(ByteView bytes) {
  PastKey out;
  std::size_t i = 0;
  for (; i + 1 < bytes.size(); ++i) {
    if (bytes[i] != '\0') {
      out.key.push_back(bytes[i]);
    } else if (bytes[i + 1] == '\xff') {
      out.key.push_back('\0');
      ++i;
    } else {
      break;
    }
  }
  Reader in(bytes.substr(std::min(bytes.size(), i + 2)));
  out.mod = in.u64_be();
  return out;
}

bool passes_filters(const RangeRequest& request, const Head& head) {
  const auto create = static_cast<std::int64_t>(head.create);
  const auto mod = static_cast<std::int64_t>(head.mod);
  if (request.max_mod_revision != 0 && mod > request.max_mod_revision) return false;
  if (request.min_mod_revision != 0 && mod < request.min_mod_revision) return false;
  if (request.max_create_revision != 0 && create > request.max_create_revision) return false;
  return request.min_create_revision == 0 || create >= request.min_create_revision;
}

void sort_by(std::vector<KeyValue>& kvs, SortTarget target, bool descend) {
  const auto by = [&](auto projection) {
    if (descend) {
      std::ranges::stable_sort(kvs, std::ranges::greater{}, projection);
    } else {
      std::ranges::stable_sort(kvs, std::ranges::less{}, projection);
    }
  };
  switch (target) {
    case SortTarget::kKey:
      return by(&KeyValue::key);
    case SortTarget::kVersion:
      return by(&KeyValue::version);
    case SortTarget::kCreate:
      return by(&KeyValue::create_revision);
    case SortTarget::kMod:
      return by(&KeyValue::mod_revision);
    case SortTarget::kValue:
      return by(&KeyValue::value);
  }
}

}  // namespace

KeyBounds::KeyBounds(const KeyRange& range) : from(range.key), single(range.end.empty()) {
  if (single) {
    to = from + '\0';
  } else if (range.end.size() != 1 || range.end[0] != '\0') {
    to = range.end;
  }
}

void Mvcc::begin() { changed_ = false; }

Revision Mvcc::end() {
  facts_.revision = revision();
  changed_ = false;
  return facts_.revision;
}

// One more change of the history everybody must agree on.
void Mvcc::note(ByteView key, ByteView bytes) {
  facts_.digest = xxh3(bytes, xxh3(key, facts_.digest));
  changed_ = true;
}

PutResult Mvcc::put(const PutView& put) {
  const std::uint64_t revision = facts_.revision.value + 1;
  std::optional<std::string> old = table_.get(Space::kNow, put.key);
  Head head{revision, revision, 1, put.lease};
  PutResult result;
  ByteView value = put.value;
  std::string kept;
  if (old) {
    Reader in(*old);
    const Head was = read_head(in);
    head.create = was.create;
    head.version = was.version + 1;
    if (put.ignore_lease) head.lease = was.lease;
    if (put.prev_kv) result.prev = decoded(put.key, *old);
    if (put.ignore_value) value = kept = in.raw(in.left());
    // A key put twice in one revision cannot be: transactions are checked for it.
    CAPSTAN_ASSERT(was.mod < revision);
    table_.put(Space::kPast, past_key(put.key, was.mod), *std::move(old));
  } else {
    ++facts_.keys;
  }
  std::string bytes = encoded(head, value);
  note(put.key, bytes);
  table_.put(Space::kNow, put.key, std::move(bytes));
  return result;
}

DeleteRangeResult Mvcc::erase(const DeleteRangeRequest& request) {
  const std::uint64_t revision = facts_.revision.value + 1;
  const KeyBounds bounds(request.range);
  std::vector<std::pair<std::string, std::string>> found;
  if (bounds.single) {
    if (auto old = table_.get(Space::kNow, bounds.from)) {
      found.emplace_back(bounds.from, *std::move(old));
    }
  } else if (!bounds.empty()) {
    table_.scan(Space::kNow, bounds.from, bounds.to, [&](ByteView key, ByteView value) {
      found.emplace_back(key, value);
      return true;
    });
  }
  DeleteRangeResult result;
  result.deleted = static_cast<std::int64_t>(found.size());
  for (auto& [key, bytes] : found) {
    if (request.prev_kv) result.prevs.push_back(decoded(key, bytes));
    Reader in(bytes);
    const std::uint64_t mod = read_head(in).mod;
    // Put and deleted in one transaction: the version was never visible at any revision.
    if (mod < revision) table_.put(Space::kPast, past_key(key, mod), std::move(bytes));
    table_.put(Space::kPast, past_key(key, revision), {});
    table_.erase(Space::kNow, key);
    note(key, {});
    --facts_.keys;
  }
  return result;
}

std::optional<Refusal> Mvcc::check_revision(std::int64_t revision) const {
  if (revision <= 0) return std::nullopt;
  const auto wanted = static_cast<std::uint64_t>(revision);
  if (wanted > facts_.revision.value) {
    return Refusal{Reason::kFutureRevision, "revision " + std::to_string(revision) +
                                                " is in the future; the store is at " +
                                                std::to_string(facts_.revision.value)};
  }
  if (wanted < facts_.compacted.value) {
    return Refusal{Reason::kCompacted, "revision " + std::to_string(revision) +
                                           " has been compacted; history begins at " +
                                           std::to_string(facts_.compacted.value)};
  }
  return std::nullopt;
}

std::optional<KeyValue> Mvcc::get(ByteView key) const {
  const auto bytes = table_.get(Space::kNow, key);
  if (!bytes) return std::nullopt;
  return decoded(key, *bytes);
}

void Mvcc::each(const KeyBounds& bounds, const std::function<bool(const KeyValue&)>& visit) const {
  if (bounds.empty()) return;
  table_.scan(Space::kNow, bounds.from, bounds.to,
              [&](ByteView key, ByteView value) { return visit(decoded(key, value)); });
}

// The newest version at or below `at` of every key in the bounds that was not deleted then. Walks
// the past of the range and its present side by side, both in key order.
void Mvcc::each_at(const KeyBounds& bounds, Revision at,
                   const std::function<bool(ByteView, ByteView)>& visit) const {
  struct Row {
    std::string key;
    std::string bytes;  // empty: deleted
  };
  std::vector<Row> past;  // newest version <= at of each key, ascending
  const std::string from = [&] {
    std::string out;
    put_escaped(out, bounds.from);
    out.resize(out.size() - 2);
    return out;
  }();
  std::string to;
  if (!bounds.to.empty()) {
    put_escaped(to, bounds.to);
    to.resize(to.size() - 2);
  }
  table_.scan(Space::kPast, from, to, [&](ByteView raw, ByteView bytes) {
    PastKey row = parse_past(raw);
    if (row.mod > at.value || !bounds.contains(row.key)) return true;
    if (past.empty() || past.back().key != row.key) past.push_back({std::move(row.key), {}});
    past.back().bytes = bytes;
    return true;
  });
  auto old = past.begin();
  bool more = true;
  const auto show_old = [&] {
    if (!old->bytes.empty()) more = visit(old->key, old->bytes);
    ++old;
  };
  table_.scan(Space::kNow, bounds.from, bounds.to, [&](ByteView key, ByteView bytes) {
    while (more && old != past.end() && old->key < key) show_old();
    if (!more) return false;
    Reader in(bytes);
    if (read_head(in).mod > at.value) return true;  // then its past, if any, is next in `past`
    if (old != past.end() && old->key == key) ++old;
    return more = visit(key, bytes);
  });
  while (more && old != past.end()) show_old();
}

RangeResult Mvcc::range(const RangeRequest& request) const {
  const KeyBounds bounds(request.range);
  RangeResult result;
  if (bounds.empty()) return result;
  const bool filtered = request.min_mod_revision != 0 || request.max_mod_revision != 0 ||
                        request.min_create_revision != 0 || request.max_create_revision != 0;
  const bool keep_all = request.limit <= 0 || filtered || request.sort_order != SortOrder::kNone;
  // One more than asked for shows that there is more.
  const auto keep_max = keep_all ? SIZE_MAX : static_cast<std::size_t>(request.limit) + 1;
  const auto take = [&](ByteView key, ByteView bytes) {
    ++result.count;
    if (request.count_only || result.kvs.size() >= keep_max) return true;
    if (filtered) {
      Reader in(bytes);
      if (!passes_filters(request, read_head(in))) return true;
    }
    result.kvs.push_back(decoded(key, bytes));
    return true;
  };
  const bool now =
      request.revision <= 0 || static_cast<std::uint64_t>(request.revision) >= revision().value;
  if (!now) {
    each_at(bounds, {static_cast<std::uint64_t>(request.revision)}, take);
  } else if (bounds.single) {
    if (const auto bytes = table_.get(Space::kNow, bounds.from)) take(bounds.from, *bytes);
  } else {
    table_.scan(Space::kNow, bounds.from, bounds.to, take);
  }
  if (request.count_only) return result;
  const bool descend = request.sort_order == SortOrder::kDescend;
  if (descend || request.sort_target != SortTarget::kKey) {
    sort_by(result.kvs, request.sort_target, descend);
  }
  if (request.limit > 0 && result.kvs.size() > static_cast<std::size_t>(request.limit)) {
    result.kvs.resize(static_cast<std::size_t>(request.limit));
    result.more = true;
  }
  if (request.keys_only) {
    for (KeyValue& kv : result.kvs) kv.value.clear();
  }
  return result;
}

}  // namespace capstan::cp
