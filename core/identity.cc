#include "core/identity.h"

#include <span>

#include "core/coding.h"
#include "core/hash.h"

namespace capstan {

namespace {

//   magic (8)  version (4)  mode (1)  cluster (8)  node (8)  incarnation (4)  name: varint size,
//   bytes  member (8)  token hash (8)  checksum: XXH3-64 of all before it (8)
constexpr ByteView kMagic = "capstanI";
constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kVersionOfNames = 1;  // ends with the name
constexpr std::size_t kBytesMax = 4096;
constexpr const char* kName = "identity";
constexpr const char* kTemporary = "identity.tmp";

std::string encoded(const Identity& identity) {
  std::string out(kMagic);
  put_u32(out, kVersion);
  put_u8(out, static_cast<std::uint8_t>(identity.mode));
  put_u64(out, identity.cluster.value);
  put_u64(out, identity.node.value);
  put_u32(out, identity.incarnation);
  put_bytes(out, identity.name);
  put_u64(out, identity.member.value);
  put_u64(out, identity.token_hash);
  put_u64(out, xxh3(out));
  return out;
}

Result<Identity> decoded(ByteView bytes) {
  const auto rotten = [] { return fail(ErrorCode::kCorrupt, "identity: checksum"); };
  if (bytes.size() < kMagic.size() + sizeof(std::uint64_t) || !bytes.starts_with(kMagic)) {
    return rotten();
  }
  const ByteView covered = bytes.substr(0, bytes.size() - sizeof(std::uint64_t));
  if (Reader(bytes.substr(covered.size())).u64() != xxh3(covered)) return rotten();
  Reader reader(covered.substr(kMagic.size()));
  // The checksum is the last word in every version, so a newer number is not rot.
  const std::uint32_t version = reader.u32();
  if (version > kVersion) {
    return fail(ErrorCode::kMismatch, "identity: format " + std::to_string(version) +
                                          ", this build reads up to " + std::to_string(kVersion));
  }
  Identity identity;
  const std::uint8_t mode = reader.u8();
  if (mode != static_cast<std::uint8_t>(Mode::kCp) &&
      mode != static_cast<std::uint8_t>(Mode::kAp)) {
    return fail(ErrorCode::kMismatch,
                "identity: mode " + std::to_string(mode) +
                    ", this build knows cp (1) and ap (2): was the directory "
                    "written by a newer one? Use that, or another --data-dir");
  }
  identity.mode = static_cast<Mode>(mode);
  identity.cluster = {reader.u64()};
  identity.node = {reader.u64()};
  identity.incarnation = reader.u32();
  identity.name = reader.bytes();
  if (version != kVersionOfNames) {
    identity.member = {reader.u64()};
    identity.token_hash = reader.u64();
  }
  if (!reader.done()) return rotten();
  return identity;
}

}  // namespace

Result<Identity> load_identity(Directory& directory) {
  Result<std::unique_ptr<File>> file = directory.open(kName);
  if (!file) return std::unexpected(file.error());
  const Result<std::string> bytes = (*file)->read(0, kBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  return decoded(*bytes);
}

Status store_identity(Directory& directory, const Identity& identity) {
  // A temporary file that an interrupted start left is of no use.
  if (Status removed = directory.remove(kTemporary);
      !removed && removed.error().code != ErrorCode::kNotFound) {
    return removed;
  }
  Result<std::unique_ptr<File>> file = directory.create(kTemporary);
  if (!file) return std::unexpected(file.error());
  const std::string bytes = encoded(identity);
  const ByteView part(bytes);
  Status done = (*file)->write(0, std::span(&part, 1));
  if (done) done = (*file)->sync();
  if (done) done = directory.rename(kTemporary, kName);
  if (done) done = directory.sync();
  return done;
}

Status check_identity(const Identity& have, const IdentityWanted& want, const std::string& path) {
  const auto mismatch = [&](const std::string& what) {
    return fail(ErrorCode::kMismatch,
                "the data directory " + path + " " + what +
                    "; start it with that configuration, or give this node another --data-dir");
  };
  if (have.mode != want.mode) {
    return mismatch("was written by a node in --mode=" + std::string(to_text(have.mode)) +
                    ", this one is started with --mode=" + std::string(to_text(want.mode)));
  }
  if (have.name != want.name) {
    return mismatch("belongs to the member named " + have.name + ", this one is named " +
                    want.name);
  }
  if (have.member && have.token_hash != want.token_hash) {
    return mismatch("was made with another cluster token than the one given");
  }
  const bool list_holds = have.mode == Mode::kAp || !have.member;
  if (list_holds && have.cluster != want.cluster) {
    const std::string list = want.cluster_text.empty() ? "" : " (" + want.cluster_text + ")";
    return mismatch(
        "belongs to another cluster: its token or member list differs from the one given" + list);
  }
  return {};
}

}  // namespace capstan
