// Requests that wait inside of requests: they run where they wait, or fail with
// an error that says where the ring is. Failure here is a hang.

#include "troupe/troupe.hpp"

#include <catch2/catch.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actor_ways.hpp"
#include "gate.hpp"

using test::way;
using troupe::ec;
using troupe::pool_options;

namespace {

/// Waits for `op` inside of a request: by `get`, or in a task.
enum class inner_way { get, co_await_ };

troupe::task<int> await_it(caf::event_based_actor*, troupe::operation<int> op) {
  co_return co_await std::move(op);
}

int wait_inside(inner_way how, caf::actor_system& sys,
                troupe::operation<int> op) {
  if (how == inner_way::get)
    return op.get();
  auto box = std::make_shared<troupe::operation<int>>(std::move(op));
  return troupe::run(sys, [box](caf::event_based_actor* self) {
    return await_it(self, std::move(*box));
  });
}

/// Calls `pools[0]`, which calls `pools[1]` inside of it, and so on, round and
/// round.
struct descent {
  caf::actor_system& sys;
  inner_way how;
  std::vector<troupe::pool> pools;

  int operator()(int depth, int left) const {
    if (left == 0)
      return 0;
    auto next = pools[static_cast<std::size_t>(depth) % pools.size()];
    return 1 + wait_inside(how, sys, next.run([this, depth, left] {
             return (*this)(depth + 1, left - 1);
           }));
  }
};

} // namespace

TEST_CASE("requests nested five deep run on a pool of one, however they wait",
          "[nested]") {
  test::actor_world world;
  auto how = GENERATE(way::get, way::then, way::co_await_);
  auto inside = GENERATE(inner_way::get, inner_way::co_await_);
  CAPTURE(how);
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  descent down{world.sys, inside, {pool}};
  auto heard = test::hear(how, world.sys, [&](caf::event_based_actor*) {
    return pool.run([&] { return 1 + down(1, 5); });
  });
  CHECK(heard.value == 6);
}

TEST_CASE("two pools of one that call each other fail and name both, however "
          "they wait",
          "[nested]") {
  test::actor_world world;
  auto how = GENERATE(way::get, way::then, way::co_await_);
  auto inside = GENERATE(inner_way::get, inner_way::co_await_);
  CAPTURE(how);
  troupe::pool a{world.sys, pool_options{.name = "ape", .workers = 1}};
  troupe::pool b{world.sys, pool_options{.name = "bee", .workers = 1}};
  descent down{world.sys, inside, {a, b}};
  auto heard = test::hear(how, world.sys, [&](caf::event_based_actor*) {
    return a.run([&] { return 1 + down(1, 4); });
  });
  REQUIRE_FALSE(heard.value);
  CHECK(heard.code() == ec::would_deadlock);
  auto text = troupe::describe(heard.exception());
  CAPTURE(text);
  CHECK(text.find("'ape'") != text.npos);
  CHECK(text.find("'bee'") != text.npos);
  // Both work on.
  CHECK(a.run([] { return 1; }).get() + b.run([] { return 2; }).get() == 3);
}

TEST_CASE("two pools of two call each other twice", "[nested]") {
  test::actor_world world;
  auto inside = GENERATE(inner_way::get, inner_way::co_await_);
  troupe::pool a{world.sys, pool_options{.name = "ape", .workers = 2}};
  troupe::pool b{world.sys, pool_options{.name = "bee", .workers = 2}};
  descent down{world.sys, inside, {a, b}};
  CHECK(down(0, 4) == 4);
}

TEST_CASE("a gather inside of a request sees the ring as well", "[nested]") {
  test::actor_world world;
  troupe::pool a{world.sys, pool_options{.name = "ape", .workers = 1}};
  troupe::pool b{world.sys, pool_options{.name = "bee", .workers = 1}};
  auto code = a.run([&] {
                 return b
                     .run([&] {
                       return test::failure_code([&] {
                         std::vector<troupe::operation<void>> both;
                         for (int i = 0; i < 2; ++i)
                           both.push_back(a.run([] {}));
                         troupe::gather(std::move(both)).get();
                       });
                     })
                     .get();
               }).get();
  CHECK(code == ec::would_deadlock);
}

TEST_CASE("a gather inside of a request runs on a pool of one", "[nested]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto sum = pool.run([&] {
                   auto [x, y] =
                       troupe::gather(pool.run([] { return 1; }), pool.run([] {
                         return 2;
                       })).get();
                   return x + y;
                 })
                 .get();
  CHECK(sum == 3);
}

TEST_CASE("a nested request with a timeout ends with it, also on a pool of one",
          "[nested]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto code =
      pool.run([&] {
            return test::failure_code([&] {
              pool.run([] {}).timeout(std::chrono::milliseconds{5}).get();
            });
          })
          .get();
  CHECK(code == ec::deadline_exceeded);
}

TEST_CASE("a worker may not wait for the shutdown of its own pool",
          "[nested]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  auto text = pool.run([&] {
                    return test::thrown_text([&] { pool.shutdown().get(); });
                  })
                  .get();
  CHECK(text
        == "cannot wait for the shutdown of the pool 'io' on its own worker "
           "io-1: it would wait for the request that asks; start() it, or wait "
           "for it outside of the pool");
  // Nothing was shut down.
  CHECK(pool.run([] { return 1; }).get() == 1);
  CHECK(pool.stats().refused == 0);
}

TEST_CASE("a worker may start the shutdown of its pool, and wait for that of "
          "another",
          "[nested]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  troupe::pool other{world.sys, pool_options{.workers = 1}};
  auto drained = pool.run([&] {
                       auto begun = pool.shutdown().start();
                       return other.shutdown().get().drained;
                     })
                     .get();
  CHECK(drained == 0);
  CHECK(pool.shutdown().get().still_running.empty());
}

TEST_CASE("a request that holds a key and waits for another of it fails",
          "[nested]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 4}};
  auto outer = pool.run([&] {
    return test::failure_code([&] { pool.run([] {}).key("db", 1).get(); });
  });
  CHECK(std::move(outer).key("db", 1).get() == ec::would_deadlock);
}

TEST_CASE("a thousand requests nested in each other end with a value or a "
          "clear error",
          "[nested]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  std::function<int(int)> descend = [&](int depth) -> int {
    return depth == 0
               ? 0
               : 1 + pool.run([&, depth] { return descend(depth - 1); }).get();
  };
  try {
    CHECK(descend(1'000) == 1'000);
  } catch (const troupe::failure& err) {
    CHECK(err.code() == ec::would_deadlock);
    CHECK(std::string{err.what()}.find("half of its stack")
          != std::string::npos);
  }
  CHECK(descend(10) == 10);
}
