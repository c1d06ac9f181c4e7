// A stranger's first program: one request, one map, an hour of backoff that
// nobody waits for, and what they print. Built against the installed package
// and as a subproject; its output is checked.
#include <troupe/build_info.hpp>
#include <troupe/testing.hpp>
#include <troupe/troupe.hpp>

#include <fmt/core.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Asks for what succeeds an hour later, on a clock that is moved by hand.
int retried_after_an_hour(caf::actor_system& sys) {
  troupe::testing::manual_time time;
  troupe::pool io{sys, {.workers = 1, .clock = time.clock}};
  auto answer = io.run([attempts = 0]() mutable {
                    if (++attempts == 1)
                      throw std::runtime_error{"not yet"};
                    return attempts;
                  })
                    .retry({.backoff = 1h, .max_backoff = 1h, .jitter = 0})
                    .start();
  time.clock->wait_for_timer_in(1h);
  time.clock->advance(1h);
  return answer.get();
}

} // namespace

int main(int argc, char** argv) {
  troupe::config cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  caf::actor_system sys{cfg};
  troupe::pool io{sys};
  std::vector<int> lengths =
      io.map(std::vector<std::string>{"one", "three", "eleven"},
             [](const std::string& text) {
               return static_cast<int>(text.size());
             })
          .get();
  int sum = io.run([](int a, int b) { return a + b; }, 20, 22).get();
  fmt::print("troupe {} says {} {} {} and {}, at attempt {}\n", troupe::version,
             lengths[0], lengths[1], lengths[2], sum,
             retried_after_an_hour(sys));
}
