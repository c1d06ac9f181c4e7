// What `shield` promises: the wait may be given up, what was shielded may not.

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

using test::hear;
using test::way;
using troupe::ec;

TEST_CASE("shield yields what is inside", "[shield]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto value = hear(how, world.sys, [&](auto*) {
    return troupe::shield(pool.run([] { return std::make_unique<int>(4); }));
  });
  REQUIRE(value.value);
  CHECK(**value.value == 4);
  auto nothing = hear(how, world.sys,
                      [&](auto*) { return troupe::shield(pool.run([] {})); });
  CHECK(nothing.value.has_value());
  auto thrown = hear(how, world.sys, [&](auto*) {
    return troupe::shield(
        pool.run([]() -> int { throw std::logic_error{"x"}; }));
  });
  CHECK(troupe::describe(thrown.exception()) == "std::logic_error: x");
}

TEST_CASE("cancelling a shield ends the wait at once, not what is inside",
          "[shield]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto finished = std::make_shared<test::tally>();
  auto stopped = std::make_shared<std::atomic<bool>>(false);
  std::stop_source stop;
  std::thread stopper{[&] {
    door.wait_for_arrivals();
    stop.request_stop();
  }};
  auto result = hear(how, world.sys, [&](auto*) {
    auto inner = pool.run([&door, finished, stopped](troupe::context& ctx) {
      door.pass();
      *stopped = ctx.stop_token().stop_requested();
      finished->add();
    });
    return troupe::shield(std::move(inner)).stop_with(stop.get_token());
  });
  stopper.join();
  CHECK(result.code() == ec::cancelled);
  CHECK(finished->value() == 0);
  door.open();
  finished->wait_for(1);
  CHECK_FALSE(*stopped);
}

TEST_CASE("a shield keeps the first failure of a gather away", "[shield]") {
  test::actor_world world;
  troupe::pool pool{world.sys, troupe::pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto finished = std::make_shared<test::tally>();
  auto slow = pool.run([&door, finished] {
    door.pass();
    finished->add();
  });
  auto both = troupe::gather(troupe::shield(std::move(slow)), pool.run([&] {
    door.wait_for_arrivals();
    throw 5;
  }));
  CHECK_THROWS_AS(both.get(), int);
  CHECK(finished->value() == 0);
  door.open();
  finished->wait_for(1);
}

TEST_CASE("a shielded task runs on when the task that waits is cancelled",
          "[shield]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto finished = std::make_shared<test::tally>();
  auto inner = [&](caf::event_based_actor*) -> troupe::task<void> {
    auto op = pool.run([&] { door.pass(); });
    co_await std::move(op);
    finished->add();
  };
  auto outer = [&](caf::event_based_actor* self) -> troupe::task<void> {
    co_await troupe::shield(inner(self));
  };
  std::stop_source stop;
  std::promise<void> cancelled;
  auto host =
      world.sys.spawn([&](caf::event_based_actor* self) -> caf::behavior {
        troupe::operation<void>{outer(self)}
            .stop_with(stop.get_token())
            .then(
                self, [] {}, [&](caf::error) { cancelled.set_value(); });
        return {[](int x) { return x; }};
      });
  door.wait_for_arrivals();
  stop.request_stop();
  cancelled.get_future().get();
  CHECK(finished->value() == 0);
  door.open();
  finished->wait_for(1);
  caf::anon_send_exit(host, caf::exit_reason::user_shutdown);
}

TEST_CASE("a shield that is never waited for starts nothing", "[shield]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  static_cast<void>(troupe::shield(pool.run([ran] { ran->add(); })));
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE("a consumed operation cannot be shielded", "[shield]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto op = pool.run([] {});
  op.get();
  CHECK(test::failure_code(
            [&] { static_cast<void>(troupe::shield(std::move(op))); })
        == ec::already_consumed);
}
