// Hedged requests: when the second copy is sent, which one counts, and what
// becomes of the other.

#include "troupe/troupe.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::actor_world;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool;
using troupe::pool_options;

namespace {

/// Two workers, and time that stands still.
struct hedged_world : actor_world {
  test::manual_time time;
  std::shared_ptr<test::manual_clock> clock = time.clock;
  pool io{sys, pool_options{.workers = 2, .idle_timeout = 1h, .clock = clock}};
};

} // namespace

TEST_CASE("a copy is sent when the first call is slow, and its success counts",
          "[hedge]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::gate slow;
  std::atomic<int> calls{0};
  std::atomic<int> hooks{0};
  hedged_world world;
  test::open_at_exit release{slow};
  std::thread mover{[&] {
    slow.wait_for_arrivals();
    world.clock->advance(10ms);
  }};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return world.io
        .run([&](troupe::context& ctx) {
          if (++calls > 1)
            return std::string{"second"};
          // What frees the slow one is that it lost.
          auto hook = ctx.on_cancel([&] {
            ++hooks;
            slow.open();
          });
          slow.pass();
          return std::string{"first"};
        })
        .hedge_after(10ms);
  });
  mover.join();
  CHECK(heard.value == "second");
  world.io.shutdown().get();
  CHECK(calls == 2);
  CHECK(hooks == 1);
}

TEST_CASE("a call that is quick is not sent twice", "[hedge]") {
  std::atomic<int> calls{0};
  hedged_world world;
  CHECK(world.io.run([&] { return ++calls; }).hedge_after(10ms).get() == 1);
  world.clock->advance(1h);
  world.io.shutdown().get();
  CHECK(calls == 1);
}

TEST_CASE("the first call counts if it is back before its copy", "[hedge]") {
  test::gate first;
  test::gate second;
  std::atomic<int> calls{0};
  hedged_world world;
  test::open_at_exit release_first{first};
  test::open_at_exit release_second{second};
  auto op = world.io
                .run([&] {
                  auto mine = ++calls;
                  (mine == 1 ? first : second).pass();
                  return mine;
                })
                .hedge_after(10ms)
                .start();
  first.wait_for_arrivals();
  world.clock->advance(10ms);
  second.wait_for_arrivals();
  first.open();
  CHECK(op.get() == 1);
  second.open();
}

TEST_CASE("a hedged call whose first copy wins cancels the second one",
          "[hedge]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::gate first;
  test::gate second;
  std::atomic<int> calls{0};
  std::atomic<int> hooks_of_first{0};
  std::atomic<int> hooks_of_second{0};
  hedged_world world;
  test::open_at_exit release_first{first};
  test::open_at_exit release_second{second};
  std::thread mover{[&] {
    first.wait_for_arrivals();
    world.clock->advance(10ms);
    second.wait_for_arrivals();
    first.open();
  }};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return world.io
        .run([&](troupe::context& ctx) {
          auto mine = ++calls;
          // What frees the second one is that it lost.
          auto hook = ctx.on_cancel([&, mine] {
            if (mine == 1) {
              ++hooks_of_first;
              return;
            }
            ++hooks_of_second;
            second.open();
          });
          (mine == 1 ? first : second).pass();
          return mine;
        })
        .hedge_after(10ms);
  });
  mover.join();
  CHECK(heard.value == 1);
  world.io.shutdown().get();
  CHECK(calls == 2);
  CHECK(hooks_of_first == 0);
  CHECK(hooks_of_second == 1);
}

TEST_CASE("a failure counts only when no copy is left that may succeed",
          "[hedge]") {
  test::gate first;
  test::gate second;
  std::atomic<int> calls{0};
  hedged_world world;
  test::open_at_exit release_first{first};
  test::open_at_exit release_second{second};
  auto second_fails = GENERATE(false, true);
  auto op = world.io
                .run([&]() -> int {
                  auto mine = ++calls;
                  (mine == 1 ? first : second).pass();
                  if (mine == 1 || second_fails)
                    throw std::runtime_error{"call " + std::to_string(mine)};
                  return mine;
                })
                .hedge_after(10ms)
                .start();
  first.wait_for_arrivals();
  world.clock->advance(10ms);
  second.wait_for_arrivals();
  first.open();
  second.open();
  if (second_fails)
    CHECK_THROWS_AS(op.get(), std::runtime_error);
  else
    CHECK(op.get() == 2);
}

TEST_CASE("a failure before the copy is sent is delivered at once", "[hedge]") {
  hedged_world world;
  CHECK_THROWS_AS(world.io.run([] { throw std::runtime_error{"no"}; })
                      .hedge_after(1h)
                      .get(),
                  std::runtime_error);
}

TEST_CASE("a cancel stops both copies", "[hedge]") {
  test::gate both;
  hedged_world world;
  test::open_at_exit release{both};
  std::stop_source stop;
  std::atomic<int> asked{0};
  auto op = world.io
                .run([&](troupe::context& ctx) {
                  auto hook = ctx.on_cancel([&] { ++asked; });
                  both.pass();
                })
                .hedge_after(10ms)
                .stop_with(stop.get_token())
                .start();
  both.wait_for_arrivals(1);
  world.clock->advance(10ms);
  both.wait_for_arrivals(2);
  stop.request_stop();
  CHECK(asked == 2);
  both.open();
  // Both had started, so one of them succeeds.
  CHECK_NOTHROW(op.get());
}

TEST_CASE("what cannot be copied cannot be hedged", "[hedge]") {
  hedged_world world;
  auto call = world.io.run([](const std::unique_ptr<int>& x) { return *x; },
                           std::make_unique<int>(3));
  CHECK(test::failure_code([&] { call.hedge_after(1ms); })
        == ec::invalid_option);
  CHECK(call.get() == 3);
  auto map = world.io.map(std::vector{1}, [](int x) { return x; });
  CHECK(test::failure_code([&] { map.hedge_after(1ms); })
        == ec::invalid_option);
  auto negative = world.io.run([] {});
  CHECK(test::failure_code([&] { negative.hedge_after(-1ms); })
        == ec::invalid_option);
}

TEST_CASE("ten thousand hedged calls that race with their copies each count "
          "once",
          "[hedge]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 3}};
  std::vector<troupe::operation<int>> ops;
  for (int i = 0; i < 10'000; ++i)
    ops.push_back(io.run([i] { return i; })
                      .hedge_after(std::chrono::microseconds{i % 40})
                      .start());
  for (int i = 0; i < 10'000; ++i)
    if (auto x = ops[static_cast<std::size_t>(i)].get(); x != i)
      FAIL(x << " is not " << i);
}

TEST_CASE("each copy that was sent counts as an attempt", "[hedge]") {
  test::gate slow;
  std::atomic<int> calls{0};
  hedged_world world;
  test::open_at_exit release{slow};
  std::vector<troupe::operation<int>> ops;
  ops.push_back(world.io
                    .run([&](troupe::context& ctx) {
                      auto mine = ++calls;
                      auto hook = ctx.on_cancel([&] { slow.open(); });
                      if (mine == 1)
                        slow.pass();
                      return mine;
                    })
                    .hedge_after(10ms));
  auto gathered = troupe::gather_settled(std::move(ops)).start();
  slow.wait_for_arrivals();
  world.clock->advance(10ms);
  auto all = gathered.get();
  CHECK(all[0].value() == 2);
  CHECK(all[0].attempts() == 2);
}

TEST_CASE("a hedged call makes the progress of one, and then no more",
          "[hedge]") {
  auto hedged_first = GENERATE(false, true);
  CAPTURE(hedged_first);
  test::gate slow;
  std::atomic<int> calls{0};
  std::mutex mutex;
  std::vector<troupe::progress> heard;
  hedged_world world;
  test::open_at_exit release{slow};
  auto note = [&](const troupe::progress& now) {
    std::lock_guard guard{mutex};
    heard.push_back(now);
  };
  auto op = world.io.run([&] {
    if (++calls == 1)
      slow.pass();
  });
  if (hedged_first)
    op.hedge_after(10ms).on_progress(note);
  else
    op.on_progress(note).hedge_after(10ms);
  auto started = std::move(op).start();
  slow.wait_for_arrivals();
  world.clock->advance(10ms);
  started.get();
  slow.open();
  world.io.shutdown().get();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].total == 1);
  CHECK(heard[0].done == 1);
  CHECK(heard[0].failed == 0);
}
