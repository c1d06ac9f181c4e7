// What a semaphore promises: so many permits at once, first come, first served,
// and none is ever lost. After CPython's tests of asyncio.Semaphore and
// BoundedSemaphore.

#include "troupe/semaphore.hpp"

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

namespace {

/// Keeps the permit taken.
void acquire_for_good(const troupe::semaphore& slots) {
  slots.acquire().get().detach();
}

/// Returns whether an operation that was started is complete: then a cancel
/// does not change it.
bool complete(troupe::operation<troupe::permit>& op) {
  auto state = op.consume();
  auto result = state->done();
  op = troupe::operation<troupe::permit>{std::move(state)};
  return result;
}

} // namespace

// -- permits ------------------------------------------------------------------

TEST_CASE("a semaphore counts its free permits", "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 2};
  CHECK(slots.available() == 2);
  acquire_for_good(slots);
  CHECK(slots.available() == 1);
  CHECK(slots.try_acquire());
  CHECK(slots.available() == 0);
  CHECK_FALSE(slots.try_acquire());
  slots.release(2);
  CHECK(slots.available() == 2);
}

TEST_CASE("a semaphore may begin without permits", "[semaphore]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  CHECK_FALSE(slots.try_acquire());
  std::jthread giver;
  CHECK(hear(how, world.sys, [&](auto*) {
          giver = std::jthread{[&] { slots.release(); }};
          return slots.acquire();
        }).value.has_value());
}

TEST_CASE("a permit goes back when it goes", "[semaphore]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  {
    auto result = hear(how, world.sys, [&](auto*) { return slots.acquire(); });
    REQUIRE(result.value.has_value());
    CHECK(*result.value);
    CHECK(slots.available() == 0);
  }
  CHECK(slots.available() == 1);
}

TEST_CASE("a permit can be moved, given back early, and kept", "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 3};
  auto first = slots.acquire().get();
  auto second = slots.acquire().get();
  auto third = slots.acquire().get();
  CHECK(slots.available() == 0);
  first = std::move(second);
  CHECK(slots.available() == 1);
  CHECK(first);
  CHECK_FALSE(second);
  first.release();
  CHECK_FALSE(first);
  CHECK(slots.available() == 2);
  first.release();
  CHECK(slots.available() == 2);
  third.detach();
  CHECK_FALSE(third);
  CHECK(slots.available() == 2);
  slots.release();
  CHECK(slots.available() == 3);
}

TEST_CASE("a permit may outlive the handles of its semaphore", "[semaphore]") {
  test::actor_world world;
  auto kept = troupe::semaphore{world.sys, 1}.acquire().get();
  CHECK(kept);
  kept.release();
  CHECK_FALSE(kept);
}

TEST_CASE("an acquire whose permit nobody takes gives it back", "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  { auto never_started = slots.acquire(); }
  CHECK(slots.available() == 1);
  { auto got = slots.acquire().start(); }
  CHECK(slots.available() == 1);
  acquire_for_good(slots);
  // Waits on without an owner, and passes on what it gets.
  { auto dropped = slots.acquire().start(); }
  auto next = slots.acquire().start();
  slots.release();
  CHECK(next.get());
  CHECK(slots.available() == 1);
  // Its future was dropped.
  static_cast<void>(slots.acquire().as_future());
  CHECK(slots.available() == 1);
}

TEST_CASE("permits pass through 100000 acquires that nobody takes",
          "[semaphore]") {
  // Each is destroyed on completion and gives its permit to the next one.
  // Failure here is an overflow of the stack.
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  for (int i = 0; i < 100'000; ++i)
    static_cast<void>(slots.acquire().start());
  auto last = slots.acquire().start();
  slots.release();
  CHECK(last.get());
  CHECK(slots.available() == 1);
}

TEST_CASE("a permit that a gather got goes back if another part fails",
          "[semaphore]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  troupe::barrier broken{world.sys, 2};
  broken.abort();
  auto result = [&] {
    return hear(how, world.sys,
                [&](auto*) {
                  return troupe::gather(slots.acquire(), broken.wait());
                })
        .code();
  }();
  CHECK(result == ec::closed);
  acquire_for_good(slots);
  CHECK(slots.available() == 0);
}

// -- bounds -------------------------------------------------------------------

TEST_CASE("a bounded semaphore refuses a permit too many", "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1, 3};
  CHECK(slots.bound() == 3);
  slots.release(2);
  CHECK(test::failure_code([&] { slots.release(); }) == ec::invalid_option);
  CHECK(slots.try_acquire());
  CHECK_THAT(test::thrown_text([&] { slots.release(2); }),
             Contains("cannot release 2 permits")
                 && Contains("2 free and a bound of 3")
                 && Contains("0 to 1 are accepted"));
  CHECK(slots.available() == 2);
}

TEST_CASE("a semaphore without a bound takes permits nobody had",
          "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  slots.release(5);
  CHECK(slots.available() == 5);
  CHECK(test::failure_code([&] { slots.release(static_cast<std::size_t>(-1)); })
        == ec::invalid_option);
  CHECK(slots.available() == 5);
}

TEST_CASE("a bound that its permits exceed, and one of 0, are refused",
          "[semaphore]") {
  test::actor_world world;
  CHECK(test::failure_code([&] {
          troupe::semaphore{world.sys, 0, 0};
        })
        == ec::invalid_option);
  CHECK_THAT(test::thrown_text([&] {
               troupe::semaphore{world.sys, 4, 3};
             }),
             Contains("4 permits and a bound of 3: 0 to 3"));
  CHECK(test::failure_code([&] {
          troupe::semaphore{world.sys, static_cast<std::size_t>(-1)};
        })
        == ec::invalid_option);
}

TEST_CASE("a permit that goes beyond the bound is dropped", "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1, 1};
  {
    auto mine = slots.acquire().get();
    // Not this one's to give back.
    slots.release();
  }
  CHECK(slots.available() == 1);
}

// -- order --------------------------------------------------------------------

TEST_CASE("permits go to those who wait, in the order in which they came",
          "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  auto first = slots.acquire().start();
  auto second = slots.acquire().start();
  auto third = slots.acquire().start();
  slots.release(2);
  CHECK(complete(first));
  CHECK(complete(second));
  CHECK_FALSE(complete(third));
  CHECK(slots.available() == 0);
  slots.release();
  CHECK(complete(third));
}

TEST_CASE("nobody overtakes who waits", "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  auto mine = slots.acquire().get();
  auto waits = slots.acquire().start();
  mine.release();
  // The permit is handed over, never free in between.
  CHECK_FALSE(slots.try_acquire());
  auto late = slots.acquire().start();
  CHECK_FALSE(complete(late));
  waits.get().release();
  CHECK(complete(late));
}

TEST_CASE("two rounds of three tasks take turns", "[semaphore]") {
  // CPython's test_acquire_fifo_order.
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  std::vector<int> order;
  auto turns = [&](caf::event_based_actor* self,
                   int who) -> troupe::task<void> {
    for (int round = 0; round < 2; ++round) {
      auto mine = co_await slots.acquire();
      order.push_back(10 * who + round);
      co_await troupe::sleep_for(self, std::chrono::nanoseconds{1});
    }
  };
  troupe::run(
      world.sys, [&](caf::event_based_actor* self) -> troupe::task<void> {
        auto all =
            troupe::gather(turns(self, 1), turns(self, 2), turns(self, 3));
        co_await std::move(all);
      });
  CHECK(order == std::vector{10, 20, 30, 11, 21, 31});
}

// -- cancelling ---------------------------------------------------------------

TEST_CASE("an acquire that is cancelled takes no permit", "[semaphore]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  std::stop_source stop;
  std::jthread stopper;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = slots.acquire().stop_with(stop.get_token()).start();
    stopper = std::jthread{[&] { stop.request_stop(); }};
    return op;
  });
  CHECK(result.code() == ec::cancelled);
  slots.release();
  CHECK(slots.available() == 1);
}

TEST_CASE("those behind an acquire that is cancelled move up", "[semaphore]") {
  // CPython's test_acquire_cancel_before_awoken.
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  std::stop_source stop;
  auto first = slots.acquire().stop_with(stop.get_token()).start();
  auto second = slots.acquire().stop_with(stop.get_token()).start();
  auto third = slots.acquire().start();
  auto fourth = slots.acquire().start();
  stop.request_stop();
  slots.release();
  CHECK(test::failure_code([&] { first.get().release(); }) == ec::cancelled);
  CHECK(test::failure_code([&] { second.get().release(); }) == ec::cancelled);
  CHECK(complete(third));
  CHECK_FALSE(complete(fourth));
  slots.release();
  CHECK(complete(fourth));
}

TEST_CASE("an acquire that runs out of time or whose actor dies is forgotten",
          "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  CHECK(test::code_of_cancelled(slots.acquire(), ec::deadline_exceeded)
        == ec::deadline_exceeded);
  test::wait_in_actor_that_ends(world.sys, [slots] { return slots.acquire(); });
  slots.release();
  CHECK(slots.available() == 1);
}

TEST_CASE("a permit that an actor got goes back when it dies before it hears",
          "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  auto acquired = std::make_shared<test::tally>();
  auto released = std::make_shared<test::tally>();
  auto over = std::make_shared<test::tally>();
  auto waiter = world.sys.spawn<caf::detached>(
      [=](caf::event_based_actor* self) -> caf::behavior {
        slots.acquire().then(
            self, [](troupe::permit) { FAIL("the actor was ended before"); },
            [](const caf::error&) {});
        acquired->add();
        // The answer is in the mailbox, behind this message.
        self->quit();
        released->wait_for(1);
        return {[](int) {}};
      });
  acquired->wait_for(1);
  test::watch_end(waiter, over);
  auto next = slots.acquire().start();
  released->add();
  CHECK(next.get());
  over->wait_for(1);
  CHECK(slots.available() == 1);
}

// -- races --------------------------------------------------------------------

TEST_CASE("one at a time has the permit, and none is lost, in 10000 races",
          "[semaphore]") {
  // Failure here is a hang, or a count.
  test::actor_world world;
  constexpr auto rounds = 3'334;
  troupe::semaphore slots{world.sys, 1, 1};
  std::atomic<int> inside{0};
  std::atomic<int> alone{0};
  test::all_ways_at_once<troupe::permit>(
      world.sys, rounds, [&](test::who, int) { return slots.acquire(); },
      [&](test::who, int, troupe::permit mine) {
        alone += ++inside == 1 && mine ? 1 : 0;
        --inside;
      },
      [] {});
  CHECK(alone == 3 * rounds);
  CHECK(slots.available() == 1);
}

TEST_CASE("no permit leaks when an acquire is cancelled as one is released",
          "[semaphore]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0, 1};
  std::stop_source stop;
  std::optional<troupe::operation<troupe::permit>> op;
  auto right = 0;
  test::race(
      10'000,
      [&](int) {
        stop = std::stop_source{};
        op.emplace(slots.acquire().stop_with(stop.get_token()).start());
      },
      [&](int) { slots.release(); }, [&](int) { stop.request_stop(); },
      [&](int i) {
        if (i % 2 == 0) {
          // Nobody takes the result.
          op.reset();
          right += slots.available() == 1 ? 1 : 0;
        } else {
          auto code = test::failure_code([&] { op->get().release(); });
          right += (!code || code == ec::cancelled) && slots.available() == 1
                       ? 1
                       : 0;
        }
        static_cast<void>(slots.try_acquire());
      });
  CHECK(right == 10'000);
}
