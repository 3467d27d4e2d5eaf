#include "ap/log_record.h"

#include "ap/packed.h"
#include "core/coding.h"

namespace capstan::ap {
namespace {

std::string framed(RecordKind kind, const std::string& inner) {
  std::string out;
  put_u8(out, static_cast<std::uint8_t>(kind));
  put_bytes(out, inner);
  return out;
}

void put_drops(std::string& out, const std::vector<std::pair<std::string, Dot>>& drops) {
  put_varint(out, drops.size());
  for (const auto& [key, dot] : drops) {
    put_bytes(out, key);
    put_dot(out, dot);
  }
}

}  // namespace

std::string head_of(RecordKind kind) { return framed(kind, {}); }

std::string head_of_slice(const VersionVector& vector, const VersionVector& cover,
                          const VersionVector& trimmed, Stamp forgotten,
                          const std::vector<std::pair<std::string, Dot>>& drops) {
  std::string inner;
  put_vector(inner, vector);
  put_vector(inner, cover);
  put_vector(inner, trimmed);
  put_u64(inner, forgotten.value);
  put_drops(inner, drops);
  return framed(RecordKind::kSlice, inner);
}

std::string mark_clean(const Dot& last, Incarnation start) {
  std::string inner;
  put_actor(inner, last.actor);
  put_varint(inner, last.sequence.value);
  put_varint(inner, start);
  return framed(RecordKind::kClean, inner);
}

std::string mark_of(RecordKind kind, const Actor& actor) {
  std::string inner;
  put_actor(inner, actor);
  put_varint(inner, 0);
  return framed(kind, inner);
}

Result<LogRecord> read_record(const RecoveredRecord& record) {
  const std::string joined = record.body ? record.head + *record.body : record.head;
  Reader in(joined);
  LogRecord out;
  out.kind = static_cast<RecordKind>(in.u8());
  Reader inner(in.bytes());
  switch (out.kind) {
    case RecordKind::kLocal:
    case RecordKind::kRemote:
      break;
    case RecordKind::kSlice: {
      out.vector = read_vector(inner);
      out.cover = read_vector(inner);
      out.trimmed = read_vector(inner);
      out.forgotten = {inner.u64()};
      const std::uint64_t count = inner.varint();
      if (!inner.plausible(count, 11)) break;
      for (std::uint64_t i = 0; i < count && inner.ok(); ++i) {
        std::string key(inner.bytes());
        out.drops.emplace_back(std::move(key), read_dot(inner));
      }
      break;
    }
    case RecordKind::kClean:
    case RecordKind::kInUse:
    case RecordKind::kSound:
    case RecordKind::kAllHeeded:
      out.dot.actor = read_actor(inner);
      out.dot.sequence = {inner.varint()};
      if (out.kind == RecordKind::kClean) out.start = static_cast<Incarnation>(inner.varint());
      break;
    default:
      in.reject();
  }
  if (!in.ok() || !inner.done()) return fail(ErrorCode::kMalformed, "ap log record");
  out.packed = shared_bytes(std::string(in.raw(in.left())));
  return out;
}

}  // namespace capstan::ap
