// The parts of a reply that every protocol writes as text: `capstan-*` metadata, HTTP headers,
// JSON.
#pragma once

#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "core/request.h"
#include "net/handler.h"

namespace capstan::net {

// A short text on the stack.
class SmallText {
 public:
  void number(std::int64_t value) {
    end_ = std::to_chars(end_, text_.data() + text_.size(), value).ptr;
  }
  void letter(char c) {
    if (end_ != text_.data() + text_.size()) *end_++ = c;
  }
  std::string_view view() const {
    return {text_.data(), static_cast<std::size_t>(end_ - text_.data())};
  }

 private:
  std::array<char, 48> text_;
  char* end_ = text_.data();
};

// "n1:3:17"; empty for the id of nothing.
std::string write_id_text(const WriteId& id, const Handler& handler);

struct ReplyText {
  ReplyText(const Reply& reply, bool writes, const Handler& handler);
  std::string write_id;  // empty for reads
  SmallText replicas;    // "2/3"
  SmallText epoch;
  SmallText age;  // microseconds
};

}  // namespace capstan::net
