// Bytes in JSON: UTF-8 or base64.
#pragma once

#include <optional>
#include <string>

#include "core/types.h"

namespace capstan::net {

// Well-formed UTF-8, as RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(ByteView bytes);
// The standard alphabet with padding.
std::string base64_encoded(ByteView bytes);
// Both alphabets, padding optional; nullopt for anything else.
std::optional<std::string> base64_decoded(std::string_view text);

// The end of the range of all keys that start with `prefix`; "\0" (all keys from here on) when
// there is none above.
std::string end_of_prefix(ByteView prefix);

}  // namespace capstan::net
