// Another machine, as far as the network can tell: a network namespace of its
// own, with a link to that of the test. The link is a pair of virtual Ethernet
// devices, or a wire: two tunnel devices between which packets pass by the test
// itself, which loses, delays and forgets them. (What netem does, which is not
// in every kernel.) Takes root, and `ip` of iproute2.

#pragma once

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "troupe/unique_fd.hpp"

namespace test {

/// Throws if the call that returned this has failed.
inline int succeeded(int result, const char* what) {
  if (result < 0)
    throw std::system_error{errno, std::generic_category(), what};
  return result;
}

/// Passes packets between two tunnel devices, on a thread of its own.
class wire {
public:
  wire(troupe::unique_fd here, troupe::unique_fd there)
      : ends_{std::move(here), std::move(there)},
        wake_{succeeded(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")},
        thread_{[this](const std::stop_token& stop) { pass(stop); }} {}

  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  ~wire() {
    thread_.request_stop();
    ::eventfd_write(wake_.get(), 1);
  }

  /// Each packet takes so long, each way.
  void delay(std::chrono::milliseconds how_long) {
    std::lock_guard guard{mutex_};
    delay_ = how_long;
  }

  /// So many packets of a hundred do not arrive; with 100, none does.
  void lose(unsigned percent) {
    std::lock_guard guard{mutex_};
    lose_ = percent;
  }

  /// From now on no packet passes of the TCP connections that there are, as
  /// when a NAT has forgotten them. New ones pass.
  void forget_connections() {
    std::lock_guard guard{mutex_};
    dead_.insert(seen_.begin(), seen_.end());
  }

  /// Returns how many packets did not arrive.
  std::uint64_t lost() const {
    std::lock_guard guard{mutex_};
    return lost_;
  }

private:
  using clock = std::chrono::steady_clock;

  struct packet {
    clock::time_point due;
    std::size_t to;
    std::string bytes;
  };

  // The ports of both ends, that of the first end first; nothing if it is not
  // TCP over IPv4.
  static std::optional<std::pair<int, int>>
  connection_of(const std::string& bytes, std::size_t from) {
    auto at = [&bytes](std::size_t i) {
      return static_cast<int>(static_cast<unsigned char>(bytes[i]));
    };
    constexpr auto tcp = 6;
    if (bytes.size() < 20 || at(0) >> 4 != 4 || at(9) != tcp)
      return {};
    auto header = static_cast<std::size_t>(at(0) & 15) * 4;
    if (bytes.size() < header + 4)
      return {};
    auto source = at(header) << 8 | at(header + 1);
    auto target = at(header + 2) << 8 | at(header + 3);
    return from == 0 ? std::pair{source, target} : std::pair{target, source};
  }

  void take(std::size_t from) {
    std::array<char, 65'536> buffer;
    auto got = ::read(ends_[from].get(), buffer.data(), buffer.size());
    if (got <= 0)
      return;
    std::string bytes(buffer.data(), static_cast<std::size_t>(got));
    std::lock_guard guard{mutex_};
    auto is_dead = false;
    if (auto connection = connection_of(bytes, from)) {
      seen_.insert(*connection);
      is_dead = dead_.contains(*connection);
    }
    if (is_dead || random_() % 100 < lose_)
      ++lost_;
    else
      on_the_way_.push_back({clock::now() + delay_, 1 - from, bytes});
  }

  // Returns for how long nothing will arrive, or -1 for ever, in milliseconds.
  int deliver() {
    for (;;) {
      std::lock_guard guard{mutex_};
      if (on_the_way_.empty())
        return -1;
      auto& next = on_the_way_.front();
      auto left =
          std::chrono::ceil<std::chrono::milliseconds>(next.due - clock::now());
      if (left.count() > 0)
        return static_cast<int>(left.count());
      // A device that is down takes nothing, as a cable that is not plugged in.
      if (::write(ends_[next.to].get(), next.bytes.data(), next.bytes.size())
          < 0)
        ++lost_;
      on_the_way_.pop_front();
    }
  }

  void pass(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      auto patience = deliver();
      pollfd fds[] = {{ends_[0].get(), POLLIN, 0},
                      {ends_[1].get(), POLLIN, 0},
                      {wake_.get(), POLLIN, 0}};
      if (::poll(fds, 3, patience) <= 0)
        continue;
      for (std::size_t i = 0; i < 2; ++i)
        if ((fds[i].revents & POLLIN) != 0)
          take(i);
    }
  }

  std::array<troupe::unique_fd, 2> ends_;
  troupe::unique_fd wake_;
  mutable std::mutex mutex_;
  std::chrono::milliseconds delay_{0};
  unsigned lose_ = 0;
  std::uint64_t lost_ = 0;
  std::set<std::pair<int, int>> seen_;
  std::set<std::pair<int, int>> dead_;
  std::deque<packet> on_the_way_;
  // Which packets are lost is the same each time, as far as they are.
  std::minstd_rand random_{1};
  std::jthread thread_;
};

/// While it lives, the thread that made it, and those that it starts, have a
/// network of their own, and so has another machine.
class far_network {
public:
  enum class link : std::uint8_t { ethernet, wire };

  /// Where this side is.
  static constexpr const char* host = "10.77.0.1";

  /// Says why there can be no such thing here, or nothing.
  static std::string why_not(link what = link::ethernet) {
    if (::geteuid() != 0)
      return "it takes root";
    if (std::system("ip -V >/dev/null 2>&1") != 0)
      return "there is no `ip`: install iproute2";
    if (what == link::wire && ::access("/dev/net/tun", R_OK | W_OK) != 0)
      return "there is no /dev/net/tun";
    std::string why;
    std::thread{[&why] {
      if (::unshare(CLONE_NEWNET) != 0)
        why = std::string{"no network namespaces: "} + std::strerror(errno);
    }}.join();
    return why;
  }

  explicit far_network(link what = link::ethernet) {
    if (what == link::wire) {
      auto here = tunnel("here");
      troupe::unique_fd there;
      in_there([&there] { there = tunnel("there"); });
      wire_ = std::make_unique<test::wire>(std::move(here), std::move(there));
    } else {
      ip("link add here type veth peer name there netns " + path_of(there_));
    }
    ip("link set lo up");
    ip("addr add 10.77.0.1/24 dev here");
    ip("link set here up");
    in_there([] {
      ip("link set lo up");
      ip("addr add 10.77.0.2/24 dev there");
      ip("link set there up");
    });
  }

  far_network(const far_network&) = delete;
  far_network& operator=(const far_network&) = delete;

  /// Calls a function on the other machine: what it starts, runs there.
  template <class F>
  void in_there(F f) {
    std::exception_ptr why;
    std::thread{[&] {
      try {
        succeeded(::setns(there_.get(), CLONE_NEWNET), "setns");
        f();
      } catch (...) {
        why = std::current_exception();
      }
    }}.join();
    if (why)
      std::rethrow_exception(why);
  }

  /// Unplugs the other machine, and plugs it in again.
  void cut() {
    in_there([] { ip("link set there down"); });
  }

  void mend() {
    in_there([] { ip("link set there up"); });
  }

  /// Gives the other machine another address, such as 10.77.0.3.
  void move_to(const std::string& address) {
    in_there([&address] {
      ip("addr flush dev there");
      ip("addr add " + address + "/24 dev there");
    });
  }

  /// From now on, both sides send no more than so much, such as "8mbit".
  void slow_down(const std::string& rate) {
    auto command = " root tbf rate " + rate + " burst 32k latency 1s";
    run("tc qdisc add dev here" + command);
    in_there([command] { run("tc qdisc add dev there" + command); });
  }

  test::wire& packets() { return *wire_; }

private:
  // The thread's own network, to come back to.
  class way_home {
  public:
    way_home()
        : home_{succeeded(::open(own_network, O_RDONLY | O_CLOEXEC),
                          own_network)} {}

    way_home(const way_home&) = delete;
    way_home& operator=(const way_home&) = delete;

    ~way_home() { ::setns(home_.get(), CLONE_NEWNET); }

  private:
    troupe::unique_fd home_;
  };

  static constexpr const char* own_network = "/proc/thread-self/ns/net";

  static void run(const std::string& command) {
    if (std::system(command.c_str()) != 0)
      throw std::runtime_error{"failed: " + command};
  }

  static void ip(const std::string& arguments) { run("ip " + arguments); }

  static std::string path_of(const troupe::unique_fd& fd) {
    return "/proc/" + std::to_string(::getpid()) + "/fd/"
           + std::to_string(fd.get());
  }

  static troupe::unique_fd new_network() {
    succeeded(::unshare(CLONE_NEWNET), "unshare");
    return troupe::unique_fd{
        succeeded(::open(own_network, O_RDONLY | O_CLOEXEC), own_network)};
  }

  static troupe::unique_fd new_network_there() {
    troupe::unique_fd result;
    std::exception_ptr why;
    std::thread{[&] {
      try {
        result = new_network();
      } catch (...) {
        why = std::current_exception();
      }
    }}.join();
    if (why)
      std::rethrow_exception(why);
    return result;
  }

  static troupe::unique_fd tunnel(const char* name) {
    troupe::unique_fd result{
        succeeded(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK),
                  "/dev/net/tun")};
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    succeeded(::ioctl(result.get(), TUNSETIFF, &request), "TUNSETIFF");
    return result;
  }

  way_home home_;
  troupe::unique_fd here_ = new_network();
  troupe::unique_fd there_ = new_network_there();
  std::unique_ptr<test::wire> wire_;
};

} // namespace test
