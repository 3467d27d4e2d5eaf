#include "net/service_observe.h"

#include <utility>

namespace capstan::net {

Observe::Observe(Asker asker, std::function<void()> ready, ObserveRequest request)
    : asker_(std::move(asker)),
      ready_(ready),
      step_(asker_, std::move(ready)),
      name_(std::move(request.name)) {
  look();
}

void Observe::look() {
  stream_.reset();
  news_ = {};
  told_ = 0;
  step_.ask(first_of(name_));
}

void Observe::follow(KeyRange range, Revision seen) {
  news_ = {};
  told_ = 0;
  stream_ = asker_.watch({.ready = ready_});
  if (stream_ == nullptr) return;
  WatchRequest watch;
  watch.range = std::move(range);
  watch.start_revision = static_cast<std::int64_t>(seen.value) + 1;
  stream_->create(std::move(watch));
}

std::optional<ServiceMessage> Observe::next() {
  while (true) {
    if (stream_ == nullptr) {
      std::optional<Reply> reply = step_.take();
      if (!reply) return std::nullopt;
      if (!is_ok(*reply)) return std::unexpected(end_of(*reply));
      if (auto message = take_look(*reply)) return message;
      continue;
    }
    if (told_ < news_.events.size()) {
      if (auto message = take_event()) return message;
      continue;
    }
    std::optional<WatchMessage> news = stream_->next();
    if (!news) return std::nullopt;
    if (std::optional<CallEnd> broken = end_of(*news)) return std::unexpected(std::move(*broken));
    if (news->canceled) {  // behind a compaction
      look();
      continue;
    }
    news_ = std::move(*news);
    told_ = 0;
  }
}

std::optional<ServiceMessage> Observe::take_look(Reply& reply) {
  auto* range = std::get_if<RangeResult>(&reply.body);
  anybody_leads_ = range != nullptr && !range->kvs.empty();
  std::optional<ServiceMessage> message;
  KeyRange next = claims_of(name_);
  if (anybody_leads_) {
    next = {range->kvs[0].key, ""};
    message = ServiceReply{.header = reply.header, .kv = std::move(range->kvs[0])};
  }
  follow(std::move(next), reply.header.revision);
  if (stream_ == nullptr) return std::unexpected(no_watches());
  return message;
}

std::optional<ServiceMessage> Observe::take_event() {
  WatchEvent event = std::move(news_.events[told_++]);
  if (event.deleted) {
    if (anybody_leads_) look();
    return std::nullopt;
  }
  ServiceReply word{.header = news_.header, .kv = std::move(event.kv)};
  if (!anybody_leads_) {
    // The first claim leads; what else came with it is for the watch of its key.
    anybody_leads_ = true;
    word.header.revision = word.kv.mod_revision;
    follow({word.kv.key, ""}, word.kv.mod_revision);
  }
  return word;
}

}  // namespace capstan::net
