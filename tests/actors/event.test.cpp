// What an event promises: it holds when `set` returns, wakes all who wait, and
// answers late ones at once.

#include "troupe/event.hpp"

#include "actor_ways.hpp"
#include "race.hpp"
#include "wait_ways.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>
#include <vector>

using test::hear;
using test::way;
using troupe::ec;

TEST_CASE("an event is clear, then set, then clear again", "[event]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  CHECK_FALSE(flag.is_set());
  flag.set();
  CHECK(flag.is_set());
  flag.set();
  CHECK(flag.is_set());
  flag.clear();
  CHECK_FALSE(flag.is_set());
}

TEST_CASE("copies of an event are the same event", "[event]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  auto copy = flag;
  copy.set();
  CHECK(flag.is_set());
}

TEST_CASE("who waits for an event that is set is answered at once", "[event]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::event flag{world.sys};
  flag.set();
  for (int i = 0; i < 3; ++i)
    CHECK(hear(how, world.sys, [&](auto*) {
            return flag.wait();
          }).value.has_value());
}

TEST_CASE("who waits for an event that was cleared waits for the next set",
          "[event]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  flag.set();
  flag.clear();
  auto wait = flag.wait().start();
  std::stop_source stop;
  auto impatient = flag.wait().stop_with(stop.get_token()).start();
  stop.request_stop();
  // Both began before the stop, so the first one would be complete as well.
  CHECK(test::failure_code([&] { impatient.get(); }) == ec::cancelled);
  flag.set();
  CHECK_NOTHROW(wait.get());
}

TEST_CASE("set wakes all who wait, in the order in which they came",
          "[event]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  auto result = std::make_shared<std::promise<std::vector<int>>>();
  auto waiting = std::make_shared<test::tally>();
  world.sys.spawn([=](caf::event_based_actor* self) {
    auto order = std::make_shared<std::vector<int>>();
    for (int i = 0; i < 10; ++i)
      flag.wait().then(self, [order, result, i] {
        order->push_back(i);
        if (order->size() == 10)
          result->set_value(*order);
      });
    waiting->add();
  });
  waiting->wait_for(1);
  flag.set();
  CHECK(result->get_future().get()
        == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("a wait that is cancelled fails and leaves the others", "[event]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::event flag{world.sys};
  auto first = flag.wait().start();
  std::stop_source stop;
  std::jthread stopper;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = flag.wait().stop_with(stop.get_token()).start();
    stopper = std::jthread{[&] { stop.request_stop(); }};
    return op;
  });
  CHECK(result.code() == ec::cancelled);
  auto last = flag.wait().start();
  flag.set();
  CHECK_NOTHROW(first.get());
  CHECK_NOTHROW(last.get());
}

TEST_CASE("an event that is dropped before it is set does not wake anybody",
          "[event]") {
  test::actor_world world;
  std::stop_source stop;
  auto wait = troupe::event{world.sys}.wait().stop_with(stop.get_token());
  auto started = wait.start();
  stop.request_stop();
  CHECK(test::failure_code([&] { started.get(); }) == ec::cancelled);
}

TEST_CASE("who waits before a set and who waits after it both go on",
          "[event]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::event flag{world.sys};
  auto before = flag.wait().start();
  std::jthread setter{[&] { flag.set(); }};
  CHECK(hear(how, world.sys, [&](auto*) {
          return flag.wait();
        }).value.has_value());
  CHECK_NOTHROW(before.get());
}

TEST_CASE("a second set wakes nobody twice", "[event]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  troupe::latch heard{world.sys, 1};
  auto wait = flag.wait().notify(heard).start();
  flag.set();
  flag.clear();
  auto next = flag.wait().start();
  flag.set();
  flag.set();
  CHECK_NOTHROW(wait.get());
  CHECK_NOTHROW(next.get());
  CHECK(heard.missing() == 0);
}

TEST_CASE("who was woken goes on although the event is cleared at once",
          "[event]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::event flag{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = flag.wait().start();
    flag.set();
    flag.clear();
    return op;
  });
  CHECK(result.value.has_value());
  CHECK_FALSE(flag.is_set());
}

TEST_CASE("a wait that is never consumed does not wait", "[event]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  { auto dropped = flag.wait(); }
  flag.set();
  CHECK_NOTHROW(flag.wait().get());
}

TEST_CASE("a wait that runs out of time says so and is forgotten", "[event]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  auto other = flag.wait().start();
  CHECK(test::code_of_cancelled(flag.wait(), ec::deadline_exceeded)
        == ec::deadline_exceeded);
  flag.set();
  CHECK_NOTHROW(other.get());
  CHECK(test::code_of_cancelled(flag.wait(), ec::deadline_exceeded) == ec{});
}

TEST_CASE("a waiter that dies is forgotten at once", "[event]") {
  // Before the set, which never comes. Failure here is a hang.
  test::actor_world world;
  troupe::event flag{world.sys};
  auto other = flag.wait().start();
  test::wait_in_actor_that_ends(world.sys, [flag] { return flag.wait(); });
  flag.set();
  CHECK_NOTHROW(other.get());
}

TEST_CASE("an event that a wait for another one sets wakes its waiters",
          "[event]") {
  test::actor_world world;
  constexpr auto length = 10'000;
  std::vector<troupe::event> chain;
  for (int i = 0; i <= length; ++i)
    chain.emplace_back(world.sys);
  std::vector<troupe::operation<void>> links;
  for (int i = 0; i < length; ++i)
    links.push_back(chain[i].wait().notify(chain[i + 1]).start());
  chain.front().set();
  CHECK(chain.back().is_set());
}

// -- races --------------------------------------------------------------------

TEST_CASE("no set is lost when threads set, clear and wait at once",
          "[event]") {
  test::actor_world world;
  troupe::event ping{world.sys};
  troupe::event pong{world.sys};
  constexpr auto rounds = 2000;
  std::jthread other{[&] {
    for (int i = 0; i < rounds; ++i) {
      ping.wait().get();
      ping.clear();
      pong.set();
    }
  }};
  auto n = 0;
  for (; n < rounds; ++n) {
    ping.set();
    pong.wait().get();
    pong.clear();
  }
  CHECK(n == rounds);
}

TEST_CASE("a wait that is cancelled while the event is set completes once",
          "[event]") {
  test::actor_world world;
  auto outcomes = 0;
  for (int i = 0; i < 500; ++i) {
    troupe::event flag{world.sys};
    std::stop_source stop;
    auto wait = flag.wait().stop_with(stop.get_token()).start();
    std::jthread stopper{[&] { stop.request_stop(); }};
    flag.set();
    auto code = test::failure_code([&] { wait.get(); });
    outcomes += !code || code == ec::cancelled;
  }
  CHECK(outcomes == 500);
}

TEST_CASE("no wake-up is lost in 100000 races of threads, actors and tasks",
          "[event]") {
  // Sets a few events as soon as the first of the three has come to them, so
  // that they are set while others begin to wait. Failure here is a hang.
  test::actor_world world;
  constexpr auto rounds = 33'334;
  std::vector<troupe::event> flags;
  for (int i = 0; i < rounds; ++i)
    flags.emplace_back(world.sys);
  test::milestone foremost;
  std::atomic<int> woken{0};
  test::all_ways_at_once<void>(
      world.sys, rounds,
      [&](test::who, int i) {
        foremost.raise_to(i + 1);
        return flags[i].wait();
      },
      [&](test::who, int, std::monostate) { ++woken; },
      [&] {
        for (int i = 0; i < rounds;) {
          foremost.wait_for(i + 1);
          for (auto few = 1 + i % 5; few > 0 && i < rounds; --few)
            flags[i++].set();
        }
      });
  CHECK(woken == 3 * rounds);
}
