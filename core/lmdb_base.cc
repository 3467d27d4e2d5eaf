// The base over LMDB.
//
//   main     "format", "generation" (a or b), "salt"
//   a.*, b.* one database a space and generation; one generation is live, the other is being staged
//
// LMDB's keys end at 511 bytes. A key of up to kPrefix bytes is stored as it is; a longer one as
// its first kPrefix bytes and a salted hash of the whole, with the whole key in the value. Longer
// keys with one prefix are thus neighbours, but in the order of their hashes: a scan takes such a
// group at once and sorts it.
//
//   record   checksum (4)  value                             short keys
//            checksum (4)  key length (4)  key  value        longer ones
//
// Every read renews one cached read transaction and resets it after, so that no reader pins pages
// between calls; that costs 1 % of a get (docs/results).
#include <lmdb.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <thread>
#include <utility>

#include "core/base.h"
#include "core/check.h"
#include "core/hash.h"
#include "core/lmdb_space.h"
#include "core/mapped_file.h"

namespace capstan {

namespace {

constexpr std::size_t kSpaces = static_cast<std::size_t>(Space::kCount);
constexpr std::size_t kPrefix = 480;
constexpr std::size_t kStoredMax = kPrefix + sizeof(Hash128);
static_assert(kStoredMax + 1 <= 511, "LMDB's own limit, with room for a bound above a group");
constexpr std::uint32_t kFormat = 1;
constexpr std::uint64_t kMapBytesMin = 1ull << 30;

using Databases = std::array<MDB_dbi, kSpaces>;

std::unexpected<Error> failed(const char* call, int code) {
  ErrorCode kind = ErrorCode::kIo;
  if (code == ENOSPC || code == EDQUOT || code == MDB_MAP_FULL) kind = ErrorCode::kNoSpace;
  if (code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID) {
    kind = ErrorCode::kCorrupt;
  }
  if (code == MDB_VERSION_MISMATCH) kind = ErrorCode::kMismatch;
  return fail(kind, std::string("base.lmdb: ") + call + ": " + mdb_strerror(code));
}

MDB_val val(ByteView bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
ByteView bytes_of(const MDB_val& v) { return {static_cast<const char*>(v.mv_data), v.mv_size}; }

// Bound to the space and the key too, so that a record in the wrong place is noticed.
std::uint32_t checksum(Space space, ByteView key, ByteView payload) {
  return static_cast<std::uint32_t>(
      xxh3(payload, xxh3(key, static_cast<std::uint64_t>(space) + 1)));
}

// The key as LMDB sees it, without allocation.
class StoredKey {
 public:
  StoredKey(ByteView key, std::uint64_t salt) {
    CAPSTAN_ASSERT(!key.empty());
    if (key.size() <= kPrefix) {
      view_ = key;
      return;
    }
    const Hash128 hash = xxh3_128(key, salt);
    std::memcpy(buffer_.data(), key.data(), kPrefix);
    std::memcpy(buffer_.data() + kPrefix, &hash, sizeof hash);
    view_ = ByteView(buffer_.data(), kStoredMax);
  }
  StoredKey(const StoredKey&) = delete;
  StoredKey& operator=(const StoredKey&) = delete;
  ByteView view() const { return view_; }
  bool is_long() const { return view_.data() == buffer_.data(); }

 private:
  ByteView view_;
  std::array<char, kStoredMax> buffer_;
};

struct Row {
  ByteView key;
  ByteView value;
};

// Takes a record apart and checks it.
Result<Row> row_of(Space space, ByteView stored, ByteView record) {
  const auto rotten = [&] {
    return fail(ErrorCode::kCorrupt, "base.lmdb: record checksum in space " +
                                         std::to_string(static_cast<unsigned>(space)));
  };
  std::uint32_t want = 0;
  if (record.size() < sizeof want) return rotten();
  std::memcpy(&want, record.data(), sizeof want);
  const ByteView payload = record.substr(sizeof want);
  Row row{stored, payload};
  if (stored.size() > kPrefix) {
    std::uint32_t size = 0;
    if (payload.size() < sizeof size) return rotten();
    std::memcpy(&size, payload.data(), sizeof size);
    if (payload.size() - sizeof size < size) return rotten();
    row = {payload.substr(sizeof size, size), payload.substr(sizeof size + size)};
  }
  if (checksum(space, row.key, payload) != want) return rotten();
  return row;
}

// Aborts unless committed.
class WriteTxn {
 public:
  explicit WriteTxn(MDB_env* env) : code_(mdb_txn_begin(env, nullptr, 0, &txn_)) {}
  ~WriteTxn() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  WriteTxn(const WriteTxn&) = delete;
  WriteTxn& operator=(const WriteTxn&) = delete;
  int begun() const { return code_; }
  MDB_txn* get() const { return txn_; }
  int commit() { return mdb_txn_commit(std::exchange(txn_, nullptr)); }

 private:
  MDB_txn* txn_ = nullptr;
  int code_;
};

class Cursor {
 public:
  Cursor() = default;
  Cursor(MDB_txn* txn, MDB_dbi database) : code_(mdb_cursor_open(txn, database, &cursor_)) {}
  ~Cursor() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  int opened() const { return code_; }
  MDB_cursor* get() const { return cursor_; }
  // MDB_NOTFOUND at the end.
  int step(MDB_cursor_op op) { return mdb_cursor_get(cursor_, &key_, &value_, op); }
  int seek(ByteView key) {
    key_ = val(key);
    return mdb_cursor_get(cursor_, &key_, &value_, MDB_SET_RANGE);
  }
  ByteView key() const { return bytes_of(key_); }
  ByteView value() const { return bytes_of(value_); }

 private:
  MDB_cursor* cursor_ = nullptr;
  int code_ = 0;
  MDB_val key_{}, value_{};
};

enum class Way { kUp, kDown };

// One range scan: a walk over the stored records, groups of longer keys sorted on the way. The rows
// are views into the map and live as long as the read transaction.
class Scan {
 public:
  Scan(Space space, ByteView from, ByteView to, Way way, const Visitor& visit)
      : space_(space), from_(from), to_(to), way_(way), visit_(visit) {}

  Status run(MDB_txn* txn, MDB_dbi database) {
    if (!to_.empty() && from_ >= to_) return {};
    Cursor cursor(txn, database);
    if (cursor.opened() != 0) return failed("cursor", cursor.opened());
    int code = way_ == Way::kUp ? first_up(cursor) : first_down(cursor);
    while (code == 0 && more_) {
      if (outside(cursor.key())) return {};
      if (Status taken = take(cursor, code); !taken) return taken;
    }
    if (code != 0 && code != MDB_NOTFOUND) return failed("scan", code);
    return {};
  }

 private:
  MDB_cursor_op onward() const { return way_ == Way::kUp ? MDB_NEXT : MDB_PREV; }

  int first_up(Cursor& cursor) {
    if (from_.empty()) return cursor.step(MDB_FIRST);
    return cursor.seek(from_.substr(0, kPrefix));
  }
  int first_down(Cursor& cursor) {
    if (to_.empty()) return cursor.step(MDB_LAST);
    std::string bound(to_.substr(0, kPrefix));
    if (to_.size() > kPrefix) bound.append(sizeof(Hash128) + 1, '\xff');  // above its whole group
    const int code = cursor.seek(bound);
    return cursor.step(code == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
  }

  // True if this record, and so all behind it, lies beyond the far end of the range.
  bool outside(ByteView stored) const {
    const ByteView prefix = stored.substr(0, kPrefix);
    if (way_ == Way::kUp) return !to_.empty() && prefix >= to_;
    return prefix < from_.substr(0, kPrefix) || (stored.size() <= kPrefix && stored < from_);
  }

  // Shows the record under the cursor, or its whole group, and moves on.
  Status take(Cursor& cursor, int& code) {
    if (cursor.key().size() <= kPrefix) {
      if (Status shown = show_record(cursor); !shown) return shown;
      code = cursor.step(onward());
      return {};
    }
    const ByteView prefix = cursor.key().substr(0, kPrefix);
    std::vector<Row> group;
    do {
      Result<Row> row = row_of(space_, cursor.key(), cursor.value());
      if (!row) return std::unexpected(row.error());
      group.push_back(*row);
      code = cursor.step(onward());
    } while (code == 0 && cursor.key().size() > kPrefix && cursor.key().starts_with(prefix));
    std::ranges::sort(group, [&](const Row& a, const Row& b) {
      return way_ == Way::kUp ? a.key < b.key : b.key < a.key;
    });
    for (const Row& row : group) show(row);
    return {};
  }

  Status show_record(const Cursor& cursor) {
    Result<Row> row = row_of(space_, cursor.key(), cursor.value());
    if (!row) return std::unexpected(row.error());
    show(*row);
    return {};
  }
  void show(const Row& row) {
    const bool inside = row.key >= from_ && (to_.empty() || row.key < to_);
    if (more_ && inside) more_ = visit_(row.key, row.value);
  }

  Space space_;
  ByteView from_, to_;
  Way way_;
  const Visitor& visit_;
  bool more_ = true;
};

class LmdbView;

class LmdbBase final : public Base {
 public:
  static Result<std::unique_ptr<Base>> open(const std::string& directory, std::uint64_t map_bytes);
  ~LmdbBase() override {
    if (dropping_.joinable()) dropping_.join();  // before its map goes
    if (reader_ != nullptr) mdb_txn_abort(reader_);
    mdb_env_close(env_);
  }

  Result<std::optional<std::string>> get(Space space, ByteView key) const override;
  Status scan(Space space, ByteView from, ByteView to, const Visitor& visit) const override;
  Status scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const override;
  Result<std::unique_ptr<BaseView>> view() const override;
  Status install() override;
  Status drop_staged() override;
  void let_go() const override;
  std::uint64_t bytes_used() const override { return space_.bytes_allocated(); }
  std::uint64_t bytes_live() const override { return space_.bytes_live(); }

 protected:
  Status write(Generation to, const ChangeSource& changes) override;

 private:
  friend class LmdbView;
  class Reading;
  struct Writing;

  explicit LmdbBase(MDB_env* env) : env_(env), space_(env) {}
  Status set_up();
  Status finish(WriteTxn& txn);
  Status write_change(Writing& writing, const ChangeRef& change);
  // Which generation a transaction sees as live.
  Result<std::size_t> live_in(MDB_txn* txn) const;
  MDB_dbi database(std::size_t generation, Space space) const {
    return databases_[generation][static_cast<std::size_t>(space)];
  }

  MDB_env* env_;
  LmdbSpace space_;
  std::span<char> map_;  // of the file; empty: not found
  mutable std::jthread dropping_;
  MDB_dbi main_ = 0;
  std::array<Databases, 2> databases_{};
  std::uint64_t salt_ = 0;
  // The loop's: one cached read transaction, and what it saw.
  mutable MDB_txn* reader_ = nullptr;
  mutable int reading_ = 0;  // scans nest: a visitor may read
  mutable std::size_t reader_txn_id_ = 0;
  mutable std::size_t reader_live_ = 0;
};

// Renews the cached read transaction for one call, or for the outermost of nested ones.
class LmdbBase::Reading {
 public:
  explicit Reading(const LmdbBase& base) : base_(base) {
    if (base_.reading_++ > 0) return;
    const int code = base_.reader_ == nullptr
                         ? mdb_txn_begin(base_.env_, nullptr, MDB_RDONLY, &base_.reader_)
                         : mdb_txn_renew(base_.reader_);
    if (code != 0) {
      status_ = failed("read transaction", code);
      return;
    }
    const std::size_t id = mdb_txn_id(base_.reader_);
    if (id == base_.reader_txn_id_ && id != 0) return;
    const Result<std::size_t> live = base_.live_in(base_.reader_);
    if (!live) {
      status_ = std::unexpected(live.error());
      return;
    }
    base_.reader_txn_id_ = id;
    base_.reader_live_ = *live;
  }
  ~Reading() {
    if (--base_.reading_ == 0 && base_.reader_ != nullptr) mdb_txn_reset(base_.reader_);
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  const Status& status() const { return status_; }
  MDB_dbi database(Space space) const { return base_.database(base_.reader_live_, space); }

 private:
  const LmdbBase& base_;
  Status status_;
};

class LmdbView final : public BaseView {
 public:
  LmdbView(const LmdbBase& base, MDB_txn* txn, std::size_t live)
      : base_(base), txn_(txn), live_(live) {}
  ~LmdbView() override { mdb_txn_abort(txn_); }
  Status scan(Space space, ByteView from, const Visitor& visit) const override {
    return Scan(space, from, {}, Way::kUp, visit).run(txn_, base_.database(live_, space));
  }

 private:
  const LmdbBase& base_;
  MDB_txn* txn_;
  std::size_t live_;
};

// ---- opening ------------------------------------------------------------------------------------

Result<std::unique_ptr<Base>> LmdbBase::open(const std::string& directory,
                                             std::uint64_t map_bytes) {
  const std::string path = directory + "/base.lmdb";
  // Read-ahead helps until the file no longer fits into memory.
  struct stat info{};
  const auto memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                      static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const bool exists = ::stat(path.c_str(), &info) == 0;
  const bool large = exists && static_cast<std::uint64_t>(info.st_size) > memory / 2;
  const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (large ? unsigned{MDB_NORDAHEAD} : 0u);
  for (;; map_bytes /= 2) {
    MDB_env* env = nullptr;
    if (int code = mdb_env_create(&env); code != 0) return failed("create", code);
    std::unique_ptr<LmdbBase> base(new LmdbBase(env));  // closes it on every way out
    mdb_env_set_maxdbs(env, 2 * kSpaces);
    mdb_env_set_mapsize(env, map_bytes);
    const int code = mdb_env_open(env, path.c_str(), flags, 0600);
    if (code == ENOMEM && map_bytes / 2 >= kMapBytesMin) continue;
    if (code != 0) return failed("open", code);
    // LMDB keeps its readers in a mapped file, and to begin a read writes there: on a disk that
    // hangs that would stop the loop. Nobody else may open our base while we have it (the data
    // directory is locked), so nobody else needs to see them.
    make_mapping_private(path + "-lock");
    if (Status ready = base->set_up(); !ready) return std::unexpected(ready.error());
    base->map_ = mapping_of(path);
    return base;
  }
}

// Of a gigabyte it takes a tenth of a second, which the loop must not wait for.
void LmdbBase::let_go() const {
  dropping_ = std::jthread([map = map_] { drop_pages(map); });
}

Status LmdbBase::set_up() {
  WriteTxn txn(env_);
  if (txn.begun() != 0) return failed("begin", txn.begun());
  if (int code = mdb_dbi_open(txn.get(), nullptr, 0, &main_); code != 0) return failed("dbi", code);

  const auto stored = [&](ByteView name, auto& number) {
    MDB_val key = val(name), value{};
    const int code = mdb_get(txn.get(), main_, &key, &value);
    if (code == 0 && value.mv_size == sizeof number) {
      std::memcpy(&number, value.mv_data, sizeof number);
    } else if (code == MDB_NOTFOUND) {
      value = {sizeof number, &number};
      return mdb_put(txn.get(), main_, &key, &value, 0);
    }
    return code;
  };
  std::uint32_t format = kFormat;
  std::uint64_t live = 0;
  if (::getrandom(&salt_, sizeof salt_, 0) != sizeof salt_) return failed("getrandom", errno);
  for (int code : {stored("format", format), stored("generation", live), stored("salt", salt_)}) {
    if (code != 0) return failed("facts", code);
  }
  if (format > kFormat) {
    return fail(ErrorCode::kMismatch, "base.lmdb: format " + std::to_string(format) +
                                          ", this build reads up to " + std::to_string(kFormat));
  }
  for (std::size_t generation = 0; generation < 2; ++generation) {
    for (std::size_t space = 0; space < kSpaces; ++space) {
      const std::string name = std::string(generation == 0 ? "a." : "b.") + std::to_string(space);
      MDB_dbi& dbi = databases_[generation][space];
      int code = mdb_dbi_open(txn.get(), name.c_str(), MDB_CREATE, &dbi);
      if (code == 0 && generation != live) code = mdb_drop(txn.get(), dbi, 0);
      if (code != 0) return failed("database", code);
    }
  }
  return finish(txn);
}

Result<std::size_t> LmdbBase::live_in(MDB_txn* txn) const {
  MDB_val key = val("generation"), value{};
  if (int code = mdb_get(txn, main_, &key, &value); code != 0) return failed("generation", code);
  std::uint64_t live = 2;
  if (value.mv_size == sizeof live) std::memcpy(&live, value.mv_data, sizeof live);
  if (live > 1) return fail(ErrorCode::kCorrupt, "base.lmdb: generation");
  return static_cast<std::size_t>(live);
}

// ---- reading ------------------------------------------------------------------------------------

Result<std::optional<std::string>> LmdbBase::get(Space space, ByteView key) const {
  const Reading reading(*this);
  if (!reading.status()) return std::unexpected(reading.status().error());
  const StoredKey stored(key, salt_);
  MDB_val wanted = val(stored.view()), value{};
  const int code = mdb_get(reader_, reading.database(space), &wanted, &value);
  if (code == MDB_NOTFOUND) return std::nullopt;
  if (code != 0) return failed("get", code);
  const Result<Row> row = row_of(space, stored.view(), bytes_of(value));
  if (!row) return std::unexpected(row.error());
  if (row->key != key) return fail(ErrorCode::kCorrupt, "base.lmdb: another key's record");
  return std::string(row->value);
}

Status LmdbBase::scan(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  const Reading reading(*this);
  if (!reading.status()) return reading.status();
  return Scan(space, from, to, Way::kUp, visit).run(reader_, reading.database(space));
}

Status LmdbBase::scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  const Reading reading(*this);
  if (!reading.status()) return reading.status();
  return Scan(space, from, to, Way::kDown, visit).run(reader_, reading.database(space));
}

Result<std::unique_ptr<BaseView>> LmdbBase::view() const {
  MDB_txn* txn = nullptr;
  if (int code = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn); code != 0) {
    return failed("read transaction", code);
  }
  const Result<std::size_t> live = live_in(txn);
  if (!live) {
    mdb_txn_abort(txn);
    return std::unexpected(live.error());
  }
  return std::make_unique<LmdbView>(*this, txn, *live);
}

// ---- writing ------------------------------------------------------------------------------------

Status LmdbBase::finish(WriteTxn& txn) {
  if (int code = txn.commit(); code != 0) return failed("commit", code);
  space_.committed();
  return {};
}

// One transaction over sorted changes: a cursor a space, and no search at all once behind the last
// key of the space.
struct LmdbBase::Writing {
  MDB_txn* txn = nullptr;
  std::size_t generation = 0;
  std::array<std::unique_ptr<Cursor>, kSpaces> cursors{};
  std::array<bool, kSpaces> appending{};

  Result<Cursor*> cursor(const LmdbBase& base, Space space, ByteView first_key) {
    const auto at = static_cast<std::size_t>(space);
    if (cursors[at] == nullptr) {
      cursors[at] = std::make_unique<Cursor>(txn, base.database(generation, space));
      if (int code = cursors[at]->opened(); code != 0) return failed("cursor", code);
      const int code = cursors[at]->step(MDB_LAST);
      if (code != 0 && code != MDB_NOTFOUND) return failed("last", code);
      appending[at] = code == MDB_NOTFOUND || cursors[at]->key() < first_key;
    }
    return cursors[at].get();
  }
};

Status LmdbBase::write_change(Writing& writing, const ChangeRef& change) {
  const StoredKey stored(change.key, salt_);
  const Result<Cursor*> cursor = writing.cursor(*this, change.space, stored.view());
  if (!cursor) return std::unexpected(cursor.error());
  bool& appending = writing.appending[static_cast<std::size_t>(change.space)];
  if (stored.is_long()) appending = false;  // from here on in the order of hashes

  MDB_val key = val(stored.view());
  if (!change.value) {
    if (appending) return {};  // behind the last key there is nothing to erase
    int code = mdb_cursor_get((*cursor)->get(), &key, nullptr, MDB_SET);
    if (code == MDB_NOTFOUND) return {};
    if (code == 0) code = mdb_cursor_del((*cursor)->get(), 0);
    return code == 0 ? Status() : failed("erase", code);
  }

  const std::uint32_t key_size = static_cast<std::uint32_t>(change.key.size());
  const std::size_t in_value = stored.is_long() ? sizeof key_size + change.key.size() : 0;
  MDB_val record{sizeof(std::uint32_t) + in_value + change.value->size(), nullptr};
  const unsigned flags = MDB_RESERVE | (appending ? unsigned{MDB_APPEND} : 0u);
  if (int code = mdb_cursor_put((*cursor)->get(), &key, &record, flags); code != 0) {
    return failed("put", code);
  }
  char* const payload = static_cast<char*>(record.mv_data) + sizeof(std::uint32_t);
  char* to = payload;
  if (stored.is_long()) {
    std::memcpy(to, &key_size, sizeof key_size);
    std::memcpy(to + sizeof key_size, change.key.data(), change.key.size());
    to += in_value;
  }
  if (!change.value->empty()) std::memcpy(to, change.value->data(), change.value->size());
  const std::uint32_t check =
      checksum(change.space, change.key, ByteView(payload, in_value + change.value->size()));
  std::memcpy(record.mv_data, &check, sizeof check);
  return {};
}

Status LmdbBase::write(Generation to, const ChangeSource& changes) {
  WriteTxn txn(env_);
  if (txn.begun() != 0) return failed("begin", txn.begun());
  const Result<std::size_t> live = live_in(txn.get());
  if (!live) return std::unexpected(live.error());
  Status status;
  {
    Writing writing{.txn = txn.get(), .generation = to == Generation::kLive ? *live : 1 - *live};
    changes.each([&](const ChangeRef& change) {
      status = write_change(writing, change);
      return status.has_value();
    });
  }
  if (!status) return status;
  return finish(txn);
}

Status LmdbBase::install() {
  WriteTxn txn(env_);
  if (txn.begun() != 0) return failed("begin", txn.begun());
  const Result<std::size_t> live = live_in(txn.get());
  if (!live) return std::unexpected(live.error());
  std::uint64_t other = 1 - *live;
  MDB_val key = val("generation"), value{sizeof other, &other};
  if (int code = mdb_put(txn.get(), main_, &key, &value, 0); code != 0) return failed("put", code);
  for (MDB_dbi dbi : databases_[*live]) {
    if (int code = mdb_drop(txn.get(), dbi, 0); code != 0) return failed("drop", code);
  }
  return finish(txn);
}

Status LmdbBase::drop_staged() {
  WriteTxn txn(env_);
  if (txn.begun() != 0) return failed("begin", txn.begun());
  const Result<std::size_t> live = live_in(txn.get());
  if (!live) return std::unexpected(live.error());
  for (MDB_dbi dbi : databases_[1 - *live]) {
    if (int code = mdb_drop(txn.get(), dbi, 0); code != 0) return failed("drop", code);
  }
  return finish(txn);
}

}  // namespace

Result<std::unique_ptr<Base>> open_lmdb_base(const std::string& directory,
                                             std::uint64_t map_bytes) {
  return LmdbBase::open(directory, map_bytes);
}

}  // namespace capstan
