// What the dashboard serves, and that nothing which happens to it, or which its
// clients do, touches the work.

#include "troupe/dashboard.hpp"

#include "troupe/troupe.hpp"

#include "gate.hpp"

#include <catch2/catch.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct world {
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool io{sys, troupe::pool_options{.name = "io", .workers = 2}};
};

/// What the log says while this lives; stderr stays clean.
class log_watch {
public:
  log_watch()
      : before_{troupe::set_log_sink([this](const troupe::log_entry& entry) {
          std::lock_guard guard{mutex_};
          lines_.push_back(entry.text);
        })} {}

  ~log_watch() { troupe::set_log_sink(before_); }

  std::vector<std::string> lines() {
    std::lock_guard guard{mutex_};
    return lines_;
  }

private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
  troupe::log_sink before_;
};

std::string get(const troupe::dashboard& page, const char* path) {
  httplib::Client client{"127.0.0.1", page.port()};
  client.set_read_timeout(60s);
  auto answer = client.Get(path);
  REQUIRE(answer);
  CHECK(answer->status == 200);
  return answer->body;
}

/// A connection that asks and never reads.
class deaf_client {
public:
  deaf_client(std::uint16_t port, const char* path)
      : fd_{::socket(AF_INET, SOCK_STREAM, 0)} {
    // So that the answer does not fit into what the kernel keeps.
    int small = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&where), sizeof(where))
            == 0);
    auto text = fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path);
    REQUIRE(::send(fd_, text.data(), text.size(), 0)
            == static_cast<ssize_t>(text.size()));
  }

  deaf_client(const deaf_client&) = delete;
  deaf_client& operator=(const deaf_client&) = delete;

  ~deaf_client() { ::close(fd_); }

private:
  int fd_;
};

} // namespace

TEST_CASE("metrics tell of the pools while they work", "[dashboard]") {
  log_watch log;
  test::gate busy;
  world w;
  test::open_at_exit release{busy};
  troupe::dashboard page{troupe::dashboard_address{}};
  REQUIRE(page.port() > 0);
  w.io.map(std::vector{1, 2, 3}, [](int x) { return x; }).label("quick").get();
  // A worker is busy until it looks for more.
  while (w.io.stats().busy > 0)
    std::this_thread::yield();
  auto slow = w.io.run([&] { busy.pass(); }).label("slow").start();
  busy.wait_for_arrivals();
  auto text = get(page, "/metrics");
  CHECK_THAT(
      text,
      Contains(
          R"(troupe_requests_total{pool="io",label="quick",outcome="succeeded"} 3)"));
  CHECK_THAT(text, Contains(R"(troupe_workers{pool="io",state="busy"} 1)"));
  CHECK_THAT(
      text,
      Contains(
          R"(troupe_request_run_seconds_count{pool="io",label="quick"} 3)"));
  busy.open();
  slow.get();
  CHECK_THAT(
      get(page, "/metrics"),
      Contains(
          R"(troupe_requests_total{pool="io",label="slow",outcome="succeeded"} 1)"));
}

#ifdef TROUPE_PROMTOOL
TEST_CASE("promtool finds nothing wrong with the metrics", "[dashboard]") {
  log_watch log;
  world w;
  troupe::dashboard page{troupe::dashboard_address{}};
  for (auto label : {"load", "a\"b\\c\nd", "\xFF"})
    w.io.run([] {}).label(label).get();
  auto text = get(page, "/metrics");
  auto check = [](const std::string& metrics) {
    auto path = std::filesystem::temp_directory_path()
                / fmt::format("troupe-metrics-{}", ::getpid());
    std::ofstream{path} << metrics;
    auto status = std::system(
        fmt::format("'{}' check metrics < '{}'", TROUPE_PROMTOOL, path.string())
            .c_str());
    std::filesystem::remove(path);
    return status;
  };
  CHECK(check(text) == 0);
  CHECK(check("troupe_requests_total{ 1\n") != 0);
}
#endif

TEST_CASE("the page is there, and needs nothing from elsewhere",
          "[dashboard]") {
  log_watch log;
  troupe::dashboard page{troupe::dashboard_address{}};
  auto text = get(page, "/");
  CHECK_THAT(text, Contains("<!doctype html>"));
  CHECK_THAT(text, Contains("new EventSource(\"events\")"));
  // The one address in it names a language of drawing.
  for (auto at = text.find("http"); at != text.npos;
       at = text.find("http", at + 1))
    CHECK(text.compare(at, 26, "http://www.w3.org/2000/svg") == 0);
}

TEST_CASE("pages are told what is new, as events", "[dashboard]") {
  log_watch log;
  world w;
  troupe::dashboard page{troupe::dashboard_address{}};
  w.io.run([] {}).label("load").get();
  httplib::Client client{"127.0.0.1", page.port()};
  std::string seen;
  client.Get("/events", [&](const char* data, std::size_t size) {
    seen.append(data, size);
    // The second event comes by itself.
    return seen.find("\n\ndata: ") == seen.npos;
  });
  CHECK_THAT(seen, Contains("data: [{\"pool\":\"io\","));
  CHECK_THAT(seen, Contains("\"label\":\"load\",\"succeeded\":1,"));
}

TEST_CASE("pages beyond the eighth are told so", "[dashboard]") {
  log_watch log;
  troupe::dashboard page{troupe::dashboard_address{}};
  std::vector<std::unique_ptr<deaf_client>> open;
  for (int i = 0; i < 8; ++i)
    open.push_back(std::make_unique<deaf_client>(page.port(), "/events"));
  // They are taken up in their own time.
  for (;;) {
    httplib::Client client{"127.0.0.1", page.port()};
    auto status = 0;
    client.Get(
        "/events",
        [&](const httplib::Response& head) {
          status = head.status;
          return false;
        },
        [](const char*, std::size_t) { return true; });
    if (status == 503)
      break;
  }
  CHECK_THAT(get(page, "/metrics"), Contains("# TYPE troupe_workers gauge"));
}

TEST_CASE("clients that never read hold up neither work nor scrapes",
          "[dashboard]") {
  log_watch log;
  world w;
  // Enough labels to fill what the kernel keeps for a connection.
  for (int i = 0; i < 100; ++i)
    w.io.run([] {}).label(fmt::format("{:0>200}", i)).get();
  troupe::dashboard page{troupe::dashboard_address{}};
  std::vector<std::unique_ptr<deaf_client>> deaf;
  for (int i = 0; i < 8; ++i)
    deaf.push_back(std::make_unique<deaf_client>(page.port(), "/metrics"));
  CHECK(w.io.run([] { return 42; }).get() == 42);
  CHECK_THAT(get(page, "/metrics"), Contains("troupe_workers{pool=\"io\""));
}

TEST_CASE("a thousand labels make a scrape no longer than 65 do",
          "[dashboard]") {
  log_watch log;
  world w;
  troupe::dashboard page{troupe::dashboard_address{}};
  for (int i = 0; i < 1'000; ++i)
    w.io.run([] {}).label(fmt::format("label {}", i)).get();
  auto text = get(page, "/metrics");
  std::size_t lines = 0;
  const std::string_view each = "troupe_request_run_seconds_count{";
  for (auto at = text.find(each); at != text.npos; at = text.find(each, at + 1))
    ++lines;
  CHECK(lines == 65);
  CHECK_THAT(
      text,
      Contains(
          R"(troupe_request_run_seconds_count{pool="io",label="other"} 936)"));
}

TEST_CASE("a busy port is one line, and the work goes on", "[dashboard]") {
  log_watch log;
  world w;
  troupe::dashboard first{troupe::dashboard_address{}};
  REQUIRE(first.port() > 0);
  troupe::dashboard second{troupe::dashboard_address{.port = first.port()}};
  CHECK(second.port() == 0);
  CHECK(w.io.run([] { return 42; }).get() == 42);
  auto lines = log.lines();
  REQUIRE(lines.size() == 2);
  CHECK(
      lines[0]
      == fmt::format("the dashboard is at http://127.0.0.1:{}/", first.port()));
  CHECK(
      lines[1]
      == fmt::format("cannot serve the dashboard on 127.0.0.1:{}: Address "
                     "already in use; choose another port or address; the work "
                     "goes on without it",
                     first.port()));
}

TEST_CASE("a program that has a dashboard takes the option for it",
          "[dashboard]") {
  troupe::config cfg;
  std::string option = "--troupe.dashboard=0";
  char* arguments[] = {option.data(), option.data()};
  CHECK_FALSE(cfg.parse_command_line(2, arguments));
  log_watch log;
  troupe::dashboard page{cfg.dashboard()};
  CHECK(page.port() > 0);
}

TEST_CASE("a dashboard that nobody asked for does nothing", "[dashboard]") {
  log_watch log;
  troupe::dashboard page{std::nullopt};
  CHECK(page.port() == 0);
  CHECK(log.lines().empty());
}

TEST_CASE("a dashboard ends at once, also if nobody has looked",
          "[dashboard]") {
  log_watch log;
  for (int i = 0; i < 20; ++i)
    troupe::dashboard page{troupe::dashboard_address{}};
  CHECK(log.lines().size() == 20);
}
