// Fetches pages one at a time over one blocking libcurl handle, which keeps
// its connections alive between them. Each worker owns one.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace parts {

/// What a server answered.
struct page {
  /// The HTTP status, of the last answer if there were redirections.
  long status = 0;
  /// The size of the body.
  std::uint64_t bytes = 0;
};

/// Why there is no whole answer, in words that follow a URL and a colon.
class fetch_failure : public std::runtime_error {
public:
  fetch_failure(const std::string& text, bool may_pass)
      : std::runtime_error{text}, may_pass_{may_pass} {}

  /// Returns whether the next try may succeed: the server refused or broke the
  /// connection, or was too slow.
  bool may_pass() const noexcept { return may_pass_; }

private:
  bool may_pass_;
};

/// A blocking HTTP client.
///
/// Threads: one thread fetches; `interrupt` may be called by any other.
class http_client {
public:
  /// Starts libcurl in this process. Make one, and keep it, before the first
  /// client and before there are threads.
  /// @throws std::runtime_error if it can't be started.
  class library {
  public:
    library();
    library(const library&) = delete;
    library& operator=(const library&) = delete;
    ~library();
  };

  /// @throws std::runtime_error if libcurl can't make a handle.
  http_client();

  /// Takes the next bytes of a body. May throw, which ends the transfer.
  using sink = std::function<void(std::string_view)>;

  /// Fetches one page, following up to 10 redirections, and blocks until the
  /// last byte is in. The bytes are counted, and given to `body` if there is
  /// one, whatever the status.
  ///
  /// Units:  gives up when connecting takes longer than 10 s, or when less
  ///         than one byte a second comes in for 30 s.
  /// Errors: throws `fetch_failure` if no whole answer came, naming what was
  ///         tried and why it failed; whatever `body` throws. A status such as
  ///         404 is an answer.
  page get(const std::string& url, const std::stop_token& stop,
           const sink& body = {});

  /// Ends the `get` that is running by shutting down its connection. Call it
  /// after its stop token has been asked to stop: `get` then opens no other.
  void interrupt();

private:
  // What the running `get` leaves its callbacks.
  struct transfer {
    http_client* client;
    const std::stop_token* stop;
    const sink* body;
    page answer;
    // What the sink threw, which must not pass through libcurl.
    std::exception_ptr refused;
  };

  struct deleter {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
  };

  template <class T>
  void set(CURLoption option, T value);

  static std::size_t on_body(char* data, std::size_t size, std::size_t count,
                             void* self);
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t,
                         curl_off_t);
  static curl_socket_t on_open(void* self, curlsocktype what,
                               curl_sockaddr* address);
  static int on_close(void* self, curl_socket_t socket);

  // The connections that are open. Guards against shutting down a number that
  // libcurl has closed and the kernel has given to somebody else.
  std::mutex mutex_;
  std::vector<curl_socket_t> sockets_;
  std::string no_proxy_;
  char error_[CURL_ERROR_SIZE] = {};
  // Last: closing the handle calls on_close.
  std::unique_ptr<CURL, deleter> handle_;
};

} // namespace parts
