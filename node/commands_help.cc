// The pages of `capstan` and `capstan help`. They name only what works in this build.
#include "node/commands.h"
#include "node/options.h"
#include "node/version.h"

namespace capstan::node {
namespace {

constexpr std::string_view kCommands[] = {
    "compare", "bench",          "serve", "status", "members", "put",     "get",
    "del",     "compact",        "lease", "lab",    "help",    "version", "exit",
    "config",  "restore-backup", "auth",  "user",   "role",    "outcome"};

constexpr std::string_view kExitPage =
    R"(Exit codes: what a script may conclude.

  0    done
  1    ran, and the answer is no (compare: a check broke)
  2    the call or the configuration is wrong: fix it
  3    no such key, or lease
  4    refused: certainly not applied; retry, or ask another node
  5    unknown: may or may not be applied; ask capstan outcome
       (compare: a check could not be decided)
  7    nobody answered at the address
  8    not allowed here
  74   serve: the disk failed; the next start trusts only what it reads back
  130  interrupted
)";

constexpr std::string_view kConfigPage =
    R"(Configuration: a flag wins over CAPSTAN_X in the environment, that over ETCD_X
(for etcd's own flags), that over the file, that over the default. X is the flag
in capitals with _ for -: --data-dir is CAPSTAN_DATA_DIR.

The file is --config=FILE, or the first that exists of ./capstan.toml,
$XDG_CONFIG_HOME/capstan/capstan.toml and /etc/capstan/capstan.toml. Its keys are
the flags without dashes:

    mode = "cp"
    name = "n1"
    join = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    election-timeout = 500
    lab = true

Flags take one dash or two, = or a space, and any order; -- ends them.
)";

struct Page {
  std::string_view name;
  std::string_view head;
};

constexpr Page kPages[] = {
    {"serve", R"(capstan serve --mode=cp|ap [flags]    run a node

  One node here:
    capstan serve --mode=cp
  Three nodes, the same --join on each:
    capstan serve --mode=cp --name=n1 --join=10.0.0.1,10.0.0.2,10.0.0.3
  Three on this machine (n1; likewise n2 and n3):
    capstan serve --mode=ap --name=n1 \
      --join=127.0.0.1:2379,127.0.0.1:2479,127.0.0.1:2579
  As etcd is started, with --mode added:
    capstan serve --mode=cp --name n1 \
      --initial-cluster n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,...

Members without a name in --join are n1, n2, ... in its order. Clients of every
kind (etcdctl, curl, capstan) use one port; the port above it is the members'.
The last line at start says "ready" with every address. SIGTERM stops in order.
With --cert-file and --key-file that port is TLS, and nothing else; likewise the
members' with --peer-cert-file and --peer-key-file.

)"},
    {"put", R"(capstan put KEY VALUE [flags]    write a key

    capstan put greeting hello
    capstan put config - < file            the value from standard input
    capstan put key1 value1 --node n2      at one member

)"},
    {"get", R"(capstan get KEY [flags]    read a key, or all with a prefix

    capstan get greeting
    capstan get user/ --prefix             keys and values, a tab between
    capstan get key1 --stale               what this node has, however old

A key that is not there: no output, exit 3.

)"},
    {"del", R"(capstan del KEY [flags]    delete a key, or all with a prefix

    capstan del greeting
    capstan del user/ --prefix

)"},
    {"compact",
     R"(capstan compact REVISION [flags]    forget older revisions (cp)

    capstan compact 1200
    capstan compact 1200 --physical        wait until they have left the disk

Of each key the newest version at or below REVISION stays. Reads at older
revisions and watches from there are refused from then on. The space comes back
by itself, on every node, while it serves.

)"},
    {"lease",
     R"(capstan lease grant|revoke|keep-alive|show|list [flags]    keys with a life (cp)

    capstan lease grant 60                 prints the id of a new lease of 60 s
    capstan put worker/1 up --lease=ID     the key goes when its lease does
    capstan lease keep-alive ID            until it is stopped
    capstan lease show ID --keys           what remains, and of which keys
    capstan lease revoke ID                end it now

A lease that nobody keeps alive ends soon after its time to live, never before,
whatever becomes of leaders; all its keys go in one revision. An id that is not
there: exit 3.

)"},
    {"outcome",
     R"(capstan outcome ID [flags]    what became of a write answered unknown (cp)

    capstan put key value                  answered unknown: n1:3:17
    capstan outcome n1:3:17
    capstan outcome --of-request=order-17  of what was put with --request-id

Applied: exit 0. Not applied, and never will be: exit 4; asking decides it, so a
write that is still on its way is refused when it comes. Without a majority
there is no answer yet: exit 4 or 5, with the reason. Too long ago: exit 5.

)"},
    {"auth", R"(capstan auth enable|disable|status [flags]    must whoever asks log in? (cp)

    capstan user add root                  asks for its password
    capstan user grant root root           the role that may do everything
    capstan auth enable
    capstan get key --user=root            asks for it again

The user root must be there before auth is enabled, and have the role root.

)"},
    {"user",
     R"(capstan user list|add|delete|password|show|grant|revoke [flags]    who asks (cp)

    capstan user add alice                 asks for her password
    capstan user add alice:secret
    capstan user grant alice readers       gives her a role
    capstan user show alice                her roles
    capstan user password alice            a new one; her tokens end

)"},
    {"role",
     R"(capstan role list|add|delete|show|grant|revoke [flags]    what users may do (cp)

    capstan role add readers
    capstan role grant readers read user/ --prefix
    capstan role grant readers readwrite a f      from a up to f, f not included
    capstan role revoke readers user/ --prefix
    capstan role show readers

)"},
    {"status", R"(capstan status [flags]    ask every node who it reaches, and show the sides

    capstan status
    capstan status --node n1               one node's own view

)"},
    {"members",
     R"(capstan members list|add|remove|promote|update|lead [flags]    who belongs to it

    capstan members                        who there is, and where
    capstan members add 10.0.0.4:2380      a peer address; it votes once in step
    capstan members add HOST:PORT --learner   ... once it is promoted
    capstan members add HOST:PORT --as-witness   a vote without data
    capstan members promote n4
    capstan members remove n1 --confirm=n1 for good; a leader hands over first
    capstan members update n2 HOST:PORT    its peer address has changed
    capstan members lead n2                let it lead; ask the leader

A change is in force when it is answered; one at a time (cp). In AP mode the
members are those of the start.

)"},
    {"restore-backup",
     R"(capstan restore-backup FILE [flags of serve]    a new cluster from an old one (cp)

    etcdctl snapshot save FILE             takes a backup, of any node
    capstan restore-backup FILE --mode=cp --listen=HOST:PORT --data-dir=DIR
    capstan serve --mode=cp --listen=HOST:PORT --data-dir=DIR

A majority is lost for good: the same from what a member has left.

    capstan restore-backup --from-data-dir=OLD --mode=cp --listen=HOST:PORT \
        --data-dir=DIR

Either makes a data directory of a new cluster, with an id of its own, and says
what may be lost. Others join it on empty directories (serve --join), or, from a
file, are restored with the same flags and list. The flags are those serve takes
then.

)"},
    {"lab", R"(capstan lab cut|oneway|heal|show [flags]    split the network between nodes

    capstan lab cut n1 / n2,n3             two sides that do not hear each other
    capstan lab oneway n1 n2               n2 does not hear n1
    capstan lab show
    capstan lab heal

Frames between nodes are dropped inside the nodes, which must have been started
with --lab; no root needed. Clients are not cut. Every cut ends by itself after
--for.

)"},
};

constexpr std::string_view kHintClient =
    "\nThe node asked is the first of --endpoints (CAPSTAN_ENDPOINTS) that answers.\n";

}  // namespace

std::span<const std::string_view> command_names() { return kCommands; }

std::string first_page() {
  return R"(capstan - a key-value store that is consistent (--mode=cp) or available
(--mode=ap) when the network splits, with a lab to split it.

  capstan compare               both modes under one partition: table and report
  capstan serve --mode=ap --join=HOST1,HOST2,HOST3
                                run a node (give every node the same --join)
  capstan put greeting hello && capstan get greeting
  capstan status                who is there, who reaches whom
  capstan lab cut n1 / n2,n3    split nodes that were started with --lab

All commands: capstan help     One command: capstan help put
)";
}

std::string all_commands() {
  return R"(capstan )" + std::string(kVersion) + R"(

see it      compare    both modes under the same partition: a table and a report
run it      serve      run a node
            status     ask every node: sides, leader, what is equal
            members    who belongs to it; add, remove, promote
            auth user role    who may do what (cp)
            restore-backup    a new cluster from a backup or a member's disk
use it      put        write a key
            get        read a key, or all with a prefix
            del        delete a key, or all with a prefix
            compact    forget old revisions (cp)
            outcome    what became of a write that was answered unknown (cp)
            lease      keys that live as long as their owner says so (cp)
break it    lab        cut, oneway, heal, show: split the network between nodes
measure it  bench      load on any etcd-v3 endpoint
help        help TOPIC (a command, exit, config)    version
)";
}

std::string help_page(std::string_view topic) {
  if (topic == "exit") return std::string(kExitPage);
  if (topic == "config") return std::string(kConfigPage);
  if (topic == "version") return "capstan version    print the version\n";
  if (topic == "help") return all_commands();
  for (const Page& page : kPages) {
    if (page.name != topic) continue;
    std::string out = std::string(page.head) + "Flags\n" + options_help(option_table(), topic);
    if (topic != "serve" && topic != "restore-backup") out += kHintClient;
    return out;
  }
  return {};
}

}  // namespace capstan::node
