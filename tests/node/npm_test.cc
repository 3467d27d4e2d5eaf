// The npm client etcd3, unmodified, against nodes of Capstan and a real etcd: what it sees is the
// same.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "as_etcd.h"
#include "processes.h"

namespace capstan::node {

namespace {

// Where tests/run.sh has put what the script wants.
std::string modules() {
  const char* set = std::getenv("NODE_PATH");
  const std::string program = capstan_program();
  return set != nullptr ? set : program.substr(0, program.rfind('/')) + "/npm/node_modules";
}

void walk_with_etcd3(const std::string& part, const std::string& says) {
  if (!installed((modules() + "/etcd3/package.json").c_str())) return;
  walk_all({{"NODE_PATH=" + modules() +
                 " node " CAPSTAN_SOURCE_DIR "/tests/node/npm/etcd3_walk.js @ " + part,
             says}});
}

}  // namespace

TEST_CASE("npm etcd3: keys, ranges, old revisions, namespaces") {
  walk_with_etcd3("kv", R"(missing null
get 1 1
bytes 00ff0a
all ["npm/a","npm/b","npm/c"]
keys ["npm/c","npm/b"]
range {"npm/a":"1","npm/b":"2"}
count 3
exists true false
previous 1 1
touched 3 3 1 false
then 1
serializable 3
deleted 1 3
deleted 2
empty key Error: 3 INVALID_ARGUMENT: etcdserver: key is not provided
future Error: 11 OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision
namespace v {"k":"v"}
)");
}

TEST_CASE("npm etcd3: transactions and its own transactional memory") {
  walk_with_etcd3("txn", R"(txn true false first
both true ["response_put","response_delete_range"]
twice Error: 3 INVALID_ARGUMENT: etcdserver: duplicate key given in txn request
counted 4
)");
}

TEST_CASE("npm etcd3: leases") {
  walk_with_etcd3("lease", R"(held held true
granted 60 true ["npm/l"]
leases [true]
after null
gone -1
lost Error: Lease ID is expired or revoked
lost Error: Lease 5 NOT_FOUND: etcdserver: requested lease not found is expired or revoked
)");
}

TEST_CASE("npm etcd3: locks") {
  walk_with_etcd3("lock", R"(taken Error: Failed to acquire a lock on npm/lock
order ["mine","then"] 0
)");
}

TEST_CASE("npm etcd3: watches") {
  walk_with_etcd3("watch", R"(put npm/w/0 after before
put npm/w/1 one null
delete npm/w/0 after
again ["after","one","unseen"]
compacted Watcher canceled: 
)");
}

TEST_CASE("npm etcd3: elections") {
  walk_with_etcd3("election", R"(nobody undefined
leads one
observed one
proclaimed uno
next two
)");
}

TEST_CASE("npm etcd3: status, members, backups, hashes") {
  walk_with_etcd3("maintenance", R"(status true true 3
members true true
alarms []
snapshot true
hash true
)");
}

TEST_CASE("npm etcd3: users, roles, logins") {
  walk_with_etcd3("auth", R"(roles ["npm","root"] ["alice","root"]
granted [["Read","npm/","npm0"],["Write","npm/mine",""]]
has ["npm"]
nobody Error: 3 INVALID_ARGUMENT: etcdserver: user name is empty
wrong Error: 3 INVALID_ARGUMENT: etcdserver: authentication failed, invalid user ID or password
alice hers
denied Error: 7 PERMISSION_DENIED: etcdserver: permission denied
denied Error: 7 PERMISSION_DENIED: etcdserver: permission denied
revoked Error: 7 PERMISSION_DENIED: etcdserver: permission denied
open null
)");
}

}  // namespace capstan::node
