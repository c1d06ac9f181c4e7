// A web server on loopback whose pages are what a test's function says, asked
// on threads of the server: as many clients as a test needs are served at once.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace test {

/// What the server answers.
struct page {
  int status = 200;
  std::string body = {};
};

/// Serves `GET` of every path while it lives.
class page_server {
public:
  /// Makes the page for a path, with its query if there is one. Called on
  /// several threads at once; has to return before the server goes.
  using maker = std::function<page(const std::string& path)>;

  explicit page_server(maker make);

  ~page_server();

  page_server(const page_server&) = delete;
  page_server& operator=(const page_server&) = delete;

  /// Returns "127.0.0.1:PORT", or the same with another name for the host.
  std::string host(const std::string& name = "127.0.0.1") const;

  std::string url(const std::string& path) const {
    return "http://" + host() + path;
  }

private:
  class implementation;

  std::unique_ptr<implementation> server_;
};

} // namespace test
