#include "troupe/dashboard.hpp"

#include <pthread.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <httplib.h>

#include "troupe/dashboard_page.hpp"
#include "troupe/dashboard_presence.hpp"
#include "troupe/exposition.hpp"
#include "troupe/log.hpp"
#include "troupe/stats.hpp"

namespace troupe {

namespace {

// Each page that is kept up to date has a thread; the others are for scrapes.
constexpr std::size_t most_pages = 8;
constexpr std::size_t threads = 16;

// How long a client may take to say what it wants, or to read the answer.
constexpr auto patience = std::chrono::seconds{1};

// How often a page is told what is new.
constexpr auto interval = std::chrono::milliseconds{500};

// A program that links this file uses it, so it can do what the command line
// asks for.
[[maybe_unused]] const bool present = detail::has_dashboard() = true;

} // namespace

class dashboard::server {
public:
  explicit server(const dashboard_address& where) {
    // Not to share the port with whoever has it already.
    http_.set_socket_options([](auto socket) {
      int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    http_.set_read_timeout(patience);
    http_.set_write_timeout(patience);
    // A connection that is kept open would keep its thread.
    http_.set_keep_alive_max_count(1);
    http_.new_task_queue = [] { return new httplib::ThreadPool(threads); };
    http_.Get("/", [](const httplib::Request&, httplib::Response& to) {
      to.set_content(dashboard_page, "text/html; charset=utf-8");
    });
    http_.Get("/metrics", [](const httplib::Request&, httplib::Response& to) {
      to.set_content(metrics_text(stats_of_all_pools()), metrics_content_type);
    });
    http_.Get("/events", [this](const httplib::Request&,
                                httplib::Response& to) { serve_events(to); });
    errno = 0;
    auto port = where.port == 0 ? http_.bind_to_any_port(where.host)
                : http_.bind_to_port(where.host, where.port)
                    ? static_cast<int>(where.port)
                    : -1;
    if (port <= 0) {
      auto why = errno == 0 ? std::string{"no such address"}
                            : std::string{std::strerror(errno)};
      write_log(log_level::warning, {},
                fmt::format("cannot serve the dashboard on {}:{}: {}; choose "
                            "another port or address; the work goes on "
                            "without it",
                            where.host, where.port, why));
      return;
    }
    try {
      thread_ = std::thread{[this] { listen(); }};
      port_ = static_cast<std::uint16_t>(port);
      write_log(
          log_level::info, {},
          fmt::format("the dashboard is at http://{}:{}/", where.host, port));
    } catch (const std::system_error& err) {
      write_log(log_level::warning, {},
                fmt::format("cannot serve the dashboard: {}; the work goes on "
                            "without it",
                            err.what()));
    }
  }

  server(const server&) = delete;

  server& operator=(const server&) = delete;

  ~server() {
    {
      std::lock_guard guard{mutex_};
      over_ = true;
    }
    changed_.notify_all();
    if (!thread_.joinable())
      return;
    // Until it has begun to listen, it would not hear of the end.
    while (!http_.is_running() && !ended_)
      std::this_thread::yield();
    http_.stop();
    thread_.join();
  }

  std::uint16_t port() const noexcept { return port_; }

private:
  void listen() {
    // Signals are for the threads that wait for them. The server's threads have
    // the same mask.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pthread_setname_np(pthread_self(), "troupe-http");
    http_.listen_after_bind();
    ended_ = true;
  }

  // Server-sent events: one at once, then one for each interval.
  void serve_events(httplib::Response& to) {
    if (pages_.fetch_add(1) >= most_pages) {
      --pages_;
      to.status = 503;
      to.set_content("too many pages are open\n", "text/plain");
      return;
    }
    to.set_header("Cache-Control", "no-store");
    to.set_chunked_content_provider(
        "text/event-stream",
        [this, before = std::vector<pool_stats>{},
         first = true](std::size_t, httplib::DataSink& sink) mutable {
          if (!std::exchange(first, false) && wait_for_end())
            return false;
          auto now = stats_of_all_pools();
          auto event = fmt::format("data: {}\n\n", stats_json(now, before));
          before = std::move(now);
          return sink.write(event.data(), event.size());
        },
        [this](bool) { --pages_; });
  }

  bool wait_for_end() {
    std::unique_lock guard{mutex_};
    return changed_.wait_for(guard, interval, [this] { return over_; });
  }

  httplib::Server http_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::atomic<std::size_t> pages_{0};
  std::atomic<bool> ended_{false};
  std::uint16_t port_ = 0;
  std::thread thread_;
};

dashboard::dashboard(const std::optional<dashboard_address>& where)
    : server_{where ? std::make_unique<server>(*where) : nullptr} {}

dashboard::~dashboard() = default;

std::uint16_t dashboard::port() const noexcept {
  return server_ ? server_->port() : 0;
}

} // namespace troupe
