// What is said across the line between a port with TLS and one without, where a mistake in a URL is
// all that is wrong.
#pragma once

#include <string>
#include <string_view>

#include "core/types.h"

namespace capstan::net {

// The sentence for who speaks plaintext to a client port with TLS.
inline constexpr std::string_view kTlsPortText =
    "this is a TLS port, and what came is not encrypted: use https://";

// The whole answer to that, in the protocol the first bytes belong to: HTTP/1.1 400, or HTTP/2
// GOAWAY with the sentence as its debug data. Empty: neither.
std::string plaintext_answer(ByteView first);

// True if these first bytes of a connection are a TLS ClientHello.
bool is_tls_hello(ByteView first);
// The answer to it where there is no TLS: an alert, so that the caller does not wait.
std::string tls_refusal_alert();

}  // namespace capstan::net
