// What a shutdown promises: it drains, then cancels, then names what still
// runs, and everybody is told.

#include "actor_ways.hpp"
#include "gate.hpp"
#include "mail.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool_options;

TEST_CASE("shutdown waits for what was admitted and counts it", "[shutdown]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  auto busy = pool.run([&] { door.pass(); }).start();
  auto queued =
      pool.map(std::vector<int>(10, 1), [](int x) { return x; }).start();
  door.wait_for_arrivals();
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = pool.shutdown().start();
    test::catch_up(world.sys, pool);
    door.open();
    return op;
  });
  REQUIRE(result.value.has_value());
  CHECK(result.value->drained == 11);
  CHECK(result.value->cancelled == 0);
  CHECK(result.value->still_running.empty());
  CHECK(queued.get().size() == 10);
  busy.get();
}

TEST_CASE("shutdown of an idle pool is done at once", "[shutdown]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  pool.run([] {}).get();
  auto what = pool.shutdown().get();
  CHECK(what.drained == 0);
  CHECK(what.cancelled == 0);
  CHECK(what.still_running.empty());
  world.sys.registry().await_running_count_equal(0);
}

TEST_CASE("a shutdown that runs out of time cancels the queue and names what "
          "runs",
          "[shutdown]") {
  test::actor_world world;
  auto clock = std::make_shared<test::manual_clock>();
  pool_options options{.name = "io", .workers = 1};
  options.clock = clock;
  troupe::pool pool{world.sys, options};
  test::gate door;
  test::open_at_exit opener{door};
  auto busy = pool.run([&] { door.pass(); }).label("slow one").start();
  door.wait_for_arrivals();
  std::vector<troupe::operation<void>> queued;
  for (int i = 0; i < 3; ++i)
    queued.push_back(pool.run([] {}).start());
  auto end = pool.shutdown(30s).start();
  REQUIRE(test::catch_up(world.sys, pool));
  clock->advance(29s);
  REQUIRE(test::catch_up(world.sys, pool));
  clock->advance(1s);
  auto what = end.get();
  CHECK(what.drained == 0);
  CHECK(what.cancelled == 3);
  REQUIRE(what.still_running.size() == 1);
  CHECK(what.still_running[0].label == "slow one");
  CHECK(what.still_running[0].worker == 1);
  for (auto& op : queued)
    CHECK(failure_code([&] { op.get(); }) == ec::pool_stopped);
  door.open();
  CHECK_NOTHROW(busy.get());
}

TEST_CASE("a second shutdown gets the same receipt", "[shutdown]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals();
  auto first = pool.shutdown(1h).start();
  auto second = pool.shutdown(2h).start();
  REQUIRE(test::catch_up(world.sys, pool));
  door.open();
  CHECK(first.get().drained == 1);
  CHECK(second.get().drained == 1);
  CHECK(pool.shutdown().get().drained == 1);
  busy.get();
}

TEST_CASE("a pool that has shut down takes no more requests", "[shutdown]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  pool.shutdown().get();
  auto ran = std::make_shared<test::tally>();
  auto single = hear(how, world.sys,
                     [&](auto*) { return pool.run([ran] { ran->add(); }); });
  CHECK(single.code() == ec::pool_stopped);
  auto many = hear(how, world.sys, [&](auto*) {
    return pool.map(std::vector<int>(10, 1), [ran](int) { ran->add(); });
  });
  CHECK(many.code() == ec::pool_stopped);
  CHECK(ran->value() == 0);
}

TEST_CASE("requests of a draining pool may still submit their own",
          "[shutdown]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto outer = pool.run([&] {
                     door.pass();
                     return pool.run([] { return 7; }).get();
                   })
                   .start();
  door.wait_for_arrivals();
  auto end = pool.shutdown().start();
  REQUIRE(test::catch_up(world.sys, pool));
  CHECK(failure_code([&] { pool.run([] {}).get(); }) == ec::pool_stopped);
  door.open();
  CHECK(outer.get() == 7);
  end.get();
}

TEST_CASE("a shutdown calls the hook of a blocked call, which then returns",
          "[shutdown]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  test::gate running;
  running.open();
  auto blocked =
      pool.run([&](troupe::context& ctx) {
            auto hook = ctx.on_cancel([&] { ::shutdown(ends[0], SHUT_RDWR); });
            running.touch();
            char byte = 0;
            return ::recv(ends[0], &byte, 1, 0);
          })
          .start();
  running.wait_for_arrivals();
  auto what = pool.shutdown(0s).get();
  // Whether it had returned when the receipt was written is a matter of luck.
  CHECK(what.drained + what.still_running.size() == 1);
  CHECK(blocked.get() == 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a shutdown cannot be taken back", "[shutdown]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::stop_source stop;
  auto end = pool.shutdown().stop_with(stop.get_token()).start();
  stop.request_stop();
  CHECK_NOTHROW(end.get());
  CHECK(failure_code([&] { pool.run([] {}).get(); }) == ec::pool_stopped);
}
