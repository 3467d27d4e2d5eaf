// The same lines of the shell against nodes of Capstan and, where it is installed, against a real
// etcd: what its users see must not differ.
#pragma once

#include <string>
#include <vector>

namespace capstan::node {

// "@" in it becomes the address that is asked.
struct Line {
  std::string what, says;
  bool goes_on = false;  // a watch: looked at until it has said that
};

extern const std::string kEtcdctl;  // with the endpoint "@"

// Against one node, three nodes (asked in turns) and etcd. Nothing where there is no etcdctl.
void walk_all(const std::vector<Line>& lines);

std::string gateway(const std::string& path, const std::string& body);
std::string gateway_error(const std::string& text, int code);

}  // namespace capstan::node
