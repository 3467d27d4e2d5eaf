#include "net/reply_text.h"

namespace capstan::net {

std::string write_id_text(const WriteId& id, const Handler& handler) {
  if (!id) return {};
  const std::string_view name = handler.name_of(id.actor.node);
  if (!name.empty()) return to_text(id, name);
  std::array<char, 16> hex;
  const auto end = std::to_chars(hex.data(), hex.data() + hex.size(), id.actor.node.value, 16).ptr;
  return to_text(id, std::string_view(hex.data(), static_cast<std::size_t>(end - hex.data())));
}

ReplyText::ReplyText(const Reply& reply, bool writes, const Handler& handler) {
  if (writes) write_id = write_id_text(reply.write_id, handler);
  replicas.number(reply.replicas_have);
  replicas.letter('/');
  replicas.number(reply.replicas_all);
  epoch.number(static_cast<std::int64_t>(reply.epoch.value));
  age.number(reply.age_at_least);
}

}  // namespace capstan::net
