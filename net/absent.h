// What etcd's API has and this node does not do: the error and its sentence, with the way out.
#pragma once

#include <string>
#include <string_view>

#include "core/request.h"
#include "core/types.h"
#include "net/reasons.h"

namespace capstan::net {

struct Absence {
  GrpcCode code = GrpcCode::kUnimplemented;  // AP, no honest meaning there: kFailedPrecondition
  Reason reason = Reason::kNotSupported;
  std::string sentence;
};

// "/etcdserverpb.Watch/Watch": of a method that this build, or a node in this mode, does not
// answer.
Absence absence_of(std::string_view path, Mode mode);

}  // namespace capstan::net
