// What streams promise: `imap` yields results from a bounded window over a
// range that is pulled as it is read, in input order or as they complete;
// whichever way the reader waits, none is lost, and nothing hangs.

#include "troupe/stream.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <future>
#include <latch>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool_options;

namespace {

/// 0, 1, 2 … without end; says how many were pulled.
auto counting(int& pulled) {
  return std::views::iota(0) | std::views::transform([&pulled](int x) {
           ++pulled;
           return x;
         });
}

} // namespace

TEST_CASE("imap streams results in input order", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 4}};
  std::vector<int> numbers(1000);
  for (int i = 0; i < 1000; ++i)
    numbers[static_cast<std::size_t>(i)] = i;
  auto next = 0;
  for (auto& text :
       pool.imap(numbers, [](int x) { return std::to_string(x); })) {
    REQUIRE(text == std::to_string(next));
    ++next;
  }
  CHECK(next == 1000);
}

TEST_CASE("each element of an imap counts as a request", "[stream]") {
  test::actor_world world;
  troupe::pool io{world.sys, troupe::pool_options{.workers = 2}};
  auto failed = 0;
  auto results = io.imap(std::views::iota(0, 100), [](int x) {
    if (x % 10 == 0)
      throw x;
    return x;
  });
  for (auto left = true; left;)
    try {
      left = results.next().get().has_value();
    } catch (int) {
      ++failed;
    }
  io.shutdown().get();
  CHECK(failed == 10);
  CHECK(io.stats().succeeded == 90);
  CHECK(io.stats().failed == 10);
}

TEST_CASE("each element of an imap is measured as a request", "[stream]") {
  test::actor_world world;
  troupe::pool io{world.sys, troupe::pool_options{.workers = 2}};
  for (auto round = 0; round < 3; ++round)
    for ([[maybe_unused]] auto x :
         io.imap(std::views::iota(0, 100), [](int i) { return i; }))
      continue;
  io.shutdown().get();
  auto stats = io.stats();
  REQUIRE(stats.labels.size() == 1);
  CHECK(stats.labels[0].ran.count() == 300);
}

TEST_CASE("imap of nothing ends at once", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto results = pool.imap(std::vector<int>{}, [](int x) { return x; });
  CHECK_FALSE(results.next().get().has_value());
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("imap keeps the order when later elements are faster", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  test::gate door;
  test::open_at_exit opener{door};
  auto results = pool.imap(std::vector{0, 1, 2}, [&](int x) {
    if (x == 0)
      door.pass();
    if (x == 2)
      door.open();
    return x;
  });
  for (int i = 0; i < 3; ++i)
    CHECK(results.next().get() == i);
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("imap never pulls more than max_in_flight unread elements",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto pulled = 0;
  auto results = pool.imap(
      counting(pulled), [](int x) { return x; }, 3);
  CHECK(pulled == 0);
  for (int read = 0; read < 200; ++read) {
    auto step = results.next();
    REQUIRE(pulled - read <= 3);
    REQUIRE(step.get() == read);
  }
  CHECK(pulled <= 203);
}

TEST_CASE("imap has four elements per worker in flight unless told otherwise",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto pulled = 0;
  auto results = pool.imap(counting(pulled), [&](int x) {
    door.pass();
    return x;
  });
  auto first = results.next().start();
  CHECK(pulled == 8);
  door.open();
  CHECK(first.get() == 0);
}

TEST_CASE("an endless imap may be left early", "[stream]") {
  std::atomic<int> alive{0};
  {
    test::actor_world world;
    troupe::pool pool{world.sys, pool_options{.workers = 2}};
    auto pulled = 0;
    auto sum = 0;
    for (auto x : pool.imap(
             counting(pulled),
             [mark = test::counted{alive}](int i) { return i; }, 5)) {
      sum += x;
      if (x == 50)
        break;
    }
    CHECK(sum == 1275);
    CHECK(pulled <= 56);
  }
  CHECK(alive == 0);
}

TEST_CASE("an imap that is left early runs nothing that was queued",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto ran = std::make_shared<test::tally>();
  {
    auto results = pool.imap(
        std::views::iota(0),
        [&, ran](int x) {
          ran->add();
          if (x == 1)
            door.pass();
          return x;
        },
        4);
    CHECK(results.next().get() == 0);
    static_cast<void>(results.next());
    door.wait_for_arrivals();
  }
  door.open();
  pool.shutdown().get();
  CHECK(ran->value() == 2);
}

TEST_CASE("a failing element throws and the stream goes on behind it",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto results = pool.imap(std::views::iota(0, 6), [](int x) {
    if (x % 3 == 1)
      throw std::out_of_range{std::to_string(x)};
    return x;
  });
  CHECK(results.next().get() == 0);
  CHECK_THROWS_AS(results.next().get(), std::out_of_range);
  CHECK(results.next().get() == 2);
  CHECK(results.next().get() == 3);
  CHECK(test::thrown_text([&] { results.next().get(); }) == "4");
  CHECK(results.next().get() == 5);
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("stop_with ends a stream: queued elements never run, no more are "
          "pulled",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::stop_source stop;
  test::gate door;
  test::open_at_exit opener{door};
  auto pulled = 0;
  auto ran = std::make_shared<test::tally>();
  auto results = pool.imap(
                         counting(pulled),
                         [&, ran](int x) {
                           ran->add();
                           if (x == 1)
                             door.pass();
                           return x;
                         },
                         4)
                     .stop_with(stop.get_token());
  CHECK(results.next().get() == 0);
  auto second = results.next().start();
  door.wait_for_arrivals();
  stop.request_stop();
  door.open();
  // It had begun.
  CHECK(second.get() == 1);
  auto cancelled = 0;
  try {
    for (;;)
      if (!results.next().get())
        break;
      else
        FAIL("an element ran behind the stop");
  } catch (const troupe::failure& err) {
    cancelled += err.code() == ec::cancelled;
  }
  CHECK(cancelled == 1);
  pool.shutdown().get();
  CHECK(ran->value() == 2);
  CHECK(pulled <= 6);
}

TEST_CASE("a stream that is stopped says so before it ends", "[stream]") {
  // A token stopped while nothing was in flight ended the stream as though it
  // were complete.
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source stop;
  stop.request_stop();
  auto results = pool.imap(std::views::iota(0), [](int x) { return x; })
                     .stop_with(stop.get_token());
  CHECK(failure_code([&] { results.next().get(); }) == ec::cancelled);
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("a stream that is complete ends as usual although its token is "
          "stopped",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source stop;
  auto results = pool.imap(std::vector{7}, [](int x) { return x; })
                     .stop_with(stop.get_token());
  CHECK(results.next().get() == 7);
  CHECK_FALSE(results.next().get().has_value());
  stop.request_stop();
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("a task reads a stream without blocking its thread", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto body = [&](caf::event_based_actor*) -> troupe::task<int> {
    auto results = pool.imap(std::views::iota(1, 101), [](int x) { return x; });
    auto sum = 0;
    while (auto x = co_await results.next())
      sum += *x;
    co_return sum;
  };
  CHECK(troupe::run(world.sys, body) == 5050);
}

TEST_CASE("imap passes a context and moves elements that can only be moved",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto owned = std::views::iota(0, 3) | std::views::transform([](int x) {
                 return std::make_unique<int>(x);
               });
  auto results =
      pool.imap(owned, [](troupe::context& ctx, std::unique_ptr<int>& x) {
        return *x + 10 * ctx.worker();
      });
  for (int i = 0; i < 3; ++i)
    CHECK(results.next().get() == 10 + i);
}

TEST_CASE("a stream goes on after its pool's other handles are gone",
          "[stream]") {
  test::actor_world world;
  auto results = [&] {
    troupe::pool pool{world.sys};
    return pool.imap(
        std::views::iota(0, 10), [](int x) { return x; }, 2);
  }();
  auto n = 0;
  while (results.next().get())
    ++n;
  CHECK(n == 10);
}

// -- what is pulled when ------------------------------------------------------

TEST_CASE("imap delivers a result before a slow range has filled the window",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate begun;
  begun.open();
  auto pulled = 0;
  // An element is only there once the call before it has begun, and so the one
  // before that is complete.
  auto slow = std::views::iota(0) | std::views::transform([&](int x) {
                ++pulled;
                begun.wait_for_arrivals(static_cast<std::size_t>(x));
                return x;
              });
  auto results = pool.imap(
      slow,
      [&](int x) {
        begun.touch();
        return x;
      },
      100);
  CHECK(results.next().get() == 0);
  CHECK(pulled <= 4);
}

TEST_CASE("a window of one holds one element at a time", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 4}};
  auto pulled = 0;
  auto results = pool.imap(
      counting(pulled), [](int x) { return x; }, 1);
  for (int i = 0; i < 100; ++i) {
    REQUIRE(results.next().get() == i);
    REQUIRE(pulled == i + 1);
  }
}

TEST_CASE("imap refuses a window that nobody can mean", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto call = [&](std::size_t n) {
    auto results = pool.imap(
        std::vector{1}, [](int x) { return x; }, n);
  };
  CHECK(failure_code([&] { call((std::size_t{1} << 20) + 1); })
        == ec::invalid_option);
  CHECK(failure_code([&] { call(static_cast<std::size_t>(-1)); })
        == ec::invalid_option);
  CHECK(failure_code([&] { call(std::size_t{1} << 20); }) == std::nullopt);
}

TEST_CASE("a range that throws ends the stream behind what it had yielded",
          "[stream]") {
  auto unordered = GENERATE(false, true);
  CAPTURE(unordered);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto broken = std::views::iota(0) | std::views::transform([](int x) {
                  if (x == 3)
                    throw std::domain_error{"page 3 is missing"};
                  return x;
                });
  auto same = [](int x) { return x; };
  auto results = unordered ? pool.imap_unordered(broken, same, 8)
                           : pool.imap(broken, same, 8);
  auto sum = 0;
  for (int i = 0; i < 3; ++i)
    sum += *results.next().get();
  CHECK(sum == 3);
  CHECK(test::thrown_text([&] { results.next().get(); })
        == "page 3 is missing");
  CHECK_FALSE(results.next().get().has_value());
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("a stopped stream has ended", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto results = pool.imap(std::views::iota(0), [](int x) { return x; });
  CHECK(results.next().get() == 0);
  results.stop();
  CHECK_FALSE(results.next().get().has_value());
  results.stop();
}

TEST_CASE("stopping a stream ends the waits for it", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto results = pool.imap(std::views::iota(0), [&](int x) {
    door.pass();
    return x;
  });
  auto first = results.next().start();
  results.stop();
  CHECK_FALSE(first.get().has_value());
}

TEST_CASE("stopping a stream asks what runs to stop", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate running;
  running.open();
  auto results = pool.imap(std::vector{1}, [&](troupe::context& ctx, int x) {
    test::gate asked;
    auto hook = ctx.on_cancel([&] { asked.touch(); });
    running.touch();
    asked.wait_for_arrivals();
    return x;
  });
  auto first = results.next().start();
  running.wait_for_arrivals();
  results.stop();
  CHECK(pool.shutdown().get().still_running.empty());
}

TEST_CASE("imap of a function that returns nothing counts the calls",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  auto n = 0;
  for (auto& nothing :
       pool.imap(std::views::iota(0, 20), [ran](int) { ran->add(); })) {
    static_cast<void>(nothing);
    ++n;
  }
  CHECK(n == 20);
  CHECK(ran->value() == 20);
}

TEST_CASE("imap hands elements over as rvalues to who takes only these",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto results = pool.imap(std::vector<std::string>{"a", "b"},
                           [](std::string&& x) { return std::move(x); });
  CHECK(results.next().get() == "a");
  CHECK(results.next().get() == "b");
}

TEST_CASE("an imap of a stopped pool fails, for what was pulled and for the "
          "rest, and ends",
          "[stream]") {
  auto unordered = GENERATE(false, true);
  CAPTURE(unordered);
  test::actor_world world;
  troupe::pool pool{world.sys};
  pool.shutdown().get();
  auto same = [](int x) { return x; };
  auto results = unordered ? pool.imap_unordered(std::views::iota(0), same, 2)
                           : pool.imap(std::views::iota(0), same, 2);
  for (int i = 0; i < 2; ++i)
    CHECK(failure_code([&] { results.next().get(); }) == ec::pool_stopped);
  CHECK_FALSE(results.next().get().has_value());
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("a stream with a stop token can be read where it is made",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source source;
  auto sum = 0;
  for (auto x : pool.imap(std::views::iota(0, 10), [](int i) { return i; })
                    .stop_with(source.get_token()))
    sum += x;
  CHECK(sum == 45);
}

TEST_CASE("a stop token for a stream that is being read is refused",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source source;
  auto results = pool.imap(std::views::iota(0, 3), [](int i) { return i; });
  CHECK(results.next().get() == 0);
  auto moved = std::move(results);
  CHECK(failure_code([&] { moved.stop_with(source.get_token()); })
        == ec::invalid_option);
  CHECK(moved.next().get() == 1);
}

TEST_CASE("an imap leaves alone what is only lent to it", "[stream]") {
  // No view, but somebody else's elements all the same.
  struct slice {
    std::string* first;
    std::string* last;
    std::string* begin() const { return first; }
    std::string* end() const { return last; }
  };
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::vector<std::string> texts(3, std::string(100, 'x'));
  slice lent{texts.data(), texts.data() + texts.size()};
  for (auto n : pool.imap(lent, [](std::string x) { return x.size(); }))
    CHECK(n == 100);
  CHECK(texts == std::vector<std::string>(3, std::string(100, 'x')));
}

TEST_CASE("an imap takes bits, and elements that can only be moved",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::vector<bool> seen;
  for (auto x : pool.imap(std::vector<bool>{true, false, true},
                          [](bool bit) { return !bit; }))
    seen.push_back(x);
  CHECK(seen == std::vector<bool>{false, true, false});
  std::vector<std::unique_ptr<int>> input;
  for (int i = 0; i < 3; ++i)
    input.push_back(std::make_unique<int>(i));
  auto sum = 0;
  for (auto& x : pool.imap(std::move(input), [](std::unique_ptr<int> p) {
         return std::make_unique<int>(*p + 1);
       }))
    sum += *x;
  CHECK(sum == 6);
}

TEST_CASE("an endless imap lets others have the worker", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::atomic<bool> enough{false};
  std::jthread reader{[&] {
    for (auto x : pool.imap(std::views::iota(0), [](int i) { return i; }))
      if (enough || x < 0)
        break;
  }};
  for (int i = 0; i < 100; ++i)
    REQUIRE(pool.run([i] { return i; }).get() == i);
  enough = true;
}

// Workers are called away only where one would hear it. What runs a stream's
// elements is a single request, and was taken for one that would not. Failure
// here is a hang.
TEST_CASE("what waits behind a stream goes before its next element",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate first;
  test::gate others;
  std::latch pulled{8};
  auto elements = std::views::iota(0, 8) | std::views::transform([&](int i) {
                    pulled.count_down();
                    return i;
                  });
  std::jthread reader{[&] {
    for (auto i : pool.imap(
             elements, [&](int x) { (x == 0 ? first : others).pass(); }, 8))
      static_cast<void>(i);
  }};
  // Before the reader is waited for.
  test::open_at_exit open_first{first};
  test::open_at_exit open_others{others};
  pulled.wait();
  first.wait_for_arrivals(1);
  auto waiting = pool.run([] { return 7; }).start();
  first.open();
  CHECK(waiting.get() == 7);
}

TEST_CASE("an imap runs on the pool's own only worker", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto op = pool.run([pool] {
    auto sum = 0;
    for (auto x : pool.imap(std::views::iota(0, 200), [](int i) { return i; }))
      sum += x;
    for (auto x :
         pool.imap_unordered(std::views::iota(0, 200), [](int i) { return i; }))
      sum += x;
    return sum;
  });
  CHECK(op.get() == 2 * 19'900);
}

// -- waiting ------------------------------------------------------------------

TEST_CASE("the next result may be waited for in every way", "[stream]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto results = pool.imap(std::vector{5}, [](int x) { return x; });
  auto value =
      hear(how, world.sys, [&](auto*) { return results.next(); }).value;
  REQUIRE(value.has_value());
  CHECK(*value == 5);
  value = hear(how, world.sys, [&](auto*) { return results.next(); }).value;
  REQUIRE(value.has_value());
  CHECK_FALSE(value->has_value());
  auto broken = pool.imap(std::vector{5}, [](int x) -> int { throw x; });
  auto thrown = hear(how, world.sys, [&](auto*) { return broken.next(); });
  CHECK(troupe::describe(thrown.exception()) == "int: 5");
}

TEST_CASE("several may be waited for at once, also beyond the window",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto results = pool.imap(
      std::views::iota(0, 5), [](int x) { return x; }, 1);
  std::vector<troupe::operation<std::optional<int>>> waits;
  for (int i = 0; i < 7; ++i)
    waits.push_back(results.next().start());
  for (int i = 0; i < 5; ++i)
    CHECK(waits[static_cast<std::size_t>(i)].get() == i);
  CHECK_FALSE(waits[5].get().has_value());
  CHECK_FALSE(waits[6].get().has_value());
}

TEST_CASE("more waits than a stream can serve at once are refused",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto results = pool.imap(
      std::views::iota(0),
      [&](int x) {
        door.pass();
        return x;
      },
      1);
  std::vector<troupe::operation<std::optional<int>>> waits;
  for (int i = 0; i < 65; ++i)
    waits.push_back(results.next().start());
  CHECK(failure_code([&] { results.next().get(); }) == ec::invalid_option);
  door.open();
  for (int i = 0; i < 65; ++i)
    REQUIRE(waits[static_cast<std::size_t>(i)].get() == i);
}

TEST_CASE("a wait that is cancelled is forgotten and loses no result",
          "[stream]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  auto unordered = GENERATE(false, true);
  CAPTURE(how, unordered);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto call = [&](int x) {
    door.pass();
    return x;
  };
  auto results = unordered ? pool.imap_unordered(std::views::iota(0, 2), call)
                           : pool.imap(std::views::iota(0, 2), call);
  std::stop_source stop;
  std::thread stopper{[&] {
    door.wait_for_arrivals();
    stop.request_stop();
  }};
  auto lost = hear(how, world.sys, [&](auto*) {
    return results.next().stop_with(stop.get_token());
  });
  stopper.join();
  CHECK(lost.code() == ec::cancelled);
  auto kept = results.next().start();
  door.open();
  CHECK(kept.get() == 0);
  CHECK(results.next().get() == 1);
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("cancelled waits and results never lose one another", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto results = pool.imap(
      std::views::iota(0, 300), [](int x) { return x; }, 4);
  auto expected = 0;
  while (expected < 300) {
    std::stop_source stop;
    auto op = results.next().stop_with(stop.get_token()).start();
    std::jthread stopper{[&] { stop.request_stop(); }};
    try {
      auto x = op.get();
      REQUIRE(x == expected);
      ++expected;
    } catch (const troupe::failure& err) {
      REQUIRE(err.code() == ec::cancelled);
    }
  }
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("a stream that each has taken over cannot be read otherwise",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto over = std::make_shared<test::tally>();
  world.sys.spawn([&, over](caf::event_based_actor* self) {
    auto results = pool.imap(std::vector{1}, [](int x) { return x; });
    results.each(
        self, [](int) {}, [](caf::error) {}, [over] { over->add(); });
    over->add(failure_code([&] { results.next().get(); })
              == ec::already_consumed);
    over->add(failure_code([&] { results.each(self, [](int) {}); })
              == ec::already_consumed);
  });
  over->wait_for(3);
  CHECK(over->value() == 3);
}

// -- each ---------------------------------------------------------------------

TEST_CASE("each hands every result to the actor, then says that it is over",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  std::promise<std::vector<int>> result;
  world.sys.spawn([&](caf::event_based_actor* self) {
    auto seen = std::make_shared<std::vector<int>>();
    auto failed = std::make_shared<int>(0);
    pool.imap(std::views::iota(0, 1000),
              [](int x) {
                if (x % 100 == 7)
                  throw x;
                return x;
              })
        .each(
            self, [seen](int x) { seen->push_back(x); },
            [failed](caf::error) { ++*failed; },
            [&, seen, failed] {
              CHECK(*failed == 10);
              result.set_value(*seen);
            });
  });
  auto all = result.get_future().get();
  REQUIRE(all.size() == 990);
  CHECK(std::is_sorted(all.begin(), all.end()));
}

TEST_CASE("an actor answers others while it reads an endless stream",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto reader =
      world.sys.spawn([&](caf::event_based_actor* self) -> caf::behavior {
        pool.imap(std::views::iota(0), [](int x) { return x; })
            .each(self, [](int) {});
        return {[](int x) { return x + 1; }};
      });
  caf::scoped_actor self{world.sys};
  for (int i = 0; i < 10; ++i)
    troupe::compat::ask(self, reader, troupe::compat::forever, i)
        .receive([&](int x) { CHECK(x == i + 1); },
                 [](caf::error&) { FAIL("no answer"); });
  auto over = std::make_shared<test::tally>();
  test::watch_end(reader, over);
  self->send_exit(reader, caf::exit_reason::user_shutdown);
  reader = nullptr;
  over->wait_for(1);
}

TEST_CASE("an actor that quits in each hears no more, and the stream stops",
          "[stream]") {
  std::atomic<int> alive{0};
  {
    test::actor_world world;
    troupe::pool pool{world.sys, pool_options{.workers = 2}};
    auto heard = std::make_shared<std::atomic<int>>(0);
    auto over = std::make_shared<test::tally>();
    auto reader = world.sys.spawn([&, heard](caf::event_based_actor* self) {
      pool.imap(std::views::iota(0),
                [mark = test::counted{alive}](int x) { return x; })
          .each(self, [self, heard](int x) {
            ++*heard;
            if (x == 5)
              self->quit();
          });
    });
    test::watch_end(reader, over);
    reader = nullptr;
    over->wait_for(1);
    CHECK(*heard == 6);
  }
  CHECK(alive == 0);
}

TEST_CASE("a failed element ends the actor unless each was told what to do",
          "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto why = std::make_shared<std::promise<std::string>>();
  auto reader = world.sys.spawn([&](caf::event_based_actor* self) {
    self->attach_functor([why](const caf::error& reason) {
      why->set_value(troupe::describe(reason));
    });
    pool.imap(std::views::iota(0),
              [](int x) {
                if (x == 3)
                  throw std::runtime_error{"three"};
                return x;
              })
        .each(self, [](int) {});
  });
  reader = nullptr;
  CHECK(why->get_future().get().find("three") != std::string::npos);
}

// -- unordered ----------------------------------------------------------------

TEST_CASE("imap_unordered delivers what is complete first", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto results = pool.imap_unordered(std::vector{0, 1, 2}, [&](int x) {
    if (x == 0)
      door.pass();
    return x;
  });
  CHECK(results.next().get() == 1);
  CHECK(results.next().get() == 2);
  door.open();
  CHECK(results.next().get() == 0);
  CHECK_FALSE(results.next().get().has_value());
}

TEST_CASE("imap_unordered keeps at most max_in_flight unread", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  auto pulled = 0;
  auto results = pool.imap_unordered(
      counting(pulled), [](int x) { return x; }, 5);
  auto sum = 0;
  for (int read = 0; read < 500; ++read) {
    sum += *results.next().get();
    REQUIRE(pulled - read <= 6);
  }
  CHECK(sum <= 505 * 505);
}

TEST_CASE("streams of any window and any pool lose nothing", "[stream]") {
  auto workers = GENERATE(1u, 2u, 5u);
  auto window = GENERATE(1u, 2u, 7u, 64u);
  CAPTURE(workers, window);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = workers}};
  auto same = [](int x) { return x; };
  auto next = 0;
  for (auto x : pool.imap(std::views::iota(0, 1000), same, window))
    next += x == next;
  CHECK(next == 1000);
  auto sum = 0;
  for (auto x : pool.imap_unordered(std::views::iota(0, 1000), same, window))
    sum += x;
  CHECK(sum == 999 * 500);
}

TEST_CASE("many streams share a pool", "[stream]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  std::atomic<int> good{0};
  std::vector<std::jthread> readers;
  for (int t = 0; t < 4; ++t)
    readers.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        std::stop_source stop;
        auto results =
            pool.imap(
                    std::views::iota(0, 100), [](int x) { return x; }, 6)
                .stop_with(stop.get_token());
        auto n = 0;
        try {
          while (auto x = results.next().get()) {
            n += *x == n;
            if (t == 3 && n == 50)
              stop.request_stop();
          }
        } catch (const troupe::failure&) {
          good += t == 3 && n >= 50;
          continue;
        }
        good += n == 100;
      }
    });
  readers.clear();
  CHECK(good == 80);
}
