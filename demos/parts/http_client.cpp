// Fetching over libcurl; see the header.
#include "http_client.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace parts {

namespace {

// Returns for whom no proxy is asked: as in the environment, and never for
// this machine itself, where the demo's own server is.
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

} // namespace

http_client::library::library() {
  if (auto code = curl_global_init(CURL_GLOBAL_DEFAULT); code != CURLE_OK)
    throw std::runtime_error{std::string{"cannot start libcurl: "}
                             + curl_easy_strerror(code)};
}

http_client::library::~library() {
  curl_global_cleanup();
}

template <class T>
void http_client::set(CURLoption option, T value) {
  auto code = curl_easy_setopt(handle_.get(), option, value);
  if (code != CURLE_OK)
    throw std::runtime_error{std::string{"libcurl refuses a setting: "}
                             + curl_easy_strerror(code)};
}

http_client::http_client()
    : no_proxy_{no_proxy_list()}, handle_{curl_easy_init()} {
  if (!handle_)
    throw std::runtime_error{"libcurl cannot make a handle; is there memory "
                             "left?"};
  // libcurl's time-outs must not use signals in a program with threads.
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, "troupe-demo");
  set(CURLOPT_NOPROXY, no_proxy_.c_str());
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, 10L);
#if LIBCURL_VERSION_NUM >= 0x075500
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
  set(CURLOPT_PROTOCOLS, long{CURLPROTO_HTTP | CURLPROTO_HTTPS});
  set(CURLOPT_REDIR_PROTOCOLS, long{CURLPROTO_HTTP | CURLPROTO_HTTPS});
#endif
  set(CURLOPT_CONNECTTIMEOUT, 10L);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, 30L);
  set(CURLOPT_ERRORBUFFER, error_);
  set(CURLOPT_WRITEFUNCTION, &http_client::on_body);
  set(CURLOPT_XFERINFOFUNCTION, &http_client::on_progress);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_OPENSOCKETFUNCTION, &http_client::on_open);
  set(CURLOPT_CLOSESOCKETFUNCTION, &http_client::on_close);
  set(CURLOPT_CLOSESOCKETDATA, this);
}

page http_client::get(const std::string& url, const std::stop_token& stop,
                      const sink& body) {
  transfer running{this, &stop, &body, {}, {}};
  error_[0] = '\0';
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_WRITEDATA, &running);
  set(CURLOPT_XFERINFODATA, &running);
  set(CURLOPT_OPENSOCKETDATA, &running);
  auto code = curl_easy_perform(handle_.get());
  if (running.refused)
    std::rethrow_exception(running.refused);
  if (code != CURLE_OK)
    throw fetch_failure{describe(code, handle_.get(), error_), may_pass(code)};
  curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE,
                    &running.answer.status);
  return running.answer;
}

void http_client::interrupt() {
  std::lock_guard guard{mutex_};
  // Never close: that would not wake a recv, and the number may be reused.
  for (auto socket : sockets_)
    shutdown(socket, SHUT_RDWR);
}

std::size_t http_client::on_body(char* data, std::size_t size,
                                 std::size_t count, void* self) {
  auto& running = *static_cast<transfer*>(self);
  auto bytes = size * count;
  running.answer.bytes += bytes;
  if (*running.body) {
    try {
      (*running.body)({data, bytes});
    } catch (...) {
      running.refused = std::current_exception();
      // Anything but `bytes` ends the transfer.
      return bytes + 1;
    }
  }
  return bytes;
}

int http_client::on_progress(void* self, curl_off_t, curl_off_t, curl_off_t,
                             curl_off_t) {
  return static_cast<transfer*>(self)->stop->stop_requested() ? 1 : 0;
}

curl_socket_t http_client::on_open(void* self, curlsocktype,
                                   curl_sockaddr* address) {
  auto& running = *static_cast<transfer*>(self);
  auto& client = *running.client;
  // Whoever interrupts has asked to stop before: either it finds the socket
  // made here, or this finds the request to stop. A socket that is found but
  // not yet connected cannot be shut down; on_progress ends that one, which
  // libcurl calls about once a second.
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

int http_client::on_close(void* self, curl_socket_t socket) {
  auto& client = *static_cast<http_client*>(self);
  std::lock_guard guard{client.mutex_};
  std::erase(client.sockets_, socket);
  return close(socket);
}

} // namespace parts
