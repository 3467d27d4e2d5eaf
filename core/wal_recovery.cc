// Opening the log: read it from the disk, tell torn from rotten, go on in a fresh file.
//
// The table of docs/formats.md, in the order the code meets it:
//
//   no good header                    rot, or a lost file: impaired from the group that should
//   follow group g bad, and a later header   g was durable once: impaired from g
//     says that g was durable
//   group g bad, nothing says so      g was never acknowledged: cut
//   a gap an earlier start left       impaired from the gap, until it is released
//
// What was read may be in the disk's cache only (a process that died between write and sync), so
// the last segment is copied into a fresh file with a new salt and synced before it counts.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/mutants.h"
#include "core/wal_state.h"

namespace capstan {

namespace {

// How far the numbers of a gap jump, past any number that rot may have hidden.
constexpr std::uint64_t kGapJump = 1u << 20;

class Recoverer {
 public:
  Recoverer(Wal::Recovery& out, const WalOptions& options) : out_(out), options_(options) {}

  struct OnDisk {
    std::string name;
    std::uint64_t sequence = 0;
    std::optional<wal::SegmentHeader> header;
    std::uint64_t file_bytes = 0;
  };

  Status read(Directory& directory, std::vector<OnDisk> segments) {
    segments_ = std::move(segments);
    for (OnDisk& segment : segments_) {
      if (Status ok = read_header(directory, segment); !ok) return ok;
    }
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      if (Status ok = read_segment(directory, i); !ok) return ok;
    }
    return {};
  }

  bool ends_in_gap() const { return in_gap_; }
  bool can_start_in_place() const {
    return !in_gap_ && !segments_.empty() &&
           segments_.back().file_bytes == segments_.back().header->segment_bytes;
  }

  // The segments as the log goes on with them. One without a good header is kept as long as the one
  // behind it.
  std::deque<Wal::State::Segment> live() const {
    std::deque<Wal::State::Segment> live;
    std::uint64_t first_group = ~0ull;
    for (auto it = segments_.rbegin(); it != segments_.rend(); ++it) {
      if (it->header) first_group = it->header->first_group;
      live.push_front({it->sequence, first_group, it->file_bytes});
    }
    return live;
  }

  // The segment that appends go to, and what it holds already.
  struct Start {
    wal::SegmentHeader header;
    std::string groups;
    std::uint64_t last_group = 0;
    Hash128 digest;
    bool sealed = true;
  };
  // The last segment as it is, where there is no room for a copy.
  Start start_in_place() const {
    Start start{.header = *segments_.back().header,
                .groups = image_.substr(wal::kPage, end_of_chain_ - wal::kPage),
                .last_group = next_ - 1,
                .digest = digest_,
                .sealed = chained_.empty() || chained_.back().records == 0};
    return start;
  }
  Start start(std::uint64_t salt) const {
    Start start;
    start.header = {.cluster = options_.cluster,
                    .node = options_.node,
                    .sequence = segments_.empty() ? 1 : segments_.back().sequence + 1,
                    .salt = salt,
                    .segment_bytes = options_.segment_bytes,
                    .first_group = 1,
                    .previous = {},
                    .gap_from = 0,
                    .gap_why = {}};
    if (in_gap_) {
      start.header.first_group = highest_ + 1 + kGapJump;
      start.header.gap_from = out_.impaired->last_position;
      start.header.gap_why = out_.impaired->why;
    } else if (!segments_.empty()) {
      start.header = *segments_.back().header;
      start.header.salt = salt;
    }
    start.last_group = start.header.first_group - 1;
    start.digest = start.header.previous;
    copy_groups(start);
    return start;
  }

 private:
  // The last segment's groups again, under the new salt, and a seal if the last one is not empty.
  void copy_groups(Start& start) const {
    std::string buffer;
    const auto add = [&](ByteView body, std::uint32_t records) {
      buffer.assign(wal::kGroupHeaderBytes, '\0');
      buffer.append(body);
      const wal::GroupFields fields{.number = start.last_group + 1,
                                    .durable = start.last_group,
                                    .records = records,
                                    .previous = start.digest};
      start.digest = wal::finish_group(buffer, fields, start.header.salt);
      start.groups += buffer;
      ++start.last_group;
      start.sealed = records == 0;
    };
    if (in_gap_) return;
    for (const wal::Group& group : chained_) add(group.body, group.records);
    const auto room = static_cast<std::size_t>(start.header.segment_bytes) - wal::kSegmentOverhead;
    if (!start.sealed && start.groups.size() + wal::kSector <= room) add({}, 0);
    CAPSTAN_ASSERT(start.groups.size() <= room);
  }

  void damage(std::string why) {
    if (!in_gap_) gap(next_, std::move(why));
    in_gap_ = true;
  }

  void gap(std::uint64_t from, std::string why) {
    if (!out_.impaired) out_.impaired = {.position = from, .last_position = from, .why = {}};
    out_.impaired->last_position = from;
    out_.impaired->why = std::move(why);
  }

  Status read_header(Directory& directory, OnDisk& segment) {
    Result<std::unique_ptr<File>> file = directory.open(segment.name);
    if (!file) return std::unexpected(file.error());
    const Result<std::uint64_t> size = (*file)->size();
    if (!size) return std::unexpected(size.error());
    segment.file_bytes = *size;
    std::vector<std::uint64_t> places = {0};
    if (*size >= wal::kSegmentOverhead) places.push_back(*size - wal::kSector);
    for (const std::uint64_t place : places) {
      const Result<std::string> sector = (*file)->read_uncached(place, wal::kSector);
      if (!sector) return std::unexpected(sector.error());
      Result<wal::SegmentHeader> header = wal::decode_segment_header(*sector);
      if (!header && header.error().code == ErrorCode::kMismatch) {
        return fail(ErrorCode::kMismatch, "wal " + segment.name + ": " + header.error().context);
      }
      // A header of another segment in this file is a misdirected write, so: none.
      if (!header || header->sequence != segment.sequence) continue;
      if (header->cluster != options_.cluster || header->node != options_.node) {
        return fail(ErrorCode::kMismatch,
                    "wal " + segment.name + " belongs to another cluster or node");
      }
      segment.header = *std::move(header);
      return {};
    }
    return {};
  }

  Status read_segment(Directory& directory, std::size_t i) {
    const OnDisk& segment = segments_[i];
    chained_.clear();
    if (!segment.header) {
      damage("wal " + segment.name + ": no good header");
      return {};
    }
    enter(i);
    Result<std::unique_ptr<File>> file = directory.open(segment.name);
    if (!file) return std::unexpected(file.error());
    Result<std::string> image =
        (*file)->read_uncached(0, static_cast<std::size_t>(segment.file_bytes));
    if (!image) return std::unexpected(image.error());
    image_ = *std::move(image);
    // The last page is the header's copy, not groups. A file cut short has fewer.
    const std::uint64_t end = segment.header->segment_bytes - wal::kPage;
    if (image_.size() > end) image_.resize(static_cast<std::size_t>(end));
    return walk(i);
  }

  // Does this segment go on where the one before ended?
  void enter(std::size_t i) {
    const wal::SegmentHeader& header = *segments_[i].header;
    highest_ = std::max(highest_, header.first_group - 1);
    const bool first = i == 0;
    const bool consecutive = first || segments_[i - 1].sequence + 1 == header.sequence;
    if (header.gap_from != 0 && !first) {  // at the front it has been released
      gap(header.gap_from, header.gap_why);
      in_gap_ = false;
    } else if (in_gap_) {
      return;
    } else if (!consecutive) {
      return damage("wal: segments before " + segments_[i].name + " are missing");
    } else if (!first && (header.first_group != next_ || header.previous != digest_)) {
      return damage("wal: group " + std::to_string(next_) + " before " + segments_[i].name);
    }
    next_ = header.first_group;
    digest_ = header.previous;
  }

  Status walk(std::size_t i) {
    const std::uint64_t salt = segments_[i].header->salt;
    std::size_t offset = wal::kPage;
    while (!in_gap_) {
      const wal::Found found = wal::group_at(image_, offset, salt);
      if (!found.whole || found.header->number != next_ || found.header->previous != digest_) break;
      if (Status taken = take(*found.header, out_.records); !taken) return taken;
      chained_.push_back(*found.header);
      next_ = found.header->number + 1;
      digest_ = found.header->digest;
      offset += found.header->sectors_bytes;
    }
    end_of_chain_ = offset;
    return look_behind(i, offset);
  }

  // What lies behind the last good group: nothing, a torn group, or proof of rot.
  Status look_behind(std::size_t i, std::size_t from) {
    const bool last = i + 1 == segments_.size();
    const std::string where = "wal " + segments_[i].name + " at " + std::to_string(from);
    if (!in_gap_ && !last && continued_by(segments_[i + 1])) return {};
    const bool before_gap = !last && segments_[i + 1].header && segments_[i + 1].header->gap_from;
    std::vector<std::size_t> whole;
    bool some = false;
    const std::uint64_t salt = segments_[i].header->salt;
    for (std::size_t at = from; at + wal::kGroupHeaderBytes <= image_.size();) {
      const wal::Found found = wal::group_at(image_, at, salt);
      if (found.header) {
        some = true;
        highest_ = std::max(highest_, found.header->number);
        if (!in_gap_ && found.header->durable >= next_ && !mutants::rot_cut_as_torn) {
          damage(where + ": group " + std::to_string(next_) + " was durable and is bad");
        }
        if (found.whole) whole.push_back(at);
      }
      at += found.whole ? found.header->sectors_bytes : wal::kSector;
    }
    if (!in_gap_ && !before_gap) {
      out_.torn_tail_cut = last && some;
      return {};
    }
    for (const std::size_t at : whole) {
      if (Status taken = take(*wal::group_at(image_, at, salt).header, out_.salvaged); !taken) {
        return taken;
      }
    }
    return {};
  }

  bool continued_by(const OnDisk& following) const {
    return following.header && following.header->gap_from == 0 &&
           following.header->first_group == next_ && following.header->previous == digest_;
  }

  Status take(const wal::Group& group, std::vector<RecoveredRecord>& to) {
    highest_ = std::max(highest_, group.number);
    Result<std::vector<RecoveredRecord>> records = wal::records_of(group);
    if (!records) return std::unexpected(records.error());
    std::ranges::move(*records, std::back_inserter(to));
    return {};
  }

  Wal::Recovery& out_;
  const WalOptions& options_;
  std::vector<OnDisk> segments_;
  std::string image_;                // of the segment being read; in the end, of the last
  std::vector<wal::Group> chained_;  // its good groups, views into image_
  std::size_t end_of_chain_ = 0;     // and where they end
  std::uint64_t next_ = 1;           // the group that should follow
  Hash128 digest_;                   // of the one before it
  std::uint64_t highest_ = 0;        // number seen anywhere
  bool in_gap_ = false;
};

}  // namespace

// Keeps whole spares; a half-filled one is filled anew.
Status Wal::State::adopt_spares(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::optional<std::uint64_t> number = spare_number(name);
    if (!number && name != kFillingName) continue;
    if (number) {
      next_spare = std::max(next_spare, *number + 1);
      Result<std::unique_ptr<File>> file = directory.open(name);
      if (!file) return std::unexpected(file.error());
      const Result<std::uint64_t> size = (*file)->size();
      if (!size) return std::unexpected(size.error());
      if (*size == options.segment_bytes) {
        spares.push_back(*number);
        continue;
      }
    }
    if (Status removed = directory.remove(name); !removed) return removed;
  }
  return {};
}

// The active segment goes on where its good groups end: what is there is synced, the rest zeroed,
// so that nothing of a cut tail can be taken for a later group. Needs no new block of the disk.
Result<std::unique_ptr<File>> Wal::State::reuse_segment(const wal::SegmentHeader& header,
                                                        std::size_t end_of_groups) {
  Result<std::unique_ptr<File>> file = directory.open(segment_name(header.sequence));
  if (!file) return file;
  Status done = write_zeros(**file, end_of_groups, header.segment_bytes - wal::kPage);
  if (done) done = (*file)->sync();
  if (!done) return std::unexpected(done.error());
  return file;
}

Result<Wal::Recovery> Wal::open(Directory& directory, WalOptions options) {
  CAPSTAN_ASSERT(options.segment_bytes % wal::kPage == 0 &&
                 options.segment_bytes >= 2 * wal::kSegmentOverhead &&
                 options.segment_bytes <= wal::kSegmentBytesMax);
  auto state = std::make_unique<State>(directory, options);
  const Result<std::vector<std::string>> names = directory.list();
  if (!names) return std::unexpected(names.error());
  std::vector<Recoverer::OnDisk> found;
  for (const std::string& name : *names) {
    if (const auto sequence = State::segment_number(name)) {
      found.push_back({.name = name, .sequence = *sequence, .header = {}, .file_bytes = 0});
    }
  }
  std::ranges::sort(found, {}, &Recoverer::OnDisk::sequence);

  Recovery out;
  out.fresh = found.empty();
  Recoverer recoverer(out, options);
  if (Status read = recoverer.read(directory, std::move(found)); !read) {
    return std::unexpected(read.error());
  }
  // Only now, when the log is known to be ours, is anything changed.
  if (Status adopted = state->adopt_spares(*names); !adopted) {
    return std::unexpected(adopted.error());
  }
  state->segments = recoverer.live();
  Recoverer::Start start = recoverer.start(state->salts.next());
  if (!out.fresh && !recoverer.ends_in_gap()) state->segments.pop_back();  // it gets replaced
  Result<std::unique_ptr<File>> file = state->make_segment(start.header, start.groups);
  if (!file && file.error().code == ErrorCode::kNoSpace && recoverer.can_start_in_place()) {
    start = recoverer.start_in_place();
    file = state->reuse_segment(start.header, wal::kPage + start.groups.size());
  }
  if (!file) return std::unexpected(file.error());
  state->activate(start.header, *std::move(file), wal::kPage + start.groups.size());
  state->last_group = start.last_group;
  state->durable = start.last_group;
  state->digest = start.digest;
  state->sealed = start.sealed;
  out.wal.reset(new Wal(std::move(state)));
  return out;
}

}  // namespace capstan
