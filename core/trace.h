// Diagnostics for people: lines of UTC time, level, a stable event name, text and key=value fields.
// (A "log" here is Raft's; this is the trace.) trace.cc alone names spdlog.
//
//     trace(Level::kInfo, "quorum_lost", "n1 lost its quorum", {{"missing", "n2,n3"}});
//
// No keys or values of users at info or above. Lines go to stderr; a test or the simulator may
// install a sink of its own.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace capstan {

enum class Level { kDebug, kInfo, kWarn, kError, kOff };

struct TraceField {
  std::string_view name;
  std::string value;
};

void trace(Level level, std::string_view event, std::string_view text,
           std::initializer_list<TraceField> fields = {});

bool trace_enabled(Level level);
void set_trace_level(Level level);
enum class TraceFormat { kText, kJson };
void set_trace_format(TraceFormat format);
// Replaces stderr; nullptr restores it.
void set_trace_sink(std::function<void(std::string_view line)> sink);

}  // namespace capstan
