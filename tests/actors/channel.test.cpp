// What a channel promises: items arrive in order, once, and none is lost; its
// room is bounded; closing wakes all. After CPython's tests of asyncio.Queue
// and its shutdown.

#include "troupe/channel.hpp"

#include "actor_ways.hpp"
#include "race.hpp"
#include "wait_ways.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using Catch::Matchers::Contains;
using test::hear;
using test::way;
using troupe::ec;

namespace {

/// Returns whether an operation that was started is complete.
template <class T>
bool complete(troupe::operation<T>& op) {
  auto state = op.consume();
  auto result = state->done();
  op = troupe::operation<T>{std::move(state)};
  return result;
}

} // namespace

// -- items --------------------------------------------------------------------

TEST_CASE("items leave a channel in the order in which they came",
          "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 3};
  CHECK(queue.size() == 0);
  for (auto x : {1, 3, 2})
    CHECK(queue.try_push(x));
  CHECK(queue.size() == 3);
  CHECK(queue.try_pop() == 1);
  CHECK(queue.try_pop() == 3);
  CHECK(queue.try_pop() == 2);
  CHECK(queue.size() == 0);
}

TEST_CASE("there is nothing to pop without waiting from an empty channel",
          "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  CHECK(queue.try_pop() == std::nullopt);
  CHECK(queue.try_push(1));
  CHECK(queue.try_pop() == 1);
  CHECK(queue.try_pop() == std::nullopt);
}

TEST_CASE("a full channel takes no item without waiting, and leaves it whole",
          "[channel]") {
  test::actor_world world;
  troupe::channel<std::string> queue{world.sys, 1};
  CHECK(queue.capacity() == 1);
  CHECK(queue.try_push("first"));
  std::string kept = "long enough to be on the heap, so that a move shows";
  CHECK_FALSE(queue.try_push(std::move(kept)));
  CHECK(kept == "long enough to be on the heap, so that a move shows");
  CHECK_FALSE(queue.try_push(kept));
  CHECK(queue.size() == 1);
}

TEST_CASE("an item that is there is popped at once", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 2};
  CHECK(hear(how, world.sys, [&](auto*) {
          return queue.push(7);
        }).value.has_value());
  auto result = hear(how, world.sys, [&](auto*) { return queue.pop(); });
  REQUIRE(result.value.has_value());
  CHECK(*result.value == 7);
}

TEST_CASE("a pop waits for an item", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  std::jthread pusher;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = queue.pop().start();
    pusher = std::jthread{[&] { queue.push(7).get(); }};
    return op;
  });
  REQUIRE(result.value.has_value());
  CHECK(*result.value == 7);
}

TEST_CASE("a push waits for room", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  CHECK(queue.try_push(1));
  std::optional<int> popped;
  std::jthread popper;
  CHECK(hear(how, world.sys, [&](auto*) {
          auto op = queue.push(2).start();
          CHECK_FALSE(complete(op));
          popper = std::jthread{[&] { popped = queue.pop().get(); }};
          return op;
        }).value.has_value());
  popper.join();
  CHECK(popped == 1);
  CHECK(queue.size() == 1);
  CHECK(queue.try_pop() == 2);
}

TEST_CASE("pushes that wait keep their order", "[channel]") {
  test::actor_world world;
  troupe::channel<char> queue{world.sys, 1};
  auto first = queue.push('a').start();
  auto second = queue.push('b').start();
  auto third = queue.push('c').start();
  CHECK(complete(first));
  CHECK_FALSE(complete(second));
  // Nobody overtakes them.
  CHECK_FALSE(queue.try_push('d'));
  CHECK(queue.pop().get() == 'a');
  CHECK(complete(second));
  CHECK_FALSE(complete(third));
  CHECK(queue.pop().get() == 'b');
  CHECK(queue.pop().get() == 'c');
}

TEST_CASE("pops that wait are served in the order in which they came",
          "[channel]") {
  test::actor_world world;
  troupe::channel<char> queue{world.sys, 1};
  auto first = queue.pop().start();
  auto second = queue.pop().start();
  CHECK(queue.try_push('a'));
  CHECK(queue.try_push('b'));
  CHECK(queue.try_push('c'));
  CHECK(second.get() == 'b');
  CHECK(first.get() == 'a');
}

TEST_CASE("items may be move-only and without a default", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  struct parcel {
    explicit parcel(int x) : content{std::make_unique<int>(x)} {}
    std::unique_ptr<int> content;
  };
  test::actor_world world;
  troupe::channel<parcel> queue{world.sys, 2};
  queue.push(parcel{1}).get();
  CHECK(queue.try_push(parcel{2}));
  auto result = hear(how, world.sys, [&](auto*) { return queue.pop(); });
  REQUIRE(result.value.has_value());
  REQUIRE(result.value->has_value());
  CHECK(*(*result.value)->content == 1);
  auto second = queue.try_pop();
  REQUIRE(second.has_value());
  CHECK(*second->content == 2);
}

TEST_CASE("items that are never popped are destroyed with the channel",
          "[channel]") {
  test::actor_world world;
  std::atomic<int> alive{0};
  {
    troupe::channel<test::counted> queue{world.sys, 100'000};
    for (int i = 0; i < 100'000; ++i)
      CHECK(queue.try_push(test::counted{alive}));
    CHECK(alive == 100'000);
  }
  CHECK(alive == 0);
}

TEST_CASE("a push that is not started adds nothing", "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  { auto lazy = queue.push(1); }
  CHECK(queue.size() == 0);
}

TEST_CASE("copies of a channel are the same channel", "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  auto copy = queue;
  CHECK(copy.try_push(1));
  CHECK(queue.try_pop() == 1);
}

// -- capacity -----------------------------------------------------------------

TEST_CASE("without room a push waits until its item is popped", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> meeting{world.sys, 0};
  CHECK(meeting.capacity() == 0);
  CHECK_FALSE(meeting.try_push(1));
  auto first = meeting.push(1).start();
  auto second = meeting.push(2).start();
  CHECK_FALSE(complete(first));
  CHECK(meeting.size() == 0);
  auto result = hear(how, world.sys, [&](auto*) { return meeting.pop(); });
  REQUIRE(result.value.has_value());
  CHECK(*result.value == 1);
  CHECK(complete(first));
  CHECK_FALSE(complete(second));
  CHECK(meeting.try_pop() == 2);
  auto waits = meeting.pop().start();
  CHECK(meeting.try_push(3));
  CHECK(waits.get() == 3);
}

TEST_CASE("a capacity that nothing could have is refused", "[channel]") {
  test::actor_world world;
  auto make = [&] { troupe::channel<int>{world.sys, std::size_t(-1)}; };
  CHECK(test::failure_code(make) == ec::invalid_option);
  CHECK_THAT(test::thrown_text(make),
             Contains("-1 items")
                 && Contains("0 to 9223372036854775807 are accepted"));
}

// -- closing ------------------------------------------------------------------

TEST_CASE("close wakes who waits for an item, with nothing", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  CHECK_FALSE(queue.closed());
  auto other = queue.pop().start();
  std::jthread closer;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = queue.pop().start();
    closer = std::jthread{[&] { queue.close(); }};
    return op;
  });
  REQUIRE(result.value.has_value());
  CHECK(*result.value == std::nullopt);
  CHECK(other.get() == std::nullopt);
  CHECK(queue.closed());
}

TEST_CASE("items that are in a closed channel are still popped", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 2};
  CHECK(queue.try_push(1));
  CHECK(queue.try_push(2));
  queue.close();
  queue.close();
  CHECK(queue.size() == 2);
  for (std::optional<int> x :
       {std::optional{1}, std::optional{2}, std::optional<int>{}}) {
    auto result = hear(how, world.sys, [&](auto*) { return queue.pop(); });
    REQUIRE(result.value.has_value());
    CHECK(*result.value == x);
  }
  CHECK(queue.try_pop() == std::nullopt);
}

TEST_CASE("close fails who waits for room, and whoever pushes then",
          "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  CHECK(queue.try_push(1));
  std::jthread closer;
  auto waiting = hear(how, world.sys, [&](auto*) {
    auto op = queue.push(2).start();
    closer = std::jthread{[&] { queue.close(); }};
    return op;
  });
  CHECK(waiting.code() == ec::closed);
  closer.join();
  auto late = hear(how, world.sys, [&](auto*) { return queue.push(3); });
  CHECK(late.code() == ec::closed);
  CHECK_THAT(test::thrown_text([&] { queue.push(3).get(); }),
             Contains("cannot push") && Contains("closed")
                 && Contains("not taken"));
  CHECK(test::failure_code([&] { static_cast<void>(queue.try_push(4)); })
        == ec::closed);
  CHECK(queue.pop().get() == 1);
  CHECK(queue.pop().get() == std::nullopt);
}

// -- cancelling ---------------------------------------------------------------

TEST_CASE("a pop that is cancelled takes no item", "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<char> queue{world.sys, 1};
  std::stop_source stop;
  std::jthread stopper;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = queue.pop().stop_with(stop.get_token()).start();
    stopper = std::jthread{[&] { stop.request_stop(); }};
    return op;
  });
  CHECK(result.code() == ec::cancelled);
  auto next = queue.pop().start();
  CHECK(queue.try_push('a'));
  CHECK(next.get() == 'a');
}

TEST_CASE("a push that is cancelled adds no item", "[channel]") {
  // CPython's test_put_cancelled_race.
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<char> queue{world.sys, 1};
  auto first = queue.push('a').start();
  auto second = queue.push('b').start();
  std::stop_source stop;
  std::jthread stopper;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = queue.push('X').stop_with(stop.get_token()).start();
    stopper = std::jthread{[&] { stop.request_stop(); }};
    return op;
  });
  CHECK(result.code() == ec::cancelled);
  CHECK(queue.try_pop() == 'a');
  CHECK(queue.try_pop() == 'b');
  CHECK(queue.try_pop() == std::nullopt);
  CHECK_NOTHROW(second.get());
}

TEST_CASE("waits that run out of time or whose actor dies are forgotten",
          "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  CHECK(test::code_of_cancelled(queue.pop(), ec::deadline_exceeded)
        == ec::deadline_exceeded);
  test::wait_in_actor_that_ends(world.sys, [queue] { return queue.pop(); });
  CHECK(queue.try_push(1));
  CHECK(queue.size() == 1);
  CHECK(test::code_of_cancelled(queue.push(2), ec::deadline_exceeded)
        == ec::deadline_exceeded);
  test::wait_in_actor_that_ends(world.sys, [queue] { return queue.push(3); });
  CHECK(queue.try_pop() == 1);
  CHECK(queue.try_pop() == std::nullopt);
}

TEST_CASE("an item that nobody took from its pop is popped by the next one",
          "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 2};
  { auto dropped = queue.pop().start(); }
  auto next = queue.pop().start();
  CHECK(queue.try_push(1));
  CHECK(next.get() == 1);
}

TEST_CASE("an item that nobody took from its pop is first in the channel",
          "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 2};
  CHECK(queue.try_push(1));
  CHECK(queue.try_push(2));
  {
    auto dropped = queue.pop().start();
    CHECK(queue.try_push(3));
  }
  CHECK(queue.size() == 3);
  CHECK_FALSE(queue.try_push(4));
  CHECK(queue.try_pop() == 1);
  CHECK(queue.try_pop() == 2);
  CHECK(queue.try_pop() == 3);
}

TEST_CASE("an item that a gather popped is not lost if another part fails",
          "[channel]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  troupe::barrier broken{world.sys, 2};
  broken.abort();
  CHECK(queue.try_push(1));
  CHECK(hear(how, world.sys,
             [&](auto*) { return troupe::gather(queue.pop(), broken.wait()); })
            .code()
        == ec::closed);
  CHECK(queue.pop().get() == 1);
}

// -- races --------------------------------------------------------------------

TEST_CASE("every item arrives once with threads, actors and tasks on both ends",
          "[channel]") {
  auto capacity = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{7});
  CAPTURE(capacity);
  test::actor_world world;
  constexpr auto rounds = 3'334;
  troupe::channel<int> queue{world.sys, capacity};
  std::vector<std::atomic<int>> arrived(3 * rounds);
  test::all_ways_at_once<std::optional<int>>(
      world.sys, rounds, [&](test::who, int) { return queue.pop(); },
      [&](test::who, int, std::optional<int> x) { ++arrived.at(*x); },
      [&] {
        test::all_ways_at_once<void>(
            world.sys, rounds,
            [&](test::who who, int i) {
              return queue.push(3 * i + static_cast<int>(who));
            },
            [](test::who, int, std::monostate) {}, [] {});
      });
  auto once = 0;
  for (auto& n : arrived)
    once += n == 1 ? 1 : 0;
  CHECK(once == 3 * rounds);
  CHECK(queue.size() == 0);
}

TEST_CASE("no item is lost when a pop is cancelled as one is pushed",
          "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  std::stop_source stop;
  std::optional<troupe::operation<std::optional<int>>> op;
  auto right = 0;
  test::race(
      10'000,
      [&](int) {
        stop = std::stop_source{};
        op.emplace(queue.pop().stop_with(stop.get_token()).start());
      },
      [&](int i) { static_cast<void>(queue.try_push(i)); },
      [&](int) { stop.request_stop(); },
      [&](int i) {
        std::optional<int> popped;
        // Every other time nobody takes the result.
        if (i % 2 == 0)
          op.reset();
        else
          static_cast<void>(test::failure_code([&] { popped = op->get(); }));
        right += (popped ? popped : queue.try_pop()) == i && queue.size() == 0
                     ? 1
                     : 0;
      });
  CHECK(right == 10'000);
}

TEST_CASE("a push that is cancelled as room is made is added or fails",
          "[channel]") {
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 1};
  std::stop_source stop;
  std::optional<troupe::operation<void>> op;
  auto right = 0;
  test::race(
      10'000,
      [&](int i) {
        stop = std::stop_source{};
        CHECK(queue.try_push(-1));
        op.emplace(queue.push(i).stop_with(stop.get_token()).start());
      },
      [&](int) { static_cast<void>(queue.try_pop()); },
      [&](int) { stop.request_stop(); },
      [&](int i) {
        auto code = test::failure_code([&] { op->get(); });
        auto rest = queue.try_pop();
        right +=
            code ? code == ec::cancelled && rest == std::nullopt : rest == i;
      });
  CHECK(right == 10'000);
}

TEST_CASE("close wakes all, and says of each push whether it was taken",
          "[channel]") {
  test::actor_world world;
  auto right = 0;
  std::optional<troupe::channel<int>> queue;
  std::optional<troupe::operation<void>> push;
  std::optional<troupe::operation<std::optional<int>>> pop;
  test::race(
      10'000,
      [&](int) {
        queue.emplace(world.sys, 1);
        push.reset();
        pop.reset();
      },
      [&](int i) {
        push.emplace(queue->push(i).start());
        pop.emplace(queue->pop().start());
      },
      [&](int) { queue->close(); },
      [&](int i) {
        auto code = test::failure_code([&] { push->get(); });
        auto popped = pop->get();
        right +=
            code ? code == ec::closed && popped == std::nullopt : popped == i;
      });
  CHECK(right == 10'000);
}

TEST_CASE("a push is told of its deadline only if its item is not in",
          "[channel]") {
  auto awaited = GENERATE(false, true);
  CAPTURE(awaited);
  constexpr auto items = 400;
  test::actor_world world;
  troupe::channel<int> queue{world.sys, 0};
  std::vector<int> popped;
  // Busy with each item for about as long as pushes wait.
  std::jthread popper{[&] {
    while (auto x = queue.pop().get()) {
      popped.push_back(*x);
      std::this_thread::sleep_for(std::chrono::microseconds{*x % 200});
    }
  }};
  auto patience = [](int i) {
    return std::chrono::microseconds{30 + i * 7 % 150};
  };
  if (awaited) {
    auto body = [&](caf::event_based_actor*) -> troupe::task<void> {
      for (int i = 0; i < items; ++i)
        for (auto in = false; !in;) {
          try {
            co_await queue.push(i).timeout(patience(i));
            in = true;
          } catch (const troupe::failure&) {
          }
        }
    };
    troupe::run(world.sys, body);
  } else {
    for (int i = 0; i < items; ++i)
      while (
          test::failure_code([&] { queue.push(i).timeout(patience(i)).get(); })
          == ec::deadline_exceeded)
        continue;
  }
  queue.close();
  popper.join();
  std::vector<int> expected(items);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(popped == expected);
}
