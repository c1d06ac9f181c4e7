// What a task group promises: it is left when all its members have ended, the
// first failure ends the others, and no failure is lost.

#include "troupe/task_group.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <functional>
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
using troupe::task;
using troupe::task_group;

namespace {

/// Blocks until it is asked to stop; then says so and returns.
struct until_stopped {
  std::shared_ptr<test::tally> stopped;
  std::shared_ptr<test::tally> begun = std::make_shared<test::tally>();

  void operator()(troupe::context& ctx) const {
    test::gate asked;
    auto hook = ctx.on_cancel([&] { asked.touch(); });
    begun->add();
    asked.wait_for_arrivals();
    stopped->add();
  }
};

} // namespace

TEST_CASE("join waits for all members, whose values their handles yield",
          "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  task_group group;
  auto a = group.run(
      pool, [](int x) { return x + 1; }, 4);
  auto b = group.start(pool.run([] { return std::string{"five"}; }));
  auto ran = std::make_shared<test::tally>();
  static_cast<void>(group.run(pool, [ran] { ran->add(); }));
  auto joined = hear(how, world.sys, [&](auto*) { return group.join(); });
  CHECK(joined.value.has_value());
  CHECK(ran->value() == 1);
  CHECK(a.get() == 5);
  CHECK(b.get() == "five");
}

TEST_CASE("a group without members is joined at once", "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  task_group group;
  CHECK(hear(how, world.sys, [&](auto*) {
          return group.join();
        }).value.has_value());
}

TEST_CASE("the first failure cancels the other members and is delivered",
          "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto stopped = std::make_shared<test::tally>();
  auto ran = std::make_shared<test::tally>();
  task_group group;
  until_stopped long_call{stopped};
  static_cast<void>(group.run(pool, long_call));
  static_cast<void>(group.run(pool, [begun = long_call.begun] {
    begun->wait_for(1);
    throw std::out_of_range{"first"};
  }));
  auto joined = hear(how, world.sys, [&](auto*) { return group.join(); });
  CHECK(troupe::describe(joined.exception()) == "std::out_of_range: first");
  CHECK(stopped->value() == 1);
  // The group is over, or cancelled: nothing more runs in it.
  CHECK(failure_code(
            [&] { static_cast<void>(group.run(pool, [ran] { ran->add(); })); })
        == ec::already_consumed);
  CHECK(ran->value() == 0);
}

TEST_CASE("several failures arrive together, none lost", "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  auto begun = std::make_shared<test::tally>();
  task_group group;
  for (int i = 0; i < 2; ++i)
    static_cast<void>(group.run(pool, [begun](troupe::context& ctx) {
      test::gate asked;
      auto hook = ctx.on_cancel([&] { asked.touch(); });
      begun->add();
      asked.wait_for_arrivals();
      throw std::runtime_error{"while stopping"};
    }));
  static_cast<void>(group.run(pool, [begun] {
    begun->wait_for(2);
    throw std::out_of_range{"first"};
  }));
  auto joined = hear(how, world.sys, [&](auto*) { return group.join(); });
  CHECK(joined.code() == ec::request_failed);
  auto thrown = joined.exception();
  REQUIRE(thrown);
  try {
    std::rethrow_exception(thrown);
  } catch (const troupe::group_failure& all) {
    REQUIRE(all.failures().size() == 3);
    CHECK_THROWS_AS(troupe::rethrow(*all.failures()[0]), std::out_of_range);
    CHECK_THROWS_AS(troupe::rethrow(*all.failures()[1]), std::runtime_error);
    CHECK(std::string{all.what()}.find("3 members of a task group failed")
          != std::string::npos);
  }
}

TEST_CASE("a member that was merely cancelled is no failure", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::stop_source stop;
  stop.request_stop();
  task_group group;
  auto lost =
      group.start(pool.run([] { return 1; }).stop_with(stop.get_token()));
  auto kept = group.run(pool, [] { return 2; });
  CHECK_NOTHROW(group.join().get());
  CHECK(failure_code([&] { lost.get(); }) == ec::cancelled);
  CHECK(kept.get() == 2);
}

TEST_CASE("join waits for members that members have started", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto ran = std::make_shared<test::tally>();
  task_group group;
  std::function<void(int)> grow = [&, ran](int depth) {
    ran->add();
    if (depth > 0)
      for (int i = 0; i < 2; ++i)
        static_cast<void>(group.run(pool, grow, depth - 1));
  };
  static_cast<void>(group.run(pool, grow, 5));
  group.join().get();
  CHECK(ran->value() == 63);
}

TEST_CASE("what is started in a cancelled group never runs", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  task_group group;
  group.cancel();
  auto late = group.run(pool, [ran] { ran->add(); });
  CHECK(failure_code([&] { late.get(); }) == ec::cancelled);
  // Whoever cancels a group does not count it as failed.
  CHECK_NOTHROW(group.join().get());
  CHECK(ran->value() == 0);
}

TEST_CASE("a group that goes without a join cancels its members",
          "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto stopped = std::make_shared<test::tally>();
  auto ran = std::make_shared<test::tally>();
  {
    task_group group;
    until_stopped long_call{stopped};
    static_cast<void>(group.run(pool, long_call));
    static_cast<void>(group.run(pool, [ran] { ran->add(); }));
    long_call.begun->wait_for(1);
  }
  pool.shutdown().get();
  CHECK(stopped->value() == 1);
  CHECK(ran->value() == 0);
}

TEST_CASE("cancelling the join cancels the members and waits for them",
          "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto stopped = std::make_shared<test::tally>();
  task_group group;
  until_stopped long_call{stopped};
  static_cast<void>(group.run(pool, long_call));
  static_cast<void>(group.run(pool, long_call));
  std::stop_source stop;
  std::thread stopper{[&] {
    long_call.begun->wait_for(2);
    stop.request_stop();
  }};
  auto joined = hear(how, world.sys, [&](auto*) {
    return group.join().stop_with(stop.get_token());
  });
  stopper.join();
  CHECK(joined.code() == ec::cancelled);
  CHECK(stopped->value() == 2);
}

TEST_CASE("cancelling a handle cancels that member alone", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto stopped = std::make_shared<test::tally>();
  task_group group;
  until_stopped long_call{stopped};
  auto handle = group.run(pool, long_call);
  auto other = group.run(pool, [] { return 3; });
  long_call.begun->wait_for(1);
  handle.consume()->cancel(ec::cancelled);
  CHECK_NOTHROW(group.join().get());
  CHECK(other.get() == 3);
  CHECK(stopped->value() == 1);
}

TEST_CASE("a group that was moved from is a named error", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  task_group group;
  auto other = std::move(group);
  CHECK(failure_code([&] { static_cast<void>(group.join()); })
        == ec::already_consumed);
  CHECK_NOTHROW(other.join().get());
  CHECK(failure_code([&] { static_cast<void>(other.run(pool, [] {})); })
        == ec::already_consumed);
}

TEST_CASE("a worker joins a group of its own pool", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run([pool] {
    task_group group;
    auto a = group.run(pool, [] { return 1; });
    auto b = group.run(pool, [] { return 2; });
    group.join().get();
    return a.get() + b.get();
  });
  CHECK(outer.get() == 3);
}

// -- with_group ---------------------------------------------------------------

TEST_CASE("with_group yields what the body returns when all have ended",
          "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto ran = std::make_shared<test::tally>();
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::with_group(
        self,
        [pool, ran](caf::event_based_actor*, task_group& group) -> task<int> {
          auto a = group.run(pool, [] { return 20; });
          for (int i = 0; i < 10; ++i)
            static_cast<void>(group.run(pool, [ran] { ran->add(); }));
          co_return co_await std::move(a) + 1;
        });
  });
  CHECK(result.value == 21);
  CHECK(ran->value() == 10);
}

TEST_CASE("a body that throws ends the members, and both failures arrive",
          "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto begun = std::make_shared<test::tally>();
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::with_group(
        self,
        [pool, begun](caf::event_based_actor*,
                      task_group& group) -> task<void> {
          static_cast<void>(group.run(pool, [begun](troupe::context& ctx) {
            test::gate asked;
            auto hook = ctx.on_cancel([&] { asked.touch(); });
            begun->add();
            asked.wait_for_arrivals();
            throw std::runtime_error{"member"};
          }));
          auto ready = pool.run([begun] { begun->wait_for(1); });
          co_await std::move(ready);
          throw std::out_of_range{"body"};
        });
  });
  auto thrown = result.exception();
  REQUIRE(thrown);
  try {
    std::rethrow_exception(thrown);
  } catch (const troupe::group_failure& all) {
    REQUIRE(all.failures().size() == 2);
    CHECK_THROWS_AS(troupe::rethrow(*all.failures()[0]), std::out_of_range);
    CHECK_THROWS_AS(troupe::rethrow(*all.failures()[1]), std::runtime_error);
  }
}

TEST_CASE("a member that fails cancels the body", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::atomic<int> frames{0};
  auto body = [&](caf::event_based_actor* self) -> task<void> {
    auto scope = troupe::with_group(
        self, [&](caf::event_based_actor* me, task_group& group) -> task<void> {
          test::counted frame{frames};
          static_cast<void>(group.run(pool, [] { throw 5; }));
          co_await troupe::sleep_for(me, 24h);
        });
    co_await std::move(scope);
  };
  CHECK_THROWS_AS(troupe::run(world.sys, body), int);
  CHECK(frames == 0);
}

TEST_CASE("cancelling a task cancels the group that it waits for",
          "[task_group]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto stopped = std::make_shared<test::tally>();
  until_stopped long_call{stopped};
  std::stop_source stop;
  std::thread stopper{[&] {
    long_call.begun->wait_for(2);
    stop.request_stop();
  }};
  auto outer = [&](caf::event_based_actor* self) -> task<void> {
    auto scope = troupe::with_group(
        self, [&](caf::event_based_actor*, task_group& group) -> task<void> {
          static_cast<void>(group.run(pool, long_call));
          auto mine = pool.run(long_call);
          co_await std::move(mine);
        });
    co_await std::move(scope);
  };
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::operation<void>{outer(self)}.stop_with(stop.get_token());
  });
  stopper.join();
  CHECK(result.code() == ec::cancelled);
  // Left only when both had ended.
  CHECK(stopped->value() == 2);
}

TEST_CASE("tasks, delays and waits may be members", "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto outer = [&](caf::event_based_actor* self) -> task<int> {
    troupe::event done{world.sys};
    auto scope = troupe::with_group(self, [&](task_group& group) {
      auto child = [](caf::event_based_actor*,
                      troupe::event signal) -> task<int> {
        signal.set();
        co_return 7;
      };
      static_cast<void>(group.start(done.wait()));
      static_cast<void>(group.start(troupe::sleep_for(self, 1ns)));
      return child(self, done);
    });
    co_return co_await std::move(scope);
  };
  CHECK(troupe::run(world.sys, outer) == 7);
}

TEST_CASE("a body that fails before it is a task is a failure of the scope",
          "[task_group]") {
  test::actor_world world;
  auto result = hear(way::get, world.sys, [&](caf::event_based_actor* self) {
    return troupe::with_group(self, [](task_group&) -> task<void> {
      throw std::logic_error{"no task"};
    });
  });
  CHECK(troupe::describe(result.exception()) == "std::logic_error: no task");
}

TEST_CASE("members race to fail, end and start others without harm",
          "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 4}};
  auto good = 0;
  for (int round = 0; round < 100; ++round) {
    task_group group;
    std::atomic<int> running{0};
    for (int i = 0; i < 8; ++i)
      static_cast<void>(group.run(pool, [&, i, round, pool] {
        ++running;
        if (i % 3 == 0)
          static_cast<void>(group.run(pool, [&] {
            ++running;
            --running;
          }));
        --running;
        if (round % 2 == 0 && i == 5)
          throw i;
      }));
    try {
      group.join().get();
      good += round % 2 == 1 && running == 0;
    } catch (int i) {
      good += round % 2 == 0 && i == 5 && running == 0;
    }
  }
  CHECK(good == 100);
}

TEST_CASE("a join with a token that had been stopped still waits for all",
          "[task_group]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::stop_source source;
  source.request_stop();
  auto stopped = std::make_shared<test::tally>();
  until_stopped member{stopped};
  task_group group;
  auto op = group.run(pool, member);
  member.begun->wait_for(1);
  CHECK(failure_code([&] { group.join().stop_with(source.get_token()).get(); })
        == ec::cancelled);
  CHECK(stopped->value() == 1);
}
