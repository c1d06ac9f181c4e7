#include "troupe/http_client.hpp"

#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace troupe {

namespace {

// Returns for whom no proxy is asked: as in the environment, and never for
// this machine itself.
std::string no_proxy_list() {
  std::string result = "127.0.0.1,::1,localhost";
  for (auto* name : {"no_proxy", "NO_PROXY"})
    if (auto* value = std::getenv(name); value != nullptr && *value != '\0')
      return std::strcmp(value, "*") == 0 ? value : result + "," + value;
  return result;
}

// Says what failed, in words that follow a URL and a colon.
std::string describe(CURLcode code, CURL* handle, const char* details) {
  std::string cause = *details != '\0' ? details : curl_easy_strerror(code);
  long error = 0;
  switch (code) {
  case CURLE_COULDNT_CONNECT:
    curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &error);
    if (error != 0)
      cause = std::strerror(static_cast<int>(error));
    return "cannot connect: " + cause;
  case CURLE_PARTIAL_FILE:
    return "the server hung up half-way: " + cause;
  case CURLE_GOT_NOTHING:
    return "the server hung up without an answer";
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
    return "the connection broke: " + cause;
  case CURLE_OPERATION_TIMEDOUT:
    return "the server is too slow: " + cause;
  default:
    return "cannot fetch: " + cause;
  }
}

bool may_pass(CURLcode code) {
  switch (code) {
  case CURLE_COULDNT_CONNECT:
  case CURLE_PARTIAL_FILE:
  case CURLE_GOT_NOTHING:
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
  case CURLE_OPERATION_TIMEDOUT:
  case CURLE_HTTP2:
  case CURLE_HTTP2_STREAM:
    return true;
  default:
    return false;
  }
}

// Starts libcurl, once in this process; it lives until the end.
void start_library() {
  static const auto code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK)
    throw http_error{"cannot start libcurl", curl_easy_strerror(code), code,
                     false};
}

struct easy_closer {
  void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
};

struct list_closer {
  void operator()(curl_slist* list) const noexcept {
    curl_slist_free_all(list);
  }
};

using list_ptr = std::unique_ptr<curl_slist, list_closer>;

void append(list_ptr& list, const std::string& line) {
  auto* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr)
    throw http_error{"cannot make a request", "out of memory",
                     CURLE_OUT_OF_MEMORY, false};
  static_cast<void>(list.release());
  list.reset(longer);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  auto begin = std::min(text.find_first_not_of(blanks), text.size());
  auto end = text.find_last_not_of(blanks);
  return text.substr(begin,
                     end == std::string_view::npos ? 0 : end + 1 - begin);
}

} // namespace

http_error::http_error(const std::string& operation, const std::string& cause,
                       int code, bool may_pass)
    : std::runtime_error{fmt::format("{}: {}", operation, cause)},
      code_{code},
      may_pass_{may_pass},
      cause_{std::make_shared<const std::string>(cause)} {}

// -- handle -------------------------------------------------------------------

// What libcurl's callbacks point to, so it does not move.
class http_client::handle {
public:
  explicit handle(http_limits limits) : no_proxy_{no_proxy_list()} {
    start_library();
    easy_.reset(curl_easy_init());
    if (!easy_)
      throw http_error{"cannot make an HTTP client", "out of memory",
                       CURLE_OUT_OF_MEMORY, false};
    // libcurl's time-outs must not use signals in a program with threads.
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, "troupe");
    set(CURLOPT_NOPROXY, no_proxy_.c_str());
    set(CURLOPT_FOLLOWLOCATION, limits.redirections > 0 ? 1L : 0L);
    set(CURLOPT_MAXREDIRS, static_cast<long>(limits.redirections));
#if LIBCURL_VERSION_NUM >= 0x075500
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    set(CURLOPT_PROTOCOLS, long{CURLPROTO_HTTP | CURLPROTO_HTTPS});
    set(CURLOPT_REDIR_PROTOCOLS, long{CURLPROTO_HTTP | CURLPROTO_HTTPS});
#endif
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits.connect.count()));
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(limits.silence.count()));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(limits.total.count()));
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_WRITEFUNCTION, &handle::on_body);
    set(CURLOPT_HEADERFUNCTION, &handle::on_header);
    set(CURLOPT_XFERINFOFUNCTION, &handle::on_progress);
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_OPENSOCKETFUNCTION, &handle::on_open);
    set(CURLOPT_CLOSESOCKETFUNCTION, &handle::on_close);
    set(CURLOPT_CLOSESOCKETDATA, this);
  }

  http_response send(const http_request& what, const std::stop_token& stop,
                     const sink& body);

private:
  // What the running request leaves its callbacks.
  struct transfer {
    handle* client;
    const std::stop_token* stop;
    const sink* body;
    http_response answer;
    // What the sink threw, which must not pass through libcurl.
    std::exception_ptr refused;
  };

  template <class T>
  void set(CURLoption option, T value) {
    auto code = curl_easy_setopt(easy_.get(), option, value);
    if (code != CURLE_OK)
      throw http_error{"cannot set up an HTTP client", curl_easy_strerror(code),
                       code, false};
  }

  // Ends the request that runs by shutting down its connection.
  void interrupt() noexcept {
    std::lock_guard guard{mutex_};
    // Never close: that would not wake a recv, and the number may be reused.
    for (auto socket : sockets_)
      shutdown(socket, SHUT_RDWR);
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count,
                             void* self);
  static std::size_t on_header(char* data, std::size_t size, std::size_t count,
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
  std::unique_ptr<CURL, easy_closer> easy_;
};

http_response http_client::handle::send(const http_request& what,
                                        const std::stop_token& stop,
                                        const sink& body) {
  transfer running{this, &stop, &body, {}, {}};
  error_[0] = '\0';
  list_ptr headers;
  for (auto& [name, value] : what.headers)
    append(headers, fmt::format("{}: {}", name, value));
  // Else libcurl would ask first, and wait, before it sends a larger body.
  append(headers, "Expect:");
  auto has_body =
      !what.body.empty() || what.method == "POST" || what.method == "PUT";
  auto is_get = what.method == "GET" && !has_body;
  set(CURLOPT_HTTPGET, 1L);
  set(CURLOPT_NOBODY, what.method == "HEAD" ? 1L : 0L);
  if (has_body) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(what.body.size()));
    set(CURLOPT_POSTFIELDS, what.body.data());
  }
  set(CURLOPT_CUSTOMREQUEST,
      is_get || what.method == "HEAD" ? nullptr : what.method.c_str());
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_URL, what.url.c_str());
  set(CURLOPT_WRITEDATA, &running);
  set(CURLOPT_HEADERDATA, &running);
  set(CURLOPT_XFERINFODATA, &running);
  set(CURLOPT_OPENSOCKETDATA, &running);
  auto code = CURLE_OK;
  {
    std::stop_callback on_stop{stop, [this] { interrupt(); }};
    code = curl_easy_perform(easy_.get());
  }
  // They end with this call.
  set(CURLOPT_HTTPHEADER, static_cast<curl_slist*>(nullptr));
  auto operation = fmt::format("cannot {} {}", what.method, what.url);
  if (running.refused)
    std::rethrow_exception(running.refused);
  // A connection that was shut down looks broken, whatever the reason.
  if (code != CURLE_OK && stop.stop_requested())
    throw http_error{operation, "it was stopped on the way",
                     CURLE_ABORTED_BY_CALLBACK, false};
  if (code != CURLE_OK)
    throw http_error{operation, describe(code, easy_.get(), error_), code,
                     may_pass(code)};
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE,
                    &running.answer.status);
  return std::move(running.answer);
}

std::size_t http_client::handle::on_body(char* data, std::size_t size,
                                         std::size_t count, void* self) {
  auto& running = *static_cast<transfer*>(self);
  auto bytes = size * count;
  running.answer.bytes += bytes;
  try {
    if (*running.body)
      (*running.body)({data, bytes});
    else
      running.answer.body.append(data, bytes);
  } catch (...) {
    running.refused = std::current_exception();
    // Anything but `bytes` ends the transfer.
    return bytes + 1;
  }
  return bytes;
}

std::size_t http_client::handle::on_header(char* data, std::size_t size,
                                           std::size_t count, void* self) {
  auto& running = *static_cast<transfer*>(self);
  auto bytes = size * count;
  std::string_view line{data, bytes};
  try {
    // The first line of an answer; there may have been one that redirects.
    if (line.starts_with("HTTP/")) {
      running.answer.headers.clear();
    } else if (auto colon = line.find(':'); colon != std::string_view::npos) {
      std::string name{trimmed(line.substr(0, colon))};
      std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      });
      running.answer.headers.insert_or_assign(
          std::move(name), std::string{trimmed(line.substr(colon + 1))});
    }
  } catch (...) {
    running.refused = std::current_exception();
    return bytes + 1;
  }
  return bytes;
}

int http_client::handle::on_progress(void* self, curl_off_t, curl_off_t,
                                     curl_off_t, curl_off_t) {
  return static_cast<transfer*>(self)->stop->stop_requested() ? 1 : 0;
}

curl_socket_t http_client::handle::on_open(void* self, curlsocktype,
                                           curl_sockaddr* address) {
  auto& running = *static_cast<transfer*>(self);
  auto& client = *running.client;
  // Either whoever stops finds the socket made here, or this finds the request
  // to stop. A socket that is found but not yet connected cannot be shut down;
  // on_progress ends that one, which libcurl calls about once a second.
  std::lock_guard guard{client.mutex_};
  if (running.stop->stop_requested())
    return CURL_SOCKET_BAD;
  auto opened = socket(address->family, address->socktype | SOCK_CLOEXEC,
                       address->protocol);
  if (opened < 0)
    return CURL_SOCKET_BAD;
  client.sockets_.push_back(opened);
  return opened;
}

int http_client::handle::on_close(void* self, curl_socket_t socket) {
  auto& client = *static_cast<handle*>(self);
  std::lock_guard guard{client.mutex_};
  std::erase(client.sockets_, socket);
  return close(socket);
}

// -- http_client --------------------------------------------------------------

http_client::http_client(http_limits limits)
    : handle_{std::make_unique<handle>(limits)} {}

http_client::http_client(http_client&&) noexcept = default;

http_client& http_client::operator=(http_client&&) noexcept = default;

http_client::~http_client() = default;

http_response http_client::send(const http_request& what,
                                const std::stop_token& stop) {
  return handle_->send(what, stop, {});
}

http_response http_client::send(const http_request& what,
                                const std::stop_token& stop, const sink& body) {
  return handle_->send(what, stop, body);
}

} // namespace troupe
