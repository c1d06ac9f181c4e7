// A TCP server on loopback that answers as badly as a test wants it to. It is
// asked for one connection at a time by the test itself, on the test's thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace test {

/// One accepted connection.
class connection {
public:
  explicit connection(int fd) : fd_{fd} {}

  connection(connection&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}

  ~connection() { hang_up(); }

  /// Blocks until the head of a request is in; returns it.
  std::string read_request();

  /// Blocks until the client has hung up.
  void wait_for_hang_up();

  void send(std::string_view text);

  void hang_up();

private:
  int fd_;
};

/// Listens on a port of its own.
class tiny_server {
public:
  /// @param listening whether it accepts connections; if not, the port is
  ///        taken and refuses them.
  explicit tiny_server(bool listening = true);

  ~tiny_server();

  tiny_server(const tiny_server&) = delete;
  tiny_server& operator=(const tiny_server&) = delete;

  std::string url(std::string_view path) const;

  /// Blocks until somebody connects.
  connection accept();

private:
  int fd_;
  int port_;
};

} // namespace test
