// The bytes of AP messages, in core/coding's varints; net/codec_ap.h wraps them for the wire and
// the engine appends the big two to the log, so a delta is packed once for the disk and every peer.
// Layout: docs/formats-ap.md.
//
// A cell of a slice costs its key and value and about 9 bytes: actors stand once a message and are
// named by index, sequences and milliseconds are differences to the cell before, of the same actor.
//
// Unpacking trusts nothing: lengths, order, sequences and bounds are checked, and what passes is
// well formed in the sense of ap/message.h.
#pragma once

#include <string>

#include "ap/message.h"
#include "core/coding.h"
#include "core/result.h"

namespace capstan::ap {

// Numbers are on the wire; never reuse one.
enum class Kind : std::uint8_t {
  kDelta = 1,
  kBeat = 2,
  kPing = 3,
  kPong = 4,
  kPingFor = 5,
  kSyncRequest = 6,
  kSyncMore = 7,
  kSyncSlice = 8,
  kSyncRefused = 9,
};
Kind kind_of(const Body& body);

// The cached bytes of a delta or slice where there are some.
std::string pack(const Body& body);
// kMalformed. Keeps `bytes` as the `packed` of a delta or slice.
Result<Body> unpack(Kind kind, SharedBytes bytes);

std::string pack_delta(const Delta& delta);
std::string pack_slice(const SyncSlice& slice);
Result<Delta> unpack_delta(SharedBytes bytes);
Result<SyncSlice> unpack_slice(SharedBytes bytes);

void put_actor(std::string& out, const Actor& actor);
Actor read_actor(Reader& in);
void put_dot(std::string& out, const Dot& dot);
Dot read_dot(Reader& in);
void put_vector(std::string& out, const VersionVector& vector);
// Entries must be ascending and not 0; rejects otherwise.
VersionVector read_vector(Reader& in);
void put_ahead(std::string& out, const AheadVectors& ahead);
AheadVectors read_ahead(Reader& in);

// What an envelope adds at most (net/codec_ap.h has a test for it): for counting sync bytes.
inline constexpr std::size_t kEnvelopeBytes = 64;

}  // namespace capstan::ap
