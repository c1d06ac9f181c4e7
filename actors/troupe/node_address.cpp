#include "troupe/node_address.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "troupe/error.hpp"
#include "troupe/options.hpp"
#include "troupe/unique_fd.hpp"

#if TROUPE_TLS
#  include <openssl/err.h>
#  include <openssl/ssl.h>
#  include <openssl/x509.h>
#endif

namespace troupe {

namespace {

struct address_list {
  explicit address_list(const node_address& where, bool to_listen) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
    auto port = std::to_string(where.port);
    error = ::getaddrinfo(where.host.c_str(), port.c_str(), &hints, &first);
  }

  address_list(const address_list&) = delete;
  address_list& operator=(const address_list&) = delete;

  ~address_list() {
    if (first != nullptr)
      ::freeaddrinfo(first);
  }

  addrinfo* first = nullptr;
  int error = 0;
};

using time_point = std::chrono::steady_clock::time_point;

// Returns what is wrong, or nothing when the socket is ready.
std::string wait(int fd, short events, int interrupt, time_point until) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return "no answer in time";
    pollfd fds[] = {{fd, events, 0}, {interrupt, POLLIN, 0}};
    auto ready = ::poll(fds, 2, static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR)
      return std::strerror(errno);
    if (fds[1].revents != 0)
      return "interrupted";
    if (fds[0].revents != 0)
      return {};
  }
}

// Connects to the first address that takes it.
std::string connect(const node_address& where, int interrupt, time_point until,
                    unique_fd& result) {
  address_list found{where, false};
  if (found.error != 0)
    return ::gai_strerror(found.error);
  std::string why = "no address";
  for (auto* at = found.first; at != nullptr; at = at->ai_next) {
    unique_fd fd{
        ::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (fd.get() < 0) {
      why = std::strerror(errno);
      continue;
    }
    if (::connect(fd.get(), at->ai_addr, at->ai_addrlen) != 0) {
      if (errno != EINPROGRESS) {
        why = std::strerror(errno);
        continue;
      }
      why = wait(fd.get(), POLLOUT, interrupt, until);
      if (!why.empty())
        return why;
      int error = 0;
      socklen_t size = sizeof(error);
      ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) {
        why = std::strerror(error);
        continue;
      }
    }
    result = std::move(fd);
    return {};
  }
  return why;
}

#if TROUPE_TLS

struct ssl_free {
  void operator()(SSL* x) const noexcept { SSL_free(x); }
  void operator()(SSL_CTX* x) const noexcept { SSL_CTX_free(x); }
};

#endif

// A connection to a pool, by which nobody talks.
struct contact {
  contact() = default;

  contact(const contact&) = delete;
  contact& operator=(const contact&) = delete;

  ~contact() {
#if TROUPE_TLS
    if (ssl)
      SSL_shutdown(ssl.get());
    ERR_clear_error();
#endif
  }

  unique_fd fd;
#if TROUPE_TLS
  std::unique_ptr<SSL, ssl_free> ssl;
#endif
};

#if TROUPE_TLS

std::string last_tls_error(const SSL* ssl) {
  if (auto verified = SSL_get_verify_result(ssl); verified != X509_V_OK)
    return fmt::format("its certificate is not accepted: {}",
                       X509_verify_cert_error_string(verified));
  auto code = ERR_get_error();
  ERR_clear_error();
  const auto* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason != nullptr ? reason : "the other side hung up";
}

// Shakes hands as CAF will, and hears what is wrong, which CAF would not tell.
std::string greet(contact& with, const tls_files& files, int interrupt,
                  time_point until) {
  auto fd = with.fd.get();
  std::unique_ptr<SSL_CTX, ssl_free> context{SSL_CTX_new(TLS_client_method())};
  if (SSL_CTX_use_certificate_chain_file(context.get(),
                                         files.certificate.c_str())
          != 1
      || SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(),
                                     SSL_FILETYPE_PEM)
             != 1
      || SSL_CTX_load_verify_locations(context.get(), files.ca.c_str(), nullptr)
             != 1) {
    ERR_clear_error();
    auto why = why_not_trusted(files);
    return why.empty() ? "cannot load the certificates" : why;
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  std::unique_ptr<SSL, ssl_free> ssl{SSL_new(context.get())};
  SSL_set_fd(ssl.get(), fd);
  // With TLS 1.3 the other side looks at our certificate behind our handshake;
  // so this listens until it has said something of its own.
  for (auto shaken = false;;) {
    char byte = 0;
    auto got = shaken ? SSL_peek(ssl.get(), &byte, 1) : SSL_connect(ssl.get());
    if (got == 1) {
      if (shaken) {
        with.ssl = std::move(ssl);
        return {};
      }
      shaken = true;
      continue;
    }
    auto why = SSL_get_error(ssl.get(), got);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
      return fmt::format("{}{}",
                         shaken ? "it does not accept our certificate: "
                                : "no TLS handshake: ",
                         last_tls_error(ssl.get()));
    auto events =
        static_cast<short>(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT);
    if (auto failed = wait(fd, events, interrupt, until); !failed.empty())
      return failed;
  }
}

#endif

} // namespace

node_address parse_address(const std::string& key, const std::string& text) {
  node_address result;
  auto colon = text.rfind(':');
  unsigned port = 0;
  auto good = colon != text.npos && colon > 0;
  if (good) {
    result.host = text.substr(0, colon);
    const auto* first = text.data() + colon + 1;
    const auto* last = text.data() + text.size();
    auto end = std::from_chars(first, last, port);
    good = end.ec == std::errc{} && end.ptr == last && port <= 65'535;
    if (result.host.starts_with('[') && result.host.ends_with(']'))
      result.host = result.host.substr(1, result.host.size() - 2);
    else if (result.host.find(':') != result.host.npos)
      good = false;
  }
  if (!good || result.host.empty())
    throw failure{ec::invalid_option,
                  fmt::format("{} = {}: not valid (accepted: HOST:PORT, such "
                              "as 10.0.0.5:4242 or [::1]:4242)",
                              key, in_quotes(text))};
  result.port = static_cast<std::uint16_t>(port);
  return result;
}

std::string to_text(const node_address& where) {
  return where.host.find(':') == where.host.npos
             ? fmt::format("{}:{}", where.host, where.port)
             : fmt::format("[{}]:{}", where.host, where.port);
}

std::string this_place() {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return fmt::format("{}, process {}", host, ::getpid());
}

bool is_loopback(const std::string& host) {
  if (host == "localhost")
    return true;
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1)
    return (ntohl(four.s_addr) >> 24) == 127;
  in6_addr six{};
  return ::inet_pton(AF_INET6, host.c_str(), &six) == 1
         && IN6_IS_ADDR_LOOPBACK(&six);
}

std::string why_not_free(const node_address& where) {
  address_list found{where, true};
  if (found.error != 0)
    return ::gai_strerror(found.error);
  auto* at = found.first;
  unique_fd fd{::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  int on = 1;
  if (fd.get() < 0
      || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0
      || ::bind(fd.get(), at->ai_addr, at->ai_addrlen) != 0
      || ::listen(fd.get(), 1) != 0)
    return std::strerror(errno);
  return {};
}

std::string why_not_reached(const node_address& where,
                            [[maybe_unused]] const tls_files& files,
                            std::chrono::milliseconds patience, int interrupt,
                            std::shared_ptr<void>& connection) {
  auto made = std::make_shared<contact>();
  connection = made;
  auto until = std::chrono::steady_clock::now() + patience;
  if (auto why = connect(where, interrupt, until, made->fd); !why.empty())
    return why;
#if TROUPE_TLS
  if (!files.empty())
    return greet(*made, files, interrupt, until);
#endif
  // The side that listens speaks first; with TLS it waits for us.
  if (auto why = wait(made->fd.get(), POLLIN, interrupt, until); !why.empty())
    return why == "no answer in time"
               ? "it takes connections and says nothing: no pool of nodes, or "
                 "one that wants certificates"
               : why;
  char byte = 0;
  if (::recv(made->fd.get(), &byte, 1, MSG_PEEK) != 1)
    return "it takes connections and hangs up without a word: no pool of "
           "nodes, or one that wants certificates";
  return {};
}

} // namespace troupe
