#include "node/terminal.h"

#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace capstan::node {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string{} : std::string{value};
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = environment(name);
    if (value.empty()) continue;
    return value.find("UTF-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

struct Sign {
  const char *shape, *ascii, *colour;
};
Sign sign_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return {"●", "o", "34"};
    case Outcome::kOkLocal:
      return {"◐", "~", "36"};
    case Outcome::kFailed:
      return {"×", "x", "35"};
    case Outcome::kUnknown:
      return {"?", "?", "33"};
  }
  return {"?", "?", "33"};
}

}  // namespace

Ink ink_of(int descriptor, bool no_color) {
  Ink ink;
  ink.terminal = isatty(descriptor) == 1;
  ink.utf8 = locale_is_utf8();
  ink.colour = ink.terminal && !no_color && environment("NO_COLOR").empty() &&
               environment("CAPSTAN_NO_COLOR").empty() && environment("TERM") != "dumb";
  return ink;
}

std::string outcome_sign(Outcome outcome, const Ink& ink) {
  if (!ink.terminal) return {};
  const Sign sign = sign_of(outcome);
  const std::string shape = ink.utf8 ? sign.shape : sign.ascii;
  if (!ink.colour) return shape + " ";
  return "\x1b[" + std::string(sign.colour) + "m" + shape + "\x1b[0m ";
}

std::string duration_text(Micros t) {
  if (t < 0) return "an unknown time";
  const auto tenths = [](Micros value, Micros unit) {
    const std::int64_t n = (value * 10 + unit / 2) / unit;
    return std::to_string(n / 10) + "." + std::to_string(n % 10);
  };
  if (t < 100 * kMillisecond) return tenths(t, kMillisecond) + " ms";
  if (t < 120 * kSecond) return tenths(t, kSecond) + " s";
  const std::int64_t seconds = t / kSecond;
  return std::to_string(seconds / 60) + " min " + std::to_string(seconds % 60) + " s";
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += i + 1 == names.size() ? " and " : ", ";
    out += names[i];
  }
  return out;
}

std::string read_secret(const std::string& prompt) {
  termios shown{};
  const bool terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
  if (terminal) {
    std::cerr << prompt << std::flush;
    termios hidden = shown;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
  }
  std::string line;
  std::getline(std::cin, line);
  if (terminal) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    std::cerr << '\n';
  }
  return line;
}

std::string printable(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace capstan::node
