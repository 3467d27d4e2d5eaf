// What the calls of net/service_call.h are made of: one request after another, and the words that
// locks and elections have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/watch.h"
#include "net/asker.h"
#include "net/service_call.h"

namespace capstan::net {

// What a claim or an election's leader is not, or has not, in etcd's words.
CallEnd not_leader();
CallEnd no_leader();
CallEnd session_expired();
CallEnd no_watches();  // of a node that has none
// Of a reply that is not ok. etcd's services know one code for whatever went wrong beneath them,
// Unknown; where to try again may help ours stays Unavailable.
CallEnd end_of(const Reply& reply);

// Of a message with which a watch ends that cannot be made anew; one that was behind a compaction
// can. Nullopt: it goes on.
std::optional<CallEnd> end_of(const WatchMessage& message);

bool is_ok(const Reply& reply);
// The claims of a name, and the first of them.
KeyRange claims_of(const std::string& name);
RangeRequest first_of(const std::string& name);
// Carries `op` out if `key` is still the one that was created then.
TxnRequest if_created(const std::string& key, std::int64_t revision, RequestOp op);

// One request at a time, whose answer is looked for later.
class Step {
 public:
  using Late = std::move_only_function<void(const Reply&)>;

  Step(Asker asker, std::function<void()> ready)
      : asker_(std::move(asker)), ready_(std::move(ready)) {}
  ~Step();
  Step(const Step&) = delete;

  // `late` takes the answer if nobody is there any more to take() it.
  void ask(RequestBody body, Late late = nullptr);
  std::optional<Reply> take();

 private:
  struct Asked {
    std::function<void()> ready;
    Late late;
    std::optional<Reply> reply;
    bool left = false;
  };
  const Asker asker_;
  std::function<void()> ready_;
  std::shared_ptr<Asked> asked_;
};

}  // namespace capstan::net
