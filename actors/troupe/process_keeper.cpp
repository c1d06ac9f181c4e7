#include "troupe/process_keeper.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <fmt/format.h>

namespace troupe {

namespace {

// How long a process that nobody needs may take to end by itself. A guess: long
// enough for destructors of global objects.
constexpr auto retire_grace = std::chrono::seconds{1};

// A line is passed on in parts of this size, so that one without end costs no
// memory.
constexpr std::size_t longest_line = 64 * 1024;

// What an event is about: the number of a ward, times four, and one of these.
enum topic : std::uint64_t { its_output, its_error, its_end };
constexpr std::uint64_t wake_up = 0;

// When a process that nobody needs is killed, if it has not ended by itself.
// One that never took calls has nothing to finish.
std::chrono::steady_clock::time_point end_of(const worker_process& process) {
  auto now = std::chrono::steady_clock::now();
  return process.ready.load() ? now + retire_grace : now;
}

} // namespace

void pass_on(const process_line& line) {
  auto text = fmt::format("[{} {}] {}\n", line.worker, line.pid, line.text);
  // In one go, so that lines of several threads do not mix.
  std::string_view rest = text;
  while (!rest.empty()) {
    auto written = ::write(line.error ? 2 : 1, rest.data(), rest.size());
    if (written < 0 && errno != EINTR)
      return;
    if (written > 0)
      rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

process_keeper::process_keeper(std::function<void(const process_line&)> on_line)
    : on_line_{std::move(on_line)},
      poll_{::epoll_create1(EPOLL_CLOEXEC)},
      wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  if (poll_.get() < 0 || wake_.get() < 0)
    throw std::system_error{errno, std::generic_category(),
                            "cannot watch worker processes"};
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = wake_up;
  ::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  // Signals belong to the threads that wait for them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread{[this] { run(); }};
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), "troupe-keeper");
}

process_keeper::~process_keeper() {
  {
    std::lock_guard guard{mutex_};
    closing_ = true;
    for (auto& [number, of] : wards_) {
      of->process->hang_up();
      of->kill_at = std::min(of->kill_at, end_of(*of->process));
    }
  }
  wake();
  thread_.join();
}

void process_keeper::watch(const std::shared_ptr<worker_process>& process,
                           std::function<void()> on_end) {
  auto made = std::make_unique<ward>();
  made->process = process;
  made->on_end = std::move(on_end);
  std::lock_guard guard{mutex_};
  auto number = ++last_;
  wards_.emplace(number, std::move(made));
  auto add = [&](int fd, topic what) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = number * 4 + what;
    ::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event);
  };
  add(process->output(false), its_output);
  add(process->output(true), its_error);
  add(process->end_signal(), its_end);
}

void process_keeper::retire(const std::shared_ptr<worker_process>& process) {
  {
    std::lock_guard guard{mutex_};
    for (auto& [number, of] : wards_)
      if (of->process == process)
        of->kill_at = end_of(*process);
  }
  process->hang_up();
  wake();
}

std::vector<std::shared_ptr<worker_process>> process_keeper::processes() const {
  std::vector<std::shared_ptr<worker_process>> result;
  std::lock_guard guard{mutex_};
  for (const auto& [number, of] : wards_)
    result.push_back(of->process);
  return result;
}

void process_keeper::wake() const noexcept {
  ::eventfd_write(wake_.get(), 1);
}

// Kills those whose time is over. Returns for how many milliseconds there is
// nothing to do; -1 for any time.
int process_keeper::end_overdue() {
  auto now = std::chrono::steady_clock::now();
  auto next = time_point::max();
  std::lock_guard guard{mutex_};
  for (auto& [number, of] : wards_) {
    if (of->kill_at <= now) {
      of->process->signal(SIGKILL);
      of->kill_at = time_point::max();
    }
    next = std::min(next, of->kill_at);
  }
  if (next == time_point::max())
    return -1;
  return static_cast<int>(
      std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
}

void process_keeper::run() {
  std::array<epoll_event, 16> events;
  for (;;) {
    {
      std::lock_guard guard{mutex_};
      if (closing_ && wards_.empty())
        return;
    }
    auto n = ::epoll_wait(poll_.get(), events.data(),
                          static_cast<int>(events.size()), end_overdue());
    for (int i = 0; i < n; ++i) {
      auto about = events[static_cast<std::size_t>(i)].data.u64;
      if (about == wake_up) {
        eventfd_t ignored = 0;
        ::eventfd_read(wake_.get(), &ignored);
        continue;
      }
      ward* of = nullptr;
      {
        // Only this thread removes wards, so the pointer stays good.
        std::lock_guard guard{mutex_};
        if (auto at = wards_.find(about / 4); at != wards_.end())
          of = at->second.get();
      }
      if (of == nullptr)
        continue;
      if (about % 4 != its_end) {
        read_output(*of, about % 4 == its_error);
        continue;
      }
      // What it printed last may be the reason why it ended.
      for (auto error : {false, true}) {
        read_output(*of, error);
        say(*of, error, std::exchange(of->partial[error], {}));
      }
      of->process->reap();
      std::unique_ptr<ward> gone;
      {
        std::lock_guard guard{mutex_};
        auto at = wards_.find(about / 4);
        gone = std::move(at->second);
        wards_.erase(at);
      }
      if (gone->on_end)
        gone->on_end();
    }
  }
}

void process_keeper::say(const ward& of, bool error,
                         std::string_view text) const {
  if (!text.empty())
    on_line_({of.process->worker(), of.process->pid(), error, text});
}

void process_keeper::read_output(ward& of, bool error) {
  auto fd = of.process->output(error);
  auto& partial = of.partial[error];
  std::array<char, 16 * 1024> bytes;
  for (;;) {
    auto got = ::read(fd, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0)
      // Closed over there; epoll would go on telling.
      ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    if (got <= 0)
      return;
    std::string_view rest{bytes.data(), static_cast<std::size_t>(got)};
    for (auto end = rest.find('\n'); end != rest.npos; end = rest.find('\n')) {
      partial += rest.substr(0, end);
      on_line_({of.process->worker(), of.process->pid(), error, partial});
      partial.clear();
      rest.remove_prefix(end + 1);
    }
    partial += rest;
    if (partial.size() >= longest_line) {
      say(of, error, partial);
      partial.clear();
    }
  }
}

} // namespace troupe
