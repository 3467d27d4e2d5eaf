#include "net/service_call.h"

#include <utility>

#include "core/overloaded.h"
#include "net/service_claim.h"
#include "net/service_observe.h"
#include "net/service_step.h"

namespace capstan::net {

namespace {

// A call that is one request.
class OneRequest final : public ServiceCall {
 public:
  using Convert = ServiceMessage (*)(Reply&);

  OneRequest(Asker asker, std::function<void()> ready, RequestBody body, Convert convert)
      : step_(std::move(asker), std::move(ready)), convert_(convert) {
    step_.ask(std::move(body));
  }
  std::optional<ServiceMessage> next() override {
    std::optional<Reply> reply = step_.take();
    if (!reply) return std::nullopt;
    if (!is_ok(*reply)) return std::unexpected(end_of(*reply));
    return convert_(*reply);
  }

 private:
  Step step_;
  Convert convert_;
};

class RefusedAtOnce final : public ServiceCall {
 public:
  explicit RefusedAtOnce(CallEnd why) : why_(std::move(why)) {}
  std::optional<ServiceMessage> next() override { return std::unexpected(why_); }

 private:
  CallEnd why_;
};

ServiceMessage header_alone(Reply& reply) { return ServiceReply{.header = reply.header}; }

ServiceMessage proclaimed(Reply& reply) {
  const auto* txn = std::get_if<TxnResult>(&reply.body);
  if (txn == nullptr || !txn->succeeded) return std::unexpected(not_leader());
  return header_alone(reply);
}

ServiceMessage leader_found(Reply& reply) {
  auto* range = std::get_if<RangeResult>(&reply.body);
  if (range == nullptr || range->kvs.empty()) return std::unexpected(no_leader());
  return ServiceReply{.header = reply.header, .kv = std::move(range->kvs[0])};
}

CallEnd leader_missing() {
  return {GrpcCode::kUnknown, "\"leader\" field must be provided", Reason::kInvalid};
}

}  // namespace

std::unique_ptr<ServiceCall> open_service(Asker asker, ServiceRequest request,
                                          std::function<void()> ready) {
  const auto one = [&](RequestBody body, OneRequest::Convert convert) {
    return std::make_unique<OneRequest>(asker, std::move(ready), std::move(body), convert);
  };
  using Made = std::unique_ptr<ServiceCall>;
  return std::visit(
      Overloaded{
          [&](LockRequest& r) -> Made {
            return std::make_unique<Claim>(asker, std::move(ready), std::move(r));
          },
          [&](CampaignRequest& r) -> Made {
            return std::make_unique<Claim>(asker, std::move(ready), std::move(r));
          },
          [&](ObserveRequest& r) -> Made {
            return std::make_unique<Observe>(asker, std::move(ready), std::move(r));
          },
          [&](UnlockRequest& r) -> Made {
            return one(DeleteRangeRequest{.range = {std::move(r.key), ""}}, header_alone);
          },
          [&](LeaderRequest& r) -> Made { return one(first_of(r.name), leader_found); },
          [&](ProclaimRequest& r) -> Made {
            if (!r.leader) return std::make_unique<RefusedAtOnce>(leader_missing());
            PutRequest put{.key = r.leader->key, .value = std::move(r.value)};
            put.lease = r.leader->lease;
            return one(if_created(r.leader->key, r.leader->revision, {std::move(put)}), proclaimed);
          },
          // Whoever does not lead any more has nothing to resign, and is told that all is well.
          [&](ResignRequest& r) -> Made {
            if (!r.leader) return std::make_unique<RefusedAtOnce>(leader_missing());
            return one(if_created(r.leader->key, r.leader->revision,
                                  {DeleteRangeRequest{.range = {r.leader->key, ""}}}),
                       header_alone);
          },
      },
      request);
}

}  // namespace capstan::net
