// An HTTP client over libcurl, for one worker: it keeps its connections alive
// between requests, ends when it is told to stop, and its errors have a type. A
// component of its own, troupe::http; needs nothing else of troupe, so it is of
// use to a plain thread, too.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

namespace troupe {

/// Why there is no whole answer, in words: operation, URL, cause.
class http_error : public std::runtime_error {
public:
  http_error(const std::string& operation, const std::string& cause, int code,
             bool may_pass);

  /// Returns libcurl's CURLcode, such as CURLE_COULDNT_CONNECT; it is
  /// CURLE_ABORTED_BY_CALLBACK if the request was stopped.
  int code() const noexcept { return code_; }

  /// Returns whether the next try may succeed: the server refused or broke the
  /// connection, or was too slow.
  bool may_pass() const noexcept { return may_pass_; }

  /// Returns the last part of the text, without what was tried.
  const std::string& cause() const noexcept { return *cause_; }

private:
  int code_;
  bool may_pass_;
  // Shared, since copying an exception must not throw.
  std::shared_ptr<const std::string> cause_;
};

/// What a server is asked.
struct http_request {
  std::string url;
  std::string method = "GET";
  std::map<std::string, std::string> headers = {};
  /// Sent if it is not empty, or if the method is POST or PUT.
  std::string body = {};
};

/// What a server answered; the last one, if there were redirections.
struct http_response {
  long status = 0;
  /// By name in small letters; of several with one name the last.
  std::map<std::string, std::string> headers = {};
  /// Empty if the body went elsewhere.
  std::string body = {};
  /// The size of the body, wherever it went.
  std::uint64_t bytes = 0;
};

/// When a client gives a server up.
struct http_limits {
  std::chrono::milliseconds connect = std::chrono::seconds{10};
  /// With less than one byte a second for this long.
  std::chrono::seconds silence{30};
  /// For the whole answer; 0: any time, as long as something comes.
  std::chrono::milliseconds total{0};
  unsigned redirections = 10;
};

/// A blocking HTTP client, for http and https. Belongs to one thread at a time;
/// what is asked to stop it by a token may be asked from any.
class http_client {
public:
  /// Takes the next bytes of a body. May throw, which ends the request.
  using sink = std::function<void(std::string_view)>;

  /// Connects to nobody yet. Proxies are those of the environment, but never
  /// one for this machine itself.
  ///
  /// Errors: throws `http_error` if libcurl cannot be started.
  explicit http_client(http_limits limits = {});

  http_client(http_client&&) noexcept;
  http_client& operator=(http_client&&) noexcept;

  ~http_client();

  /// Makes a request, following redirections, and blocks until the last byte of
  /// the answer is in, or until `stop` is requested: pass `ctx.stop_token()`.
  ///
  /// Errors: throws `http_error` if no whole answer came. A status such as 404
  ///         is an answer.
  http_response send(const http_request& what,
                     const std::stop_token& stop = {});

  /// As above, and gives the body to `body` as it comes; what that throws is
  /// thrown here.
  http_response send(const http_request& what, const std::stop_token& stop,
                     const sink& body);

  /// Makes a GET request.
  http_response get(const std::string& url, const std::stop_token& stop = {}) {
    return send({.url = url}, stop);
  }

  http_response get(const std::string& url, const std::stop_token& stop,
                    const sink& body) {
    return send({.url = url}, stop, body);
  }

private:
  class handle;

  std::unique_ptr<handle> handle_;
};

} // namespace troupe
