#include "tests/soak/watch_log.h"

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "net/json_text.h"

namespace capstan::soak {
namespace {

using Json = nlohmann::json;

std::string text_of(const WatchedEvent& event) {
  return (event.deleted ? "delete of " : "put of ") + event.key +
         (event.deleted ? "" : " = " + event.value) + " at revision " +
         std::to_string(event.revision);
}

// etcdctl leaves out what is zero.
std::uint64_t number_in(const Json& kv, const char* name) {
  return kv.contains(name) ? kv[name].get<std::uint64_t>() : 0;
}
std::string bytes_in(const Json& kv, const char* name) {
  if (!kv.contains(name)) return {};
  return net::base64_decoded(kv[name].get<std::string>()).value_or("?");
}

}  // namespace

Result<std::vector<WatchedEvent>> read_watch_log(const std::string& path) {
  std::vector<WatchedEvent> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (file.eof()) break;
    if (!line.starts_with('{')) continue;  // why it ended
    const Json message = Json::parse(line, nullptr, false);
    if (!message.is_object()) return fail(ErrorCode::kMalformed, line.substr(0, 300));
    if (!message.contains("Events") || message["Events"].is_null()) continue;
    for (const Json& each : message["Events"]) {
      const Json& kv = each["kv"];
      out.push_back({.revision = number_in(kv, "mod_revision"),
                     .deleted = each.contains("type") && each["type"] == 1,
                     .key = bytes_in(kv, "key"),
                     .value = bytes_in(kv, "value"),
                     .create_revision = number_in(kv, "create_revision"),
                     .version = number_in(kv, "version")});
    }
  }
  return out;
}

std::uint64_t last_revision_in(const std::string& path) {
  constexpr std::streamoff kTail = 65'536;
  std::ifstream file(path, std::ios::ate);
  file.seekg(std::max<std::streamoff>(0, file.tellg() - kTail));
  const std::string tail{std::istreambuf_iterator<char>(file), {}};
  constexpr std::string_view kName = "\"mod_revision\":";
  const std::size_t at = tail.rfind(kName, tail.rfind('\n'));
  return at == std::string::npos ? 0 : std::strtoull(tail.c_str() + at + kName.size(), nullptr, 10);
}

std::string first_difference(const std::vector<WatchedEvent>& want,
                             const std::vector<WatchedEvent>& seen) {
  for (std::size_t i = 0; i < std::max(want.size(), seen.size()); ++i) {
    if (i < want.size() && i < seen.size() && want[i] == seen[i]) continue;
    return "event " + std::to_string(i + 1) + " is " +
           (i < seen.size() ? text_of(seen[i]) : "missing") + ", but there is " +
           (i < want.size() ? text_of(want[i]) : "none");
  }
  return {};
}

std::string compare_with_history(const std::vector<WatchedEvent>& events,
                                 const lab::History& history) {
  std::map<std::string, const WatchedEvent*> by_value;
  std::map<std::pair<std::uint64_t, std::string>, const WatchedEvent*> by_place;
  for (const WatchedEvent& event : events) {
    by_place[{event.revision, event.key}] = &event;
    if (!event.deleted && !by_value.emplace(event.value, &event).second) {
      return "applied twice: " + text_of(event);
    }
  }
  std::size_t written = 0;
  for (const lab::Operation& op : history) {
    if (op.kind == lab::OpKind::kGet) continue;
    const auto there = by_value.find(op.value);
    const bool is_there = op.kind == lab::OpKind::kPut && there != by_value.end();
    if (is_there) ++written;
    if (is_there && op.outcome == Outcome::kFailed) return "refused, but there: " + describe(op);
    if (!op.acknowledged()) continue;
    if (op.kind == lab::OpKind::kPut) {
      if (!is_there || there->second->revision != op.revision || there->second->key != op.key) {
        return "acknowledged, but not there: " + describe(op);
      }
    } else if (op.previous) {
      const auto place = by_place.find({op.revision, op.key});
      if (place == by_place.end() || !place->second->deleted) {
        return "acknowledged, but not there: " + describe(op);
      }
    }
  }
  if (written != by_value.size()) return "there is something that nobody wrote";
  return {};
}

}  // namespace capstan::soak
