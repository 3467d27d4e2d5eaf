// Streams that are encrypted: between what the kernel takes and gives, and what the owner does.
#include <algorithm>
#include <utility>

#include "net/uv_tcp_state.h"

namespace capstan::net {

namespace {

constexpr std::size_t kRecordBytes = 16 * 1024;      // of plain bytes, at most, in one record
constexpr std::size_t kEncryptedBytes = 256 * 1024;  // ready for the kernel, about
constexpr std::size_t kPlainBufferBytes = 128 * 1024;

// A TLS connection begins with a handshake record; the dialled side may answer with an alert.
bool begins_tls(char first, bool dialled) { return first == 0x16 || (dialled && first == 0x15); }

}  // namespace

// The connection stands.
void TcpStream::State::begin_tls() {
  tls->session = tls->host.empty() ? TlsSession::accept(tls->context)
                                   : TlsSession::connect(tls->context, tls->host);
  const Micros limit = tls->context->options().handshake_timeout;
  tls->deadline = std::make_unique<Timer>(owner_loop);
  tls->deadline->start(limit, [this, limit] {
    fail_tls(CloseReason::kNoTls,
             "the handshake did not end within " + std::to_string(limit / kMillisecond) + " ms");
  });
  if (tls->host.empty()) return;
  tls->session->advance();
  want_flush();
}

// ---- Reading ------------------------------------------------------------------------------------

void TcpStream::State::read_tls(ByteView wire) {
  if (!std::exchange(tls->heard, true) && !begins_tls(wire.front(), !tls->host.empty())) {
    if (tls->host.empty()) return refuse_plaintext(wire);
    return fail_tls(CloseReason::kPlaintext, "it answers without TLS");
  }
  tls->session->feed(wire);
  deliver_tls();
}

// Everything that came before the end, then the end. Who ends without saying so may not be the one
// who spoke: a reply could lack its tail.
void TcpStream::State::end_tls(CloseReason why, const std::string& text) {
  deliver_tls();
  if (phase != Phase::kOpen || events == nullptr) return;
  if (tls->handshaking) {
    const bool dialled = !tls->host.empty();
    return fail(dialled ? CloseReason::kCannotConnect : CloseReason::kReset,
                (dialled ? target : remote) + " left during the TLS handshake");
  }
  fail(why == CloseReason::kEnd ? CloseReason::kReset : why, text);
}

// Decrypts what was fed and hands it over, as far as the owner wants it.
void TcpStream::State::deliver_tls() {
  if (phase != Phase::kOpen || events == nullptr || paused) {
    if (tls->session) tls->session->keep();
    return;
  }
  if (tls->handshaking && !advance_tls()) return;
  std::vector<char>& buffer = loop.plain_buffer;
  buffer.resize(kPlainBufferBytes);
  TlsSession& session = *tls->session;
  while (phase == Phase::kOpen && events != nullptr && !paused) {
    std::size_t size = 0;
    while (buffer.size() - size >= kRecordBytes) {
      const std::size_t more = session.read(buffer.data() + size, buffer.size() - size);
      if (more == 0) break;
      size += more;
    }
    if (size == 0) break;
    tls->decrypted = true;
    events->on_bytes({buffer.data(), size});
  }
  session.keep();
  want_flush();  // reading may have answered: an alert, a new key
  if (phase != Phase::kOpen || events == nullptr) return;
  if (session.stage() == TlsSession::Stage::kEnded) {
    fail(CloseReason::kEnd, remote + " closed the connection");
  } else if (session.stage() == TlsSession::Stage::kFailed) {
    const bool unseen = session.refused() && !tls->decrypted;
    fail_tls(unseen ? CloseReason::kNoTls : CloseReason::kReset, session.why());
  }
}

// True once the handshake is done and the owner knows.
bool TcpStream::State::advance_tls() {
  const TlsSession::Stage stage = tls->session->advance();
  if (stage == TlsSession::Stage::kFailed) {
    fail_tls(CloseReason::kNoTls, tls->session->why());
    return false;
  }
  if (stage == TlsSession::Stage::kHandshake) {
    if (counts.bytes_in > kTlsHandshakeBytesMax) {
      fail_tls(CloseReason::kNoTls, "its handshake is too large");
      return false;
    }
    tls->session->keep();
    want_flush();
    return false;
  }
  tls->handshaking = false;
  tls->deadline->cancel();
  if (!tls->host.empty()) events->on_connect();
  if (phase != Phase::kOpen) return false;
  if (finish_wanted) phase = Phase::kFinishing;
  want_flush();
  return phase == Phase::kOpen;
}

// ---- Writing ------------------------------------------------------------------------------------

// Moves plain bytes to the queue, until enough is ready for the kernel. Small pieces share a
// record.
void TcpStream::State::encrypt() {
  TlsLayer& t = *tls;
  if (!t.session) return;
  std::string joined;
  while (!t.handshaking && !t.plain.empty() && queued - t.plain_bytes < kEncryptedBytes) {
    ByteView next = t.plain.front().view().substr(t.plain_offset);
    if (next.size() < kRecordBytes && t.plain.size() > 1) {
      joined.clear();
      std::size_t from = t.plain_offset;
      for (const Piece& piece : t.plain) {
        joined.append(piece.view().substr(from, kRecordBytes - joined.size()));
        from = 0;
        if (joined.size() == kRecordBytes) break;
      }
      next = joined;
    }
    next = next.substr(0, kRecordBytes);
    if (!t.session->write(next)) {
      return fail_later(CloseReason::kError, "write to " + remote + ": " + t.session->why());
    }
    t.plain_bytes -= next.size();
    queued -= next.size();
    t.plain_offset += next.size();
    while (!t.plain.empty() && t.plain_offset >= t.plain.front().view().size()) {
      t.plain_offset -= t.plain.front().view().size();
      t.plain.pop_front();
    }
    std::string wire = t.session->take_wire();
    queued += wire.size();
    queue.push_back({std::move(wire)});
  }
  if (t.plain.empty() && phase == Phase::kFinishing && !std::exchange(t.said_close, true)) {
    t.session->close();
  }
  if (std::string wire = t.session->take_wire(); !wire.empty()) {
    queued += wire.size();
    queue.push_back({std::move(wire)});
  }
}

bool TcpStream::State::unsent() const {
  return !queue.empty() ||
         (tls && (!tls->plain.empty() || (phase == Phase::kFinishing && !tls->said_close)));
}

// ---- Ends ---------------------------------------------------------------------------------------

// The owner may still say why, in plaintext.
void TcpStream::State::refuse_plaintext(ByteView bytes) {
  tls->deadline->cancel();
  queued -= tls->plain_bytes;
  tls.reset();
  events->on_plaintext(bytes);
  if (phase != Phase::kOpen || events == nullptr) return;
  phase = Phase::kFinishing;
  finish_wanted = true;
  if (queue.empty()) {
    shut_down();
  } else {
    want_flush();
  }
}

// Within a turn. The other side is told by an alert, if it takes it at once.
void TcpStream::State::fail_tls(CloseReason why, const std::string& clause) {
  const std::string text = (why == CloseReason::kReset ? "TLS with " : "no TLS with ") +
                           (tls->host.empty() ? remote : target) + ": " + clause;
  std::string alert = tls->session->take_wire();
  StreamEvents* const to = std::exchange(events, nullptr);
  if (in_flight > 0 || alert.empty()) {
    close(false);
  } else {
    tls->deadline->cancel();
    tls.reset();
    queue.clear();
    offset = 0;
    queued = alert.size();
    queue.push_back({std::move(alert)});
    phase = Phase::kFinishing;
    flush();
  }
  if (to != nullptr) to->on_close(why, text);
}

}  // namespace capstan::net
