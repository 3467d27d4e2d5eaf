#include "core/wal.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

#include "core/check.h"
#include "core/mutants.h"
#include "core/wal_state.h"

namespace capstan {

namespace {

constexpr std::size_t kSparesMax = 16;  // recycled beyond it are removed

// The text between prefix and suffix as a hexadecimal number.
std::optional<std::uint64_t> number_in(std::string_view name, std::string_view prefix,
                                       std::string_view suffix) {
  if (name.size() <= prefix.size() + suffix.size()) return std::nullopt;
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  name.remove_suffix(suffix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number, 16);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

Status write_zeros(File& file, std::uint64_t from, std::uint64_t to) {
  static const std::string zeros(kFillSlice, '\0');
  while (from < to) {
    const ByteView slice = ByteView(zeros).substr(
        0, static_cast<std::size_t>(std::min<std::uint64_t>(to - from, zeros.size())));
    if (Status written = file.write(from, std::span(&slice, 1)); !written) return written;
    from += slice.size();
  }
  return {};
}

// ---- names --------------------------------------------------------------------------------------

std::string Wal::State::segment_name(std::uint64_t sequence) {
  char text[32];
  std::snprintf(text, sizeof text, "%016llx.wal", static_cast<unsigned long long>(sequence));
  return text;
}
std::string Wal::State::spare_name(std::uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "spare-%llx", static_cast<unsigned long long>(number));
  return text;
}
std::optional<std::uint64_t> Wal::State::segment_number(const std::string& name) {
  return number_in(name, "", ".wal");
}
std::optional<std::uint64_t> Wal::State::spare_number(const std::string& name) {
  return number_in(name, "spare-", "");
}

// ---- segments -----------------------------------------------------------------------------------

Result<std::unique_ptr<File>> Wal::State::take_blank(std::uint64_t bytes, std::string& name) {
  if (bytes == options.segment_bytes && !spares.empty()) {
    name = spare_name(spares.front());
    Result<std::unique_ptr<File>> file = directory.open(name);
    if (file) spares.pop_front();
    return file;
  }
  name = spare_name(next_spare);
  Result<std::unique_ptr<File>> file = directory.create(name);
  if (!file) return file;
  ++next_spare;
  Status zeroed = write_zeros(**file, 0, bytes);
  if (zeroed) zeroed = (*file)->sync();
  if (!zeroed) {
    file->reset();
    if (Status removed = directory.remove(name); !removed) return std::unexpected(removed.error());
    return std::unexpected(zeroed.error());
  }
  return file;
}

Result<std::unique_ptr<File>> Wal::State::make_segment(const wal::SegmentHeader& header,
                                                       ByteView groups) {
  std::string blank;
  Result<std::unique_ptr<File>> file = take_blank(header.segment_bytes, blank);
  if (!file) return file;
  const std::string sector = wal::encode(header);
  const ByteView copy(sector);
  const std::string page = sector + std::string(wal::kPage - sector.size(), '\0');
  const ByteView front[] = {page, groups};
  Status done = (*file)->write(0, front);
  if (done) done = (*file)->write(header.segment_bytes - wal::kSector, std::span(&copy, 1));
  if (done) done = (*file)->sync();
  // Whole before it gets its name: a segment without a good header has rotted, never torn.
  if (done) done = directory.rename(blank, segment_name(header.sequence));
  if (done && !mutants::no_directory_sync) done = directory.sync();
  if (!done) return std::unexpected(done.error());
  return file;
}

void Wal::State::activate(const wal::SegmentHeader& header, std::unique_ptr<File> file,
                          std::size_t at) {
  segments.push_back({header.sequence, header.first_group, header.segment_bytes});
  active = std::move(file);
  offset = at;
  salt = header.salt;
}

Status Wal::State::roll(std::size_t group_bytes) {
  // What the next header says about this segment's last group must be true of the disk.
  if (durable < last_group) {
    if (Status synced = active->sync(); !synced) {
      failed = true;
      return synced;
    }
    durable = last_group;
  }
  const std::size_t needed =
      (group_bytes + wal::kSegmentOverhead + wal::kPage - 1) / wal::kPage * wal::kPage;
  const wal::SegmentHeader header{
      .cluster = options.cluster,
      .node = options.node,
      .sequence = segments.back().sequence + 1,
      .salt = salts.next(),
      .segment_bytes = std::max(options.segment_bytes, needed),
      .first_group = last_group + 1,
      .previous = digest,
      .gap_from = 0,
      .gap_why = {},
  };
  Result<std::unique_ptr<File>> file = make_segment(header, {});
  if (!file) {
    if (file.error().code != ErrorCode::kNoSpace) failed = true;
    return std::unexpected(file.error());
  }
  activate(header, *std::move(file), wal::kPage);
  return {};
}

// ---- appending ----------------------------------------------------------------------------------

Wal::Wal(std::unique_ptr<State> state) : state_(std::move(state)) {}
Wal::~Wal() = default;

Result<bool> Wal::exists(Directory& directory) {
  const Result<std::vector<std::string>> names = directory.list();
  if (!names) return std::unexpected(names.error());
  return std::ranges::any_of(
      *names, [](const auto& name) { return State::segment_number(name).has_value(); });
}

std::size_t Wal::record_bytes(const Record& record) { return wal::encoded_bytes(record); }

Result<std::uint64_t> Wal::append(std::span<const Record> records) {
  CAPSTAN_ASSERT(!records.empty());
  Result<std::uint64_t> appended = state_->append_group(records);
  if (appended) state_->sealed = false;
  return appended;
}

Result<std::uint64_t> Wal::State::append_group(std::span<const Record> records) {
  CAPSTAN_ASSERT(!failed);
  buffer.assign(wal::kGroupHeaderBytes, '\0');
  for (const Record& record : records) wal::append_record(buffer, record);
  if (buffer.size() > kWalGroupBytesMax) return fail(ErrorCode::kTooLarge, "wal group");
  const std::size_t bytes = (buffer.size() + wal::kSector - 1) / wal::kSector * wal::kSector;
  if (offset + bytes > groups_end()) {
    if (Status rolled = roll(bytes); !rolled) return std::unexpected(rolled.error());
  }
  const wal::GroupFields fields{
      .number = last_group + 1,
      .durable = durable,
      .records = static_cast<std::uint32_t>(records.size()),
      .previous = digest,
  };
  const Hash128 group_digest = wal::finish_group(buffer, fields, salt);
  CAPSTAN_ASSERT(buffer.size() == bytes && offset + bytes <= groups_end());
  const ByteView part(buffer);
  if (Status written = active->write(offset, std::span(&part, 1)); !written) {
    if (written.error().code != ErrorCode::kNoSpace) failed = true;
    return std::unexpected(written.error());
  }
  offset += bytes;
  digest = group_digest;
  return ++last_group;
}

Status Wal::sync() {
  CAPSTAN_ASSERT(!state_->failed);
  if (state_->durable == state_->last_group) return {};
  if (Status synced = state_->active->sync(); !synced && !mutants::sync_error_ignored) {
    state_->failed = true;
    return synced;
  }
  state_->durable = state_->last_group;
  return {};
}

Status Wal::seal() {
  if (Status synced = sync(); !synced) return synced;
  if (state_->sealed) return {};
  if (Result<std::uint64_t> group = state_->append_group({}); !group) {
    return std::unexpected(group.error());
  }
  state_->sealed = true;
  return sync();
}

// ---- space --------------------------------------------------------------------------------------

Status Wal::release(std::uint64_t position) {
  State& s = *state_;
  CAPSTAN_ASSERT(!s.failed);
  bool changed = false;
  while (s.segments.size() > 1 && s.segments[1].first_group <= position) {
    const State::Segment& oldest = s.segments.front();
    const std::string name = State::segment_name(oldest.sequence);
    const bool reusable =
        oldest.file_bytes == s.options.segment_bytes && s.spares.size() < kSparesMax;
    const Status gone = reusable ? s.directory.rename(name, State::spare_name(s.next_spare))
                                 : s.directory.remove(name);
    if (!gone) return gone;
    if (reusable) s.spares.push_back(s.next_spare++);
    s.segments.pop_front();
    changed = true;
  }
  // Before a spare is written over: under its old name it would look like rot.
  return changed ? s.directory.sync() : Status();
}

Result<Wal::Spares> Wal::prepare_spares(std::size_t count) {
  State& s = *state_;
  CAPSTAN_ASSERT(!s.failed);
  if (s.spares.size() >= count) return Spares::kReady;
  if (s.filling == nullptr) {
    Result<std::unique_ptr<File>> file = s.directory.create(State::kFillingName);
    if (!file && file.error().code == ErrorCode::kNoSpace) return Spares::kNoSpace;
    if (!file) return std::unexpected(file.error());
    s.filling = *std::move(file);
    s.filled = 0;
  }
  const std::uint64_t to = std::min<std::uint64_t>(s.filled + kFillSlice, s.options.segment_bytes);
  Status done = write_zeros(*s.filling, s.filled, to);
  // Each slice is synced, so that no later sync of the log has to wait for 64 MiB of zeros.
  if (done) done = s.filling->sync();
  if (done && to == s.options.segment_bytes) {
    s.filling = nullptr;
    done = s.directory.rename(State::kFillingName, State::spare_name(s.next_spare));
    if (done) s.spares.push_back(s.next_spare++);
  }
  if (done) {
    s.filled = to;
    return s.spares.size() >= count ? Spares::kReady : Spares::kFilling;
  }
  if (done.error().code != ErrorCode::kNoSpace) return std::unexpected(done.error());
  s.filling = nullptr;
  if (Status removed = s.directory.remove(State::kFillingName); !removed) {
    return std::unexpected(removed.error());
  }
  return Spares::kNoSpace;
}

std::size_t Wal::spares() const { return state_->spares.size(); }
std::uint64_t Wal::position() const { return state_->last_group; }
std::uint64_t Wal::bytes() const {
  std::uint64_t bytes = 0;
  for (const State::Segment& segment : state_->segments) bytes += segment.file_bytes;
  return bytes;
}

}  // namespace capstan
