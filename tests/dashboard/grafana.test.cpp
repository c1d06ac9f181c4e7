// The dashboard for Grafana in demos/: each metric that it names is one that a
// program exposes, and each of its expressions gives Prometheus something to
// draw.

#include "troupe/dashboard.hpp"

#include "troupe/troupe.hpp"

#include "captured_log.hpp"
#include "gate.hpp"
#include "json.hpp"
#include "prometheus_server.hpp"

#include <catch2/catch.hpp>

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <httplib.h>

using namespace std::chrono_literals;
using test::json;

namespace {

const json& grafana() {
  static const auto read = [] {
    std::ifstream file{TROUPE_GRAFANA};
    return json::parse(std::string{std::istreambuf_iterator<char>{file}, {}});
  }();
  return read;
}

std::string replaced(std::string text, const std::string& what,
                     const std::string& by) {
  for (auto at = text.find(what); at != text.npos;
       at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

/// All expressions, with what Grafana would put in place of its variables.
std::vector<std::string> expressions() {
  std::vector<std::string> result;
  for (const auto& panel : grafana()["panels"].items())
    for (const auto& target : panel["targets"].items()) {
      auto text = replaced(target["expr"].text(), "$pool", "io");
      result.push_back(replaced(text, "$__rate_interval", "1m"));
    }
  return result;
}

std::set<std::string> metrics_in(const std::string& text) {
  std::set<std::string> result;
  std::regex name{"troupe_[a-z_]+"};
  for (std::sregex_iterator at{text.begin(), text.end(), name}, end; at != end;
       ++at)
    result.insert(at->str());
  return result;
}

std::set<std::string> exposed(const troupe::dashboard& page) {
  httplib::Client client{"127.0.0.1", page.port()};
  client.set_read_timeout(60s);
  auto answer = client.Get("/metrics");
  REQUIRE(answer);
  std::set<std::string> result;
  std::istringstream lines{answer->body};
  for (std::string line; std::getline(lines, line);)
    if (line[0] != '#')
      result.insert(line.substr(0, line.find('{')));
  return result;
}

struct world {
  test::captured_log log;
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool io{sys, troupe::pool_options{.name = "io", .workers = 2}};
  troupe::dashboard page{troupe::dashboard_address{}};

  /// One request that succeeds, one that fails, and one that is late.
  void work() {
    io.run([] {}).label("good").get();
    CHECK_THROWS(
        io.run([] { throw std::runtime_error{"no"}; }).label("bad").get());
    // It outlives the wait. What expires before a worker has begun with it is
    // not late.
    auto slow = std::make_shared<test::gate>();
    while (slow->arrivals() == 0)
      CHECK_THROWS(
          io.run([slow] { slow->pass(); }).label("slow").timeout(20ms).get());
    slow->open();
  }
};

} // namespace

TEST_CASE("the Grafana dashboard names metrics that programs expose",
          "[grafana]") {
  world w;
  w.work();
  auto known = exposed(w.page);
  CHECK(known.count("troupe_request_run_seconds_bucket") == 1);
  CHECK(known.count("troupe_nothing_total") == 0);
  auto all = expressions();
  CHECK(all.size() >= 12);
  all.push_back(grafana()["templating"]["list"].items().at(1)["query"].text());
  for (const auto& expression : all) {
    INFO(expression);
    auto names = metrics_in(expression);
    CHECK_FALSE(names.empty());
    for (const auto& name : names) {
      INFO(name);
      CHECK(known.count(name) == 1);
    }
  }
}

TEST_CASE("each expression of the Grafana dashboard has something to draw",
          "[grafana]") {
  world w;
  test::prometheus_server prometheus{w.page.port()};
  // A rate needs two samples of each label, with something between them.
  for (auto round : {1, 2}) {
    w.work();
    // One more may have been late in a round, if it began but did not arrive.
    auto late =
        fmt::format("sum(troupe_late_requests_total) >= bool {}", round);
    REQUIRE(prometheus.await(late, 1) == 1);
  }
  for (const auto& expression : expressions()) {
    INFO(expression);
    CHECK_FALSE(prometheus.query(expression).items().empty());
  }
}

TEST_CASE("the panels of the Grafana dashboard are told apart, and none covers "
          "another",
          "[grafana]") {
  std::set<double> ids;
  std::set<std::string> titles;
  std::set<std::pair<int, int>> covered;
  const auto& panels = grafana()["panels"].items();
  CHECK(panels.size() >= 8);
  for (const auto& panel : panels) {
    INFO(panel["title"].text());
    CHECK(ids.insert(panel["id"].number()).second);
    CHECK(titles.insert(panel["title"].text()).second);
    CHECK_FALSE(panel["description"].text().empty());
    CHECK(panel["datasource"]["uid"].text() == "${datasource}");
    const auto& at = panel["gridPos"];
    CHECK(at["x"].number() + at["w"].number() <= 24);
    auto free = true;
    for (int x = 0; x < at["w"].number(); ++x)
      for (int y = 0; y < at["h"].number(); ++y)
        free = covered
                   .insert({static_cast<int>(at["x"].number()) + x,
                            static_cast<int>(at["y"].number()) + y})
                   .second
               && free;
    CHECK(free);
  }
}
