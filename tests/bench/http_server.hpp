// A page server that is never the bottleneck: one process, one epoll loop,
// every page after the same delay. What it costs, it costs each contestant
// alike.

#pragma once

#include <chrono>
#include <cstdint>

#include <sys/types.h>

namespace bench {

/// Serves `GET /item/X` on the loopback: 1,024 bytes that repeat
/// `page_number(X)`, `delay` after the request arrived. Keeps connections.
class http_server {
public:
  explicit http_server(std::chrono::microseconds delay);
  ~http_server();

  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

private:
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
};

} // namespace bench
