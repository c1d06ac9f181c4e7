// What operations promise, whichever of the three ways is used to wait for
// them: values, laziness, the modifiers, and that each is consumed once.

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <numeric>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::hear;
using test::way;
using troupe::ec;

namespace {

/// Move-only, and not default-constructible.
struct parcel {
  explicit parcel(int x) : content{std::make_unique<int>(x)} {}
  std::unique_ptr<int> content;
};

int add(int x, int y) {
  return x + y;
}

} // namespace

// -- run ----------------------------------------------------------------------

TEST_CASE("run yields what the function returns", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result =
      hear(how, world.sys, [&](auto*) { return pool.run(add, 3, 4); });
  CHECK(result.value == 7);
}

TEST_CASE("run of a function that returns nothing completes", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  auto result = hear(how, world.sys,
                     [&](auto*) { return pool.run([ran] { ran->add(); }); });
  CHECK(result.value.has_value());
  CHECK(ran->value() == 1);
}

TEST_CASE("run passes on a result that can only be moved", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.run([](parcel x) { return x; }, parcel{5});
  });
  REQUIRE(result.value.has_value());
  CHECK(*result.value->content == 5);
}

TEST_CASE("run decays its arguments and refers through std::ref",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::string text = "before";
  auto copied = pool.run([](const std::string& x) { return x; }, text);
  auto referred =
      pool.run([](const std::string& x) { return x; }, std::ref(text));
  text = "after";
  CHECK(std::move(copied).get() == "before");
  CHECK(referred.get() == "after");
}

TEST_CASE("run passes a context if the function wants one", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys, "io"};
  auto op = pool.run(
      [](troupe::context& ctx, int x) {
        return std::string{ctx.label()} + "/" + std::to_string(ctx.worker())
               + "/" + std::to_string(x);
      },
      9);
  CHECK(op.label("name").get() == "name/1/9");
}

// -- map ----------------------------------------------------------------------

TEST_CASE("map yields a result for each element, in order", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::vector<int> numbers(500);
  std::iota(numbers.begin(), numbers.end(), 0);
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.map(numbers, [](int x) { return std::to_string(x); });
  });
  REQUIRE(result.value.has_value());
  REQUIRE(result.value->size() == numbers.size());
  for (auto i : numbers)
    REQUIRE(result.value->at(static_cast<std::size_t>(i)) == std::to_string(i));
}

TEST_CASE("map of nothing yields nothing, at once", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.map(std::vector<int>{}, [](int x) { return x; });
  });
  CHECK(result.value == std::vector<int>{});
}

TEST_CASE("map of a function that returns nothing completes when all are done",
          "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.map(std::vector<int>(100, 1), [ran](int x) { ran->add(x); });
  });
  CHECK(result.value.has_value());
  CHECK(ran->value() == 100);
}

// -- event, delay, ask --------------------------------------------------------

TEST_CASE("the wait for an event completes when somebody sets it",
          "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event done{world.sys};
  test::gate door;
  auto setter = pool.run([&] {
                      door.pass();
                      done.set();
                    })
                    .start();
  auto result = hear(how, world.sys, [&](auto*) {
    door.open();
    return done.wait();
  });
  CHECK(result.value.has_value());
  CHECK(done.is_set());
  setter.get();
}

TEST_CASE("a delay completes", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  auto begin = std::chrono::steady_clock::now();
  auto result = hear(how, world.sys, [](caf::event_based_actor* self) {
    return troupe::sleep_for(self, 20ms);
  });
  CHECK(result.value.has_value());
  CHECK(std::chrono::steady_clock::now() - begin >= 20ms);
}

TEST_CASE("ask yields what the other actor answers", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  auto doubling = world.sys.spawn([](caf::event_based_actor*) -> caf::behavior {
    return {[](std::int32_t x) { return 2 * x; }};
  });
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::ask<std::int32_t>(self, doubling, troupe::compat::forever,
                                     std::int32_t{21});
  });
  CHECK(result.value == 42);
  caf::anon_send_exit(doubling, caf::exit_reason::user_shutdown);
}

// -- laziness, start, as_future -----------------------------------------------

TEST_CASE("an operation that is never consumed never runs", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::atomic<int> alive{0};
  auto ran = std::make_shared<test::tally>();
  {
    auto op = pool.run([ran, mark = test::counted{alive}] { ran->add(); });
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
  // All that had been submitted before would be done by now.
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE("start begins at once and leaves the outcome to be consumed",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto op = pool.run([&] {
                  door.pass();
                  return 1;
                })
                .start();
  door.wait_for_arrivals();
  door.open();
  CHECK(op.get() == 1);
}

TEST_CASE("a started operation that nobody waits for runs to its end",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  static_cast<void>(pool.run([ran] { ran->add(); }).start());
  ran->wait_for(1);
  CHECK(ran->value() == 1);
}

TEST_CASE("as_future yields value or exception", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto good = pool.run(add, 1, 2).as_future();
  auto bad =
      pool.run([]() -> int { throw std::out_of_range{"too far"}; }).as_future();
  auto nothing = pool.run([] {}).as_future();
  CHECK(good.get() == 3);
  CHECK_THROWS_AS(bad.get(), std::out_of_range);
  CHECK_NOTHROW(nothing.get());
}

// -- consumed once ------------------------------------------------------------

TEST_CASE("a second consumption throws already_consumed", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto op = pool.run(add, 1, 2);
  CHECK(op.get() == 3);
  CHECK(test::failure_code([&] { op.get(); }) == ec::already_consumed);
  CHECK(test::failure_code([&] { op.as_future(); }) == ec::already_consumed);
  CHECK(test::failure_code([&] { op.start().get(); }) == ec::already_consumed);
  CHECK(test::failure_code([&] { op.label("late"); }) == ec::already_consumed);
  CHECK(test::failure_code(
            [&] { troupe::gather(std::move(op), pool.run(add, 1, 1)).get(); })
        == ec::already_consumed);
}

TEST_CASE("then and co_await of a consumed operation throw already_consumed",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto body = [&](caf::event_based_actor* self) -> troupe::task<int> {
    auto op = pool.run(add, 1, 2);
    auto seen = 0;
    seen += co_await std::move(op);
    try {
      co_await std::move(op);
    } catch (const troupe::failure& err) {
      seen += err.code() == ec::already_consumed ? 10 : 0;
    }
    seen += test::failure_code([&] {
              op.then(
                  self, [](int) {}, [](caf::error) {});
            }) == ec::already_consumed
                ? 100
                : 0;
    co_return seen;
  };
  CHECK(troupe::run(world.sys, body) == 113);
}

TEST_CASE("a modifier of a started operation throws already_consumed",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event done{world.sys};
  std::stop_source stop;
  auto op = pool.run(add, 1, 2).start();
  CHECK(test::failure_code([&] { op.label("late"); }) == ec::already_consumed);
  CHECK(test::failure_code([&] { op.stop_with(stop.get_token()); })
        == ec::already_consumed);
  CHECK(test::failure_code([&] { op.notify(done); }) == ec::already_consumed);
  CHECK(op.get() == 3);
}

// -- then ---------------------------------------------------------------------

TEST_CASE("then never calls back before it returns", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::promise<bool> result;
  world.sys.spawn([&](caf::event_based_actor* self) {
    auto op = pool.run(add, 1, 1).start();
    auto returned = std::make_shared<bool>(false);
    // The empty map is complete as soon as it starts.
    pool.map(std::vector<int>{}, [](int x) { return x; })
        .then(self, [&result, returned](const std::vector<int>&) {
          result.set_value(*returned);
        });
    *returned = true;
    static_cast<void>(std::move(op));
  });
  CHECK(result.get_future().get());
}

TEST_CASE("a failure ends an actor that has no callback for it",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::promise<caf::error> reason;
  auto actor = world.sys.spawn([&](caf::event_based_actor* self) {
    self->attach_functor([&](const caf::error& why) { reason.set_value(why); });
    pool.run([] { throw std::runtime_error{"no disk"}; }).then(self, [] {});
  });
  auto why = reason.get_future().get();
  CHECK(troupe::describe(why).find("no disk") != std::string::npos);
}

TEST_CASE("a callback that throws ends its actor and no other", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto over = std::make_shared<test::tally>();
  auto second = std::make_shared<std::promise<int>>();
  world.sys.spawn([&](caf::event_based_actor* self) {
    self->attach_functor([over](const caf::error&) { over->add(); });
    pool.run(add, 1, 1).then(
        self, [](int) { throw std::runtime_error{"in the callback"}; });
  });
  over->wait_for(1);
  world.sys.spawn([&](caf::event_based_actor* self) {
    pool.run(add, 2, 2).then(self, [second](int x) { second->set_value(x); });
  });
  CHECK(second->get_future().get() == 4);
}

TEST_CASE("many operations of one actor each call back once", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = std::make_shared<std::promise<std::pair<int, long>>>();
  world.sys.spawn([&](caf::event_based_actor* self) {
    auto calls = std::make_shared<std::pair<int, long>>();
    for (int i = 0; i < 1000; ++i)
      pool.run([i] { return i; }).then(self, [calls, result](int x) {
        ++calls->first;
        calls->second += x;
        if (calls->first == 1000)
          result->set_value(*calls);
      });
  });
  auto [calls, sum] = result->get_future().get();
  CHECK(calls == 1000);
  CHECK(sum == 499'500);
}

// -- modifiers ----------------------------------------------------------------

TEST_CASE("stop_with keeps a queued request from running", "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, troupe::pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals();
  std::stop_source stop;
  auto ran = std::make_shared<test::tally>();
  std::thread stopper;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = pool.run([ran] { ran->add(); })
                  .label("queued")
                  .stop_with(stop.get_token());
    stopper = std::thread{[&] { stop.request_stop(); }};
    return op;
  });
  stopper.join();
  CHECK(result.code() == ec::cancelled);
  door.open();
  busy.get();
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE("stop_with tells a running request, which may still succeed",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate running;
  running.open();
  test::gate hooked;
  std::stop_source stop;
  auto op = pool.run([&](troupe::context& ctx) {
                  auto hook = ctx.on_cancel([&] { hooked.touch(); });
                  running.touch();
                  hooked.wait_for_arrivals();
                  return ctx.stop_token().stop_requested();
                })
                .stop_with(stop.get_token())
                .start();
  running.wait_for_arrivals();
  stop.request_stop();
  CHECK(op.get());
}

TEST_CASE("a token that is stopped already refuses the request",
          "[operation]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source stop;
  stop.request_stop();
  auto ran = std::make_shared<test::tally>();
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.run([ran] { ran->add(); }).stop_with(stop.get_token());
  });
  CHECK(result.code() == ec::cancelled);
  CHECK(ran->value() == 0);
}

TEST_CASE("notify sets the event, whatever came of the operation",
          "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event good{world.sys};
  troupe::event bad{world.sys};
  CHECK(pool.run(add, 1, 1).notify(good).get() == 2);
  CHECK_THROWS(pool.run([] { throw 1; }).notify(bad).get());
  good.wait().get();
  bad.wait().get();
}

TEST_CASE("the label is in the failure", "[operation]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source stop;
  stop.request_stop();
  auto op = pool.run(add, 1, 1).label("the sum").stop_with(stop.get_token());
  try {
    op.get();
    FAIL("nothing was thrown");
  } catch (const troupe::failure& err) {
    CHECK(err.label() == "the sum");
    CHECK_FALSE(err.started());
    CHECK(std::string{err.what()}.find("the sum") != std::string::npos);
  }
}
