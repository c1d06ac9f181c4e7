// What a pool promises as a whole: options are checked before anything starts,
// nested waits do not block it for ever, and it ends by itself.

#include "troupe/pool.hpp"

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
using troupe::ec;
using troupe::pool_options;

// -- options ------------------------------------------------------------------

TEST_CASE("a pool with options that are not accepted throws, and nothing is "
          "started",
          "[pool]") {
  test::actor_world world;
  auto refused = [&](pool_options options) {
    return failure_code([&] {
             troupe::pool{world.sys, std::move(options)};
           })
           == ec::invalid_option;
  };
  CHECK(refused({.workers = 0}));
  CHECK(refused({.workers = 65'537}));
  CHECK(refused({.workers = 2, .min_workers = 3}));
  CHECK(refused({.idle_timeout = -1ns}));
  CHECK(refused({.max_queued = 0}));
  CHECK(refused({.spin = -1s}));
  CHECK(refused({.drain_timeout = -1s}));
  CHECK(world.sys.registry().running() == 0);
}

TEST_CASE("a pool takes its options over the configuration", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.name = "db", .workers = 3}};
  auto options = pool.options();
  CHECK(options.name == "db");
  CHECK(options.workers == 3);
  CHECK(options.origin.workers == troupe::option_origin::code);
}

TEST_CASE("pools of different names work side by side", "[pool]") {
  test::actor_world world;
  troupe::pool one{world.sys, "one"};
  troupe::pool two{world.sys, "two"};
  test::gate door;
  test::open_at_exit opener{door};
  auto held = one.map(std::vector<int>(200, 1),
                      [&](int x) {
                        door.pass();
                        return x;
                      })
                  .start();
  door.wait_for_arrivals();
  // The other pool has workers of its own.
  CHECK(two.run([] { return 2; }).get() == 2);
  door.open();
  CHECK(held.get().size() == 200);
  CHECK(one.options().name == "one");
  CHECK(two.options().name == "two");
}

TEST_CASE("copies of a pool are the same pool", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto copy = pool;
  CHECK(copy.actor() == pool.actor());
  copy.run([] {}).get();
  CHECK(pool.stats().succeeded == 1);
}

// -- statistics and size ------------------------------------------------------

TEST_CASE("statistics count each request once", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  pool.run([] {}).get();
  pool.map(std::vector<int>(10, 1), [](int x) { return x; }).get();
  troupe::gather(pool.run([] {}), pool.run([] {}), pool.run([] {})).get();
  CHECK_THROWS(pool.run([] { throw 1; }).get());
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS(pool.run([] {}).stop_with(stop.get_token()).get());
  auto stats = pool.stats();
  CHECK(stats.succeeded == 14);
  CHECK(stats.failed == 1);
  CHECK(stats.cancelled == 1);
  CHECK(stats.batches == 5);
}

TEST_CASE("statistics tell what runs and what is queued", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  std::vector<troupe::operation<void>> ops;
  for (int i = 0; i < 5; ++i)
    ops.push_back(pool.run([&] { door.pass(); }).start());
  door.wait_for_arrivals(2);
  auto stats = pool.stats();
  CHECK(stats.workers == 2);
  CHECK(stats.busy == 2);
  CHECK(stats.idle == 0);
  CHECK(stats.queued == 3);
  door.open();
  for (auto& op : ops)
    op.get();
  CHECK(pool.stats().queued == 0);
}

TEST_CASE("resize lets more requests run at once", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  std::vector<troupe::operation<void>> ops;
  for (int i = 0; i < 4; ++i)
    ops.push_back(pool.run([&] { door.pass(); }).start());
  door.wait_for_arrivals(1);
  pool.resize(4);
  CHECK(pool.options().workers == 4);
  // Failure here is a hang.
  door.wait_for_arrivals(4);
  door.open();
  for (auto& op : ops)
    op.get();
}

TEST_CASE("resize to less ends workers as they become free", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 4}};
  test::gate door;
  auto all =
      pool.map(std::vector<int>(4, 1), [&](int) { door.pass(); }).start();
  door.wait_for_arrivals(4);
  pool.resize(1);
  door.open();
  all.get();
  // The coordinator and one worker; CAF wakes those who wait for its count only
  // when that is below. Failure here is a hang.
  while (world.sys.registry().running() != 2)
    std::this_thread::yield();
  CHECK(pool.run([] { return 1; }).get() == 1);
}

TEST_CASE("resize to a count that is not accepted throws", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  CHECK(failure_code([&] { pool.resize(0); }) == ec::invalid_option);
  CHECK(failure_code([&] { pool.resize(65'537); }) == ec::invalid_option);
  CHECK(pool.options().workers == 3);
}

TEST_CASE("a full queue rejects if it was told to", "[pool]") {
  auto how = GENERATE(test::way::get, test::way::then, test::way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys,
                    pool_options{.workers = 1,
                                 .max_queued = 2,
                                 .on_full = troupe::on_full::reject}};
  test::gate door;
  test::open_at_exit opener{door};
  std::vector<troupe::operation<void>> ops;
  ops.push_back(pool.run([&] { door.pass(); }).start());
  door.wait_for_arrivals();
  ops.push_back(pool.run([] {}).start());
  ops.push_back(pool.run([] {}).start());
  auto refused =
      test::hear(how, world.sys, [&](auto*) { return pool.run([] {}); });
  CHECK(refused.code() == ec::queue_full);
  CHECK(pool.stats().refused == 1);
  door.open();
  for (auto& op : ops)
    CHECK_NOTHROW(op.get());
}

// -- nested waits -------------------------------------------------------------

TEST_CASE("a request may wait for requests of its own pool, five deep on one "
          "worker",
          "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::function<int(int)> descend = [&](int depth) {
    if (depth == 0)
      return 0;
    return 1 + pool.run(descend, depth - 1).get();
  };
  CHECK(pool.run(descend, 5).get() == 5);
}

TEST_CASE("a request may wait for a map of its own pool", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto sum = [pool](int n) {
    auto all =
        pool.map(std::vector<int>(100, n), [](int x) { return x; }).get();
    auto result = 0;
    for (auto x : all)
      result += x;
    return result;
  };
  CHECK(pool.map(std::vector{1, 2, 3, 4}, sum).get()
        == std::vector{100, 200, 300, 400});
}

TEST_CASE("the failure of a nested request passes through", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run(
      [pool] { pool.run([] { throw std::out_of_range{"inner"}; }).get(); });
  CHECK_THROWS_AS(outer.get(), std::out_of_range);
}

// -- the end ------------------------------------------------------------------

TEST_CASE("a pool ends by itself when its last handle goes", "[pool]") {
  test::actor_world world;
  auto over = std::make_shared<test::tally>();
  {
    troupe::pool pool{world.sys};
    auto copy = std::make_unique<troupe::pool>(pool);
    test::watch_end(pool.actor(), over);
    pool.map(std::vector<int>(100, 1), [](int x) { return x; }).get();
    copy.reset();
    CHECK(pool.run([] { return 1; }).get() == 1);
    CHECK(over->value() == 0);
  }
  over->wait_for(1);
  world.sys.registry().await_running_count_equal(0);
  CHECK(world.sys.registry().running() == 0);
}

TEST_CASE("a pool that was never used ends as well", "[pool]") {
  test::actor_world world;
  { troupe::pool pool{world.sys, pool_options{.min_workers = 3}}; }
  world.sys.registry().await_running_count_equal(0);
  CHECK(world.sys.registry().running() == 0);
}

TEST_CASE("a pool without handles completes what is outstanding before it ends",
          "[pool]") {
  test::actor_world world;
  test::gate door;
  test::open_at_exit opener{door};
  std::vector<troupe::operation<int>> ops;
  {
    troupe::pool pool{world.sys, pool_options{.workers = 1}};
    for (int i = 0; i < 3; ++i)
      ops.push_back(pool.run([&door, i] {
                          door.pass();
                          return i;
                        })
                        .start());
  }
  door.wait_for_arrivals();
  door.open();
  for (int i = 0; i < 3; ++i)
    CHECK(ops[static_cast<std::size_t>(i)].get() == i);
  world.sys.registry().await_running_count_equal(0);
}

TEST_CASE("the last handle of a pool may go on its own worker", "[pool]") {
  test::actor_world world;
  for (int i = 0; i < 20; ++i) {
    auto op = [&] {
      auto pool = std::make_unique<troupe::pool>(world.sys);
      auto started =
          pool->run([copy = *pool] { return copy.run([] { return 1; }).get(); })
              .start();
      pool.reset();
      return started;
    }();
    CHECK(op.get() == 1);
  }
  world.sys.registry().await_running_count_equal(0);
}

TEST_CASE("an operation that outlives its pool is told so", "[pool]") {
  test::actor_world world;
  auto op = troupe::pool{world.sys}.run([] { return 1; });
  world.sys.registry().await_running_count_equal(0);
  CHECK(failure_code([&] { op.get(); }) == ec::pool_stopped);
}

TEST_CASE("systems with idle pools end, one after another", "[pool]") {
  for (int i = 0; i < 50; ++i) {
    test::actor_world world;
    troupe::pool idle{world.sys, "idle"};
    troupe::pool used{world.sys, pool_options{.name = "used", .workers = 3}};
    troupe::event flag{world.sys};
    auto face = i % 2 == 0 ? flag.actor() : caf::actor{};
    CHECK(used.map(std::vector<int>(20, i), [](int x) { return x; }).get()[19]
          == i);
  }
}

TEST_CASE("a coordinator that is killed leaves nobody waiting", "[pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto over = std::make_shared<test::tally>();
  test::watch_end(pool.actor(), over);
  test::gate door;
  test::open_at_exit opener{door};
  auto running = pool.run([&] {
                       door.pass();
                       return 1;
                     })
                     .start();
  door.wait_for_arrivals();
  auto queued = pool.run([] { return 2; }).start();
  auto heard = std::make_shared<std::promise<caf::error>>();
  auto asked = std::make_shared<test::tally>();
  world.sys.spawn([=](caf::event_based_actor* self) {
    pool.run([] {}).then(
        self, [] {}, [heard](caf::error why) { heard->set_value(why); });
    asked->add();
  });
  asked->wait_for(1);
  auto drained = pool.shutdown().start();
  caf::anon_send_exit(pool.actor(), caf::exit_reason::kill);
  over->wait_for(1);
  CHECK(failure_code([&] { queued.get(); }) == ec::pool_stopped);
  CHECK(heard->get_future().get() == ec::pool_stopped);
  // Nobody is left to write a receipt.
  CHECK(failure_code([&] { drained.get(); }) == ec::pool_stopped);
  CHECK(failure_code([&] { pool.run([] {}).get(); }) == ec::pool_stopped);
  CHECK(failure_code([&] { pool.shutdown().get(); }) == ec::pool_stopped);
  // Who had begun is not disturbed.
  door.open();
  CHECK(running.get() == 1);
}
