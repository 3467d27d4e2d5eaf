// How results look: signs and colours on a terminal that has them, plain words everywhere else.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/request.h"
#include "core/time.h"

namespace capstan::node {

// One output stream and what it can show. Each stream asks for itself.
struct Ink {
  bool colour = false;
  bool utf8 = false;
  bool terminal = false;
};
// NO_COLOR, CAPSTAN_NO_COLOR, TERM=dumb and --no-color turn colour off.
Ink ink_of(int descriptor, bool no_color);

// "● ", "◐ ", "× ", "? ", coloured; empty when the stream is not a terminal.
std::string outcome_sign(Outcome outcome, const Ink& ink);

// "0.4 ms", "4.1 s", "2 min 5 s".
std::string duration_text(Micros t);
// "n2 and n3", "n2, n3 and n4".
std::string listed(const std::vector<std::string>& names);

// A line of stdin; from a terminal without showing it, after `prompt`.
std::string read_secret(const std::string& prompt);

// A word, or 'quoted with \x1b escapes' where it would disturb a terminal.
std::string printable(std::string_view bytes);

}  // namespace capstan::node
