#include "tests/support/free_ports.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

namespace capstan::test {
namespace {

constexpr std::uint16_t kLowest = 10'000, kHighest = 32'000;  // Linux gives from 32,768 on

int listen_on(std::size_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || listen(fd, 1) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

}  // namespace

std::vector<std::uint16_t> free_ports(std::size_t count, std::size_t run) {
  std::random_device any;  // other test programs choose at the same time
  std::uniform_int_distribution<int> port_in(kLowest, kHighest);
  std::vector<std::uint16_t> ports;
  std::vector<int> held;  // together, so that none is given twice
  while (ports.size() < count) {
    REQUIRE(held.size() < 10'000);
    const auto port = static_cast<std::uint16_t>(port_in(any));
    std::size_t free = 0;
    for (; free < run; ++free) {
      const int fd = listen_on(port + free);
      if (fd < 0) break;
      held.push_back(fd);
    }
    if (free == run) ports.push_back(port);
  }
  for (const int fd : held) close(fd);
  return ports;
}

}  // namespace capstan::test
