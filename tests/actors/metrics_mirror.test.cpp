// What CAF's own registry of metrics says of pools: what they say of
// themselves. Knows which CAF it is compiled against: there is nothing to look
// at in 0.17.

#include "troupe/metrics_mirror.hpp"

#include "troupe/caf_compat.hpp"
#include "troupe/troupe.hpp"

#include <catch2/catch.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#if TROUPE_CAF_1
#  include <caf/telemetry/collector/prometheus.hpp>
#  include <caf/telemetry/metric_registry.hpp>
#endif

using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct world {
  troupe::config cfg;
  caf::actor_system sys{cfg};
  std::optional<troupe::pool> io{
      std::in_place, sys, troupe::pool_options{.name = "io", .workers = 2}};

  void work() {
    io->run([] {}).label("good").get();
    CHECK_THROWS(
        io->run([] { throw std::runtime_error{"no"}; }).label("bad").get());
  }
};

} // namespace

#if TROUPE_CAF_1

namespace {

// As whoever scrapes CAF gets it.
std::string scraped(world& w) {
  caf::telemetry::collector::prometheus collector;
  auto text = collector.collect_from(w.sys.metrics());
  return {text.data(), text.size()};
}

// Values have a time stamp behind them.
std::string line(const std::string& name, const std::string& value) {
  return "\n" + name + " " + value + " ";
}

} // namespace

TEST_CASE("CAF's registry says what the pool says of itself",
          "[metrics_mirror]") {
  world w;
  troupe::metrics_mirror mirror{w.sys, 1h};
  w.work();
  w.work();
  w.io->run([] {}).label("a\"b\\c\nd").get();
  mirror.update();
  auto text = scraped(w);
  INFO(text);
  CHECK_THAT(text, Contains(R"(label="a\"b\\c\nd",outcome="failed")"));
  CHECK_THAT(
      text,
      Contains(line(
          R"(troupe_requests_total{label="good",outcome="succeeded",pool="io"})",
          "2.000000")));
  CHECK_THAT(
      text,
      Contains(line(
          R"(troupe_requests_total{label="bad",outcome="failed",pool="io"})",
          "2.000000")));
  CHECK_THAT(text,
             Contains(line(R"(troupe_workers_limit{pool="io"})", "2.000000")));
  CHECK_THAT(
      text,
      Contains(line(
          R"(troupe_request_run_seconds_bucket{label="good",le="+Inf",pool="io"})",
          "2.000000")));
  CHECK_THAT(text, Contains("# TYPE troupe_requests_total counter"));
  CHECK_THAT(text, Contains("# TYPE troupe_workers gauge"));
}

TEST_CASE("CAF's registry is brought up to date by itself",
          "[metrics_mirror]") {
  world w;
  troupe::metrics_mirror mirror{w.sys, 1ms};
  w.work();
  // Failure here is a hang.
  auto wanted =
      R"(troupe_requests_total{label="bad",outcome="failed",pool="io"} 1.0)";
  while (scraped(w).find(wanted) == std::string::npos)
    std::this_thread::yield();
}

TEST_CASE("of a pool that has ended, counters stay in CAF's registry and "
          "gauges are zero",
          "[metrics_mirror]") {
  world w;
  troupe::metrics_mirror mirror{w.sys, 1h};
  auto count =
      R"(troupe_requests_total{label="good",outcome="succeeded",pool="io"})";
  w.work();
  mirror.update();
  w.io->shutdown().get();
  w.io.reset();
  // It goes in its own time.
  while (!troupe::stats_of_all_pools().empty())
    std::this_thread::yield();
  mirror.update();
  auto text = scraped(w);
  CHECK_THAT(text, Contains(line(count, "1.000000")));
  CHECK_THAT(text,
             Contains(line(R"(troupe_workers_limit{pool="io"})", "0.000000")));
  // The next one of that name goes on from there.
  w.io.emplace(w.sys, troupe::pool_options{.name = "io", .workers = 2});
  w.work();
  mirror.update();
  CHECK_THAT(scraped(w), Contains(line(count, "2.000000")));
}

#endif

TEST_CASE("a mirror of metrics comes and goes while the pool works, whatever "
          "CAF has",
          "[metrics_mirror]") {
  world w;
  CHECK(troupe::metrics_mirror::possible()
        == troupe::compat::metric_registry::exists);
  for (int i = 0; i < 20; ++i) {
    troupe::metrics_mirror mirror{w.sys, 1ms};
    w.work();
    mirror.update();
  }
  CHECK(w.io->stats().succeeded == 20);
}
