#include "troupe/tls_guard.hpp"

#if TROUPE_TLS
#  include <netdb.h>
#  include <netinet/in.h>
#  include <netinet/tcp.h>
#  include <sys/socket.h>

#  include <map>
#  include <new>
#  include <utility>

#  include <openssl/err.h>
#  include <openssl/ssl.h>
#  include <openssl/x509.h>

#  include <caf/io/middleman.hpp>

#  include <fmt/format.h>

#  include "troupe/options.hpp"
#endif

namespace troupe {

#if TROUPE_TLS

namespace {

using std::chrono::steady_clock;

std::uint16_t port_of(int fd) {
  sockaddr_in6 where{};
  socklen_t size = sizeof(where);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&where), &size);
  // In the same place for both families.
  return ntohs(where.sin6_port);
}

std::string peer_of(int fd) {
  sockaddr_storage where{};
  socklen_t size = sizeof(where);
  auto name = reinterpret_cast<sockaddr*>(&where);
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getpeername(fd, name, &size) != 0
      || ::getnameinfo(name, size, host, sizeof(host), port, sizeof(port),
                       NI_NUMERICHOST | NI_NUMERICSERV)
             != 0)
    return "somebody who is gone";
  auto six = where.ss_family == AF_INET6;
  return fmt::format("{}{}{}:{}", six ? "[" : "", host, six ? "]" : "", port);
}

// Has the system close a connection whose other side is gone without a word,
// after two minutes. CAF looks after those on which it has heard something; a
// node keeps one more, on which nothing is said.
void probe_when_idle(int fd) {
  auto set = [fd](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 20);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

// The handshakes that others have begun with the connections of one thread.
class handshake_watch {
public:
  handshake_watch() noexcept { current = this; }

  handshake_watch(const handshake_watch&) = delete;
  handshake_watch& operator=(const handshake_watch&) = delete;

  ~handshake_watch() { current = nullptr; }

  void begin(const SSL* ssl) {
    auto fd = SSL_get_fd(ssl);
    probe_when_idle(fd);
    under_way_.try_emplace(ssl, handshake{port_of(fd), peer_of(fd)});
  }

  void note_failure(const SSL* ssl) {
    auto at = under_way_.find(ssl);
    if (at == under_way_.end() || at->second.cut_off)
      return;
    if (auto verified = SSL_get_verify_result(ssl); verified != X509_V_OK)
      at->second.why = fmt::format("its certificate is not accepted: {}",
                                   X509_verify_cert_error_string(verified));
    else if (const auto* why = ERR_reason_error_string(ERR_peek_last_error()))
      at->second.why = fmt::format("no TLS handshake: {}", why);
  }

  void succeed(const SSL* ssl) { under_way_.erase(ssl); }

  void end(const SSL* ssl) {
    auto at = under_way_.find(ssl);
    if (at == under_way_.end())
      return;
    auto& lost = failed_[at->second.port];
    ++lost.count;
    lost.last = fmt::format("{}: {}", at->second.peer, at->second.why);
    under_way_.erase(at);
  }

  strangers expel(std::uint16_t port, std::chrono::nanoseconds patience) {
    auto latest = steady_clock::now() - patience;
    for (auto& [ssl, x] : under_way_)
      if (x.port == port && x.since < latest && !SSL_is_init_finished(ssl)) {
        x.why = fmt::format("no TLS handshake within {}", to_text(patience));
        x.cut_off = true;
        // CAF hears of it, and closes the connection.
        ::shutdown(SSL_get_fd(ssl), SHUT_RDWR);
      }
    auto found = failed_.extract(port);
    return found.empty() ? strangers{} : std::move(found.mapped());
  }

  // That of this thread, if it is one of CAF's multiplexers.
  static thread_local handshake_watch* current;

private:
  struct handshake {
    std::uint16_t port;
    std::string peer;
    steady_clock::time_point since = steady_clock::now();
    std::string why = "it hung up before it had shaken hands";
    bool cut_off = false;
  };

  std::map<const SSL*, handshake> under_way_;
  std::map<std::uint16_t, strangers> failed_;
};

thread_local handshake_watch* handshake_watch::current = nullptr;

// CAF asks OpenSSL how a call has ended. OpenSSL looks at the errors that the
// thread has kept, and CAF empties these never: one connection that breaks off,
// or whose handshake fails, would take others with it. So those of CAF's thread
// forget old errors whenever they are about to read or write.
long forget_errors(BIO*, int operation, const char*, std::size_t, int, long,
                   int result, std::size_t*) {
  if (operation == BIO_CB_READ || operation == BIO_CB_WRITE)
    ERR_clear_error();
  return result;
}

void at_handshake(const SSL* ssl, int where, int result) try {
  auto watch = handshake_watch::current;
  if (watch == nullptr)
    return;
  if ((where & SSL_CB_HANDSHAKE_START) != 0) {
    // Only now is there something to read from and to write to.
    for (auto way : {SSL_get_rbio(ssl), SSL_get_wbio(ssl)})
      if (way != nullptr)
        BIO_set_callback_ex(way, forget_errors);
    if (SSL_is_server(ssl) == 1)
      watch->begin(ssl);
  } else if ((where & SSL_CB_HANDSHAKE_DONE) != 0) {
    watch->succeed(ssl);
  } else if ((where & SSL_CB_EXIT) != 0 && result <= 0) {
    watch->note_failure(ssl);
  }
} catch (const std::bad_alloc&) {
  // It is not watched, and goes on.
}

void at_new_connection(void* ssl, void*, CRYPTO_EX_DATA*, int, long, void*) {
  if (handshake_watch::current != nullptr)
    SSL_set_info_callback(static_cast<SSL*>(ssl), at_handshake);
}

void at_end_of_connection(void* ssl, void*, CRYPTO_EX_DATA*, int, long,
                          void*) try {
  if (auto watch = handshake_watch::current)
    watch->end(static_cast<SSL*>(ssl));
} catch (const std::bad_alloc&) {
  // Nobody is told of it.
}

} // namespace

void guard_connections(caf::actor_system& system) {
  [[maybe_unused]] static const auto once = SSL_get_ex_new_index(
      0, nullptr, at_new_connection, nullptr, at_end_of_connection);
  system.middleman().backend().post(
      [] { static thread_local handshake_watch instance; });
}

void expel_strangers(caf::actor_system& system, std::uint16_t port,
                     std::chrono::nanoseconds patience,
                     std::function<void(const strangers&)> tell) {
  system.middleman().backend().post([=, tell = std::move(tell)] {
    if (auto watch = handshake_watch::current)
      if (auto found = watch->expel(port, patience); found.count > 0)
        tell(found);
  });
}

#else

void guard_connections(caf::actor_system&) {}

void expel_strangers(caf::actor_system&, std::uint16_t,
                     std::chrono::nanoseconds,
                     std::function<void(const strangers&)>) {}

#endif

} // namespace troupe
