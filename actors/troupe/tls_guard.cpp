#include "troupe/tls_guard.hpp"

#if TROUPE_TLS
#  include <netinet/in.h>
#  include <netinet/tcp.h>
#  include <sys/socket.h>

#  include <new>

#  include <openssl/err.h>
#  include <openssl/ssl.h>
#  include <openssl/x509.h>

#  include <caf/io/middleman.hpp>

#  include <fmt/format.h>

#  include "troupe/stranger_watch.hpp"
#endif

namespace troupe {

#if TROUPE_TLS

namespace {

void note_failure(stranger_watch& watch, const SSL* ssl) {
  if (auto verified = SSL_get_verify_result(ssl); verified != X509_V_OK)
    watch.blame(ssl, fmt::format("its certificate is not accepted: {}",
                                 X509_verify_cert_error_string(verified)));
  else if (const auto* why = ERR_reason_error_string(ERR_peek_last_error()))
    watch.blame(ssl, fmt::format("no TLS handshake: {}", why));
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

void begin(stranger_watch& watch, const SSL* ssl) {
  auto fd = SSL_get_fd(ssl);
  probe_when_idle(fd);
  // CAF hears of the shutdown, and closes the connection.
  watch.begin(ssl, fd, "TLS handshake", [fd] { ::shutdown(fd, SHUT_RDWR); });
  watch.blame(ssl, "it hung up before it had shaken hands");
}

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
  auto* watch = stranger_watch::of_this_thread();
  if (watch == nullptr)
    return;
  if ((where & SSL_CB_HANDSHAKE_START) != 0) {
    // Only now is there something to read from and to write to.
    for (auto way : {SSL_get_rbio(ssl), SSL_get_wbio(ssl)})
      if (way != nullptr)
        BIO_set_callback_ex(way, forget_errors);
    if (SSL_is_server(ssl) == 1)
      begin(*watch, ssl);
  } else if ((where & SSL_CB_HANDSHAKE_DONE) != 0) {
    watch->succeed(ssl);
  } else if ((where & SSL_CB_EXIT) != 0 && result <= 0) {
    note_failure(*watch, ssl);
  }
} catch (const std::bad_alloc&) {
  // It is not watched, and goes on.
}

void at_new_connection(void* ssl, void*, CRYPTO_EX_DATA*, int, long, void*) {
  if (stranger_watch::of_this_thread() != nullptr)
    SSL_set_info_callback(static_cast<SSL*>(ssl), at_handshake);
}

void at_end_of_connection(void* ssl, void*, CRYPTO_EX_DATA*, int, long,
                          void*) try {
  if (auto* watch = stranger_watch::of_this_thread())
    watch->end(ssl);
} catch (const std::bad_alloc&) {
  // Nobody is told of it.
}

} // namespace

void guard_connections(caf::actor_system& system) {
  [[maybe_unused]] static const auto once = SSL_get_ex_new_index(
      0, nullptr, at_new_connection, nullptr, at_end_of_connection);
  system.middleman().backend().post([] { stranger_watch::start(); });
}

#else

void guard_connections(caf::actor_system&) {}

#endif

} // namespace troupe
