// What `imap` promises: results in input order from a bounded window over a
// range that is pulled as it is read.

#include "troupe/stream.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <ranges>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
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
  auto pulled = 0;
  auto results = pool.imap(counting(pulled), [](int x) { return x; });
  CHECK(results.next().get() == 0);
  CHECK(pulled == 8);
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
