// Connections that a test plays by hand, byte by byte, for those who are no
// nodes, and what a pool says of them.

#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "captured_log.hpp"

#include "troupe/unique_fd.hpp"

namespace test {

inline sockaddr_in on_loopback(std::uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  result.sin_port = htons(port);
  return result;
}

/// A socket that is connected to the port.
inline troupe::unique_fd connect_to(std::uint16_t port) {
  troupe::unique_fd result{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  auto where = on_loopback(port);
  if (::connect(result.get(), reinterpret_cast<sockaddr*>(&where),
                sizeof(where))
      != 0)
    throw std::runtime_error{"cannot connect to the port"};
  return result;
}

/// A socket on which a test listens in place of a pool.
struct false_pool {
  false_pool() {
    auto where = on_loopback(0);
    socklen_t size = sizeof(where);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where), size) != 0
        || ::listen(fd.get(), 8) != 0)
      throw std::runtime_error{"cannot listen"};
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&where), &size);
    port = ntohs(where.sin_port);
  }

  /// Blocks for somebody who connects.
  troupe::unique_fd accept() const {
    return troupe::unique_fd{::accept(fd.get(), nullptr, nullptr)};
  }

  troupe::unique_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::uint16_t port = 0;
};

/// Sends as much as the other side takes before it hangs up.
inline void say(const troupe::unique_fd& fd, std::string_view text) {
  while (!text.empty()) {
    auto sent = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0)
      return;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// Blocks until the other side has closed.
inline void wait_for_end(const troupe::unique_fd& fd) {
  char byte = 0;
  while (::recv(fd.get(), &byte, 1, 0) > 0) {
  }
}

/// What the pool says of those that it turns away.
inline std::vector<std::string> turned_away(const captured_log& log) {
  auto result = log.texts();
  std::erase_if(result, [](const std::string& x) {
    return x.find("turned away") == x.npos;
  });
  return result;
}

} // namespace test
