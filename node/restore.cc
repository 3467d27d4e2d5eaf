#include "node/restore.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <utility>
#include <vector>

#include "core/coding.h"
#include "core/data_dir.h"
#include "core/hash.h"
#include "core/table.h"
#include "cp/command.h"
#include "cp/records.h"
#include "net/sha256.h"
#include "node/entropy.h"

namespace capstan::node {
namespace {

constexpr std::size_t kReadBytes = 1024 * 1024;
constexpr std::size_t kBatchBytes = 4 * 1024 * 1024;

using Rows = std::function<Status(std::function<void(Change)>)>;

// ---- A backup file ------------------------------------------------------------------------------

// Reads it all, hashed or not; the last 32 bytes are its hash.
std::expected<cp::BackupHead, std::string> read_backup(const std::string& path, bool hashed,
                                                       const std::function<void(Change)>& row) {
  const auto no = [&path](const std::string& why) {
    return std::unexpected("the backup " + path + " cannot be used: " + why);
  };
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return no("it cannot be opened");
  const auto size = static_cast<std::uint64_t>(file.tellg());
  if (size < net::Sha256::kBytes || size % cp::kBackupBlock != net::Sha256::kBytes) {
    return no("its length is not that of a whole backup");
  }
  file.seekg(0);
  cp::BackupReader reader;
  net::Sha256 hash;
  std::string buffer;
  for (std::uint64_t left = size - net::Sha256::kBytes; left > 0; left -= buffer.size()) {
    buffer.resize(std::min<std::uint64_t>(left, kReadBytes));
    if (!file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()))) {
      return no("it cannot be read");
    }
    if (hashed) hash.add(buffer);
    if (Status ok = reader.feed(buffer, row); !ok) return no(ok.error().context);
  }
  if (!reader.whole() || !reader.head()) return no("it has no end");
  if (hashed) {
    buffer.resize(net::Sha256::kBytes);
    if (!file.read(buffer.data(), net::Sha256::kBytes) || buffer != hash.take()) {
      return no("its SHA-256 does not match: it is damaged");
    }
  }
  return *reader.head();
}

// ---- What both have in common -------------------------------------------------------------------

// Rows in ascending order within each space, committed in batches.
struct Copy {
  Base& base;
  std::vector<Change> batch = {};
  std::size_t bytes = 0;
  std::uint64_t rows = 0;
  Status status = {};

  void take(Change row) {
    if (!status) return;
    ++rows;
    bytes += row.key.size() + row.value->size();
    batch.push_back(std::move(row));
    if (bytes >= kBatchBytes) flush();
  }
  void flush() {
    if (!status || batch.empty()) return;
    std::ranges::stable_sort(batch, {}, &Change::space);
    status = base.commit(std::exchange(batch, {}));
    bytes = 0;
  }
};

// Another cluster, whatever its members are called; the same on every member that is restored from
// the same state.
ClusterId new_cluster(const ServeConfig& config, const cp::BackupHead& head) {
  std::string of;
  put_u64(of, config.cluster.value);
  put_u64(of, head.cluster.value);
  put_u64(of, head.last.term.value);
  put_u64(of, head.last.index.value);
  const std::uint64_t hash = xxh3(of, 0x726573746f7265);
  return {hash == 0 ? 1 : hash};
}

cp::Config new_config(const ServeConfig& config) {
  cp::Config out;
  for (const ConfiguredMember& member : config.members) {
    out.voters.push_back(member.id);
    out.members.push_back({member.id, member.name, to_text(member.peer), member.client_urls});
  }
  std::ranges::sort(out.voters);
  std::ranges::sort(out.members, {}, &Member::id);
  return out;
}

// Entries behind the checkpoint, and then the new cluster's facts in place of the old one's.
Status finish_state(Base& base, const ServeConfig& config, const std::vector<cp::Entry>& entries,
                    Restored& done) {
  Table table(base);
  cp::StateMachine machine(table);
  cp::EntryId last = machine.load().applied;
  for (const cp::Entry& entry : entries) {
    if (entry.index <= last.index) continue;
    if (entry.kind == cp::EntryKind::kCommands && entry.bytes() > 0) {
      Reader in(*entry.data);
      while (in.ok() && !in.done()) machine.apply(in.bytes(), entry.term);
    }
    last = entry.id();
    ++done.entries;
  }
  for (const MemberAlarm& alarm : machine.alarms().list({}, AlarmType::kNone).alarms) {
    machine.clear(alarm);
  }
  machine.save({last, new_config(config)});
  done.head.last = last;
  done.head.revision = machine.revision();
  return base.commit(*table.freeze());
}

Status begin_log(DataDir& data, const ServeConfig& config, cp::EntryId last, Term term) {
  cp::HardState hard;
  hard.term = std::max(term, last.term);
  hard.standing = cp::Standing::kNormal;
  hard.life = {data.identity.node, 0};
  hard.roll = {{config.self, hard.life}};
  const Record records[] = {cp::restart_record(last), cp::hard_state_record(hard)};
  if (auto written = data.log.wal->append(records); !written) {
    return std::unexpected(written.error());
  }
  return data.log.wal->sync();
}

// A member that is stopped, opened as its next start would.
struct Survivor {
  DataDir data;
  cp::Replayed log;
};
std::expected<Survivor, std::string> open_survivor(const std::string& path) {
  Result<std::unique_ptr<Directory>> root = open_directory(path, false);
  if (!root) return std::unexpected("there is no data directory " + path);
  const Result<Identity> identity = load_identity(**root);
  if (!identity) return std::unexpected(path + ": " + identity.error().context);
  if (identity->mode != Mode::kCp) {
    return std::unexpected(path + " is of a node in --mode=ap, which needs no majority");
  }
  DataDirOptions options;
  options.path = path;
  options.want = {identity->mode,   identity->cluster,   identity->name, "",
                  identity->member, identity->token_hash};
  options.entropy = entropy();
  Result<DataDir> opened = open_data_dir(options);
  if (!opened) return std::unexpected(opened.error().context);
  Survivor out{std::move(*opened), {}};
  Recovered recovered;
  recovered.records = std::move(out.data.log.records);
  if (out.data.log.impaired) recovered.impaired = out.data.log.impaired->why;
  Table table(*out.data.base);
  cp::StateMachine machine(table);
  const cp::StateMachine::Position position = machine.load();
  out.log = cp::replay(recovered, position.applied, position.config);
  const auto& entries = out.log.state.entries;
  const bool witness =
      position.config.is_witness(identity->member) ||
      std::ranges::any_of(entries, [&](const cp::Entry& entry) {
        const bool config = entry.kind == cp::EntryKind::kConfig;
        return config && cp::decode_config(*entry.data)->is_witness(identity->member);
      });
  if (witness) {
    return std::unexpected(path +
                           " is of the witness, which holds no data; take a member with data");
  }
  return out;
}

}  // namespace

std::expected<Restored, std::string> restore(const RestoreFrom& from, const ServeConfig& config) {
  Restored done;
  std::optional<Survivor> survivor;
  Rows rows;
  if (!from.backup.empty()) {
    auto head = read_backup(from.backup, true, [](const Change&) {});
    if (!head) return std::unexpected(head.error());
    done.head = *head;
    rows = [&from](const std::function<void(Change)>& row) -> Status {
      auto again = read_backup(from.backup, false, row);
      if (!again) return fail(ErrorCode::kIo, again.error());
      return {};
    };
  } else {
    auto opened = open_survivor(from.data_dir);
    if (!opened) return std::unexpected(opened.error());
    survivor = std::move(*opened);
    done.head.cluster = survivor->data.identity.cluster;
    if (survivor->data.log.impaired) done.impaired = survivor->data.log.impaired->why;
    const cp::RaftState& state = survivor->log.state;
    done.head.last =
        state.entries.empty() ? cp::EntryId{{}, state.applied} : state.entries.back().id();
    rows = [&survivor](const std::function<void(Change)>& row) -> Status {
      Result<std::unique_ptr<BaseView>> view = survivor->data.base->view();
      if (!view) return std::unexpected(view.error());
      std::optional<cp::StateWalk> walk = cp::StateWalk::open(*std::move(view));
      if (!walk) return {};  // all it has is in its log
      for (bool more = true; more;) {
        std::vector<Change> slice;
        const Result<bool> next = walk->next(kReadBytes, slice);
        if (!next) return std::unexpected(next.error());
        more = *next;
        for (Change& each : slice) row(std::move(each));
      }
      return {};
    };
  }

  const Result<bool> taken = has_identity(config.data_dir);
  if (!taken) return std::unexpected(taken.error().context);
  if (*taken) {
    return std::unexpected("the data directory " + config.data_dir +
                           " belongs to a node already; give an empty one");
  }
  DataDirOptions options;
  options.path = config.data_dir;
  done.cluster = new_cluster(config, done.head);
  options.want = {Mode::kCp, done.cluster, config.name, "", config.self, config.token_hash()};
  options.segment_bytes = config.wal_segment_bytes;
  options.entropy = entropy();
  options.restores = true;
  Result<DataDir> made = open_data_dir(options);
  if (!made) return std::unexpected(made.error().context);

  Copy copy{*made->base};
  Status status = rows([&copy](Change row) { copy.take(std::move(row)); });
  copy.flush();
  if (status) status = copy.status;
  done.rows = copy.rows;
  const std::vector<cp::Entry> entries =
      survivor ? std::move(survivor->log.state.entries) : std::vector<cp::Entry>{};
  if (status) status = finish_state(*made->base, config, entries, done);
  const Term term = survivor ? survivor->log.state.hard.term : Term{};
  if (status) status = begin_log(*made, config, done.head.last, term);
  if (status) status = end_restore(*made);
  if (!status) return std::unexpected(status.error().context);
  return done;
}

}  // namespace capstan::node
