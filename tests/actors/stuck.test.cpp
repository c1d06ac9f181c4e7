// What a pool with max-run-time makes of calls that do not return: an alarm to
// its subscribers and the log, spare workers, an answer to new callers; and how
// the process ends.

#include "actor_ways.hpp"
#include "captured_log.hpp"
#include "gate.hpp"
#include "mail.hpp"
#include "manual_clock.hpp"
#include "programs.hpp"
#include "run_child.hpp"
#include "turnstile.hpp"

#include <catch2/catch.hpp>

#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

using namespace std::chrono_literals;

using test::failure_code;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool_options;
using troupe::stuck_request;

namespace {

/// A pool whose calls may run for ten seconds of a clock moved by hand.
struct guarded_world {
  explicit guarded_world(std::size_t workers, std::size_t spares)
      : pool{world.sys, options(workers, spares)} {}

  pool_options options(std::size_t workers, std::size_t spares) const {
    pool_options result{.name = "io",
                        .workers = workers,
                        .max_run_time = 10s,
                        .max_spares = spares};
    result.clock = time.clock;
    return result;
  }

  /// Moves the time, and returns when the pool has looked at its workers.
  void advance(std::chrono::nanoseconds by) {
    // So that the timer is set that is to become due.
    REQUIRE(test::catch_up(world.sys, pool));
    time.clock->advance(by);
    // It may have looked while the time was on its way, and have set a timer
    // that was due by then: so it looks once more.
    REQUIRE(test::catch_up(world.sys, pool));
    REQUIRE(test::catch_up(world.sys, pool));
  }

  test::manual_time time;
  test::captured_log log;
  test::actor_world world;
  troupe::pool pool;
};

} // namespace

TEST_CASE("a stream that goes on is not stuck, however long it takes, but an "
          "element may be",
          "[stuck]") {
  test::turnstile door;
  guarded_world on{1, 0};
  std::thread reader{[&] {
    try {
      for ([[maybe_unused]] auto x :
           on.pool.imap(std::views::iota(0, 20), [&](int i) {
             door.pass();
             return i;
           }))
        continue;
    } catch (const troupe::failure& err) {
      // What it asks for while the only worker is stuck.
      if (err.code() != ec::pool_stuck)
        throw;
    }
  }};
  for (std::size_t served = 0; served < 10; ++served) {
    while (door.arrived() == served)
      std::this_thread::yield();
    on.advance(6s);
    door.let(1);
  }
  CHECK(on.log.entries().empty());
  while (door.arrived() == 10)
    std::this_thread::yield();
  on.advance(6s);
  on.advance(10s);
  CHECK(on.log.entries().size() == 1);
  CHECK(on.pool.stats().stuck == 1);
  door.open();
  reader.join();
}

TEST_CASE("a stuck call is told to subscribers and to the log, once",
          "[stuck]") {
  test::gate door;
  guarded_world on{1, 0};
  test::open_at_exit opener{door};
  caf::scoped_actor self{on.world.sys};
  troupe::compat::ask(self, on.pool.actor(), troupe::compat::forever,
                      troupe::subscribe_atom_v, caf::actor{self})
      .receive([] {}, [](const caf::error&) { FAIL("not subscribed"); });
  long thread = 0;
  auto stuck = on.pool
                   .run([&] {
                     thread = ::syscall(SYS_gettid);
                     door.pass();
                   })
                   .label("mount")
                   .start();
  door.wait_for_arrivals();
  on.advance(10s - 1ns);
  CHECK(on.log.entries().empty());
  on.advance(1ns);
  stuck_request alarm;
  self->receive([&](const stuck_request& x) { alarm = x; });
  CHECK(alarm.pool == "io");
  CHECK(alarm.label == "mount");
  CHECK(alarm.worker == 1);
  CHECK(alarm.thread == static_cast<std::uint64_t>(thread));
  CHECK(alarm.running == 10s);
  CHECK(alarm.stuck == 1);
  CHECK(alarm.exhausted);
  CHECK(on.log.texts()
        == std::vector<std::string>{
            "worker io-1 (thread " + std::to_string(thread)
            + ") is stuck: 'mount' has run for 10s, longer than max-run-time = "
              "10s; all workers are stuck, and new requests fail with "
              "pool_stuck"});
  CHECK(on.log.entries().at(0).level == troupe::log_level::warning);
  for (int i = 0; i < 5; ++i)
    on.advance(1h);
  CHECK(on.log.entries().size() == 1);
  CHECK(on.pool.stats().stuck == 1);
  door.open();
  stuck.get();
  // What comes next is the completion: there was no second alarm.
  self->receive([](const troupe::completion&) {},
                [](const stuck_request&) { FAIL("a second alarm"); });
}

TEST_CASE("calls within max-run-time raise no alarm", "[stuck]") {
  test::gate door;
  guarded_world on{2, 2};
  test::open_at_exit opener{door};
  for (int i = 0; i < 20; ++i) {
    test::gate shut;
    auto call = on.pool.run([&] { shut.pass(); }).start();
    shut.wait_for_arrivals();
    on.advance(9s);
    shut.open();
    call.get();
  }
  CHECK(on.log.entries().empty());
  CHECK(on.pool.stats().stuck == 0);
}

TEST_CASE("spares stand in for stuck workers, then new callers are told, "
          "whichever way they wait",
          "[stuck]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::gate door;
  guarded_world on{2, 1};
  test::open_at_exit opener{door};
  std::vector<troupe::operation<void>> stuck;
  for (std::size_t n = 1; n <= 3; ++n) {
    stuck.push_back(on.pool.run([&] { door.pass(); }).start());
    door.wait_for_arrivals(std::min<std::size_t>(n, 2));
    // The third one waits for the spare.
    if (n == 2)
      on.advance(10s);
  }
  door.wait_for_arrivals(3);
  CHECK(on.pool.stats().workers == 3);
  CHECK(on.pool.stats().spares == 1);
  on.advance(10s);
  CHECK(on.pool.stats().stuck == 3);
  auto told =
      hear(how, on.world.sys, [&](auto*) { return on.pool.run([] {}); });
  CHECK(told.code() == ec::pool_stuck);
  door.open();
  for (auto& x : stuck)
    x.get();
  // The pool is back to its size, and takes requests again.
  while (on.pool.stats().workers > 2)
    std::this_thread::yield();
  CHECK(on.pool.stats().spares == 0);
  CHECK(hear(how, on.world.sys,
             [&](auto*) { return on.pool.run([] { return 7; }); })
            .value
        == 7);
}

TEST_CASE("what a stuck worker submits itself is still taken", "[stuck]") {
  test::gate door;
  guarded_world on{1, 0};
  test::open_at_exit opener{door};
  auto outer = on.pool
                   .run([&] {
                     door.pass();
                     return on.pool.run([] { return 7; }).get();
                   })
                   .start();
  door.wait_for_arrivals();
  on.advance(10s);
  CHECK(failure_code([&] { on.pool.run([] {}).get(); }) == ec::pool_stuck);
  door.open();
  CHECK(outer.get() == 7);
}

// -- the end of the process ---------------------------------------------------

TEST_CASE("with on-stuck = quick-exit the process ends when only stuck "
          "requests are left, and names them",
          "[stuck]") {
  std::string options = GENERATE("", " later");
  auto result = test::run_child(std::string{TROUPE_NEVER_RETURNS}
                                + " quick-exit" + options);
  CAPTURE(result.output);
  CHECK(result.status == EXIT_FAILURE);
  CHECK(result.output.find("leaving the process: 'mount' on worker io-1 does "
                           "not return")
        != std::string::npos);
  CHECK(result.output.find("quick exit\n") != std::string::npos);
  CHECK(result.output.find("ended") == std::string::npos);
}

TEST_CASE("with on-stuck = wait the system waits for what returns late",
          "[stuck]") {
  auto result = test::run_child(TROUPE_NEVER_RETURNS " wait");
  CAPTURE(result.output);
  CHECK(result.status == EXIT_SUCCESS);
  CHECK(result.output.find("ended\n") != std::string::npos);
  CHECK(result.output.find("leaving") == std::string::npos);
}
