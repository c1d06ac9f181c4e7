#include "troupe/stranger_watch.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

#include <caf/io/middleman.hpp>

#include <fmt/format.h>

#include "troupe/options.hpp"

namespace troupe {

namespace {

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

// Set while the thread has one.
thread_local stranger_watch* current = nullptr;

} // namespace

stranger_watch::stranger_watch() noexcept {
  current = this;
}

stranger_watch::~stranger_watch() {
  current = nullptr;
}

stranger_watch& stranger_watch::start() {
  static thread_local stranger_watch instance;
  return instance;
}

stranger_watch* stranger_watch::of_this_thread() noexcept {
  return current;
}

void stranger_watch::begin(const void* who, int fd, std::string_view handshake,
                           std::function<void()> cut_off) {
  under_way_.insert_or_assign(who, arrival{port_of(fd),
                                           peer_of(fd),
                                           handshake,
                                           std::move(cut_off),
                                           std::chrono::steady_clock::now(),
                                           {}});
}

void stranger_watch::blame(const void* who, std::string why) {
  auto at = under_way_.find(who);
  if (at != under_way_.end() && !at->second.is_cut_off)
    at->second.why = std::move(why);
}

void stranger_watch::succeed(const void* who) {
  under_way_.erase(who);
}

void stranger_watch::end(const void* who) {
  auto at = under_way_.find(who);
  if (at == under_way_.end())
    return;
  if (!at->second.why.empty()) {
    auto& gone = gone_[at->second.port];
    ++gone.count;
    gone.last = fmt::format("{}: {}", at->second.peer, at->second.why);
  }
  under_way_.erase(at);
}

void stranger_watch::turn_away(const void* who, int fd, std::string why) {
  if (!under_way_.contains(who))
    begin(who, fd, {}, {});
  blame(who, std::move(why));
  end(who);
}

strangers stranger_watch::expel(std::uint16_t port,
                                std::chrono::nanoseconds patience) {
  auto latest = std::chrono::steady_clock::now() - patience;
  for (auto at = under_way_.begin(); at != under_way_.end();) {
    // The connection may end at once, and with it the entry.
    auto& x = (at++)->second;
    if (x.port != port || x.since >= latest || x.is_cut_off)
      continue;
    x.why = fmt::format("no {} within {}", x.handshake, to_text(patience));
    x.is_cut_off = true;
    auto cut_off = x.cut_off;
    cut_off();
  }
  auto found = gone_.extract(port);
  return found.empty() ? strangers{} : std::move(found.mapped());
}

void expel_strangers(caf::actor_system& system, std::uint16_t port,
                     std::chrono::nanoseconds patience,
                     std::function<void(const strangers&)> tell) {
  system.middleman().backend().post([=, tell = std::move(tell)] {
    if (auto* watch = stranger_watch::of_this_thread())
      if (auto found = watch->expel(port, patience); found.count > 0)
        tell(found);
  });
}

} // namespace troupe
