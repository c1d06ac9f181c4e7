// What the waits for a first one promise: the first in is delivered at once,
// and the others are cancelled or run on, as they were told.

#include "troupe/first.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
using test::hear;
using test::way;
using troupe::ec;
using troupe::operation;
using troupe::outcome_state;
using troupe::pool_options;
using troupe::rest;

namespace {

/// Runs until it is asked to stop, or until `door` opens; says which.
std::string hang(troupe::context& ctx, test::gate& door) {
  auto hook = ctx.on_cancel([&] { door.open(); });
  door.pass();
  return ctx.stop_token().stop_requested() ? "stopped" : "finished";
}

template <class... Ops>
auto list(Ops... ops) {
  std::vector<std::common_type_t<Ops...>> all;
  (all.push_back(std::move(ops)), ...);
  return all;
}

} // namespace

TEST_CASE("first_completed delivers the first in, and which it was",
          "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto result = hear(how, world.sys, [&](auto*) {
    return troupe::first_completed(
        list(pool.run([&](troupe::context& ctx) { return hang(ctx, door); }),
             pool.run([&]() -> std::string {
               door.wait_for_arrivals();
               return "quick";
             })));
  });
  REQUIRE(result.value);
  CHECK(result.value->index() == 1);
  CHECK(result.value->value() == "quick");
}

TEST_CASE("first_completed delivers a failure as a value", "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto result = hear(how, world.sys, [&](auto*) {
    return troupe::first_completed(
        list(pool.run([&](troupe::context& ctx) { return hang(ctx, door); }),
             pool.run([&]() -> std::string {
               door.wait_for_arrivals();
               throw std::out_of_range{"quick"};
             })));
  });
  REQUIRE(result.value);
  CHECK_FALSE(*result.value);
  CHECK(result.value->index() == 1);
  CHECK(result.value->state() == outcome_state::failed);
  CHECK_THROWS_AS(result.value->value(), std::out_of_range);
}

TEST_CASE("first_completed asks the running rest to stop and drops the queued",
          "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto log = std::make_shared<std::promise<std::string>>();
  auto ran = std::make_shared<test::tally>();
  std::vector<operation<void>> ops;
  ops.push_back(pool.run(
      [&, log](troupe::context& ctx) { log->set_value(hang(ctx, door)); }));
  ops.push_back(pool.run([&] { door.wait_for_arrivals(); }));
  for (int i = 0; i < 5; ++i)
    ops.push_back(pool.run([ran] { ran->add(); }));
  // With both workers busy, the five can run only behind one of the two.
  auto first = troupe::first_completed(std::move(ops)).get();
  CHECK(first);
  CHECK(log->get_future().get() == "stopped");
  pool.shutdown().get();
  CHECK(first.index() >= 1);
}

TEST_CASE("first_completed lets the rest run on if told so", "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto ran = std::make_shared<test::tally>();
  std::vector<operation<void>> ops;
  for (int i = 0; i < 5; ++i)
    ops.push_back(pool.run([ran] { ran->add(); }));
  CHECK(troupe::first_completed(std::move(ops), rest::run_on).get());
  pool.shutdown().get();
  CHECK(ran->value() == 5);
}

TEST_CASE("what is complete already starts none of the operations behind it",
          "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event set{world.sys};
  set.set();
  auto ran = std::make_shared<test::tally>();
  auto first = troupe::first_completed(set.wait(), pool.run([ran] {
                 ran->add();
               })).get();
  CHECK(first.index() == 0);
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE("first_completed of different types yields a variant of outcomes",
          "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event never{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::first_completed(troupe::sleep_for(self, 24h), never.wait(),
                                   pool.run([] { return 7; }));
  });
  REQUIRE(result.value);
  REQUIRE(result.value->index() == 2);
  CHECK(std::get<2>(*result.value).value() == 7);
}

TEST_CASE("a rest that runs on may be left to a variant too", "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event set{world.sys};
  set.set();
  auto ran = std::make_shared<test::tally>();
  auto first =
      troupe::first_completed(rest::run_on, set.wait(), pool.run([ran] {
        ran->add();
      })).get();
  CHECK(first.index() == 0);
  ran->wait_for(1);
}

TEST_CASE("the first of no operations is a named error", "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  CHECK(hear(how, world.sys,
             [&](auto*) {
               return troupe::first_completed(std::vector<operation<int>>{});
             })
            .code()
        == ec::invalid_option);
  CHECK(hear(how, world.sys,
             [&](auto*) {
               return troupe::first_succeeded(std::vector<operation<void>>{});
             })
            .code()
        == ec::invalid_option);
}

TEST_CASE("a consumed operation cannot be among the first", "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto op = pool.run([] {});
  op.get();
  CHECK(failure_code(
            [&] { static_cast<void>(troupe::first_completed(std::move(op))); })
        == ec::already_consumed);
}

TEST_CASE("cancelling the wait for a first one ends it at once", "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate running;
  test::gate door;
  running.open();
  test::open_at_exit opener{door};
  std::stop_source stop;
  auto asked = std::make_shared<std::promise<bool>>();
  std::thread stopper{[&] {
    running.wait_for_arrivals();
    stop.request_stop();
  }};
  auto result = hear(how, world.sys, [&](auto*) {
    auto slow = pool.run([&, asked](troupe::context& ctx) {
      running.touch();
      door.pass();
      asked->set_value(ctx.stop_token().stop_requested());
    });
    return troupe::first_completed(std::move(slow)).stop_with(stop.get_token());
  });
  stopper.join();
  CHECK(result.code() == ec::cancelled);
  door.open();
  CHECK(asked->get_future().get());
}

TEST_CASE("cancelling the wait leaves alone what runs on", "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  std::stop_source stop;
  auto asked = std::make_shared<std::promise<bool>>();
  auto slow = pool.run([&, asked](troupe::context& ctx) {
    door.pass();
    asked->set_value(ctx.stop_token().stop_requested());
  });
  auto wait = troupe::first_completed(rest::run_on, std::move(slow))
                  .stop_with(stop.get_token())
                  .start();
  door.wait_for_arrivals();
  stop.request_stop();
  CHECK(failure_code([&] { wait.get(); }) == ec::cancelled);
  door.open();
  CHECK_FALSE(asked->get_future().get());
}

TEST_CASE("first_completed drops the tasks that lose", "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::atomic<int> frames{0};
  auto slow = [&](caf::event_based_actor* self,
                  test::counted frame) -> troupe::task<int> {
    static_cast<void>(frame);
    co_await troupe::sleep_for(self, 24h);
    co_return 1;
  };
  auto body = [&](caf::event_based_actor* self) -> troupe::task<int> {
    auto quick = pool.run([] { return 2; });
    auto first = co_await troupe::first_completed(
        slow(self, test::counted{frames}), std::move(quick));
    co_return std::get<1>(first).value();
  };
  CHECK(troupe::run(world.sys, body) == 2);
  CHECK(frames == 0);
}

// -- first_succeeded ----------------------------------------------------------

TEST_CASE("first_succeeded passes over failures", "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<operation<int>> ops;
    for (int i = 0; i < 4; ++i)
      ops.push_back(pool.run([i] {
        if (i < 2)
          throw i;
        return i;
      }));
    return troupe::first_succeeded(std::move(ops));
  });
  REQUIRE(result.value);
  CHECK(result.value->index() == 2);
  CHECK(result.value->value() == 2);
}

TEST_CASE("first_succeeded of different types yields a variant of values",
          "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return troupe::first_succeeded(pool.run([]() -> std::string { throw 1; }),
                                   pool.run([] {}));
  });
  REQUIRE(result.value);
  CHECK(result.value->index() == 1);
}

TEST_CASE("first_succeeded says how many failed if all do", "[first]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<operation<int>> ops;
    for (int i = 0; i < 3; ++i)
      ops.push_back(pool.run(
          [i]() -> int { throw std::out_of_range{std::to_string(i)}; }));
    return troupe::first_succeeded(std::move(ops));
  });
  CHECK(result.code() == ec::request_failed);
  auto what = result.exception();
  try {
    std::rethrow_exception(what);
  } catch (const troupe::failure& err) {
    CHECK(std::string{err.what()}.find("all 3 operations failed")
          != std::string::npos);
    CHECK_THROWS_AS(std::rethrow_if_nested(err), std::out_of_range);
  }
}

TEST_CASE("races for the first deliver once, whoever wins", "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  auto good = 0;
  for (int i = 0; i < 200; ++i) {
    std::stop_source stop;
    std::vector<operation<int>> ops;
    for (int k = 0; k < 6; ++k)
      ops.push_back(pool.run([k] {
        if (k % 2 == 0)
          throw k;
        return k;
      }));
    std::jthread stopper{[&] {
      if (i % 4 == 0)
        stop.request_stop();
    }};
    auto op = i % 2 ? troupe::first_succeeded(std::move(ops))
                    : troupe::first_completed(std::move(ops));
    try {
      auto first = std::move(op).stop_with(stop.get_token()).get();
      good += (first.index() % 2 == 1) == static_cast<bool>(first);
    } catch (const troupe::failure& err) {
      good += i % 4 == 0 && err.code() == ec::cancelled;
    }
  }
  CHECK(good == 200);
}

TEST_CASE("a worker may wait for the first of its own pool", "[first]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run([pool] {
    return troupe::first_completed(pool.run([] { return 3; }),
                                   pool.run([] { return 4; }))
        .get()
        .index();
  });
  CHECK(outer.get() == 0);
}
