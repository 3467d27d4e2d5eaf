#include "core/trace.h"

#include <doctest/doctest.h>

#include <vector>

namespace capstan {
namespace {

struct Captured {
  std::vector<std::string> lines;
  Captured() {
    set_trace_sink([this](std::string_view line) { lines.emplace_back(line); });
  }
  ~Captured() {
    set_trace_sink(nullptr);
    set_trace_level(Level::kInfo);
    set_trace_format(TraceFormat::kText);
  }
};

TEST_CASE("trace: a line has time, level, event, text and fields that can be told apart") {
  Captured captured;
  trace(Level::kWarn, "quorum_lost", "n1 lost its quorum",
        {{"missing", "n2,n3"}, {"why", "a b\"c"}});
  REQUIRE(captured.lines.size() == 1);
  const std::string& line = captured.lines[0];
  CHECK(line.size() > 25);
  CHECK(line[10] == 'T');
  CHECK(line[23] == 'Z');
  CHECK(line.substr(24) ==
        " warn  quorum_lost  n1 lost its quorum  missing=n2,n3  why=\"a b\\\"c\"");
}

TEST_CASE("trace: as JSON, whatever is in a field stays inside its string") {
  Captured captured;
  set_trace_format(TraceFormat::kJson);
  trace(Level::kInfo, "e", "t\n", {{"f", std::string("\"}\x01", 3)}});
  REQUIRE(captured.lines.size() == 1);
  CHECK(captured.lines[0].ends_with(R"("level":"info","event":"e","text":"t\n","f":"\"}\u0001"})"));
}

TEST_CASE("trace: below the level nothing is said") {
  Captured captured;
  set_trace_level(Level::kError);
  CHECK(!trace_enabled(Level::kWarn));
  trace(Level::kWarn, "quiet", "");
  CHECK(captured.lines.empty());
  trace(Level::kError, "loud", "");
  CHECK(captured.lines.size() == 1);
}

}  // namespace
}  // namespace capstan
