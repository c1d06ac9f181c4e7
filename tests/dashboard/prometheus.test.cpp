// A real Prometheus server scrapes this program while it works: what its
// queries say is what the pool says of itself.

#include "troupe/dashboard.hpp"

#include "troupe/troupe.hpp"

#include "captured_log.hpp"
#include "gate.hpp"
#include "prometheus_server.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct world {
  test::captured_log log;
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool io{sys, troupe::pool_options{.name = "io", .workers = 2}};
  std::unique_ptr<troupe::dashboard> page =
      std::make_unique<troupe::dashboard>(troupe::dashboard_address{});
  test::prometheus_server prometheus{page->port()};

  void work(int n) {
    io.map(std::vector<int>(static_cast<std::size_t>(n)), [](int) {})
        .label("load")
        .get();
  }
};

double seconds(std::chrono::nanoseconds value) {
  return std::chrono::duration<double>{value}.count();
}

} // namespace

TEST_CASE("Prometheus counts what the pool counts", "[prometheus]") {
  world w;
  w.work(300);
  for (int i = 0; i < 7; ++i)
    CHECK_THROWS(
        w.io.run([] { throw std::runtime_error{"no"}; }).label("bad").get());
  CHECK(w.prometheus.await("sum(troupe_requests_total{pool=\"io\"})", 307)
        == 307);
  CHECK(w.prometheus.value(
            R"(troupe_requests_total{label="load",outcome="succeeded"})")
        == 300);
  CHECK(w.prometheus.value(
            R"(troupe_requests_total{label="bad",outcome="failed"})")
        == 7);
  CHECK(w.prometheus.value(R"(troupe_request_run_seconds_count{label="load"})")
        == 300);
  CHECK(w.prometheus.value("troupe_submitted_requests_total") == 307);
  CHECK(w.prometheus.value("troupe_workers_limit") == 2);
}

TEST_CASE("Prometheus sees what is busy and what is queued", "[prometheus]") {
  test::gate busy;
  world w;
  test::open_at_exit release{busy};
  std::vector<troupe::operation<void>> three;
  for (int i = 0; i < 3; ++i)
    three.push_back(w.io.run([&] { busy.pass(); }).start());
  busy.wait_for_arrivals(2);
  // Both at once: two may have been busy before the third was asked for.
  CHECK(w.prometheus.await("10 * sum(troupe_queued_submissions) + "
                           R"(sum(troupe_workers{pool="io",state="busy"}))",
                           12)
        == 12);
  CHECK(w.prometheus.value("troupe_queued_submissions") == 1);
  CHECK(w.prometheus.value("troupe_oldest_queued_seconds") > 0);
  CHECK(w.prometheus.value("troupe_longest_running_seconds") > 0);
  busy.open();
  for (auto& x : three)
    x.get();
  CHECK(w.prometheus.await(R"(troupe_workers{pool="io",state="busy"})", 0)
        == 0);
  CHECK(w.prometheus.value("troupe_queued_submissions") == 0);
}

TEST_CASE("the rate of requests is what came, by the time that it came in",
          "[prometheus]") {
  world w;
  w.work(300);
  auto count = R"(troupe_requests_total{label="load",outcome="succeeded"})";
  REQUIRE(w.prometheus.await(count, 300) == 300);
  w.work(120);
  REQUIRE(w.prometheus.await(count, 420) == 420);
  // From the first sample to the last, 120 came. A rate extends that by at most
  // as much as lies between two samples, at both ends; there are at least two.
  auto grown = w.prometheus.value(std::string{"60 * rate("} + count + "[1m])");
  CHECK(grown >= 119.9);
  CHECK(grown <= 3 * 120);
}

TEST_CASE("quantiles by Prometheus lie in the bucket of those by the pool",
          "[prometheus]") {
  world w;
  w.io.map(std::vector{0, 1, 2, 20, 20, 20, 20, 20, 20, 20, 60},
           [](int ms) {
             std::this_thread::sleep_for(std::chrono::milliseconds{ms});
           })
      .label("load")
      .get();
  REQUIRE(w.prometheus.await(
              R"(troupe_request_run_seconds_count{label="load"})", 11)
          == 11);
  auto ran = w.io.stats().total().ran;
  auto buckets = w.prometheus.query(
      R"(troupe_request_run_seconds_bucket{label="load",le!="+Inf"})");
  REQUIRE(buckets.items().size() == 14);
  for (auto q : {0.1, 0.5, 0.99}) {
    // The pool's own number may be wrong by that much.
    auto least = seconds(ran.quantile(q)) * (1 - troupe::histogram::error);
    auto most = seconds(ran.quantile(q)) * (1 + troupe::histogram::error);
    auto low = 0.0;
    auto high = HUGE_VAL;
    for (const auto& x : buckets.items()) {
      auto bound = std::stod(x["metric"]["le"].text());
      if (bound < least)
        low = std::max(low, bound);
      if (bound > most)
        high = std::min(high, bound);
    }
    auto asked = w.prometheus.value(
        fmt::format("histogram_quantile({}, sum by (le) "
                    "(troupe_request_run_seconds_bucket{{label=\"load\"}}))",
                    q));
    INFO(q << " of requests take up to " << most);
    CHECK(asked >= low);
    CHECK(asked <= high);
  }
}

TEST_CASE("a program that has ended is down for Prometheus", "[prometheus]") {
  world w;
  CHECK(w.prometheus.await("up{job=\"troupe\"}", 1) == 1);
  w.page.reset();
  CHECK(w.prometheus.await("up{job=\"troupe\"}", 0) == 0);
}

TEST_CASE("a query that makes no sense, or finds nothing, is noticed",
          "[prometheus]") {
  world w;
  CHECK_THROWS_WITH(w.prometheus.query("rate(troupe_requests_total"),
                    Contains("unclosed left parenthesis"));
  CHECK(std::isnan(w.prometheus.value("troupe_nothing_total")));
}
