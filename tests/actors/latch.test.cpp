// What a latch promises: it opens once, when as many have counted as it was
// made for, and stays open.

#include "troupe/latch.hpp"

#include "actor_ways.hpp"
#include "race.hpp"
#include "wait_ways.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>
#include <vector>

using Catch::Matchers::Contains;
using test::hear;
using test::way;
using troupe::ec;

// -- counting -----------------------------------------------------------------

TEST_CASE("a latch opens with the last one that is missing", "[latch]") {
  test::actor_world world;
  troupe::latch all{world.sys, 3};
  CHECK(all.missing() == 3);
  CHECK_FALSE(all.try_wait());
  all.count_down();
  CHECK(all.missing() == 2);
  all.count_down(2);
  CHECK(all.try_wait());
  CHECK(all.missing() == 0);
}

TEST_CASE("a latch from which none is missing is open from the start",
          "[latch]") {
  test::actor_world world;
  troupe::latch none{world.sys, 0};
  CHECK(none.try_wait());
  CHECK_NOTHROW(none.wait().get());
}

TEST_CASE("a latch cannot miss a negative number", "[latch]") {
  test::actor_world world;
  auto make = [&] { troupe::latch{world.sys, static_cast<std::size_t>(-1)}; };
  CHECK(test::failure_code(make) == ec::invalid_option);
  CHECK_THAT(test::thrown_text(make), Contains("0 to 9223372036854775807"));
}

TEST_CASE("a latch cannot be counted beyond zero", "[latch]") {
  test::actor_world world;
  troupe::latch all{world.sys, 2};
  CHECK(test::failure_code([&] { all.count_down(3); }) == ec::invalid_option);
  CHECK_THAT(test::thrown_text([&] { all.count_down(3); }),
             Contains("cannot count 3 off a latch from which 2 are missing"));
  CHECK(all.missing() == 2);
  all.count_down(0);
  CHECK(all.missing() == 2);
  all.count_down(2);
  CHECK(test::failure_code([&] { all.count_down(); }) == ec::invalid_option);
}

TEST_CASE("copies of a latch are the same latch", "[latch]") {
  test::actor_world world;
  troupe::latch all{world.sys, 1};
  auto copy = all;
  copy.count_down();
  CHECK(all.try_wait());
}

// -- waiting ------------------------------------------------------------------

TEST_CASE("who waits for a latch goes on when it is open", "[latch]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::latch all{world.sys, 2};
  all.count_down();
  auto early = all.wait().start();
  std::jthread last;
  CHECK(hear(how, world.sys, [&](auto*) {
          last = std::jthread{[&] { all.count_down(); }};
          return all.wait();
        }).value.has_value());
  CHECK_NOTHROW(early.get());
  CHECK(hear(how, world.sys, [&](auto*) {
          return all.wait();
        }).value.has_value());
}

TEST_CASE("arrive_and_wait counts when it starts and not before", "[latch]") {
  test::actor_world world;
  troupe::latch all{world.sys, 3};
  auto lazy = all.arrive_and_wait(2);
  CHECK(all.missing() == 3);
  auto first = std::move(lazy).start();
  CHECK(all.missing() == 1);
  CHECK_NOTHROW(all.arrive_and_wait().get());
  CHECK_NOTHROW(first.get());
}

TEST_CASE("arrive_and_wait with more than are missing fails and counts nothing",
          "[latch]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::latch all{world.sys, 1};
  auto result =
      hear(how, world.sys, [&](auto*) { return all.arrive_and_wait(2); });
  CHECK(result.code() == ec::invalid_option);
  CHECK(all.missing() == 1);
}

TEST_CASE("what arrive_and_wait counted stays counted if it is cancelled",
          "[latch]") {
  test::actor_world world;
  troupe::latch all{world.sys, 2};
  std::stop_source stop;
  auto op = all.arrive_and_wait().stop_with(stop.get_token()).start();
  stop.request_stop();
  try {
    op.get();
    FAIL("the wait was cancelled");
  } catch (const troupe::failure& err) {
    CHECK(err.code() == ec::cancelled);
    CHECK(err.started());
  }
  CHECK(all.missing() == 1);
}

TEST_CASE("a wait for a latch that is cancelled leaves the others", "[latch]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::latch all{world.sys, 1};
  auto other = all.wait().start();
  std::stop_source stop;
  std::jthread stopper;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = all.wait().stop_with(stop.get_token()).start();
    stopper = std::jthread{[&] { stop.request_stop(); }};
    return op;
  });
  CHECK(result.code() == ec::cancelled);
  CHECK(test::code_of_cancelled(all.wait(), ec::deadline_exceeded)
        == ec::deadline_exceeded);
  test::wait_in_actor_that_ends(world.sys, [all] { return all.wait(); });
  CHECK(all.missing() == 1);
  all.count_down();
  CHECK_NOTHROW(other.get());
}

TEST_CASE("operations count a latch down when they are complete", "[latch]") {
  test::actor_world world;
  troupe::latch all{world.sys, 2};
  troupe::event flag{world.sys};
  auto first = flag.wait().notify(all).start();
  auto second = flag.wait().notify(all).start();
  auto late = flag.wait().notify(all).start();
  CHECK(all.missing() == 2);
  flag.set();
  CHECK(all.missing() == 0);
}

// -- races --------------------------------------------------------------------

TEST_CASE("no one is left behind in 10000 meetings at latches", "[latch]") {
  // Failure here is a hang.
  test::actor_world world;
  constexpr auto rounds = 3'334;
  std::vector<troupe::latch> latches;
  for (int i = 0; i < rounds; ++i)
    latches.emplace_back(world.sys, 3);
  std::atomic<int> passed{0};
  test::all_ways_at_once<void>(
      world.sys, rounds,
      [&](test::who, int i) { return latches[i].arrive_and_wait(); },
      [&](test::who, int, std::monostate) { ++passed; }, [] {});
  CHECK(passed == 3 * rounds);
}

TEST_CASE("a wait for a latch that is cancelled as it opens completes once",
          "[latch]") {
  test::actor_world world;
  std::optional<troupe::latch> all;
  std::optional<troupe::operation<void>> op;
  std::stop_source stop;
  auto outcomes = 0;
  test::race(
      10'000,
      [&](int) {
        all.emplace(world.sys, 1);
        stop = std::stop_source{};
        op.emplace(all->wait().stop_with(stop.get_token()).start());
      },
      [&](int) { all->count_down(); }, [&](int) { stop.request_stop(); },
      [&](int) {
        auto code = test::failure_code([&] { op->get(); });
        outcomes += !code || code == ec::cancelled ? 1 : 0;
      });
  CHECK(outcomes == 10'000);
}
