// What a scrape sees: names, types, labels, and histograms that add up.

#include "troupe/exposition.hpp"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using Catch::Contains;
using troupe::metrics_text;
using troupe::pool_stats;

namespace {

pool_stats sample_pool(std::string name) {
  pool_stats stats;
  stats.name = std::move(name);
  stats.workers = 4;
  stats.max_workers = 8;
  stats.busy = 2;
  stats.idle = 1;
  stats.busy_time = 1'500ms;
  stats.queued = 3;
  stats.oldest_queued = 20ms;
  stats.arrived = 12;
  stats.labels.resize(2);
  stats.labels[1].label = "load";
  stats.labels[1].succeeded = 10;
  stats.labels[1].failed = 2;
  stats.labels[1].waited.record(2ms, 9);
  stats.labels[1].waited.record(2h, 3);
  stats.labels[1].ran.record(250us, 12);
  return stats;
}

std::map<std::string, double> values_of(const std::string& text) {
  std::map<std::string, double> result;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);)
    if (line[0] != '#') {
      auto space = line.rfind(' ');
      result[line.substr(0, space)] = std::strtod(&line[space], nullptr);
    }
  return result;
}

} // namespace

TEST_CASE("metrics of no pool have names and no values", "[exposition]") {
  auto text = metrics_text({});
  CHECK_THAT(text, Contains("# TYPE troupe_request_wait_seconds histogram\n"));
  CHECK(values_of(text).empty());
}

TEST_CASE("metrics carry pool and label", "[exposition]") {
  std::vector pools{sample_pool("io")};
  auto values = values_of(metrics_text(pools));
  CHECK(values[R"(troupe_workers{pool="io",state="busy"})"] == 2);
  CHECK(values[R"(troupe_workers{pool="io",state="starting"})"] == 1);
  CHECK(values[R"(troupe_workers_limit{pool="io"})"] == 8);
  CHECK(values[R"(troupe_worker_busy_seconds_total{pool="io"})"] == 1.5);
  CHECK(values[R"(troupe_oldest_queued_seconds{pool="io"})"] == 0.02);
  CHECK(
      values
          [R"(troupe_requests_total{pool="io",label="load",outcome="failed"})"]
      == 2);
  CHECK(values.count(
      R"(troupe_requests_total{pool="io",label="",outcome="failed"})"));
}

TEST_CASE("histograms are cumulative and add up", "[exposition]") {
  std::vector pools{sample_pool("io")};
  auto values = values_of(metrics_text(pools));
  auto bucket = [&](const char* bound) {
    auto name = std::string{
        R"(troupe_request_wait_seconds_bucket{pool="io",label="load",le=")"};
    auto found = values.find(name + bound + "\"}");
    REQUIRE(found != values.end());
    return found->second;
  };
  CHECK(bucket("0.001") == 0);
  CHECK(bucket("0.005") == 9);
  CHECK(bucket("600") == 9);
  CHECK(bucket("+Inf") == 12);
  CHECK(values[R"(troupe_request_wait_seconds_count{pool="io",label="load"})"]
        == 12);
  CHECK(values[R"(troupe_request_wait_seconds_sum{pool="io",label="load"})"]
        == Approx(3 * 7'200 + 0.018));
}

TEST_CASE("each metric has one help, one type, and its values behind them",
          "[exposition]") {
  std::vector pools{sample_pool("io"), sample_pool("db")};
  std::istringstream lines{metrics_text(pools)};
  std::set<std::string> seen;
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    if (line.rfind("# HELP ", 0) == 0) {
      family = line.substr(7, line.find(' ', 7) - 7);
      CHECK(seen.insert(family).second);
    } else {
      auto name = line.rfind("# TYPE ", 0) == 0 ? line.substr(7) : line;
      CHECK(name.rfind(family, 0) == 0);
    }
  }
}

TEST_CASE("pools of one name are told apart", "[exposition]") {
  std::vector pools{sample_pool("io"), sample_pool("io")};
  auto values = values_of(metrics_text(pools));
  CHECK(values.count(R"(troupe_workers_limit{pool="io"})"));
  CHECK(values.count(R"(troupe_workers_limit{pool="io#2"})"));
}

TEST_CASE("JSON says what each pool does, and what came lately",
          "[exposition]") {
  std::vector before{sample_pool("io")};
  before[0].age = 10s;
  std::vector now{sample_pool("io")};
  now[0].age = 12s;
  now[0].labels[1].succeeded += 8;
  now[0].labels[1].ran.record(4ms, 8);
  now[0].team.resize(1);
  now[0].team[0].id = 1;
  now[0].team[0].busy = true;
  now[0].team[0].label = "a\"b";
  auto text = troupe::stats_json(now, before);
  CHECK_THAT(text, Contains(R"("pool":"io","workers":4,"limit":8,"busy":2)"));
  CHECK_THAT(text, Contains(R"("rate":4,"waited":{"n":0,)"));
  CHECK_THAT(text, Contains(R"("ran":{"n":8,"p50":0.00)"));
  CHECK_THAT(text, Contains(R"("label":"a\"b","running":0})"));
  CHECK_THAT(text, Contains(R"("advice":"pool 'io': )"));
  CHECK(text.front() == '[');
  CHECK(text.back() == ']');
  CHECK(text.find('\n') == text.npos);
  CHECK(troupe::stats_json({}, now) == "[]");
  // Of a pool that was not there before, nothing is said to have come lately.
  CHECK_THAT(troupe::stats_json(now, {}), Contains(R"("rate":0)"));
}

TEST_CASE("labels that break the format are escaped", "[exposition]") {
  std::vector pools{sample_pool("a\"b")};
  pools[0].labels[1].label = "x\ny\\\xFF";
  CHECK_THAT(metrics_text(pools), Contains(R"({pool="a\"b",label="x\ny\\?"})"));
}
