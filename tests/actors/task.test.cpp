// What a task promises: it lives in its actor, starts when it is waited for,
// is cancelled as a whole, and leaves no frame behind.

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::hear;
using test::way;
using troupe::ec;
using troupe::pool_options;

namespace {

troupe::task<int> double_of(caf::event_based_actor*, troupe::pool pool, int x) {
  co_return co_await pool.run([x] { return 2 * x; });
}

troupe::task<int> sum_of_doubles(caf::event_based_actor* self,
                                 troupe::pool pool, int n) {
  auto sum = 0;
  for (int i = 1; i <= n; ++i)
    sum += co_await double_of(self, pool, i);
  co_return sum;
}

troupe::task<void> hold(caf::event_based_actor*, troupe::operation<void> op,
                        test::counted frame) {
  static_cast<void>(frame);
  co_await std::move(op);
}

struct greeter {
  std::string greeting;

  troupe::task<std::string> greet(caf::event_based_actor*, troupe::pool pool) {
    co_return co_await pool.run([this] { return greeting + "!"; });
  }
};

} // namespace

TEST_CASE("a task yields what it returns", "[task]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return sum_of_doubles(self, pool, 10);
  });
  CHECK(result.value == 110);
}

TEST_CASE("a task without a value completes", "[task]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::atomic<int> frames{0};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return hold(self, pool.run([] {}), test::counted{frames});
  });
  CHECK(result.value.has_value());
  CHECK(frames == 0);
}

TEST_CASE("a task may be a lambda or a member", "[task]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto lambda = [factor = 3](caf::event_based_actor*,
                             troupe::pool where) -> troupe::task<int> {
    co_return factor* co_await where.run([] { return 5; });
  };
  CHECK(troupe::run(world.sys, lambda, pool) == 15);
  greeter object{"hello"};
  auto member = [&](caf::event_based_actor* self, troupe::pool where) {
    return object.greet(self, std::move(where));
  };
  CHECK(troupe::run(world.sys, member, pool) == "hello!");
}

TEST_CASE("a task runs on the thread of its actor only", "[task]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = std::make_shared<std::promise<bool>>();
  auto body = [&](caf::event_based_actor*) -> troupe::task<bool> {
    auto home = std::this_thread::get_id();
    auto same = true;
    for (int i = 0; i < 20; ++i) {
      auto there = co_await pool.run([] { return std::this_thread::get_id(); });
      same = same && there != home && std::this_thread::get_id() == home;
    }
    co_return same;
  };
  auto call = std::make_shared<decltype(body)>(body);
  world.sys.spawn<caf::detached>([=](caf::event_based_actor* self) {
    (*call)(self).then(self,
                       [call, result](bool same) { result->set_value(same); });
  });
  CHECK(result->get_future().get());
}

TEST_CASE("a task does not begin before it is waited for", "[task]") {
  test::actor_world world;
  auto body = [](caf::event_based_actor* self) -> troupe::task<std::string> {
    std::string log;
    auto child = [&log](caf::event_based_actor*) -> troupe::task<void> {
      log += "child ";
      co_return;
    };
    auto made = child(self);
    log += "parent ";
    co_await std::move(made);
    co_return log;
  };
  CHECK(troupe::run(world.sys, body) == "parent child ");
}

TEST_CASE("a task that is never waited for leaves no frame", "[task]") {
  test::actor_world world;
  std::atomic<int> frames{0};
  auto body = [&](caf::event_based_actor* self) -> troupe::task<void> {
    {
      troupe::event never{world.sys};
      auto op = hold(self, never.wait(), test::counted{frames});
      CHECK(frames == 1);
    }
    CHECK(frames == 0);
    co_return;
  };
  troupe::run(world.sys, body);
}

TEST_CASE("a task that was started runs beside its parent", "[task]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto body = [&](caf::event_based_actor* self) -> troupe::task<int> {
    auto side = double_of(self, pool, 4).start();
    auto mine = co_await double_of(self, pool, 5);
    co_return mine + co_await std::move(side);
  };
  CHECK(troupe::run(world.sys, body) == 18);
}

TEST_CASE("an exception of a task reaches its parent", "[task]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  auto child = [](caf::event_based_actor*) -> troupe::task<int> {
    throw std::out_of_range{"child"};
    co_return 1;
  };
  auto parent = [&](caf::event_based_actor* self) -> troupe::task<int> {
    co_return co_await child(self);
  };
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return parent(self);
  });
  CHECK(troupe::describe(result.exception()) == "std::out_of_range: child");
}

TEST_CASE("a task that awaits what is done does not eat the stack", "[task]") {
  test::actor_world world;
  troupe::event done{world.sys};
  done.set();
  auto body = [&](caf::event_based_actor*) -> troupe::task<int> {
    auto n = 0;
    for (; n < 200'000; ++n)
      co_await done.wait();
    co_return n;
  };
  CHECK(troupe::run(world.sys, body) == 200'000);
}

TEST_CASE("thousands of tasks live in one actor", "[task]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto body = [&](caf::event_based_actor* self) -> troupe::task<int> {
    std::vector<troupe::task<int>> tasks;
    for (int i = 0; i < 3000; ++i)
      tasks.push_back(double_of(self, pool, i));
    auto sum = 0;
    for (auto x : co_await troupe::gather(std::move(tasks)))
      sum += x;
    co_return sum;
  };
  CHECK(troupe::run(world.sys, body) == 2999 * 3000);
}

// -- cancelling ---------------------------------------------------------------

TEST_CASE("cancelling a task makes its current and later co_await throw "
          "cancelled",
          "[task]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source stop;
  test::gate running;
  auto ran = std::make_shared<test::tally>();
  std::string log;
  auto body = [&](caf::event_based_actor*) -> troupe::task<int> {
    try {
      co_await pool.run([&](troupe::context& ctx) {
        test::gate stopped;
        auto hook = ctx.on_cancel([&] { stopped.touch(); });
        running.touch();
        stopped.wait_for_arrivals();
      });
    } catch (const troupe::failure& err) {
      log += err.code() == ec::cancelled ? "current " : "wrong ";
    }
    try {
      auto op = pool.run([ran] { ran->add(); });
      co_await std::move(op);
    } catch (const troupe::failure& err) {
      log += err.code() == ec::cancelled ? "later" : "wrong";
    }
    co_return 5;
  };
  std::thread stopper{[&] {
    running.wait_for_arrivals();
    stop.request_stop();
  }};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::operation<int>{body(self)}.stop_with(stop.get_token());
  });
  stopper.join();
  // It is up to the task what it makes of it.
  CHECK(result.value == 5);
  CHECK(log == "current later");
  CHECK(ran->value() == 0);
}

TEST_CASE("cancelling a task cancels the tasks that it awaits", "[task]") {
  test::actor_world world;
  std::stop_source stop;
  std::atomic<int> frames{0};
  test::gate entered;
  entered.open();
  auto inner = [&](caf::event_based_actor* self,
                   test::counted frame) -> troupe::task<void> {
    static_cast<void>(frame);
    entered.touch();
    co_await troupe::sleep_for(self, 24h);
  };
  auto outer = [&](caf::event_based_actor* self,
                   test::counted frame) -> troupe::task<void> {
    static_cast<void>(frame);
    co_await inner(self, test::counted{frames});
  };
  std::thread stopper{[&] {
    entered.wait_for_arrivals();
    stop.request_stop();
  }};
  auto result = hear(way::get, world.sys, [&](caf::event_based_actor* self) {
    return troupe::operation<void>{outer(self, test::counted{frames})}
        .stop_with(stop.get_token());
  });
  stopper.join();
  CHECK(result.code() == ec::cancelled);
  CHECK(frames == 0);
}

TEST_CASE("a task whose token is stopped already is never entered", "[task]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  std::stop_source stop;
  stop.request_stop();
  std::atomic<bool> entered{false};
  std::atomic<int> frames{0};
  auto body = [&](caf::event_based_actor*,
                  test::counted frame) -> troupe::task<void> {
    static_cast<void>(frame);
    entered = true;
    co_return;
  };
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::operation<void>{body(self, test::counted{frames})}.stop_with(
        stop.get_token());
  });
  CHECK(result.code() == ec::cancelled);
  CHECK_FALSE(entered);
  CHECK(frames == 0);
}

TEST_CASE("cancelling races with completion without harm", "[task]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  std::atomic<int> frames{0};
  auto outcomes = 0;
  for (int i = 0; i < 200; ++i) {
    std::stop_source stop;
    std::jthread stopper{[&] { stop.request_stop(); }};
    auto result = hear(way::get, world.sys, [&](caf::event_based_actor* self) {
      return troupe::operation<void>{
          hold(self, pool.run([] {}), test::counted{frames})}
          .stop_with(stop.get_token());
    });
    outcomes += result.value.has_value() || result.code() == ec::cancelled;
  }
  CHECK(outcomes == 200);
  CHECK(frames == 0);
}
