#include "core/trace.h"

#include <spdlog/fmt/chrono.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cctype>
#include <chrono>
#include <mutex>

namespace capstan {

namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<TraceFormat> g_format{TraceFormat::kText};
std::mutex g_mutex;  // of g_sink
std::function<void(std::string_view)> g_sink;

spdlog::logger& standard_error() {
  static spdlog::logger logger = [] {
    spdlog::logger made("capstan", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.set_pattern("%v");
    made.set_level(spdlog::level::trace);
    made.flush_on(spdlog::level::trace);
    return made;
  }();
  return logger;
}

std::string_view word(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarn:
      return "warn";
    case Level::kError:
      return "error";
    case Level::kOff:
      return "off";
  }
  return "";
}

std::string utc_now() {
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  return fmt::format("{:%FT%T}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)),
                     (now - seconds).count());
}

// As a JSON string or a quoted text value: the two agree on what needs a backslash.
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out += '"';
}

// Bare when one word can be told from the next.
std::string plain(std::string_view text) {
  const bool bare = !text.empty() && text.find_first_of(" \"\\=\n\t\r") == std::string_view::npos;
  return bare ? std::string(text) : in_quotes(text);
}

std::string text_line(Level level, std::string_view event, std::string_view text,
                      std::initializer_list<TraceField> fields) {
  std::string line = fmt::format("{} {:<5} {}", utc_now(), word(level), event);
  if (!text.empty()) line += fmt::format("  {}", text);
  for (const TraceField& field : fields)
    line += fmt::format("  {}={}", field.name, plain(field.value));
  return line;
}

std::string json_line(Level level, std::string_view event, std::string_view text,
                      std::initializer_list<TraceField> fields) {
  std::string line = fmt::format(R"({{"time":"{}","level":"{}","event":{},"text":{})", utc_now(),
                                 word(level), in_quotes(event), in_quotes(text));
  for (const TraceField& field : fields) {
    line += fmt::format(",{}:{}", in_quotes(field.name), in_quotes(field.value));
  }
  return line += '}';
}

}  // namespace

void trace(Level level, std::string_view event, std::string_view text,
           std::initializer_list<TraceField> fields) {
  if (!trace_enabled(level)) return;
  const std::string line = g_format == TraceFormat::kJson ? json_line(level, event, text, fields)
                                                          : text_line(level, event, text, fields);
  const std::scoped_lock lock(g_mutex);
  if (g_sink) {
    g_sink(line);
  } else {
    standard_error().log(spdlog::level::info, line);
  }
}

bool trace_enabled(Level level) { return level != Level::kOff && level >= g_level; }
void set_trace_level(Level level) { g_level = level; }
void set_trace_format(TraceFormat format) { g_format = format; }
void set_trace_sink(std::function<void(std::string_view line)> sink) {
  const std::scoped_lock lock(g_mutex);
  g_sink = std::move(sink);
}

}  // namespace capstan
