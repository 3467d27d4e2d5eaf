// A node of one map, behind the real front door: enough of etcd's semantics for clients to be
// content, and knobs for what a real node does rarely.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/handler.h"

namespace capstan::test {

class FakeHandler final : public net::Handler {
 public:
  // Answers wait in `waiting` until answer_waiting() when true.
  bool defer_answers = false;
  // Given instead of an answer of the map.
  std::optional<Reply> forced;
  bool ready = true;
  bool lab_allowed = true;
  Mode mode = Mode::kCp;

  // Keys in a slice of a long range; 0: there are none. Every other time there is nothing now,
  // until go_on(). `slices_left`: so many slices, and then a refusal.
  std::size_t range_slice = 0;
  std::size_t slices_left = SIZE_MAX;
  bool go_on();  // false: nobody waits

  // What was asked, newest last; kept only while `keep_requests`.
  bool keep_requests = true;
  std::vector<Request> requests;
  std::uint64_t handled = 0;

  // What watch() opens; nothing, and there are no watches.
  std::function<std::unique_ptr<WatchStream>(WatchOptions)> open_watch;

  void handle(Request request, Answer answer) override;
  std::unique_ptr<BackupStream> backup(const Caller&, std::function<void()>) override {
    return nullptr;
  }
  std::unique_ptr<WatchStream> watch(WatchOptions options) override {
    return open_watch ? open_watch(std::move(options)) : nullptr;
  }
  net::Health health() override;
  std::string metrics_text() override;
  void lab(net::LabCommand command, net::LabAnswer answer) override;
  std::string_view name_of(NodeId node) const override;

  // What the map answers to somebody else; at once, and kept nowhere.
  Reply ask(RequestBody body);

  void answer_waiting();
  void wait(std::function<void()> ready) { to_go_on_.push_back(std::move(ready)); }
  std::size_t waiting() const { return waiting_.size(); }
  std::uint64_t revision() const { return revision_; }
  std::size_t keys() const { return map_.size(); }

 private:
  Reply reply_to(const Request& request);
  RangeResult range(const RangeRequest& request) const;
  TxnResult txn(const TxnRequest& request);
  bool holds(const Compare& compare) const;
  bool puts(const TxnRequest& request) const;
  ResponseOp run(const RequestOp& op);
  StatusResult status() const;

  std::map<std::string, KeyValue, std::less<>> map_;
  std::uint64_t revision_ = 1;
  std::uint64_t writes_ = 0;
  std::vector<std::pair<Request, Answer>> waiting_;
  std::vector<net::LabFault> faults_;
  std::vector<std::function<void()>> to_go_on_;
};

}  // namespace capstan::test
