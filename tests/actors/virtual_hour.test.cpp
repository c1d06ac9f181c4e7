// Everything that waits for time, in one hour that nobody waits for: a queue
// deadline, retries, a watchdog, idle workers and a shutdown. The same hour
// goes the same way each time.

#include "troupe/testing.hpp"
#include "troupe/troupe.hpp"

#include "actor_ways.hpp"
#include "captured_log.hpp"
#include "gate.hpp"
#include "mail.hpp"

#include <catch2/catch.hpp>

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// What happened, and when by the manual clock.
class event_log {
public:
  explicit event_log(std::shared_ptr<troupe::testing::manual_clock> time)
      : time_{std::move(time)} {}

  void note(const std::string& what) {
    auto at = std::chrono::duration_cast<std::chrono::seconds>(
        time_->now().time_since_epoch() - 1h);
    std::lock_guard guard{mutex_};
    lines_.push_back(
        fmt::format("{:02}:{:02} {}", at.count() / 60, at.count() % 60, what));
  }

  std::vector<std::string> lines() const {
    std::lock_guard guard{mutex_};
    return lines_;
  }

private:
  std::shared_ptr<troupe::testing::manual_clock> time_;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

std::vector<std::string> live_an_hour() {
  troupe::testing::manual_time time;
  auto& clock = *time.clock;
  event_log log{time.clock};
  test::gate slow;
  test::gate held;
  test::tally stopped;
  test::captured_log quiet;
  test::actor_world world;
  {
    test::open_at_exit release_slow{slow};
    test::open_at_exit release_held{held};
    troupe::pool_options how{.name = "io", .workers = 1, .idle_timeout = 10min};
    how.max_run_time = 5min;
    how.max_spares = 0;
    how.clock = time.clock;
    // Without its number: the next one may start before that is free again.
    how.on_worker_stop = [&](int) {
      log.note("a worker ended");
      stopped.add();
    };
    troupe::pool io{world.sys, how};
    caf::scoped_actor self{world.sys};
    troupe::compat::ask(self, io.actor(), troupe::compat::forever,
                        troupe::subscribe_atom_v, caf::actor{self})
        .receive([] {}, [](const caf::error&) { FAIL("not subscribed"); });

    // A retry, whose attempts are a minute and then two apart.
    auto attempts = 0;
    auto flaky = io.run([&] {
                     log.note(fmt::format("attempt {}", ++attempts));
                     if (attempts < 3)
                       throw std::runtime_error{"not yet"};
                     return attempts;
                   })
                     .retry({.attempts = 3,
                             .backoff = 1min,
                             .factor = 2,
                             .max_backoff = 1h,
                             .jitter = 0})
                     .start();
    for (auto wait : {1min, 2min}) {
      clock.wait_for_timer_in(wait);
      clock.advance(wait);
    }
    log.note(fmt::format("retried: {}", flaky.get()));

    // A request that takes too long, and one behind it that cannot wait.
    auto busy = io.run([&] { slow.pass(); }).label("slow").start();
    slow.wait_for_arrivals();
    auto impatient = io.run([] {}).timeout(4min).start();
    clock.wait_for_timer_in(4min);
    for (auto i = 0; i < 4; ++i) {
      REQUIRE(test::catch_up(world.sys, io));
      clock.advance(1min);
    }
    try {
      impatient.get();
    } catch (const troupe::failure& err) {
      log.note(fmt::format("impatient: {}", to_string(err.code())));
    }
    // The coordinator looks on its own thread.
    auto alarmed = false;
    while (!alarmed) {
      REQUIRE(test::catch_up(world.sys, io));
      clock.advance(1min);
      REQUIRE(test::catch_up(world.sys, io));
      auto more = true;
      while (more)
        self->receive(
            [&](const troupe::stuck_request& alarm) {
              log.note("stuck: " + alarm.label);
              alarmed = true;
            },
            [](const troupe::completion&) {},
            caf::after(0s) >> [&] { more = false; });
    }
    slow.open();
    busy.get();

    // Nothing to do for ten minutes.
    while (io.stats().idle == 0)
      std::this_thread::yield();
    // Ten minutes after it became idle, and no sooner than it is looked at.
    while (stopped.value() == 0) {
      REQUIRE(test::catch_up(world.sys, io));
      clock.advance(1min);
      REQUIRE(test::catch_up(world.sys, io));
      if (io.stats().workers == 0)
        stopped.wait_for(1);
    }

    // A shutdown that a request outlives.
    auto last = io.run([&] { held.pass(); }).label("held").start();
    held.wait_for_arrivals();
    auto queued = io.run([] {}).start();
    auto down = io.shutdown(42min).start();
    clock.wait_for_timer_in(42min);
    clock.advance(42min);
    auto receipt = down.get();
    log.note(fmt::format("shut down: {} drained, {} cancelled, '{}' runs",
                         receipt.drained, receipt.cancelled,
                         receipt.still_running.at(0).label));
    try {
      queued.get();
    } catch (const troupe::failure& err) {
      log.note(fmt::format("queued: {}", to_string(err.code())));
    }
    held.open();
    last.get();
  }
  stopped.wait_for(2);
  return log.lines();
}

} // namespace

TEST_CASE("an hour of virtual time goes the same way each time",
          "[virtual_hour]") {
  auto first = live_an_hour();
  CHECK(first == live_an_hour());
  CHECK(first
        == std::vector<std::string>{
            "00:00 attempt 1", "01:00 attempt 2", "03:00 attempt 3",
            "03:00 retried: 3", "07:00 impatient: deadline_exceeded",
            "08:00 stuck: slow", "18:00 a worker ended",
            "60:00 shut down: 0 drained, 1 cancelled, 'held' runs",
            "60:00 queued: pool_stopped", "60:00 a worker ended"});
}

TEST_CASE("a timer that is set by another one has its own time",
          "[virtual_hour]") {
  troupe::testing::manual_clock clock;
  auto start = clock.now();
  std::vector<std::chrono::nanoseconds> at;
  clock.call_at(start + 10s, [&] {
    at.push_back(clock.now() - start);
    clock.call_at(clock.now() + 5s, [&] { at.push_back(clock.now() - start); });
  });
  clock.advance(12s);
  CHECK(at == std::vector<std::chrono::nanoseconds>{10s});
  clock.advance(1h);
  CHECK(at == std::vector<std::chrono::nanoseconds>{10s, 15s});
  CHECK(clock.now() == start + 1h + 12s);
  CHECK(clock.timers() == 0);
}
