#include "core/data_dir.h"

#include <algorithm>

#include "core/random.h"

namespace capstan {

namespace {

constexpr const char* kIdentity = "identity";
constexpr const char* kCreating = "creating";
constexpr const char* kRestoring = "restoring";

// True if the directory has a file of this name.
Result<bool> has(Directory& directory, const std::string& name) {
  const Result<std::vector<std::string>> names = directory.list();
  if (!names) return std::unexpected(names.error());
  return std::ranges::find(*names, name) != names->end();
}

Status remove_if_there(Directory& directory, const std::string& name) {
  Status removed = directory.remove(name);
  if (!removed && removed.error().code == ErrorCode::kNotFound) return {};
  return removed;
}

// A first start that did not end left parts that no one was ever told about: away with them.
Status clear(Directory& root, Directory& wal) {
  const Result<std::vector<std::string>> names = wal.list();
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    if (Status removed = wal.remove(name); !removed) return removed;
  }
  for (const char* name : {"base.lmdb", "base.lmdb-lock"}) {
    if (Status removed = remove_if_there(root, name); !removed) return removed;
  }
  return {};
}

std::unexpected<Error> half_there(const std::string& path, const char* has, const char* lacks) {
  return fail(
      ErrorCode::kMismatch,
      "the data directory " + path + " has " + has + " but no " + lacks +
          ": what this node once promised is lost, so it must not speak under its old name; "
          "restore the whole directory, or empty it so that the node joins anew");
}

// Leaves a mark while parts are being made; its removal comes after the identity.
Status leave_mark(Directory& root, const char* name) {
  Result<std::unique_ptr<File>> mark = root.create(name);
  if (!mark && mark.error().code != ErrorCode::kExists) return std::unexpected(mark.error());
  return root.sync();
}

struct Found {
  bool identity = false;
  bool log = false;
  bool creating = false;
};

Result<Found> look(Directory& root, Directory* wal) {
  Found found;
  const Result<bool> identity = has(root, kIdentity);
  if (!identity) return std::unexpected(identity.error());
  const Result<bool> creating = has(root, kCreating);
  if (!creating) return std::unexpected(creating.error());
  found.identity = *identity;
  found.creating = *creating;
  if (wal != nullptr) {
    const Result<bool> log = Wal::exists(*wal);
    if (!log) return std::unexpected(log.error());
    found.log = *log;
  }
  return found;
}

}  // namespace

Result<bool> has_identity(const std::string& path) {
  Result<std::unique_ptr<Directory>> root = open_directory(path, false);
  if (!root && root.error().code == ErrorCode::kNotFound) return false;
  if (!root) return std::unexpected(root.error());
  return has(**root, kIdentity);
}

Result<DataDir> open_data_dir(const DataDirOptions& options) {
  DataDir out;
  Result<std::unique_ptr<Directory>> root = open_directory(options.path, true);
  if (!root) return std::unexpected(root.error());
  out.root = *std::move(root);
  Result<std::unique_ptr<FileLock>> lock = lock_file(options.path + "/lock");
  if (!lock && lock.error().code == ErrorCode::kBusy) {
    return fail(ErrorCode::kBusy, "the data directory " + options.path +
                                      " is in use by another process; stop it first, or give this "
                                      "node another --data-dir");
  }
  if (!lock) return std::unexpected(lock.error());
  out.lock = *std::move(lock);

  const std::string wal_path = options.path + "/wal";
  Result<std::unique_ptr<Directory>> existing = open_directory(wal_path, false);
  if (!existing && existing.error().code != ErrorCode::kNotFound) {
    return std::unexpected(existing.error());
  }
  const Result<Found> found = look(*out.root, existing ? existing->get() : nullptr);
  if (!found) return std::unexpected(found.error());
  const Result<bool> restoring = has(*out.root, kRestoring);
  if (!restoring) return std::unexpected(restoring.error());
  if (options.restores || *restoring) {
    if (!options.restores || found->identity) {
      return fail(ErrorCode::kMismatch,
                  "the data directory " + options.path +
                      " holds a restore that did not end; empty it and restore again");
    }
    if (Status marked = leave_mark(*out.root, kRestoring); !marked) {
      return std::unexpected(marked.error());
    }
  }
  out.fresh = !found->identity;
  Rng draws(options.entropy);
  if (found->identity) {
    Result<Identity> identity = load_identity(*out.root);
    if (!identity) return std::unexpected(identity.error());
    if (Status same = check_identity(*identity, options.want, options.path); !same) {
      return std::unexpected(same.error());
    }
    if (!found->log) return half_there(options.path, "an identity", "log");
    out.identity = *std::move(identity);
    if (!out.identity.member) {
      out.identity.member = options.want.member;
      out.identity.token_hash = options.want.token_hash;
    }
  } else {
    if (found->log && !found->creating) return half_there(options.path, "a log", "identity");
    const NodeId node{draws.next() | 1};  // 0 is nobody
    out.identity = {.mode = options.want.mode,
                    .cluster = options.want.cluster,
                    .name = options.want.name,
                    .node = node,
                    .member = options.want.member,
                    .token_hash = options.want.token_hash};
    if (Status marked = leave_mark(*out.root, kCreating); !marked) {
      return std::unexpected(marked.error());
    }
  }

  Result<std::unique_ptr<Directory>> wal = open_directory(wal_path, true);
  if (!wal) return std::unexpected(wal.error());
  out.wal_directory = *std::move(wal);
  if (out.fresh) {
    if (Status cleared = clear(*out.root, *out.wal_directory); !cleared) {
      return std::unexpected(cleared.error());
    }
  }
  Result<Wal::Recovery> log = Wal::open(*out.wal_directory, {.cluster = out.identity.cluster,
                                                             .node = out.identity.node,
                                                             .segment_bytes = options.segment_bytes,
                                                             .salt_seed = draws.next()});
  if (!log) return std::unexpected(log.error());
  out.log = *std::move(log);
  Result<std::unique_ptr<Base>> base = open_lmdb_base(options.path, options.map_bytes);
  if (!base) return std::unexpected(base.error());
  out.base = *std::move(base);

  ++out.identity.incarnation;
  Status stored = store_identity(*out.root, out.identity);
  if (stored) stored = remove_if_there(*out.root, kCreating);
  if (!stored) return std::unexpected(stored.error());
  return out;
}

Status end_restore(DataDir& data) {
  if (Status sealed = data.log.wal->seal(); !sealed) return sealed;
  if (Status removed = data.root->remove(kRestoring); !removed) return removed;
  return data.root->sync();
}

}  // namespace capstan
