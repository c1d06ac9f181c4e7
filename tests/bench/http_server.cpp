// The process behind http_server.hpp. All delays are equal, so the answers that
// are due stand in one queue in the order of their requests.

#include "http_server.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "work.hpp"

namespace bench {

namespace {

using clock = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error{fmt::format(
      "cannot {} for the bench's page server: {}", what, std::strerror(errno))};
}

class event_loop {
public:
  event_loop(int listener, std::chrono::microseconds delay)
      : listener_{listener}, delay_{delay} {
    watch(listener_);
    watch(timer_);
  }

  [[noreturn]] void run() {
    for (;;) {
      std::array<epoll_event, 64> events;
      auto count = epoll_wait(epoll_, events.data(),
                              static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i)
        handle(events[static_cast<std::size_t>(i)].data.fd);
      answer_due();
    }
  }

private:
  struct answer {
    clock::time_point due;
    int fd;
    std::uint64_t item;
  };

  void watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void handle(int fd) {
    if (fd == timer_) {
      std::uint64_t expirations = 0;
      // Only empties the timer; `answer_due` looks at the clock.
      [[maybe_unused]] auto got =
          read(timer_, &expirations, sizeof(expirations));
    } else if (fd == listener_) {
      auto client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      int on = 1;
      setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      if (client >= 0)
        watch(client);
    } else {
      receive(fd);
    }
  }

  void receive(int fd) {
    char buffer[2048];
    auto got = recv(fd, buffer, sizeof(buffer), 0);
    if (got <= 0) {
      requests_.erase(fd);
      close(fd);
      std::erase_if(answers_, [fd](const answer& a) { return a.fd == fd; });
      return;
    }
    auto& request = requests_[fd];
    request.append(buffer, static_cast<std::size_t>(got));
    for (;;) {
      auto end = request.find("\r\n\r\n");
      if (end == std::string::npos)
        return;
      constexpr std::string_view head = "GET /item/";
      std::uint64_t item = 0;
      if (request.starts_with(head))
        std::from_chars(request.data() + head.size(), request.data() + end,
                        item);
      request.erase(0, end + 4);
      answers_.push_back({clock::now() + delay_, fd, item});
      if (answers_.size() == 1)
        set_timer();
    }
  }

  void answer_due() {
    auto sent = false;
    for (; !answers_.empty() && answers_.front().due <= clock::now();
         sent = true) {
      auto now = answers_.front();
      answers_.pop_front();
      std::string text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                         "Content-Length: 1024\r\n\r\n";
      auto block = fmt::format("{:016x}", page_number(now.item));
      for (int i = 0; i < 64; ++i)
        text += block;
      // An answer is smaller than any socket's buffer.
      [[maybe_unused]] auto done =
          send(now.fd, text.data(), text.size(), MSG_NOSIGNAL);
    }
    if (sent && !answers_.empty())
      set_timer();
  }

  void set_timer() {
    using namespace std::chrono;
    auto left = duration_cast<nanoseconds>(answers_.front().due - clock::now());
    itimerspec when{};
    // Zero would switch the timer off.
    when.it_value.tv_nsec = std::max<long>(1, left.count());
    timerfd_settime(timer_, 0, &when, nullptr);
  }

  int listener_;
  std::chrono::microseconds delay_;
  int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  int timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  std::unordered_map<int, std::string> requests_;
  std::deque<answer> answers_;
};

} // namespace

http_server::http_server(std::chrono::microseconds delay) {
  auto listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || bind(listener, generic, size) != 0
      || listen(listener, 1024) != 0
      || getsockname(listener, generic, &size) != 0)
    fail("open a port");
  port_ = ntohs(address.sin_port);
  pid_ = fork();
  if (pid_ < 0)
    fail("fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::signal(SIGINT, SIG_IGN);
    event_loop{listener, delay}.run();
  }
  close(listener);
}

http_server::~http_server() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

} // namespace bench
