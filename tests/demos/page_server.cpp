// Serving pages; see the header.
#include "page_server.hpp"

#include <httplib.h>

#include <stdexcept>
#include <thread>
#include <utility>

namespace test {

class page_server::implementation {
public:
  explicit implementation(maker make) {
    // A connection that is kept alive holds one of the server's threads.
    http_.new_task_queue = [] { return new httplib::ThreadPool(64); };
    http_.set_tcp_nodelay(true);
    http_.set_keep_alive_max_count(1'000'000);
    // Also how long the destructor waits for a client that keeps its
    // connection.
    http_.set_keep_alive_timeout(1);
    http_.Get(".*", [make = std::move(make)](const httplib::Request& asked,
                                             httplib::Response& answer) {
      auto [status, body] = make(asked.target);
      answer.status = status;
      answer.set_content(body, "application/octet-stream");
    });
    auto listener = INVALID_SOCKET;
    http_.set_socket_options([&](socket_t made) { listener = made; });
    port_ = http_.bind_to_any_port("127.0.0.1");
    // httplib lets five clients wait to be accepted.
    if (port_ <= 0 || listen(listener, 64) != 0)
      throw std::runtime_error{"cannot start an HTTP server on 127.0.0.1"};
    thread_ = std::thread{[this] { http_.listen_after_bind(); }};
    // A server that is told to stop before it runs goes on for ever.
    while (!http_.is_running())
      std::this_thread::yield();
  }

  ~implementation() {
    http_.stop();
    thread_.join();
  }

  int port() const noexcept { return port_; }

private:
  httplib::Server http_;
  int port_ = 0;
  std::thread thread_;
};

page_server::page_server(maker make)
    : server_{std::make_unique<implementation>(std::move(make))} {}

page_server::~page_server() = default;

std::string page_server::host(const std::string& name) const {
  return name + ":" + std::to_string(server_->port());
}

} // namespace test
