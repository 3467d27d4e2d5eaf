// What a client may ask, and every answer: one vocabulary for gRPC, RESP, HTTP, both engines, the
// simulator and the lab. The shapes and their meaning are etcd's v3 API where it has them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/time.h"
#include "core/types.h"

namespace capstan {

class RangeStream;  // core/range_stream.h

// ---- Data ---------------------------------------------------------------------------------------

struct KeyValue {
  std::string key;
  std::string value;
  Revision create_revision;
  Revision mod_revision;
  std::uint64_t version = 0;
  std::int64_t lease = 0;
  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

// [key, end): end empty means exactly `key`; end "\0" means every key >= `key`.
struct KeyRange {
  std::string key;
  std::string end;
};

enum class SortOrder : std::uint8_t { kNone, kAscend, kDescend };
enum class SortTarget : std::uint8_t { kKey, kVersion, kCreate, kMod, kValue };

struct RangeRequest {
  KeyRange range;
  std::int64_t limit = 0;     // 0: none
  std::int64_t revision = 0;  // <= 0: now
  SortOrder sort_order = SortOrder::kNone;
  SortTarget sort_target = SortTarget::kKey;
  bool serializable = false;
  bool keys_only = false;
  bool count_only = false;
  std::int64_t min_mod_revision = 0, max_mod_revision = 0;        // 0: no filter
  std::int64_t min_create_revision = 0, max_create_revision = 0;  // 0: no filter
};
struct PutRequest {
  std::string key;
  std::string value;
  std::int64_t lease = 0;
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};
struct DeleteRangeRequest {
  KeyRange range;
  bool prev_kv = false;
};

enum class CompareResult : std::uint8_t { kEqual, kGreater, kLess, kNotEqual };
enum class CompareTarget : std::uint8_t { kVersion, kCreate, kMod, kValue, kLease };
struct Compare {
  CompareResult result = CompareResult::kEqual;
  CompareTarget target = CompareTarget::kVersion;
  KeyRange range;
  std::int64_t number = 0;  // version, create, mod, lease
  std::string value;        // kValue
};
struct RequestOp;
struct TxnRequest {
  std::vector<Compare> compare;
  std::vector<RequestOp> success;
  std::vector<RequestOp> failure;
};
struct RequestOp {
  std::variant<std::monostate, RangeRequest, PutRequest, DeleteRangeRequest, TxnRequest> op;
};

// Forgets what history holds below a revision: of each key the newest version at or below it stays.
struct CompactRequest {
  std::int64_t revision = 0;
  bool physical = false;  // answered only when what is forgotten has left this node's disk
};

// The digest of every change up to a revision, by which members can be compared.
struct HashRequest {
  std::int64_t revision = 0;  // <= 0: now
};

// ---- Leases: keys that live as long as their owner says so --------------------------------------

struct LeaseGrantRequest {
  std::int64_t ttl = 0;  // seconds; what is below kLeaseTtlMin is raised to it
  std::int64_t id = 0;   // 0: chosen by the node
};
// Ends the lease and deletes its keys, in one revision.
struct LeaseRevokeRequest {
  std::int64_t id = 0;
};
struct LeaseKeepAliveRequest {
  std::int64_t id = 0;
};
struct LeaseTimeToLiveRequest {
  std::int64_t id = 0;
  bool keys = false;  // name the keys too
};
struct LeasesRequest {};

// ---- Members and their disks --------------------------------------------------------------------

// Answered once the target leads. Only the leader takes it.
struct MoveLeaderRequest {
  MemberId target;
};
// Answered once the change is in force everywhere that counts; one at a time.
struct MemberChangeRequest {
  enum class Action : std::uint8_t { kAdd, kRemove, kUpdate, kPromote };
  Action action = Action::kAdd;
  MemberId member = {};  // added: 0, its id is drawn
  std::string peer = {};  // host:port; added or updated
  bool learner = false;  // added: stays one until somebody promotes it; else it does so by itself
  bool witness = false;  // added: is to vote, and to hold no data
};
// There is nothing to do: space comes back by itself.
struct DefragmentRequest {};

enum class AlarmType : std::uint8_t { kNone, kNoSpace, kCorrupt };
struct MemberAlarm {
  MemberId member;
  AlarmType type = AlarmType::kNone;
  friend auto operator<=>(const MemberAlarm&, const MemberAlarm&) = default;
};
struct AlarmRequest {
  enum class Action : std::uint8_t { kList, kRaise, kClear };
  Action action = Action::kList;
  MemberId member;                    // listing: 0 is all
  AlarmType type = AlarmType::kNone;  // listing: kNone is all; else nothing happens
  bool by_itself = false;             // the member's own word, which it takes back
};

// ---- Who may ask --------------------------------------------------------------------------------

struct Permission {
  enum class Kind : std::uint8_t { kRead, kWrite, kReadWrite };
  Kind kind = Kind::kRead;
  KeyRange range;
};
// Of Permission::Kind, as people write them.
inline constexpr std::array<std::string_view, 3> kAccessWords{"read", "write", "readwrite"};
// Users have roles, roles have permissions. Nothing is asked of anybody until auth is enabled.
struct AuthRequest {
  enum class Action : std::uint8_t {
    // changes
    kEnable,
    kDisable,
    kAddUser,
    kDeleteUser,
    kSetPassword,
    kGrantRole,
    kRevokeRole,
    kAddRole,
    kDeleteRole,
    kGrantPermission,
    kRevokePermission,
    // questions
    kStatus,
    kUser,
    kUsers,
    kRole,
    kRoles,
  };
  Action action = Action::kStatus;
  std::string user = {};
  std::string role = {};
  // At the door a password; the engine is given its hash, and when auth is enabled the key that
  // signs tokens. Empty: who has none cannot log in, but may be known by a certificate.
  std::string secret = {};
  Permission permission = {};
};
// The door asks with the password. The engine does not look at it: it answers with a token and the
// hash the password must have.
struct AuthenticateRequest {
  std::string user;
  std::string password;
};

// Whom a client says it is. Its name in a certificate counts where no token is given.
struct Caller {
  std::string token = {};
  std::string certificate_name = {};
  bool node_itself = false;  // never set by a door: what a node does of its own accord
};

// ---- What became of a write ---------------------------------------------------------------------

// Of a write by its id, or of the request that a client gave its own id. What has not been applied
// never will be once this is answered: asking decides it.
struct OutcomeRequest {
  std::string write = {};       // NAME:INCARNATION:SEQUENCE, as people see it
  WriteId id = {};              // of `write`; the node's to find
  std::string of_request = {};  // in its place
};
enum class Fate : std::uint8_t {
  kApplied,
  kNotApplied,  // certainly, for good
  kForgotten,   // too long ago to be known
  kOpen,        // not applied so far; never an answer
};
std::string_view to_text(Fate fate);  // applied, not_applied, forgotten, open

// ---- People, the lab and tools ------------------------------------------------------------------

struct StatusRequest {};
struct MembersRequest {};
struct ConflictsRequest {
  std::uint64_t after = 0;  // entry number to start behind; 0: from the first that is kept
  std::size_t limit = 1000;
};
// What became of writes; the scorecard asks every node after a heal.
struct BooksRequest {};

// ---- A request ----------------------------------------------------------------------------------

using RequestBody = std::variant<RangeRequest, PutRequest, DeleteRangeRequest, TxnRequest,
                                 StatusRequest, MembersRequest, ConflictsRequest, BooksRequest,
                                 CompactRequest, HashRequest, LeaseGrantRequest, LeaseRevokeRequest,
                                 LeaseKeepAliveRequest, LeaseTimeToLiveRequest, LeasesRequest,
                                 MoveLeaderRequest, DefragmentRequest, AlarmRequest,
                                 MemberChangeRequest, AuthRequest, AuthenticateRequest,
                                 OutcomeRequest>;

struct Request {
  RequestBody body;
  std::string request_id;  // the client's own; a retry with the same id applies once; empty: none
  Micros timeout = 0;      // from arrival; 0: the server's own limit (contract.md, Time and limits)
  Epoch epoch{};           // the keyspace epoch the client believes in; 0: any
  Caller caller;
  // Given by an asker who takes a long range slice by slice, as Reply::range: notes that there may
  // be more to take.
  std::function<void()> more_ready = {};
};

// ---- Outcomes -----------------------------------------------------------------------------------

enum class Outcome : std::uint8_t {
  kOk,       // the mode's whole guarantee holds
  kOkLocal,  // AP: durable here, at least one member unreachable now
  kFailed,   // certainly not applied
  kUnknown,  // may or may not be applied; every timeout is this
};
std::string_view to_text(Outcome outcome);  // ok, ok-local, failed, unknown

// Why not. The strings are stable: scripts and tests match them; sentences may improve.
enum class Reason : std::uint8_t {
  kNone,
  // the cluster cannot now
  kNoQuorum,      // no_quorum      this side has too few voters
  kNoLeader,      // no_leader      an election is on
  kNotLeader,     // not_leader
  kLeaderLost,    // leader_lost    the write was in flight when the leader or its quorum went
  kTimeout,       // timeout
  kOverloaded,    // overloaded
  kNoSpace,       // no_space
  kShuttingDown,  // shutting_down
  kRecovering,    // recovering     impaired or catching up; not serving yet
  kUnreachable,   // unreachable    (clients) nobody answered at the address
  // the request makes no sense, or not here
  kInvalid,          // invalid        anything else malformed; detail says what
  kTooLarge,         // too_large
  kKeyMissing,       // key_missing    empty key
  kKeyNotFound,      // key_not_found  ignore_value/ignore_lease on an absent key; empty RequestOp
  kValueProvided,    // value_provided
  kLeaseProvided,    // lease_provided
  kLeaseNotFound,    // lease_not_found
  kLeaseExists,      // lease_exists   the id asked for is taken
  kLeaseTtlTooLarge, // lease_ttl_too_large
  kLeaderOnly,       // leader_only      only the leader does this; detail says who that is
  kBadTransferee,    // bad_transferee   not a member that could lead
  kRemoved,          // removed          this node is no member any more
  kMemberNotFound,   // member_not_found
  kMemberExists,     // member_exists    the id is taken
  kPeerUrlExists,    // peer_url_exists  another member has that peer address
  kBadPeerUrl,       // bad_peer_url     not one address with a port
  kTooFewStarted,    // too_few_started  the members that would decide are not all there
  kNotLearner,       // not_learner      only a learner can be promoted
  kLearnerNotReady,  // learner_not_ready  not in step with the leader yet
  kTooManyLearners,  // too_many_learners
  kWitness,          // witness          this node holds no data; detail says who does
  kCorrupt,          // corrupt          the alarm CORRUPT is raised
  kUserEmpty,         // user_empty          no user was named: log in
  kRoleEmpty,         // role_empty
  kAuthFailed,        // auth_failed         no such user, or another password
  kAuthNotEnabled,    // auth_not_enabled
  kInvalidToken,      // invalid_token       too old, or of another user or cluster: log in again
  kPermissionDenied,  // permission_denied
  kInvalidAuth,       // invalid_auth        would lock everybody out
  kRootUserMissing,   // root_user_missing
  kRootRoleMissing,   // root_role_missing
  kUserExists,        // user_exists
  kUserNotFound,      // user_not_found
  kRoleExists,        // role_exists
  kRoleNotFound,      // role_not_found
  kRoleNotGranted,    // role_not_granted
  kPermissionNotGranted,  // permission_not_granted
  kSettled,          // settled        somebody asked for its outcome before it was applied
  kTooManyOps,       // too_many_ops
  kDuplicateKey,     // duplicate_key
  kCompacted,        // compacted
  kFutureRevision,   // future_revision
  kNotInAp,          // not_in_ap      the operation has no honest meaning in AP mode
  kNotSupported,     // not_supported  not in this build
  kWrongEpoch,       // wrong_epoch
  kNotLab,           // not_lab        fault injection on a node without --lab
};
std::string_view to_text(Reason reason);

// Certainly nothing was changed, and why: what happened, with numbers.
struct Refusal {
  Reason reason = Reason::kNone;
  std::string detail;
};

struct RangeResult {
  std::vector<KeyValue> kvs;
  bool more = false;
  std::int64_t count = 0;
};
struct PutResult {
  std::optional<KeyValue> prev;
};
struct DeleteRangeResult {
  std::int64_t deleted = 0;
  std::vector<KeyValue> prevs;
};
struct ResponseOp;
struct TxnResult {
  bool succeeded = false;
  std::vector<ResponseOp> responses;
};
struct ResponseOp {
  std::variant<std::monostate, RangeResult, PutResult, DeleteRangeResult, TxnResult> result;
  Revision revision;  // of the sub-response's header
};

struct CompactResult {};
struct HashResult {
  std::uint32_t hash = 0;
  Revision compacted;
};

struct LeaseGrantResult {
  std::int64_t id = 0;
  std::int64_t ttl = 0;  // seconds, as granted
};
struct LeaseRevokeResult {};
struct LeaseKeepAliveResult {
  std::int64_t id = 0;
  std::int64_t ttl = 0;  // seconds from now; 0: there is no such lease
};
struct LeaseTimeToLiveResult {
  std::int64_t id = 0;
  std::int64_t ttl = -1;  // whole seconds that remain; -1: there is no such lease
  std::int64_t granted_ttl = 0;
  std::vector<std::string> keys;
};
struct LeasesResult {
  std::vector<std::int64_t> ids;  // the first to end first
};

struct MoveLeaderResult {};
struct DefragmentResult {};
struct AlarmResult {
  std::vector<MemberAlarm> alarms;  // listed, or the one that was raised or cleared
};

struct AuthResult {
  bool enabled = false;                 // kStatus
  std::uint64_t revision = 0;           // kStatus: counts every change
  std::vector<std::string> names;       // users, roles, or the roles of a user; sorted
  std::vector<Permission> permissions;  // of a role; by key
};
struct AuthenticateResult {
  std::string token;
  std::string hash;  // not beyond the node
};

struct OutcomeResult {
  Fate fate = Fate::kOpen;
  Revision revision;  // of the applied; 0: of a write's id it is not kept
};

struct PeerStatus {
  std::string name;
  MemberId id;
  std::string peer_address;                 // host:port
  std::vector<std::string> client_urls;
  bool self = false;
  bool reachable = false;                   // heard within the election timeout / by SWIM
  Micros last_heard_ago = -1;               // -1: never
  Micros round_trip = -1;                   // -1: not measured
  std::uint64_t match = 0;                  // CP leader: its match index; AP: our view of its head
  std::string state;                        // CP: its state beside ours: equal, different, unknown
  bool learner = false;                     // CP: does not vote
  bool witness = false;                     // CP: holds no data
};
struct StatusResult {
  std::string name;
  MemberId id;
  ClusterId cluster;
  Mode mode = Mode::kCp;
  std::string version;                      // of Capstan
  std::string role;                         // leader, follower, candidate, recovering, learner, witness; AP: replica
  std::string leader_name;                  // empty: none known
  MemberId leader;
  std::uint64_t term = 0, index = 0, committed = 0, applied = 0;
  Revision revision;
  Revision compacted;                       // CP: history begins here; 0: nothing was compacted
  std::vector<PeerStatus> peers;            // every configured member, itself included, list order
  int voters = 0, reachable = 0, quorum = 0;  // reachable counts itself
  Micros alone_for = -1;                    // CP: since when without quorum; AP: since some peer is gone; -1: not
  Durability durability = Durability::kSync;
  std::uint64_t keys = 0, base_bytes = 0, wal_bytes = 0, table_bytes = 0;
  std::uint64_t base_live_bytes = 0;        // of base_bytes; the rest is free and will be given back
  std::uint64_t conflicts = 0;              // AP: entries ever recorded
  std::string vector_text;                  // AP: version vector, canonical
  std::string digest_text;                  // AP: 16 hex digits; equal vectors must mean equal digests
  bool divergence_alarm = false;            // equal history (AP: equal vectors), different contents
  std::uint64_t sync_bytes_in = 0, sync_bytes_out = 0;          // AP level 1: whole messages
  std::uint64_t sync_ident_bytes = 0, sync_payload_bytes = 0;   // finding out; key + value bytes sent
  Micros commit_stall = 0;                  // CP leader: age of the oldest entry that is not committed
  Micros disk_stall = 0;                    // CP: since the log's disk answered last, while it should
  std::vector<std::string> errors;          // alarms and notes, as sentences
};
struct MembersResult {
  std::vector<PeerStatus> members;
  bool peer_tls = false;                    // peer addresses are https://
};
struct MemberChangeResult {
  MemberId member;
  std::vector<PeerStatus> members;          // after it
  bool peer_tls = false;                    // as in MembersResult
};
// One concurrent loss, body kept.
struct Conflict {
  std::uint64_t number = 0;  // position in this node's log
  std::string key;
  std::string loser_id, winner_id;  // NAME:INCARNATION:SEQUENCE
  std::string loser_value, winner_value;
  bool loser_deletes = false, winner_deletes = false;
  Micros loser_wall = 0, winner_wall = 0;
  std::string rule;  // "lww"
};
struct ConflictsResult {
  std::vector<Conflict> conflicts;
  std::uint64_t total = 0, dropped = 0;  // ever recorded; bodies dropped for the byte budget
};
// This node's part of the accounts; a run is settled from all nodes' parts together (ap/books.h).
// A write's fate is the first that names it: survived anywhere, superseded anywhere, lost anywhere;
// an acknowledged write in none of the three is unaccounted for, which is a bug.
struct BooksResult {
  std::vector<std::string> survived;    // ids of the writes now visible, one a live or deleted cell
  std::vector<std::string> superseded;  // ids that a write accepted here replaced, having seen them
  std::vector<std::string> lost;        // ids in the conflict log
};

using ReplyBody = std::variant<std::monostate, RangeResult, PutResult, DeleteRangeResult, TxnResult,
                               StatusResult, MembersResult, ConflictsResult, BooksResult,
                               CompactResult, HashResult, LeaseGrantResult, LeaseRevokeResult,
                               LeaseKeepAliveResult, LeaseTimeToLiveResult, LeasesResult,
                               MoveLeaderResult, DefragmentResult, AlarmResult,
                               MemberChangeResult, AuthResult, AuthenticateResult,
                               OutcomeResult>;

struct ReplyHeader {
  ClusterId cluster;
  MemberId member;
  Revision revision;
  Term term;
};

struct Reply {
  Outcome outcome = Outcome::kOk;
  Reason reason = Reason::kNone;
  std::string detail;      // for people: what happened, why with numbers, applied or not, way out
  ReplyHeader header;
  WriteId write_id;        // of an accepted write, also when its outcome is unknown
  Epoch epoch;
  Durability durability = Durability::kSync;
  int replicas_have = 0, replicas_all = 0;  // writes: known to hold it at the time of the reply, of
  Micros age_at_least = -1;  // serializable reads without a leader: at least this old; -1: current
  ReplyBody body;
  std::shared_ptr<RangeStream> range = {};  // in place of a body: what is too long to be held
};

using Answer = std::move_only_function<void(Reply)>;

// The id of a lease or member as etcd's tools write it, 16 hex digits; fewer are read, too.
std::string id_text(std::int64_t id);
template <class Tag>
std::string id_text(Number<Tag> id) {
  return id_text(static_cast<std::int64_t>(id.value));
}
std::optional<std::int64_t> id_of_text(std::string_view text);

// True if the request can change the state (a txn with a put or delete in either branch counts).
bool is_write(const RequestBody& body);

// A refusal: certainly not applied.
Reply refused(Reason reason, std::string detail);

}  // namespace capstan
