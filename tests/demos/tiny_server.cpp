// Serving badly; see the header.
#include "tiny_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace test {

namespace {

void check(bool good, const char* operation) {
  if (!good)
    throw std::runtime_error{std::string{"cannot "} + operation + ": "
                             + std::strerror(errno)};
}

} // namespace

std::string connection::read_request() {
  std::string head;
  char byte;
  while (!head.ends_with("\r\n\r\n")) {
    auto got = recv(fd_, &byte, 1, 0);
    check(got >= 0, "receive a request");
    if (got == 0)
      break;
    head += byte;
  }
  return head;
}

void connection::wait_for_hang_up() {
  char buffer[256];
  while (recv(fd_, buffer, sizeof(buffer), 0) > 0)
    continue;
}

void connection::send(std::string_view text) {
  auto sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
  check(sent == static_cast<ssize_t>(text.size()), "send an answer");
}

void connection::hang_up() {
  if (fd_ >= 0)
    close(std::exchange(fd_, -1));
}

tiny_server::tiny_server(bool listening) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd_ >= 0, "make a socket");
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  check(bind(fd_, any, size) == 0, "bind a socket");
  check(getsockname(fd_, any, &size) == 0, "ask for a port");
  port_ = ntohs(address.sin_port);
  if (listening)
    check(listen(fd_, 64) == 0, "listen");
}

tiny_server::~tiny_server() {
  close(fd_);
}

std::string tiny_server::url(std::string_view path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + std::string{path};
}

connection tiny_server::accept() {
  auto accepted = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
  check(accepted >= 0, "accept a connection");
  return connection{accepted};
}

} // namespace test
