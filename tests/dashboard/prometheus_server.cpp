// Starting and asking Prometheus; see the header.

#include "prometheus_server.hpp"

#include <chrono>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <httplib.h>

namespace test {

namespace {

// How often it looks at the program, and how often a test asks whether it has.
constexpr auto interval = std::chrono::milliseconds{100};
constexpr int tries = 300;

std::string configuration(std::uint16_t target) {
  return fmt::format("global:\n"
                     "  scrape_interval: {0}ms\n"
                     "  scrape_timeout: {0}ms\n"
                     "scrape_configs:\n"
                     "  - job_name: troupe\n"
                     "    static_configs:\n"
                     "      - targets: ['127.0.0.1:{1}']\n",
                     interval.count(), target);
}

} // namespace

prometheus_server::prometheus_server(std::uint16_t target)
    : process_{{TROUPE_PROMETHEUS,
                "--config.file="
                    + folder_.write("prometheus.yml", configuration(target)),
                "--storage.tsdb.path=" + folder_.path("data"),
                "--web.listen-address=127.0.0.1:0"}},
      port_{std::atoi(
          process_.word_behind("msg=\"Listening on\" address=127.0.0.1:")
              .c_str())} {}

json prometheus_server::query(const std::string& expression) const {
  httplib::Client client{"127.0.0.1", port_};
  client.set_read_timeout(std::chrono::seconds{60});
  for (int i = 0; i < tries; ++i, std::this_thread::sleep_for(interval)) {
    auto answer =
        client.Get("/api/v1/query", httplib::Params{{"query", expression}},
                   httplib::Headers{});
    if (!answer)
      throw std::runtime_error{"cannot ask Prometheus: "
                               + httplib::to_string(answer.error())};
    // It listens before it is ready.
    if (answer->status == 503)
      continue;
    auto said = json::parse(answer->body);
    if (said["status"].text() != "success")
      throw std::runtime_error{"Prometheus refuses '" + expression
                               + "': " + said["error"].text()};
    return said["data"]["result"];
  }
  throw std::runtime_error{"Prometheus does not become ready"};
}

double prometheus_server::value(const std::string& expression) const {
  auto found = query(expression);
  if (found.items().size() != 1)
    return std::numeric_limits<double>::quiet_NaN();
  return std::strtod(found.items()[0]["value"].items().at(1).text().c_str(),
                     nullptr);
}

double prometheus_server::await(const std::string& expression,
                                const std::function<bool(double)>& good) const {
  auto result = value(expression);
  for (int i = 1; i < tries && !good(result); ++i) {
    std::this_thread::sleep_for(interval);
    result = value(expression);
  }
  return result;
}

} // namespace test
