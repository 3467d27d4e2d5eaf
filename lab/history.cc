#include "lab/history.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace capstan::lab {
namespace {

std::string seconds(Micros t, Micros origin) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", static_cast<double>(t - origin) / kSecond);
  return text;
}

std::string value_text(const std::optional<std::string>& value) {
  return value ? *value : std::string("(absent)");
}

constexpr std::string_view kKinds[] = {"get", "put", "delete"};
constexpr Outcome kOutcomes[] = {Outcome::kOk, Outcome::kOkLocal, Outcome::kFailed,
                                 Outcome::kUnknown};

nlohmann::json optional_json(const std::optional<std::string>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

nlohmann::json to_json(const Operation& op) {
  nlohmann::json line{{"client", op.client},    {"node", op.node},
                      {"op", to_text(op.kind)}, {"key", op.key},
                      {"start_us", op.start},   {"outcome", to_text(op.outcome)}};
  if (op.end != Operation::kNever) line["end_us"] = op.end;
  if (op.kind == OpKind::kPut) line["value"] = op.value;
  if (op.reason != Reason::kNone) line["reason"] = static_cast<int>(op.reason);
  if (!op.write_id.empty()) line["write_id"] = op.write_id;
  if (op.revision != 0) line["revision"] = op.revision;
  if (op.kind == OpKind::kGet && op.acknowledged()) line["read"] = optional_json(op.read);
  if (op.saw_previous) line["previous"] = optional_json(op.previous);
  return line;
}

std::optional<std::string> optional_string(const nlohmann::json& json) {
  return json.is_string() ? std::optional(json.get<std::string>()) : std::nullopt;
}

// The line is an object with fields of the right types, or nothing.
std::optional<Operation> from_json(const nlohmann::json& line) {
  const auto text = [&](const char* name) {
    const auto at = line.find(name);
    return at != line.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  const auto number = [&](const char* name, std::int64_t otherwise) {
    const auto at = line.find(name);
    return at != line.end() && at->is_number_integer() ? at->get<std::int64_t>() : otherwise;
  };
  if (!line.is_object()) return std::nullopt;
  Operation op;
  const std::string kind = text("op");
  const std::string outcome = text("outcome");
  bool known_kind = false, known_outcome = false;
  for (std::size_t i = 0; i < std::size(kKinds); ++i) {
    if (kind == kKinds[i]) op.kind = static_cast<OpKind>(i), known_kind = true;
  }
  for (Outcome candidate : kOutcomes) {
    if (outcome == to_text(candidate)) op.outcome = candidate, known_outcome = true;
  }
  if (!known_kind || !known_outcome || !line.contains("start_us")) return std::nullopt;
  op.client = static_cast<std::uint32_t>(number("client", 0));
  op.node = static_cast<std::uint32_t>(number("node", 0));
  op.key = text("key");
  op.value = text("value");
  op.start = number("start_us", 0);
  op.end = number("end_us", Operation::kNever);
  op.reason = static_cast<Reason>(number("reason", 0));
  op.write_id = text("write_id");
  op.revision = static_cast<std::uint64_t>(number("revision", 0));
  if (line.contains("read")) op.read = optional_string(line["read"]);
  op.saw_previous = line.contains("previous");
  if (op.saw_previous) op.previous = optional_string(line["previous"]);
  return op;
}

}  // namespace

std::string_view to_text(OpKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

std::string_view to_text(Verdict verdict) {
  return verdict == Verdict::kYes ? "yes" : verdict == Verdict::kNo ? "no" : "unknown";
}

std::string describe(const Operation& op, Micros origin) {
  std::string text = std::string(to_text(op.kind)) + ' ' + op.key;
  if (op.kind == OpKind::kPut) text += " = " + op.value;
  if (op.kind == OpKind::kGet && op.acknowledged()) text += " -> " + value_text(op.read);
  if (op.saw_previous) text += " (replacing " + value_text(op.previous) + ")";
  text += " at n" + std::to_string(op.node + 1) + ", " + seconds(op.start, origin) + " - ";
  text += op.end == Operation::kNever ? std::string("never answered") : seconds(op.end, origin);
  text += " s, client " + std::to_string(op.client) + ": " + std::string(to_text(op.outcome));
  if (!op.write_id.empty()) text += ' ' + op.write_id;
  return text;
}

std::string to_jsonl(const History& history) {
  std::string out;
  for (const Operation& op : history) {
    out += to_json(op).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out += '\n';
  }
  return out;
}

Result<History> from_jsonl(std::string_view text) {
  History history;
  std::size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    std::optional<Operation> op = from_json(nlohmann::json::parse(line, nullptr, false));
    if (!op) {
      return fail(ErrorCode::kMalformed, "history line " + std::to_string(line_number));
    }
    history.push_back(std::move(*op));
  }
  return history;
}

}  // namespace capstan::lab
