// What can be set about an operation: priority, limits, retries, progress and
// tags, for calls, maps and gathers, and what is refused where it means
// nothing.

#include "troupe/troupe.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
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

template <class Set>
std::optional<ec> code_of(caf::actor_system& sys, Set set) {
  pool io{sys};
  auto op = io.run([] {});
  return test::failure_code([&] { set(op); });
}

} // namespace

// -- bad input ----------------------------------------------------------------

TEST_CASE("values that are out of range are refused where they are set",
          "[modifiers]") {
  actor_world world;
  using op = troupe::operation<void>;
  CHECK(code_of(world.sys, [](op& x) { x.max_in_flight(0); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.key("db", 0); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.key("", 1); }) == ec::invalid_option);
  for (auto none : {3, 99, 255})
    CHECK(code_of(world.sys,
                  [none](op& x) {
                    x.priority(static_cast<troupe::priority>(none));
                  })
          == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.priority(troupe::priority::low); })
        == std::nullopt);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.attempts = 0}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.backoff = -1ms}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.factor = 0.5}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.jitter = 2}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys,
                [](op& x) {
                  x.max_in_flight(1).key("db", 1).retry({.attempts = 1});
                })
        == std::nullopt);
}

TEST_CASE("a modifier that means nothing to an operation is refused",
          "[modifiers]") {
  actor_world world;
  troupe::event done{world.sys};
  auto wait = done.wait();
  CHECK(test::failure_code([&] { wait.priority(troupe::priority::high); })
        == ec::invalid_option);
  CHECK(test::failure_code([&] { wait.retry({}); }) == ec::invalid_option);
  CHECK(test::failure_code([&] { wait.timeout(1h); }) == std::nullopt);
}

TEST_CASE("a modifier of an operation that has started is refused",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  auto op = io.run([] {}).start();
  CHECK(test::failure_code([&] { op.priority(troupe::priority::high); })
        == ec::already_consumed);
  CHECK(test::failure_code([&] { op.timeout(1h); }) == ec::already_consumed);
  op.get();
}

// -- retry --------------------------------------------------------------------

TEST_CASE("a failed call is tried again by real time", "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  auto calls = std::make_shared<std::atomic<int>>(0);
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io
        .run([calls] {
          if (++*calls < 3)
            throw std::runtime_error{"not yet"};
          return calls->load();
        })
        .retry({.backoff = 1ms});
  });
  CHECK(heard.value == 3);
}

TEST_CASE("a call that may not be tried again fails at once", "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  auto calls = std::make_shared<std::atomic<int>>(0);
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io
        .run([calls] {
          ++*calls;
          throw std::runtime_error{"never"};
        })
        .retry({.backoff = 1ms, .when = troupe::retry_on<std::bad_alloc>()});
  });
  CHECK(heard.code() == ec::request_failed);
  CHECK(*calls == 1);
}

TEST_CASE("each call of a gather has its own attempts", "[modifiers]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 3}};
  auto calls = std::make_shared<std::vector<std::atomic<int>>>(100);
  std::vector<troupe::operation<int>> ops;
  for (int i = 0; i < 100; ++i)
    ops.push_back(io.run([calls, i] {
      if (++(*calls)[static_cast<std::size_t>(i)] == 1)
        throw i;
      return i;
    }));
  auto sum = 0;
  for (auto x : troupe::gather(std::move(ops)).retry({.backoff = 0ms}).get())
    sum += x;
  CHECK(sum == 4950);
}

// -- progress -----------------------------------------------------------------

TEST_CASE("a gather reports the progress of all its parts, and ends with it",
          "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  pool other{world.sys, "other"};
  auto last = std::make_shared<troupe::progress>();
  auto heard = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather(
               io.run([] { return 1; }), io.run([] { return 2; }),
               other.map(std::vector{1, 2, 3}, [](int x) { return x; }),
               troupe::sleep_for(self, 1ms))
        .on_progress([last](const troupe::progress& now) { *last = now; });
  });
  REQUIRE(heard.value);
  CHECK(last->total == 6);
  CHECK(last->done == 6);
  CHECK(last->failed == 0);
}

TEST_CASE("a progress function hears of what failed before the caller does",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  troupe::progress last;
  CHECK_THROWS_AS(
      io.run([] { throw std::runtime_error{"no"}; })
          .on_progress([&](const troupe::progress& now) { last = now; })
          .get(),
      std::runtime_error);
  CHECK(last.failed == 1);
  CHECK(last.done == 1);
}

// -- order and share ----------------------------------------------------------

TEST_CASE("a gather of calls runs at most as many at once as it is told",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 4}};
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<troupe::operation<void>> ops;
  for (int i = 0; i < 2'000; ++i)
    ops.push_back(io.run([&] {
      auto now = ++inside;
      auto seen = most.load();
      while (seen < now && !most.compare_exchange_weak(seen, now)) {
      }
      --inside;
    }));
  troupe::gather(std::move(ops)).max_in_flight(2).get();
  CHECK(most <= 2);
}

TEST_CASE("calls with a key leave room for others in one gather",
          "[modifiers]") {
  test::gate busy;
  actor_world world;
  pool io{world.sys, pool_options{.workers = 2}};
  test::open_at_exit release{busy};
  // The third one opens the gate at which the first one stands: were the second
  // one to hold the other worker, this would hang.
  std::atomic<bool> together{false};
  std::atomic<int> inside{0};
  auto with_key = [&](auto what) {
    if (++inside > 1)
      together = true;
    what();
    --inside;
  };
  auto all = troupe::gather(
      io.run([&] { with_key([&] { busy.pass(); }); }).key("db", 1),
      io.run([&] { with_key([] {}); }).key("db", 1), io.run([&] {
        busy.wait_for_arrivals();
        busy.open();
        return 3;
      }));
  CHECK(std::get<2>(all.get()) == 3);
  CHECK_FALSE(together);
}

// -- labels and tags ----------------------------------------------------------

TEST_CASE("requests made inside another one inherit its label and tags",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  pool other{world.sys, "other"};
  auto text = [](troupe::context& ctx) {
    return std::string{ctx.label()} + "/" + std::string{ctx.tag("tenant")};
  };
  auto seen = io.run([&](troupe::context& ctx) {
                  return text(ctx) + " " + other.run(text).get() + " "
                         + other.run(text).label("inner").get() + " "
                         + io.run(text).tag("tenant", "7").get();
                })
                  .label("outer")
                  .tag("tenant", "42")
                  .get();
  CHECK(seen == "outer/42 outer/42 inner/42 outer/7");
  CHECK(other.run(text).get() == "/");
}

TEST_CASE("a failure tells label and tags in all three ways", "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io
        .run([](troupe::context& ctx) {
          throw troupe::failure{ec::request_failed,
                                "tenant " + std::string{ctx.tag("tenant")}};
        })
        .label("load")
        .tag("tenant", "42");
  });
  CHECK(test::thrown_text([&] { std::rethrow_exception(heard.exception()); })
        == "tenant 42");
  if (how == way::then)
    CHECK_THAT(troupe::describe(heard.error),
               Catch::Contains("load") && Catch::Contains("tenant=42"));
  // Where there is no exception of the request's own, the failure has them.
  std::stop_source stop;
  stop.request_stop();
  auto dropped = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io.run([] {})
        .label("load")
        .tag("tenant", "42")
        .stop_with(stop.get_token());
  });
  if (how == way::then) {
    CHECK(troupe::failure_of(dropped.error)->label == "load");
    return;
  }
  REQUIRE(dropped.thrown);
  try {
    std::rethrow_exception(dropped.thrown);
  } catch (const troupe::failure& why) {
    CHECK(why.label() == "load");
    CHECK_FALSE(why.started());
  }
}
