#include "cp/token.h"

#include <sodium.h>

#include <utility>

#include "core/check.h"
#include "core/coding.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kMacBytes = 16;
constexpr std::size_t kTokenTextMax = 1024;
constexpr std::size_t kSeenMax = 65'536;  // then the old ones are looked for
constexpr int kBase64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

const unsigned char* bytes_of(ByteView view) {
  return reinterpret_cast<const unsigned char*>(view.data());
}

}  // namespace

std::string Tokens::mac(const std::string& key, ByteView bytes) const {
  std::string signed_bytes;
  put_u64(signed_bytes, cluster_.value);
  signed_bytes += bytes;
  std::string out(kMacBytes, '\0');
  const int failed =
      crypto_generichash(reinterpret_cast<unsigned char*>(out.data()), out.size(),
                         bytes_of(signed_bytes), signed_bytes.size(), bytes_of(key), key.size());
  CAPSTAN_ASSERT(failed == 0);
  return out;
}

std::string Tokens::issue(const std::string& key, const Principal& who, Now now,
                          std::uint64_t nonce) const {
  std::string bytes;
  put_u8(bytes, kFormat);
  put_varint(bytes, who.since);
  put_varint(bytes, static_cast<std::uint64_t>(now.wall / kMillisecond));
  put_u64(bytes, nonce);
  put_bytes(bytes, who.name);
  bytes += mac(key, bytes);
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), kBase64), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes_of(bytes), bytes.size(), kBase64);
  text.pop_back();  // the end it writes
  return text;
}

std::optional<Principal> Tokens::check(const std::string& key, const std::string& token, Now now) {
  if (key_ != key) {
    seen_.clear();
    key_ = key;
  }
  const auto seen = seen_.find(token);
  if (seen != seen_.end() && now.monotonic - seen->second.at < ttl_) {
    seen->second.at = now.monotonic;
    return seen->second.who;
  }
  if (key.empty() || token.size() > kTokenTextMax) return std::nullopt;
  std::string bytes(token.size(), '\0');
  std::size_t size = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), token.data(),
                        token.size(), nullptr, &size, nullptr, kBase64) != 0 ||
      size <= kMacBytes) {
    return std::nullopt;
  }
  bytes.resize(size);
  const ByteView said = ByteView(bytes).substr(0, size - kMacBytes);
  const std::string good = mac(key, said);
  if (sodium_memcmp(good.data(), bytes.data() + said.size(), kMacBytes) != 0) return std::nullopt;
  Reader in(said);
  const std::uint8_t format = in.u8();
  Principal who;
  who.since = in.varint();
  const Micros issued = static_cast<Micros>(in.varint()) * kMillisecond;
  in.u64();
  who.name = in.bytes();
  if (!in.done() || format != kFormat || who.name.empty()) return std::nullopt;
  if (now.wall - issued >= ttl_) return std::nullopt;
  if (seen_.size() >= kSeenMax) forget_old(now.monotonic);
  seen_[token] = {who, now.monotonic};
  return who;
}

// Where all are in use still, all are: each proves itself again while it is young, and logs in
// again when it is not.
void Tokens::forget_old(Micros now) {
  std::erase_if(seen_, [&](const auto& row) { return now - row.second.at >= ttl_; });
  if (seen_.size() >= kSeenMax) seen_.clear();
}

}  // namespace capstan::cp
