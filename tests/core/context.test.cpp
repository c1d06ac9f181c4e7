// What a running request can know: that it was asked to stop, and by whom its
// hooks are called.

#include "troupe/context.hpp"

#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

using test::batch_of;
using test::get;
using test::thread_crew;
using troupe::context;
using troupe::ec;
using troupe::make_batch;

TEST_CASE("a request that nobody cancels is not asked to stop", "[context]") {
  thread_crew crew{1};
  std::atomic<int> calls{0};
  CHECK_FALSE(get(crew.start(make_batch([&](context& ctx) {
    auto hook = ctx.on_cancel([&] { ++calls; });
    return ctx.stop_token().stop_requested();
  }))));
  CHECK(calls == 0);
}

TEST_CASE("a hook is called once, on the thread that cancels", "[context]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  std::atomic<int> calls{0};
  std::thread::id caller;
  auto made = crew.start(make_batch([&](context& ctx) {
    auto token = ctx.stop_token();
    auto hook = ctx.on_cancel([&] {
      ++calls;
      caller = std::this_thread::get_id();
    });
    busy.pass();
    return token.stop_requested();
  }));
  busy.wait_for_arrivals();
  CHECK(calls == 0);
  batch_of(made).cancel(ec::cancelled);
  CHECK(calls == 1);
  CHECK(caller == std::this_thread::get_id());
  batch_of(made).cancel(ec::cancelled);
  busy.open();
  CHECK(get(made));
  CHECK(calls == 1);
}

TEST_CASE("a hook that comes after the cancel is called at once", "[context]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto made = crew.start(make_batch([&](context& ctx) {
    busy.pass();
    auto called = false;
    auto here = std::this_thread::get_id();
    auto hook =
        ctx.on_cancel([&] { called = here == std::this_thread::get_id(); });
    return called;
  }));
  busy.wait_for_arrivals();
  batch_of(made).cancel(ec::cancelled);
  busy.open();
  CHECK(get(made));
}

TEST_CASE("a hook whose registration is gone is not called", "[context]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  std::atomic<int> calls{0};
  auto made = crew.start(make_batch([&](context& ctx) {
    {
      auto hook = ctx.on_cancel([&] { ++calls; });
    }
    busy.pass();
  }));
  busy.wait_for_arrivals();
  batch_of(made).cancel(ec::cancelled);
  busy.open();
  get(made);
  CHECK(calls == 0);
}

TEST_CASE("the hooks of all running requests are called", "[context]") {
  test::gate busy;
  thread_crew crew{3};
  test::open_at_exit release{busy};
  std::atomic<int> calls{0};
  auto made = crew.start(
      troupe::make_map_batch(std::vector<int>(10), [&](context& ctx, int) {
        auto hook = ctx.on_cancel([&] { ++calls; });
        busy.pass();
      }));
  busy.wait_for_arrivals(3);
  batch_of(made).cancel(ec::cancelled);
  CHECK(calls == 3);
  busy.open();
  batch_of(made).wait();
  CHECK(batch_of(made).summary().succeeded == 3);
}

TEST_CASE("a stop token that a request waits on ends its wait", "[context]") {
  test::gate waiting;
  thread_crew crew{1};
  std::stop_source source;
  auto made = make_batch([&](context& ctx) {
    troupe::parker sleeper;
    auto hook = ctx.on_cancel([&] { sleeper.unpark(); });
    waiting.touch();
    sleeper.park();
    return 7;
  });
  batch_of(made).set_stop_token(source.get_token());
  crew.start(made);
  waiting.wait_for_arrivals();
  source.request_stop();
  CHECK(get(made) == 7);
}

// The cancel may come before, while and after the request asks for its token.
TEST_CASE("a cancel that races with the first hook reaches it", "[context]") {
  thread_crew crew{1};
  for (int round = 0; round < 300; ++round) {
    std::atomic<bool> go{false};
    test::gate stopped;
    test::gate running;
    auto made = crew.start(make_batch([&](context& ctx) {
      running.touch();
      while (!go)
        std::this_thread::yield();
      auto hook = ctx.on_cancel([&] { stopped.touch(); });
      // Failure here is a hang.
      stopped.wait_for_arrivals();
    }));
    running.wait_for_arrivals();
    go = true;
    batch_of(made).cancel(ec::cancelled);
    get(made);
    REQUIRE(stopped.arrivals() == 1);
  }
}
