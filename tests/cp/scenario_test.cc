// Runs the stories of tests/scenarios/*.txt: a line that starts with `>` is done, the lines behind
// it are what is then seen. CAPSTAN_REGENERATE=1 writes them anew, to be read in review like prose.
//
//   > cluster 3               n1..n3, fresh          > ticks 20        20 x 10 ms
//   > elect                   until one leads        > roles           who is what
//   > put n1 color=red        asks; the reply is shown when it comes, with its time
//   > get n1 color            linearizable           > stale n1 color  from its own state
//   > cut n1 / n2,n3   > heal   > crash n1   > wipe n1   > rot n1   > start n1   > stop n1
//   > hold n1   > free n1     its disk makes nothing durable; goes on
//   > break n1                its connections break and can be used again at once
//   > lose votes   > pass votes    requests for votes (not pre-votes) vanish; arrive again
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/trace.h"
#include "tests/cp/cp_cluster.h"

using namespace capstan;
using test::CpCluster;

namespace {

int node_of(const std::string& name) {
  REQUIRE(name.size() == 2);
  return name[1] - '0';
}

class Story {
 public:
  // Does one line; what is seen goes to lines().
  void perform(const std::string& line) {
    std::istringstream in(line);
    std::string verb, first, second;
    in >> verb >> first;
    std::getline(in >> std::ws, second);
    if (verb == "cluster") {
      members_ = std::stoi(first);
      cluster_ = std::make_unique<CpCluster>(members_);
    } else if (verb == "elect") {
      see("n" + std::to_string(cluster_->elect()) + " leads");
    } else if (verb == "ticks") {
      for (int i = std::stoi(first); i > 0; --i) pass();
    } else if (verb == "roles") {
      roles();
    } else if (verb == "cut") {
      std::set<int> side;
      for (char c : first) {
        if (c >= '1' && c <= '9') side.insert(c - '0');
      }
      cluster_->cut(std::move(side));
    } else if (verb == "heal") {
      cluster_->heal();
    } else if (verb == "lose") {
      cluster_->filter = [](int, int, const cp::Message& message) {
        const auto* ask = std::get_if<cp::VoteRequest>(&message.body);
        return ask == nullptr || ask->pre;
      };
    } else if (verb == "pass") {
      cluster_->filter = nullptr;
    } else {
      on_node(verb, node_of(first), first, second);
    }
    collect();
  }
  std::vector<std::string> take_lines() { return std::exchange(lines_, {}); }

 private:
  struct Waiting {
    std::string what;
    Micros since;
    std::shared_ptr<std::optional<Reply>> reply;
  };

  void on_node(const std::string& verb, int n, const std::string& name, const std::string& rest) {
    if (verb == "put") {
      const auto equals = rest.find('=');
      REQUIRE(equals != std::string::npos);
      ask("put " + name + " " + rest,
          cluster_->put(n, rest.substr(0, equals), rest.substr(equals + 1)));
    } else if (verb == "get" || verb == "stale") {
      ask(verb + " " + name + " " + rest, cluster_->get(n, rest, verb == "stale"));
    } else if (verb == "crash") {
      cluster_->crash(n);
    } else if (verb == "start") {
      cluster_->start(n);
    } else if (verb == "wipe") {
      cluster_->wipe(n);
    } else if (verb == "rot") {
      cluster_->rot(n);
    } else if (verb == "break") {
      for (int other = 1; other <= members_; ++other) {
        if (other == n || !cluster_->up(other)) continue;
        for (const auto& [end, peer] : {std::pair{n, other}, std::pair{other, n}}) {
          cluster_->engine(end).peer_disconnected(CpCluster::id(peer));
        }
      }
    } else if (verb == "hold" || verb == "free") {
      cluster_->disk(n).held = verb == "hold";
    } else {
      REQUIRE(verb == "stop");
      cluster_->engine(n).stop([this, name] { see(name + " stopped"); });
    }
  }

  void ask(std::string what, std::shared_ptr<std::optional<Reply>> reply) {
    waiting_.push_back({std::move(what), cluster_->now(), std::move(reply)});
    cluster_->settle();
  }
  void pass() {
    cluster_->run();
    collect();
  }
  void collect() {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      if (!at->reply->has_value()) {
        ++at;
        continue;
      }
      see(at->what + " -> " + told(**at->reply) + " after " +
          std::to_string((cluster_->now() - at->since) / kMillisecond) + " ms");
      at = waiting_.erase(at);
    }
  }
  static std::string told(const Reply& reply) {
    if (reply.outcome != Outcome::kOk) {
      return std::string(to_text(reply.outcome)) + " " + std::string(to_text(reply.reason));
    }
    const auto* range = std::get_if<RangeResult>(&reply.body);
    if (range == nullptr) return "ok, revision " + std::to_string(reply.header.revision.value);
    std::string out = range->kvs.empty() ? "(none)" : range->kvs[0].value;
    if (reply.age_at_least >= 0) {
      out += ", at least " + std::to_string(reply.age_at_least / kMillisecond) + " ms old,";
    }
    return out;
  }
  void roles() {
    for (int n = 1; n <= members_; ++n) {
      const std::string name = "n" + std::to_string(n);
      if (!cluster_->up(n)) {
        see(name + " down");
        continue;
      }
      const cp::Raft& raft = cluster_->engine(n).raft();
      const char* standing = raft.standing() == cp::Standing::kNormal  ? ""
                             : raft.standing() == cp::Standing::kFresh ? ", fresh"
                                                                       : ", impaired";
      see(name + " " + std::string(to_text(raft.role())) + " t" +
          std::to_string(raft.term().value) + standing);
    }
  }
  void see(std::string line) { lines_.push_back(std::move(line)); }

  std::unique_ptr<CpCluster> cluster_;
  int members_ = 0;
  std::deque<Waiting> waiting_;
  std::vector<std::string> lines_;
};

std::string perform_all(const std::string& text) {
  std::istringstream in(text);
  std::string out, line;
  Story story;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') {
      out += line + "\n";
    } else if (line[0] == '>') {
      out += line + "\n";
      INFO(line);
      story.perform(line.substr(2));
      for (const std::string& seen : story.take_lines()) out += seen + "\n";
    }
  }
  return out;
}

}  // namespace

TEST_CASE("scenarios: every story of tests/scenarios goes as it is told") {
  const std::filesystem::path folder =
      std::filesystem::path(CAPSTAN_SOURCE_DIR) / "tests/scenarios";
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  REQUIRE(!files.empty());
  for (const std::filesystem::path& file : files) {
    CAPTURE(file.string());
    std::stringstream told;
    told << std::ifstream(file).rdbuf();
    const std::string seen = perform_all(told.str());
    if (std::getenv("CAPSTAN_REGENERATE") != nullptr) {
      std::ofstream(file) << seen;
    } else {
      CHECK(seen == told.str());
    }
  }
}
