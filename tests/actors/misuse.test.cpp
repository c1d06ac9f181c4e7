// What a program can get wrong about operations: each mistake is an error with
// a name, at the call or in the outcome, and the rest goes on.

#include "troupe/troupe.hpp"

#include "actor_ways.hpp"

#include <catch2/catch.hpp>

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::actor_world;
using test::failure_code;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool;

TEST_CASE("a null function is refused where it is given", "[misuse]") {
  actor_world world;
  pool io{world.sys};
  std::function<int()> empty;
  int (*null)(int) = nullptr;
  std::function<int(int)> empty_map;
  CHECK(failure_code([&] { auto op = io.run(empty); }) == ec::invalid_option);
  CHECK(failure_code([&] { auto op = io.run(null, 1); }) == ec::invalid_option);
  CHECK(failure_code([&] { auto op = io.map(std::vector{1}, empty_map); })
        == ec::invalid_option);
  CHECK(failure_code([&] { auto all = io.imap(std::vector{1}, empty_map); })
        == ec::invalid_option);
  CHECK(failure_code(
            [&] { auto all = io.imap_unordered(std::vector{1}, empty_map); })
        == ec::invalid_option);
  CHECK(failure_code([&] { io.run([] {}).on_progress(nullptr).get(); })
        == ec::invalid_option);
  CHECK(io.run(std::function<int()>{[] { return 1; }}).get() == 1);
}

TEST_CASE("a null hook is refused by the request that sets it, which is told",
          "[misuse]") {
  actor_world world;
  pool io{world.sys};
  CHECK(failure_code([&] {
          io.run([](troupe::context& ctx) {
              auto hook = ctx.on_cancel(std::function<void()>{});
            }).get();
        })
        == ec::invalid_option);
  CHECK(failure_code([&] {
          io.run([](troupe::context& ctx) {
              void (*none)() = nullptr;
              auto hook = ctx.on_cancel(none);
            }).get();
        })
        == ec::invalid_option);
  CHECK_NOTHROW(io.run([](troupe::context& ctx) {
                    auto hook = ctx.on_cancel(std::function<void()>{[] {}});
                  }).get());
}

TEST_CASE("a range that throws half-way throws where it is mapped, and nothing "
          "runs",
          "[misuse]") {
  actor_world world;
  pool io{world.sys};
  auto throwing = std::views::iota(0, 10) | std::views::transform([](int x) {
                    if (x == 5)
                      throw std::out_of_range{"half-way"};
                    return x;
                  })
                  | std::views::filter([](int) { return true; });
  std::atomic<int> ran{0};
  CHECK_THROWS_AS(([&] { auto op = io.map(throwing, [&](int) { ++ran; }); }()),
                  std::out_of_range);
  io.shutdown().get();
  CHECK(ran == 0);
}

TEST_CASE("a token that was stopped before means that nothing runs",
          "[misuse]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  std::stop_source stop;
  stop.request_stop();
  auto ran = std::make_shared<std::atomic<bool>>(false);
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io.run([ran] { *ran = true; }).stop_with(stop.get_token());
  });
  CHECK(heard.code() == ec::cancelled);
  CHECK_FALSE(*ran);
}

TEST_CASE("an operation cannot be waited for twice", "[misuse]") {
  actor_world world;
  pool io{world.sys};
  auto op = io.run([] { return 1; });
  CHECK(op.get() == 1);
  CHECK(failure_code([&] { op.get(); }) == ec::already_consumed);
  CHECK(failure_code([&] { op.as_future(); }) == ec::already_consumed);
  CHECK(failure_code([&] { auto again = op.start(); }) == ec::already_consumed);
}

TEST_CASE("an operation whose pool is gone says so", "[misuse]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  std::optional<pool> io{world.sys};
  auto op = std::make_shared<troupe::operation<int>>(io->run([] { return 1; }));
  io->shutdown().get();
  io.reset();
  auto heard = hear(how, world.sys,
                    [op](caf::event_based_actor*) { return std::move(*op); });
  CHECK(heard.code() == ec::pool_stopped);
}

TEST_CASE("get in a task is an error, and the operation can still be awaited",
          "[misuse]") {
  actor_world world;
  pool io{world.sys};
  auto result = troupe::run(
      world.sys,
      [](caf::event_based_actor*, pool mine) -> troupe::task<int> {
        auto op = mine.run([] { return 7; });
        auto code = failure_code([&] { op.get(); });
        auto value = co_await std::move(op);
        co_return code == ec::would_deadlock ? value : 0;
      },
      io);
  CHECK(result == 7);
}

TEST_CASE("get in a callback is an error", "[misuse]") {
  actor_world world;
  pool io{world.sys};
  std::promise<std::optional<ec>> code;
  world.sys.spawn<caf::detached>([&](caf::event_based_actor* self) {
    io.run([] {}).then(self, [&] {
      code.set_value(failure_code([&] { io.run([] {}).get(); }));
    });
  });
  CHECK(code.get_future().get() == ec::would_deadlock);
}

TEST_CASE("get on a thread of the scheduler is an error, and so is run",
          "[misuse]") {
  actor_world world;
  pool io{world.sys};
  std::promise<std::optional<ec>> by_get;
  std::promise<std::optional<ec>> by_run;
  world.sys.spawn([&](caf::event_based_actor*) {
    by_get.set_value(failure_code([&] { io.run([] {}).get(); }));
    by_run.set_value(failure_code([&] {
      troupe::run(world.sys, [](caf::event_based_actor*) -> troupe::task<int> {
        co_return 1;
      });
    }));
  });
  CHECK(by_get.get_future().get() == ec::would_deadlock);
  CHECK(by_run.get_future().get() == ec::would_deadlock);
}

TEST_CASE("get on any other thread blocks as it should", "[misuse]") {
  actor_world world;
  pool io{world.sys};
  auto other = std::async(std::launch::async,
                          [&] { return io.run([] { return 3; }).get(); });
  CHECK(other.get() == 3);
  // A worker may block, too.
  CHECK(io.run([io] { return io.run([] { return 4; }).get(); }).get() == 4);
}
