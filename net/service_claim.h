// A claim of a lock or of an election, from the call to being first.
//
//   (grant) ─► put, or find, the own key ─► (proclaim) ─► first? ─► answered
//                                                          │  ▲
//                                     watch the one ahead ◄┘  │ gone
//                                     and the own key     ────┘
//
// The own key is watched too, so that a claim whose lease ends is told at once; etcd 3.4 grants it
// when its turn comes, though the key is not there any more.
//
// Given up, by a client that goes or by a failure on the way: the own key is deleted, if it is the
// one that was found or put; a lease that the node granted is revoked. What a put whose outcome is
// unknown may have left ends with its lease.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/watch.h"
#include "net/service_step.h"

namespace capstan::net {

class Claim final : public ServiceCall {
 public:
  Claim(Asker asker, std::function<void()> ready, LockRequest request);
  Claim(Asker asker, std::function<void()> ready, CampaignRequest request);
  ~Claim() override;

  std::optional<ServiceMessage> next() override;

 private:
  enum class Phase : std::uint8_t { kGrant, kPut, kProclaim, kLook, kWait, kOver };

  void begin();
  void put();
  void proclaim();
  void look();
  // A message is the end.
  std::optional<ServiceMessage> wait(const std::string& ahead, Revision seen);
  std::optional<ServiceMessage> take(Reply& reply);
  std::optional<ServiceMessage> take_put(Reply& reply);
  std::optional<ServiceMessage> take_look(Reply& reply);
  // True: it is time to look again, or over.
  bool woken(std::optional<ServiceMessage>& end);
  ServiceMessage won();
  ServiceMessage lost(CallEnd why);
  void give_up();

  const Asker asker_;
  std::function<void()> ready_;
  Step step_;
  std::unique_ptr<WatchStream> stream_;  // kWait
  std::string ahead_;                    // kWait: whose end is waited for
  Phase phase_ = Phase::kGrant;
  const bool campaigns_;
  bool lease_is_ours_ = false;
  LeaderKey claim_;    // its revision is 0 until the key is there
  std::string value_;  // until it is put
  ReplyHeader header_;
};

}  // namespace capstan::net
